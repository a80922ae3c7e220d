// Paths in the log: RFC 9162 section 2.1.3.2.

import { sha256 } from './hashes.js';
import { need, needEqual } from './refusal.js';
import { hex } from './bytes.js';

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** Return the root that a path leads to from a leaf's bytes; it must be used up exactly. */
export function rootOf(leaf, index, size, path) {
  need(index < size, 'inclusion-index', () => `expected an index below ${size}, got ${index}`);
  let root = sha256(LEAF, leaf);
  let used = 0;
  for (let at = index, last = size - 1n; last > 0n; at >>= 1n, last >>= 1n) {
    const isRight = (at & 1n) === 1n;
    if (!isRight && at >= last) continue;
    need(used < path.length, 'inclusion-path', 'expected more hashes');
    root = isRight ? sha256(NODE, path[used], root) : sha256(NODE, root, path[used]);
    used += 1;
  }
  need(used === path.length, 'inclusion-path', () => `expected ${used} hashes, got ${path.length}`);
  return root;
}

/** Refuse unless a path leads from a leaf to this root. */
export function checkInclusion(leaf, index, size, path, root) {
  needEqual('inclusion-root', hex(root), hex(rootOf(leaf, index, size, path)));
}
