// What the state tree of a chain holds for one key, or that it holds nothing: proto/STANDING.md.

import { ascii, equal, hex } from './bytes.js';
import { need } from './refusal.js';

const DEPTH_MAX = 256;
const EMPTY = new Uint8Array(32);

/** Refuse unless the map of `root` holds `value` for `key`, or nothing if `value` is null. */
export function checkState({ hash }, root, key, value, { siblings, otherLeaf }) {
  const hashOf = (tag, ...parts) => hash(ascii(`govchain/v1/state-${tag}\x00`), ...parts);
  const path = hashOf('key', key);
  const depth = siblings.length;
  const isLast = depth === 0 || !equal(siblings[depth - 1], EMPTY);
  need(isLast, 'state-superfluous', 'expected the lowest sibling to be no empty subtree');
  if (otherLeaf !== null) checkOtherLeaf(otherLeaf, path, value, depth);
  let node = EMPTY;
  if (otherLeaf !== null) node = hashOf('leaf', otherLeaf.keyPath, otherLeaf.valueDigest);
  else if (value !== null) node = hashOf('leaf', path, hash(value));
  for (let at = depth - 1; at >= 0; at -= 1) {
    node =
      bitOf(path, at) === 0
        ? hashOf('node', node, siblings[at])
        : hashOf('node', siblings[at], node);
  }
  need(equal(node, root), 'state-root', () => `expected ${hex(root)}, got ${hex(node)}`);
}

/** Another leaf stands where the key would be: their paths agree as far as the siblings reach. */
function checkOtherLeaf({ keyPath }, path, value, depth) {
  const rule = 'state-other-leaf';
  need(value === null, rule, 'expected none in a proof of presence');
  let shared = 0;
  while (shared < DEPTH_MAX && bitOf(keyPath, shared) === bitOf(path, shared)) shared += 1;
  need(shared < DEPTH_MAX, rule, "expected the leaf of another key, got the key's own");
  need(shared >= depth, rule, () => {
    return `expected a key path that shares ${depth} bits with the key's, got ${shared}`;
  });
}

const bitOf = (path, at) => (path[at >> 3] >> (7 - (at & 7))) & 1;
