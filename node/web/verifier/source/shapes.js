// Readers of decoded CBOR: each takes a value and its name, and returns it or refuses it.

import { utf8 } from './bytes.js';
import { Refused } from './refusal.js';

const UINT64_MAX = 0xffffffffffffffffn;
// Controls, separators but the space, blanks, and marks that hide or reorder what a person reads.
export const INVISIBLE =
  /[\u0000-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e00ff}\u{e01f0}-\u{e0fff}]/u;

const SHOWN_MAX = 40; // characters

/** A value as it is shown where it is refused. */
function shown(value) {
  if (value instanceof Uint8Array) return cut(`b'${Array.from(value, shownByte).join('')}'`);
  if (typeof value === 'string') return cut(`'${value}'`);
  if (typeof value === 'bigint') return String(value);
  return { true: 'True', false: 'False', null: 'None' }[String(value)] ?? typeName(value);
}

const cut = (text) => Array.from(text).slice(0, SHOWN_MAX).join('');

function shownByte(byte) {
  const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x5c;
  return isPlain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
}

/** What a value is, where its size says nothing. */
function typeName(value) {
  if (Array.isArray(value)) return 'list';
  if (value instanceof Uint8Array) return 'bytes';
  return { bigint: 'int', string: 'str', boolean: 'bool' }[typeof value] ?? 'NoneType';
}

const sizeOf = (value) => (value instanceof Uint8Array ? `${value.length} bytes` : typeName(value));
const countOf = (value) => (Array.isArray(value) ? `${value.length} items` : typeName(value));

/** An integer in 0..max, and not below `min`: that is `told` as what is expected then. */
export const uint =
  (max = UINT64_MAX, min = 0n, told = `at least ${min}`) =>
  (value, what) => {
    const isNumber = typeof value === 'bigint' && value >= 0n && value <= max;
    if (!isNumber) refuse(what, `expected an integer in 0..${max}, got ${shown(value)}`);
    if (value < min) refuse(what, `expected ${told}, got ${value}`);
    return value;
  };

export const bytes = (size) => (value, what) =>
  value instanceof Uint8Array && value.length === size
    ? value
    : refuse(what, `expected ${size} bytes, got ${sizeOf(value)}`);

export const blob = (sizeMax) => (value, what) =>
  value instanceof Uint8Array && value.length <= sizeMax
    ? value
    : refuse(what, `expected at most ${sizeMax} bytes, got ${sizeOf(value)}`);

export const text = (sizeMax) => (value, what) => {
  const isShort = typeof value === 'string' && utf8(value).length <= sizeMax;
  if (!isShort) refuse(what, `expected text of at most ${sizeMax} bytes, got ${shown(value)}`);
  const isVisible = value !== '' && !INVISIBLE.test(value);
  return isVisible ? value : refuse(what, `expected printable text, got ${shown(value)}`);
};

export const bool = (value, what) =>
  typeof value === 'boolean' ? value : refuse(what, `expected a bool, got ${typeName(value)}`);

/** One value alone; `told` says that it is expected. */
export const only = (literal, told) => (value, what) =>
  value === literal ? value : refuse(what, `${told}, got ${shown(value)}`);

export const optional = (reader) => (value, what) => (value === null ? null : reader(value, what));

export const list =
  (reader, lengthMax, lengthMin = 0) =>
  (value, what) => {
    const isList = Array.isArray(value) && value.length <= lengthMax;
    if (lengthMin === lengthMax && (!isList || value.length < lengthMin)) {
      refuse(what, `expected an array of ${lengthMax} items, got ${countOf(value)}`);
    }
    if (!isList) {
      refuse(what, `expected an array of at most ${lengthMax} items, got ${countOf(value)}`);
    }
    const isEnough = value.length >= lengthMin;
    if (!isEnough) refuse(what, `expected ${lengthMin}..${lengthMax} members, got ${value.length}`);
    return value.map((item) => reader(item, what));
  };

const OF_THE_WHOLE = ['format', 'version', 'kind'];

/**
 * An array of exactly these fields, named `what`, read into an object of them. `value` is the array
 * itself. Its fields are named by `prefix` and their own names, or as `labels` has it; what spans
 * fields is checked by `check`.
 */
export function structure(what, fields, { prefix = what, labels = {}, check = () => {} } = {}) {
  const readers = Object.entries(fields).map(([name, read]) => {
    const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    const label = OF_THE_WHOLE.includes(name) ? what : (labels[name] ?? `${prefix} ${words}`);
    return [name, read, label];
  });
  return (value) => {
    if (!Array.isArray(value) || value.length !== readers.length) {
      refuse(what, `expected an array of ${readers.length} items, got ${countOf(value)}`);
    }
    const found = { value };
    readers.forEach(([name, read, label], at) => {
      found[name] = read(value[at], label);
    });
    check(found, what);
    return found;
  };
}

export function refuse(what, detail) {
  throw new Refused(what, detail);
}
