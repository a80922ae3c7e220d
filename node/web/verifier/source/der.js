// DER (X.690): pieces joined, and a strict reader.

import { concat, equal, fromBigEndian, toBigEndian } from './bytes.js';
import { need, Refused } from './refusal.js';

export const BOOLEAN = 0x01;
export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const NULL = 0x05;
export const OBJECT_IDENTIFIER = 0x06;
export const ENUMERATED = 0x0a;
export const UTC_TIME = 0x17;
export const GENERALIZED_TIME = 0x18;
export const SEQUENCE = 0x30;
export const SET = 0x31;
export const CONTEXT_0 = 0xa0;
export const CONTEXT_1 = 0xa1;
export const CONTEXT_2 = 0xa2;
export const CONTEXT_3 = 0xa3;
export const CONTEXT_4 = 0xa4;

const LENGTH_BYTES_MAX = 4;
const OID_BYTES_MAX = 64;
const INTEGER_BYTES_MAX = 512;

const digits = (tag) => tag.toString(16).padStart(2, '0');

/** Return one element around these parts. */
export function element(tag, ...parts) {
  const content = concat(...parts);
  const { length } = content;
  if (length < 0x80) return concat(Uint8Array.of(tag, length), content);
  const size = toBigEndian(BigInt(length), Math.ceil(length.toString(16).length / 2));
  return concat(Uint8Array.of(tag, 0x80 | size.length), size, content);
}

export const sequence = (...parts) => element(SEQUENCE, ...parts);

/** An INTEGER that is not negative. */
export function integer(value) {
  const digits = value.toString(16);
  const bytes = toBigEndian(value, Math.ceil(digits.length / 2));
  return bytes[0] & 0x80 ? element(INTEGER, Uint8Array.of(0), bytes) : element(INTEGER, bytes);
}

/** An OBJECT IDENTIFIER given as numbers between dots. */
export function oid(dotted) {
  const [first, second, ...rest] = dotted.split('.').map(BigInt);
  const bytes = [first * 40n + second, ...rest].flatMap((arc) => {
    const groups = [Number(arc & 0x7fn)];
    for (let left = arc >> 7n; left > 0n; left >>= 7n) groups.unshift(Number(left & 0x7fn) | 0x80);
    return groups;
  });
  return element(OBJECT_IDENTIFIER, Uint8Array.from(bytes));
}

/** Reads elements that lie one after the other; `what` names them where they are refused. */
export class Reader {
  constructor(bytes, what) {
    this.bytes = bytes;
    this.what = what;
    this.at = 0;
  }

  get isEmpty() {
    return this.at === this.bytes.length;
  }

  /** Return the next element, `{tag, content, encoded}`, of this tag if one is given. */
  read(tag) {
    const { bytes, at: start } = this;
    need(bytes.length >= start + 2, this.what, 'expected more elements, got the end');
    const found = bytes[start];
    const isShortTag = (found & 0x1f) !== 0x1f;
    need(isShortTag, this.what, () => `expected a tag of one byte, got 0x${digits(found)}`);
    const isWanted = tag === undefined || found === tag;
    need(isWanted, this.what, () => {
      return `expected tag 0x${digits(tag)}, got 0x${digits(found)}`;
    });
    let size = bytes[start + 1];
    let contentAt = start + 2;
    if (size >= 0x80) {
      const count = size - 0x80;
      const isShort = count > 0 && count <= LENGTH_BYTES_MAX;
      need(isShort, this.what, 'expected a length in its shortest form');
      size = Number(fromBigEndian(bytes.subarray(contentAt, contentAt + count)));
      contentAt += count;
      const least = Math.max(0x80, 2 ** (8 * (count - 1)));
      need(size >= least, this.what, 'expected a length in its shortest form');
    }
    const end = contentAt + size;
    const left = bytes.length - contentAt;
    need(size <= left, this.what, () => `expected ${size} bytes, got ${left}`);
    this.at = end;
    return {
      tag: found,
      content: bytes.subarray(contentAt, end),
      encoded: bytes.subarray(start, end),
    };
  }

  readIf(tag) {
    return this.bytes[this.at] === tag ? this.read(tag) : null;
  }

  /** Return a reader of what the next element, of this tag, contains; `what` names it. */
  enter(tag, what = this.what) {
    return new Reader(this.read(tag).content, what);
  }

  enterIf(tag, what = this.what) {
    const found = this.readIf(tag);
    return found === null ? null : new Reader(found.content, what);
  }

  /** Return the next element, an INTEGER in its shortest form, as a number of either sign. */
  readInteger() {
    const { content } = this.read(INTEGER);
    checkInteger(content, this.what);
    const { length } = content;
    need(length <= INTEGER_BYTES_MAX, this.what, () => {
      return `expected at most ${INTEGER_BYTES_MAX} bytes, got ${length} bytes`;
    });
    return BigInt.asIntN(8 * length, fromBigEndian(content));
  }

  /** Tell whether TRUE comes next. FALSE is refused: being the default it is left out. */
  readTrue() {
    const found = this.readIf(BOOLEAN);
    const isTrue = found !== null && equal(found.content, Uint8Array.of(0xff));
    need(found === null || isTrue, this.what, 'expected TRUE or nothing');
    return isTrue;
  }

  /** Return the next element, an INTEGER in its shortest form that is not negative. */
  readNatural() {
    const { content } = this.read(INTEGER);
    checkInteger(content, this.what);
    need(content[0] < 0x80, this.what, 'expected an integer in its shortest form');
    return fromBigEndian(content);
  }

  /** Return the next element, an OBJECT IDENTIFIER, as numbers between dots. */
  readOid() {
    const { content } = this.read(OBJECT_IDENTIFIER);
    const ends = content.length > 0 && content[content.length - 1] < 0x80;
    need(ends && content.length <= OID_BYTES_MAX, this.what, 'expected an object identifier');
    const arcs = [];
    let arc = 0n;
    let isFirst = true;
    for (const byte of content) {
      need(
        !isFirst || byte !== 0x80,
        this.what,
        'expected an object identifier in its shortest form',
      );
      arc = (arc << 7n) | BigInt(byte & 0x7f);
      isFirst = byte < 0x80;
      if (isFirst) {
        arcs.push(arc);
        arc = 0n;
      }
    }
    const first = arcs[0] / 40n < 2n ? arcs[0] / 40n : 2n;
    return [first, arcs[0] - first * 40n, ...arcs.slice(1)].join('.');
  }

  finish() {
    if (!this.isEmpty) {
      throw new Refused(
        this.what,
        `expected no more elements, got ${this.bytes.length - this.at} bytes`,
      );
    }
  }
}

/** Return a reader of what the one element that fills these bytes contains. */
export function readOnly(bytes, tag, what) {
  const outer = new Reader(bytes, what);
  const inner = outer.enter(tag);
  outer.finish();
  return inner;
}

/** Refuse the content of an INTEGER that is not in its shortest form. */
export function checkInteger(content, what) {
  const isPadded =
    content.length > 1 &&
    (content[0] === 0x00 || content[0] === 0xff) &&
    content[0] >> 7 === content[1] >> 7;
  need(content.length > 0 && !isPadded, what, 'expected an integer in its shortest form');
}
