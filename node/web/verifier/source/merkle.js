// Paths in the log: RFC 9162 sections 2.1.3.2 and 2.1.4.2.

import { need, needEqual } from './refusal.js';
import { hex } from './bytes.js';

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** Return the root that a path leads to from a leaf's bytes; it must be used up exactly. */
export function rootOf({ hash }, leaf, index, size, path) {
  need(index < size, 'proof-index', () => `expected an index below size ${size}, got ${index}`);
  const sides = sidesOf(index, size - 1n);
  checkLength(path, sides.length);
  return sides.reduce(
    (root, isLeft, at) => (isLeft ? hash(NODE, path[at], root) : hash(NODE, root, path[at])),
    hash(LEAF, leaf),
  );
}

/** Refuse unless a path leads from a leaf to this root. */
export function checkInclusion(suite, leaf, index, size, path, root) {
  needEqual('proof-root', hex(root), hex(rootOf(suite, leaf, index, size, path)));
}

/**
 * Refuse unless the tree of the old size and root is a prefix of that of the new ones, by a
 * consistency path (RFC 9162 section 2.1.4.2); the old size is the lesser.
 */
export function checkPrefix({ hash }, oldSize, oldRoot, size, root, path) {
  need(oldSize > 0n && oldSize <= size, 'proof-sizes', () => {
    return `expected 0 < old size <= new size < 2**64, got ${oldSize} and ${size}`;
  });
  need(oldSize < size, 'proof-sizes', () => `expected a proper prefix, got ${size} of ${size}`);
  let [at, last] = [oldSize - 1n, size - 1n]; // of the last perfect subtree, once it is found
  for (; (at & 1n) === 1n; at >>= 1n) last >>= 1n;
  // Where the old tree is perfect its root comes first, which the RFC does not send.
  const hashes = at === 0n ? [oldRoot, ...path] : path;
  const sides = sidesOf(at, last);
  checkLength(hashes, sides.length + 1);
  const [first, ...siblings] = hashes;
  let [oldFound, found] = [first, first];
  siblings.forEach((node, step) => {
    if (sides[step]) oldFound = hash(NODE, node, oldFound); // else it is beyond the old tree
    found = sides[step] ? hash(NODE, node, found) : hash(NODE, found, node);
  });
  needEqual('proof-old-root', hex(oldRoot), hex(oldFound));
  needEqual('proof-root', hex(root), hex(found));
}

/** Tell of each sibling on the way to the root whether it is on the left; `last` is its level's. */
function sidesOf(index, last) {
  const sides = [];
  for (let [at, end] = [index, last]; end > 0n; at >>= 1n, end >>= 1n) {
    const isRight = (at & 1n) === 1n;
    if (isRight || at < end) sides.push(isRight); // else it is the odd last one, and moves up
  }
  return sides;
}

function checkLength(path, expected) {
  need(path.length === expected, 'proof-path-length', () => {
    const problem = path.length < expected ? 'too short' : 'too long';
    return `${problem}: expected ${expected} hashes, got ${path.length}`;
  });
}
