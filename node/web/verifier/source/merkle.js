// Paths in the log: RFC 9162 sections 2.1.3.2 and 2.1.4.2.

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

/**
 * Refuse unless the tree of the old size and root is a prefix of that of the new ones, by a
 * consistency path (RFC 9162 section 2.1.4.2); the old size is the lesser.
 */
export function checkPrefix(oldSize, oldRoot, size, root, path) {
  need(oldSize > 0n && oldSize < size, 'proof-sizes', () => `expected 0 < ${oldSize} < ${size}`);
  let [at, last] = [oldSize - 1n, size - 1n];
  for (; (at & 1n) === 1n; at >>= 1n) last >>= 1n;
  // Where the old tree is perfect its root comes first, which the RFC does not send.
  const [first, ...rest] = at === 0n ? [oldRoot, ...path] : path;
  need(first !== undefined, 'proof-path-length', 'expected more hashes');
  let [oldFound, found] = [first, first];
  for (const node of rest) {
    need(last > 0n, 'proof-path-length', 'expected fewer hashes');
    if ((at & 1n) === 1n || at === last) {
      oldFound = sha256(NODE, node, oldFound);
      found = sha256(NODE, node, found);
      for (; (at & 1n) === 0n && at !== 0n; at >>= 1n) last >>= 1n;
    } else {
      found = sha256(NODE, found, node);
    }
    at >>= 1n;
    last >>= 1n;
  }
  need(last === 0n, 'proof-path-length', 'expected more hashes');
  needEqual('proof-old-root', hex(oldRoot), hex(oldFound));
  needEqual('proof-root', hex(root), hex(found));
}
