// Readers of decoded CBOR: each takes a value and its name, and returns it or refuses it.

import { utf8 } from './bytes.js';
import { encode } from './cbor.js';
import { Refused } from './refusal.js';

const UINT64_MAX = 0xffffffffffffffffn;
// Controls, separators but the space, and marks that hide or reorder what a person reads.
export const INVISIBLE =
  /[\u0000-\u001f\u007f-\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb]/;

export const uint =
  (max = UINT64_MAX, min = 0n) =>
  (value, what) =>
    typeof value === 'bigint' && value >= min && value <= max
      ? value
      : refuse(what, `expected an integer in ${min}..${max}`);

export const bytes = (size) => (value, what) =>
  value instanceof Uint8Array && value.length === size
    ? value
    : refuse(what, `expected ${size} bytes`);

export const blob = (sizeMax) => (value, what) =>
  value instanceof Uint8Array && value.length <= sizeMax
    ? value
    : refuse(what, `expected at most ${sizeMax} bytes`);

export const text = (sizeMax) => (value, what) =>
  typeof value === 'string' &&
  value !== '' &&
  utf8(value).length <= sizeMax &&
  !INVISIBLE.test(value)
    ? value
    : refuse(what, `expected printable text of at most ${sizeMax} bytes`);

export const bool = (value, what) =>
  typeof value === 'boolean' ? value : refuse(what, 'expected a bool');

export const only = (literal) => (value, what) =>
  value === literal ? value : refuse(what, `expected ${literal}`);

export const optional = (reader) => (value, what) => (value === null ? null : reader(value, what));

export const list =
  (reader, lengthMax, lengthMin = 0) =>
  (value, what) =>
    Array.isArray(value) && value.length >= lengthMin && value.length <= lengthMax
      ? value.map((item) => reader(item, what))
      : refuse(what, `expected an array of ${lengthMin} to ${lengthMax} items`);

/**
 * An array of exactly these fields, read into an object of them. `value` is the array itself, and
 * `encoded` its bytes. What spans fields is checked by `check`.
 */
export function structure(fields, check = () => {}) {
  const readers = Object.entries(fields);
  return (value, what) => {
    if (!Array.isArray(value) || value.length !== readers.length) {
      refuse(what, `expected an array of ${readers.length} items`);
    }
    const found = {
      value,
      get encoded() {
        return encode(value);
      },
    };
    readers.forEach(([name, read], at) => {
      found[name] = read(value[at], `${what} ${name}`);
    });
    check(found, what);
    return found;
  };
}

export function refuse(what, detail) {
  throw new Refused(what, detail);
}
