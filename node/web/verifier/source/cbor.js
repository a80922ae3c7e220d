// Deterministic CBOR as proto/govchain.cddl narrows it: one value, one encoding, all else refused.
// Integers are bigints, byte strings Uint8Arrays, text strings; arrays, true, false and null.

import { concat, fromBigEndian, fromUtf8, utf8 } from './bytes.js';
import { Refused } from './refusal.js';

const ITEMS_MAX = 262144;
const DEPTH_MAX = 10;
const WIDTHS = { 24: 1, 25: 2, 26: 4, 27: 8 };
const LEAST = { 1: 24n, 2: 0x100n, 4: 0x10000n, 8: 0x100000000n };
const UNSIGNED = 0;
const NEGATIVE = 1; // read, but no structure has a place for it
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const SIMPLE = new Map([
  [0xf4, false],
  [0xf5, true],
  [0xf6, null],
]);

/** Return the value that these bytes encode; `what` names it where they are refused. */
export function decode(bytes, what, sizeMax) {
  if (bytes.length > sizeMax) {
    throw new Refused(what, `expected at most ${sizeMax} bytes, got ${bytes.length}`);
  }
  const reader = new Reader(bytes, what);
  const value = reader.item(0);
  if (reader.at !== bytes.length) {
    throw new Refused(what, `expected its end, ${bytes.length - reader.at} bytes follow the end`);
  }
  return value;
}

/** Return the one encoding of a value as `decode` gives it. */
export function encode(value) {
  const parts = [];
  write(value, parts);
  return concat(...parts);
}

class Reader {
  constructor(bytes, what) {
    this.bytes = bytes;
    this.what = what;
    this.at = 0;
    this.items = 0;
    this.expected = 1; // still to come
  }

  item(depth) {
    const start = this.at;
    this.items += 1;
    this.expected -= 1;
    if (this.items > ITEMS_MAX) this.refuse(`expected at most ${ITEMS_MAX} items`);
    const head = this.take(1)[0];
    if (SIMPLE.has(head)) return SIMPLE.get(head);
    const major = head >> 5;
    const argument = this.argument(head, start);
    if (major === UNSIGNED) return argument;
    if (major === NEGATIVE) return -1n - argument;
    if (major === BYTES) return this.take(argument).slice();
    if (major === TEXT) {
      const text = fromUtf8(this.take(argument));
      if (text === null) this.refuse('not well-formed CBOR: error decoding text string');
      return text;
    }
    if (major !== ARRAY) this.refuse(`item head 0x${head.toString(16).padStart(2, '0')} at byte ${start}`);
    if (argument > 0n && depth === DEPTH_MAX) this.refuse(`nested deeper than ${DEPTH_MAX} arrays`);
    this.expected += Number(argument);
    const found = [];
    for (let left = argument; left > 0n; left -= 1n) found.push(this.item(depth + 1));
    return found;
  }

  argument(head, start) {
    const low = head & 0x1f;
    if (low < 24) return BigInt(low);
    const met = `item head 0x${head.toString(16).padStart(2, '0')} at byte ${start}`;
    const width = WIDTHS[low];
    if (width === undefined) this.refuse(met);
    const argument = fromBigEndian(this.take(width));
    if (argument < LEAST[width]) this.refuse(`not the canonical encoding: ${met}`);
    return argument;
  }

  take(size) {
    const left = this.bytes.length - this.at;
    if (BigInt(size) > BigInt(left)) {
      const isLast = this.expected === 0 && left > 0;
      this.refuse(
        isLast
          ? `expected ${BigInt(this.at) + BigInt(size)} bytes, got ${this.bytes.length}`
          : `expected more bytes after ${this.bytes.length}`,
      );
    }
    const start = this.at;
    this.at += Number(size);
    return this.bytes.subarray(start, this.at);
  }

  refuse(detail) {
    throw new Refused(this.what, detail);
  }
}

function write(value, parts) {
  if (typeof value === 'bigint') {
    parts.push(head(UNSIGNED, value));
  } else if (value instanceof Uint8Array) {
    parts.push(head(BYTES, BigInt(value.length)), value);
  } else if (typeof value === 'string') {
    const text = utf8(value);
    parts.push(head(TEXT, BigInt(text.length)), text);
  } else if (Array.isArray(value)) {
    parts.push(head(ARRAY, BigInt(value.length)));
    for (const item of value) write(item, parts);
  } else {
    parts.push(Uint8Array.of(value === null ? 0xf6 : value ? 0xf5 : 0xf4));
  }
}

function head(major, argument) {
  if (argument < 24n) return Uint8Array.of((major << 5) | Number(argument));
  const [low, width] =
    argument < LEAST[2]
      ? [24, 1]
      : argument < LEAST[4]
        ? [25, 2]
        : argument < LEAST[8]
          ? [26, 4]
          : [27, 8];
  const digits = argument.toString(16).padStart(2 * width, '0');
  const bytes = [(major << 5) | low];
  for (let at = 0; at < digits.length; at += 2)
    bytes.push(Number.parseInt(digits.slice(at, at + 2), 16));
  return Uint8Array.from(bytes);
}
