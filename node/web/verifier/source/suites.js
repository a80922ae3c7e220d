// The suites that a chain is founded on: how it hashes, and what its votes are signed by.

import { ascii, hex } from './bytes.js';
import { encode } from './cbor.js';
import { sha256, sm3 } from './hashes.js';
import { isP256Key, isP256Signature } from './signatures.js';
import { isSm2Key, isSm2Signature } from './sm2.js';

export const INTERNATIONAL = {
  name: 'international',
  hash: sha256,
  curve: 'P-256',
  isVoteKey: isP256Key,
  isVoteSignature: rememberedValid(isP256Signature),
};
export const NATIONAL = {
  name: 'national',
  hash: sm3,
  curve: 'SM2',
  isVoteKey: isSm2Key,
  isVoteSignature: rememberedValid(isSm2Signature),
};

/** By the number that stands in a genesis and in what is proved of its chain. */
export const SUITES = new Map([
  [1n, INTERNATIONAL],
  [2n, NATIONAL],
]);

/** H(tag || 0x00 || cbor(value)), tag being one of this product's. */
export function tagged(suite, tag, value) {
  return suite.hash(ascii(`govchain/v1/${tag}\x00`), encode(value));
}

/**
 * Return the check with what it found valid kept: a receipt brings handovers along that its trust
 * file holds too.
 */
function rememberedValid(isSignature) {
  const valid = new Set();
  return (key, message, signature) => {
    const name = [key, sha256(message), signature].map(hex).join();
    if (valid.has(name)) return true;
    const isValid = isSignature(key, message, signature);
    if (isValid) valid.add(name);
    return isValid;
  };
}
