// Inflating what a PDF holds deflated (RFC 1950 and 1951), up to a bound.

import { Refused } from './refusal.js';

const LENGTH_BASES = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
  163, 195, 227, 258,
];
const LENGTH_BITS = [
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];
const DISTANCE_BASES = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049,
  3073, 4097, 6145, 8193, 12289, 16385, 24577,
];
const DISTANCE_BITS = [
  0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
];
const CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const END = 256;
const BITS_MAX = 15;

/** Return what a zlib stream holds; more than `sizeMax` bytes of it are refused. */
export function inflate(bytes, sizeMax) {
  const reader = new Bits(bytes);
  const head = (bytes[0] << 8) | bytes[1];
  const isZlib =
    bytes.length >= 2 && head % 31 === 0 && (bytes[0] & 0x0f) === 8 && (bytes[1] & 0x20) === 0;
  if (!isZlib) refuse();
  reader.at = 2;
  const out = new Output(sizeMax);
  let isLast = false;
  while (!isLast) {
    isLast = reader.take(1) === 1;
    const kind = reader.take(2);
    if (kind === 0) copyStored(reader, out);
    else if (kind === 1) copyCoded(reader, out, ...fixedCodes());
    else if (kind === 2) copyCoded(reader, out, ...readCodes(reader));
    else refuse();
  }
  reader.align();
  const found = out.bytes.slice(0, out.size);
  if (reader.number(4) !== adler32(found)) refuse();
  return found;
}

function copyStored(reader, out) {
  reader.align();
  const size = reader.byte() | (reader.byte() << 8);
  const inverse = reader.byte() | (reader.byte() << 8);
  if ((size ^ inverse) !== 0xffff) refuse();
  for (let left = size; left > 0; left -= 1) out.add(reader.byte());
}

function copyCoded(reader, out, literals, distances) {
  for (;;) {
    const symbol = literals.read(reader);
    if (symbol === END) return;
    if (symbol < END) {
      out.add(symbol);
      continue;
    }
    const at = symbol - END - 1;
    if (at >= LENGTH_BASES.length) refuse();
    const length = LENGTH_BASES[at] + reader.take(LENGTH_BITS[at]);
    const code = distances.read(reader);
    if (code >= DISTANCE_BASES.length) refuse();
    out.repeat(DISTANCE_BASES[code] + reader.take(DISTANCE_BITS[code]), length);
  }
}

function fixedCodes() {
  const lengths = Array.from({ length: 288 }, (_, at) =>
    at < 144 ? 8 : at < 256 ? 9 : at < 280 ? 7 : 8,
  );
  return [new Code(lengths), new Code(new Array(30).fill(5))];
}

function readCodes(reader) {
  const literals = reader.take(5) + 257;
  const distances = reader.take(5) + 1;
  const listed = reader.take(4) + 4;
  const orders = new Array(19).fill(0);
  for (let at = 0; at < listed; at += 1) orders[CODE_ORDER[at]] = reader.take(3);
  const code = new Code(orders);
  const lengths = [];
  while (lengths.length < literals + distances) {
    const symbol = code.read(reader);
    if (symbol < 16) {
      lengths.push(symbol);
      continue;
    }
    if (symbol === 16 && lengths.length === 0) refuse();
    const again = symbol === 16 ? lengths[lengths.length - 1] : 0;
    const count =
      symbol === 16 ? 3 + reader.take(2) : symbol === 17 ? 3 + reader.take(3) : 11 + reader.take(7);
    for (let left = count; left > 0; left -= 1) lengths.push(again);
  }
  if (lengths.length !== literals + distances) refuse();
  return [new Code(lengths.slice(0, literals)), new Code(lengths.slice(literals))];
}

/** A canonical Huffman code, by the lengths of its symbols' codes. */
class Code {
  constructor(lengths) {
    this.counts = new Array(BITS_MAX + 1).fill(0);
    for (const length of lengths) this.counts[length] += 1;
    this.counts[0] = 0;
    const starts = [0];
    for (let length = 1; length <= BITS_MAX; length += 1)
      starts[length] = starts[length - 1] + this.counts[length - 1];
    this.symbols = [];
    lengths.forEach((length, symbol) => {
      if (length === 0) return;
      this.symbols[starts[length]] = symbol;
      starts[length] += 1;
    });
  }

  read(reader) {
    let code = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length <= BITS_MAX; length += 1) {
      code |= reader.take(1);
      const count = this.counts[length];
      if (code - first < count) return this.symbols[index + code - first];
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    return refuse();
  }
}

/** Bits of bytes, the lowest first. */
class Bits {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
    this.held = 0;
    this.count = 0;
  }

  take(bits) {
    while (this.count < bits) {
      this.held |= this.next() << this.count;
      this.count += 8;
    }
    const found = this.held & ((1 << bits) - 1);
    this.held >>= bits;
    this.count -= bits;
    return found;
  }

  align() {
    this.held = 0;
    this.count = 0;
  }

  byte() {
    return this.next();
  }

  number(size) {
    let value = 0;
    for (let left = size; left > 0; left -= 1) value = value * 256 + this.next();
    return value;
  }

  next() {
    if (this.at >= this.bytes.length) refuse();
    this.at += 1;
    return this.bytes[this.at - 1];
  }
}

class Output {
  constructor(sizeMax) {
    this.sizeMax = sizeMax;
    this.bytes = new Uint8Array(65536);
    this.size = 0;
  }

  add(byte) {
    if (this.size >= this.sizeMax) refuse();
    if (this.size === this.bytes.length) {
      const larger = new Uint8Array(2 * this.size);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.bytes[this.size] = byte;
    this.size += 1;
  }

  repeat(distance, length) {
    if (distance > this.size) refuse();
    for (let left = length; left > 0; left -= 1) this.add(this.bytes[this.size - distance]);
  }
}

function adler32(bytes) {
  let one = 1;
  let two = 0;
  for (const byte of bytes) {
    one = (one + byte) % 65521;
    two = (two + one) % 65521;
  }
  return two * 65536 + one;
}

function refuse() {
  throw new Refused('PDF', 'a stream does not inflate');
}
