// The hashes of chains, and those that documents are hashed with.

import { sha256 as nobleSha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { concat } from './bytes.js';
import { Sm3 } from './sm3.js';

export const sha256 = (...parts) => nobleSha256(concat(...parts));

export const sm3 = (...parts) => new Sm3().update(concat(...parts)).digest();

/** How a document may have been hashed, by the number in its record. */
export const DOCUMENT_DIGESTS = new Map([
  [1n, { name: 'sha-256', size: 32, start: () => nobleSha256.create() }],
  [2n, { name: 'sm3', size: 32, start: () => new Sm3() }],
  [3n, { name: 'sha-384', size: 48, start: () => sha384.create() }],
  [4n, { name: 'sha-512', size: 64, start: () => sha512.create() }],
]);

/** SHA-2 as signatures use it, by its object identifier. */
export const SHA_2 = new Map([
  ['2.16.840.1.101.3.4.2.1', { name: 'sha-256', size: 32, hash: nobleSha256 }],
  ['2.16.840.1.101.3.4.2.2', { name: 'sha-384', size: 48, hash: sha384 }],
  ['2.16.840.1.101.3.4.2.3', { name: 'sha-512', size: 64, hash: sha512 }],
]);
export const SM3 = '1.2.156.10197.1.401';
/** Those that time-stamp tokens are signed over. */
export const TOKEN_DIGESTS = new Map([...SHA_2, [SM3, { name: 'sm3', size: 32, hash: sm3 }]]);

/** Return the name of an algorithm, or words for a number that has none. */
export function digestName(number) {
  return DOCUMENT_DIGESTS.get(number)?.name ?? `unknown (${number})`;
}
