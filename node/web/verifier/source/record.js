// What is said of a record in every form of receipt.

import { hex } from './bytes.js';
import { digestName } from './hashes.js';

export const ACTIONS = ['record', 'supersede', 'withdraw'];
export const WITHDRAW = 2n;

/** Return the digest of a record by its name, a colon and hex. */
export function recordedDigest({ algorithm, digest }) {
  return `${digestName(algorithm)}:${hex(digest)}`;
}
