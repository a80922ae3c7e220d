// Compact certificates: what a quorum signed together with one BLS signature.

import { ascii, concat, hex } from './bytes.js';
import { headerDigest, quorumOf } from './chain.js';
import { encode } from './cbor.js';
import { need } from './refusal.js';
import { isAggregate } from './signatures.js';

const SHARE_TAG = ascii('govchain/v1/checkpoint-share\x00');

/** Tell whether this is what a header says of the chain. */
export function isStatedBy(suite, certificate, header) {
  return (
    certificate.epoch === header.epoch &&
    hex(certificate.headerDigest) === headerDigest(suite, header) &&
    certificate.logSize === header.logSize &&
    hex(certificate.logRoot) === hex(header.logRoots[0]) &&
    hex(certificate.stateRoot) === hex(header.stateRoot)
  );
}

/** Refuse unless a quorum of the set signed it; return the members that did. */
export function checkCompactCertificate(certificate, chainId, set) {
  const { epoch, signers } = certificate;
  const { members } = set;
  need(set.epoch === epoch, 'compact-epoch', () => `expected epoch ${set.epoch}, got ${epoch}`);
  const highest = BigInt(signers.toString(2).length - 1);
  const areMembers = signers >> BigInt(members.length) === 0n;
  need(areMembers, 'compact-signer', () => `the set has no member ${highest}`);
  const chosen = members.filter((_, at) => (signers >> BigInt(at)) & 1n);
  const quorum = quorumOf(set);
  need(chosen.length >= quorum, 'compact-quorum', () => {
    return `expected ${quorum} of ${members.length}, got ${chosen.length}`;
  });
  const hasKeys = chosen.every((member) => member.aggregateKey !== null);
  need(hasKeys, 'compact-keys', 'the validators of this chain have no BLS keys');
  const statement = encode([
    chainId,
    epoch,
    certificate.height,
    certificate.headerDigest,
    certificate.logSize,
    [certificate.logRoot],
    certificate.stateRoot,
  ]);
  const keys = chosen.map((member) => member.aggregateKey.key);
  const isValid = isAggregate(keys, concat(SHARE_TAG, statement), certificate.aggregate);
  need(isValid, 'compact-signature', 'the aggregate signature does not verify');
  return chosen;
}
