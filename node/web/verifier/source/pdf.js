// The one file attached to a PDF certificate (ISO 32000-1), and that there is no other: the file read
// from its first byte to its last, and refused where it is not plain. As node/timestamp/pdf_attachment.py.

import { inflate } from './inflate.js';
import { need, Refused } from './refusal.js';
import { RECEIPT_FILE_BYTES_MAX } from './structures.js';

const OUTLINE_BYTES_MAX = 1 << 18;
const STREAMS_MAX = 4096;
const UNPACKED_BYTES_MAX = 1 << 22;
const DEPTH_MAX = 32;

const SPACES = '[\\0\\t\\n\\f\\r ]';
const END = '(?![^\\0\\t\\n\\f\\r ()<>\\[\\]{}/%])'; // behind a name, a number or a keyword
const here = (pattern) => new RegExp(pattern, 'y');
const GAPS = here(`${SPACES}+|%%EOF|%[^\\r\\n]*`);
const NUMBER = here(`[+-]?(?:[0-9]+(?:\\.[0-9]*)?|\\.[0-9]+)${END}`);
const INTEGER = here(`[0-9]{1,10}${END}`);
const REFERENCE = here(`([0-9]{1,10})${SPACES}{1,8}([0-9]{1,5})${SPACES}{1,8}R${END}`);
const OBJECT = here(`([0-9]{1,10})${SPACES}{1,8}([0-9]{1,5})${SPACES}{1,8}obj${END}`);
const NUMBER_OBJECT = new RegExp( // that is a whole number, as the length of a stream may be
  `(?<![0-9])${OBJECT.source}${SPACES}*([0-9]{1,10})${SPACES}+endobj${END}`,
  'g',
);
const ENTRIES = here('[0-9nf\\0\\t\\n\\f\\r ]*');
const NAME = here('/([^\\0\\t\\n\\f\\r ()<>\\[\\]{}/%]*)');
const HEX_STRING = here('<[0-9A-Fa-f\\0\\t\\n\\f\\r ]*>');
const TEXT = here('[^()\\\\]*(?:\\\\[^][^()\\\\]*)*([()])');
const CONSTANT = here(`(?:true|false|null)${END}`);
const STREAM = here('stream\\r?\\n');
const STREAM_END = here(`(?:\\r\\n|[\\r\\n])?endstream${END}`);
const WORD_OBJECT = new RegExp(`[0-9\\0\\t\\n\\f\\r ]obj${END}`, 'g');
const HIDDEN = new RegExp(
  `endstream|(?:[\\r\\n][\\0\\t\\f ]*|${SPACES}[0-9]+[\\0\\t\\f ]*)obj${END}`,
);
const ATTACHING = new RegExp(
  `/(?:${['EF', 'RF', 'EmbeddedFile', 'EmbeddedFiles'].map(anySpelling).join('|')})${END}`,
);
const FILE_KEYS = new Set(['F', 'UF', 'DOS', 'Mac', 'Unix']);
const OUTSIDE_KEYS = ['F', 'FFilter', 'FDecodeParms', 'DecodeParms', 'DP'];

/** Return the one file attached to a PDF. */
export function attachedFile(bytes) {
  expect(
    bytes.length <= RECEIPT_FILE_BYTES_MAX,
    () => `expected at most ${RECEIPT_FILE_BYTES_MAX} bytes`,
  );
  const reading = new Reading(bytes);
  reading.read();
  const listed = reading.stored.flatMap(({ value }) =>
    mapsOf(value)
      .filter((each) => each.has('EF'))
      .map((each) => each.get('EF')),
  );
  const typed = reading.stored.filter((each) => isTyped(each, 'EmbeddedFile')).length;
  const count = Math.max(listed.length, typed);
  reading.expectNothingPacked();
  expect(count === 1, () => `expected one attached file, the proof, got ${count}`);
  expect(listed.length === 1, () => 'the attached file is not listed');
  const attached = onlyOne(reading.stored, listed[0]);
  expect(
    typed === 0 || isTyped(attached, 'EmbeddedFile'),
    () => 'expected one attached file, the proof, got 2',
  );
  return unpack(attached, RECEIPT_FILE_BYTES_MAX + 1);
}

function anySpelling(word) {
  return [...word]
    .map((letter) => {
      const code = letter.charCodeAt(0).toString(16);
      const spelled = [...code].map((digit) => `[${digit}${digit.toUpperCase()}]`).join('');
      return `(?:${letter}|#${spelled})`;
    })
    .join('');
}

/** Return the one object that a file specification lists; there is no other of its number. */
function onlyOne(stored, listed) {
  const keys = listed instanceof Map ? [...listed.keys()] : [];
  expect(
    keys.length > 0 && keys.every((key) => FILE_KEYS.has(key)),
    () => 'the attached file is not listed as a certificate has it',
  );
  const targets = [...listed.values()];
  const isOne = targets.every(
    (each) => each instanceof Reference && each.is(targets[0].number, targets[0].generation),
  );
  expect(isOne, () => 'expected one attached file, got several in one place');
  const { number, generation } = targets[0];
  const found = stored.filter((each) => each.reference.number === number);
  expect(
    found.length === 1 && found[0].reference.is(number, generation) && found[0].stream !== null,
    () => 'the attached file is not there once',
  );
  return found[0];
}

function isTyped({ value }, name) {
  return value instanceof Map && value.get('Type') === name;
}

/** Return what a stream holds. */
function unpack({ value, stream }, sizeMax) {
  let packing = value.has('Filter') ? value.get('Filter') : '';
  if (Array.isArray(packing) && packing.length === 1) [packing] = packing;
  const isPlain = packing === '' || packing === 'FlateDecode';
  expect(
    isPlain && !OUTSIDE_KEYS.some((key) => value.has(key)),
    () => 'a stream is packed otherwise than a certificate has it',
  );
  return packing === '' ? stream.slice(0, sizeMax) : inflate(stream, sizeMax);
}

const keyOf = (number, generation) => `${Number(number)} ${Number(generation)}`;

/** Tell whether an object is that of a key, and this number. */
function isNumber({ reference, value, stream }, key, size) {
  return keyOf(reference.number, reference.generation) === key && value === size && stream === null;
}

/** Return every dictionary in a value. */
function mapsOf(value) {
  if (value instanceof Map) return [value, ...[...value.values()].flatMap(mapsOf)];
  return Array.isArray(value) ? value.flatMap(mapsOf) : [];
}

function expect(isSo, why) {
  need(isSo, 'PDF', why);
}

function toText(bytes) {
  const parts = [];
  for (let at = 0; at < bytes.length; at += 8192) {
    parts.push(String.fromCharCode(...bytes.subarray(at, at + 8192)));
  }
  return parts.join('');
}

class Reference {
  constructor(number, generation) {
    this.number = number;
    this.generation = generation;
  }

  is(number, generation) {
    return this.number === number && this.generation === generation;
  }
}

/** A file being read, from the first byte on. Names are strings; what matters to nobody is null. */
class Reading {
  constructor(bytes) {
    this.bytes = bytes;
    this.text = toText(bytes);
    this.at = 0;
    this.stored = [];
    this.streams = 0;
    this.streamed = 0;
    this.named = 0; // how often the word `obj` stands outside streams
    this.outside = 0; // where the newest stream ended
    this.numbers = null; // what looks like an object that is a number, looked for once asked for
    this.lengths = new Map(); // of streams whose length is such an object, by that
  }

  read() {
    for (;;) {
      this.skip();
      if (this.at === this.text.length) break;
      const found = this.match(OBJECT);
      if (found !== null) this.readObject(new Reference(Number(found[1]), Number(found[2])));
      else if (this.take('xref')) this.match(ENTRIES);
      else if (this.take('trailer')) this.keep(new Reference(0, 0), this.value(0), null);
      else if (this.take('startxref')) {
        this.skip();
        this.expectMatch(INTEGER);
      } else this.unreadable();
    }
    this.leaveOutline();
    const objects = this.stored.filter((each) => each.reference.number !== 0).length;
    expect(this.named === objects, () => 'it holds objects where none can be');
    for (const [key, size] of this.lengths) {
      const isOf = ({ reference }) => reference.number === Number(key.split(' ')[0]);
      const found = this.stored.filter(isOf);
      const isSo = found.length === 1 && isNumber(found[0], key, size);
      expect(isSo, () => 'a stream does not say how long it is');
    }
  }

  /** Expect of streams that hold objects, packed, that no file is attached there. */
  expectNothingPacked() {
    let left = UNPACKED_BYTES_MAX;
    for (const each of this.stored) {
      if (each.stream === null || !(each.value instanceof Map)) continue;
      const isPacked = each.value.has('N') || each.value.has('First') || isTyped(each, 'ObjStm');
      if (!isPacked) continue;
      const found = unpack(each, left + 1);
      left -= found.length;
      expect(left >= 0, () => `expected at most ${UNPACKED_BYTES_MAX} bytes of packed objects`);
      expect(!ATTACHING.test(toText(found)), () => 'a file is attached within packed objects');
    }
  }

  readObject(reference) {
    const value = this.value(0);
    this.skip();
    let stream = null;
    if (this.match(STREAM) !== null) {
      stream = this.readStream(value);
      this.skip();
    }
    if (!this.take('endobj')) this.unreadable();
    this.keep(reference, value, stream);
  }

  readStream(value) {
    const start = this.at;
    let size = value instanceof Map ? value.get('Length') : null;
    if (size instanceof Reference) size = this.lengthOf(size);
    expect(
      Number.isInteger(size) && size <= this.text.length - start,
      () => 'a stream does not say how long it is',
    );
    this.streams += 1;
    expect(this.streams <= STREAMS_MAX, () => `expected at most ${STREAMS_MAX} streams`);
    this.leaveOutline();
    expect(
      !HIDDEN.test(this.text.slice(start, start + size)),
      () => 'a stream holds what could be read as objects',
    );
    this.streamed += size;
    this.at = start + size;
    this.outside = this.at;
    this.expectMatch(STREAM_END);
    return this.bytes.slice(start, start + size);
  }

  /** Return the number that an object ahead or behind seems to be: `read` makes sure of it. */
  lengthOf({ number, generation }) {
    if (this.numbers === null) {
      const found = [...this.text.matchAll(NUMBER_OBJECT)];
      this.numbers = new Map(found.map((each) => [keyOf(each[1], each[2]), Number(each[3])]));
    }
    const key = keyOf(number, generation);
    const size = this.numbers.get(key) ?? null;
    if (size !== null) this.lengths.set(key, size);
    return size;
  }

  /** Note what stood between the newest stream and here. */
  leaveOutline() {
    this.named += [...this.text.slice(this.outside, this.at).matchAll(WORD_OBJECT)].length;
  }

  keep(reference, value, stream) {
    const maps = mapsOf(value);
    expect(!maps.some((each) => each.has('Encrypt')), () => 'it is encrypted');
    expect(!maps.some((each) => each.has('RF')), () => 'it holds related files');
    this.stored.push({ reference, value, stream });
  }

  value(depth) {
    this.skip();
    expect(depth <= DEPTH_MAX, () => 'it is nested too deep');
    if (this.take('<<')) return this.map(depth);
    if (this.take('[')) return this.list(depth);
    if (this.text.startsWith('/', this.at)) return this.name();
    if (this.take('(')) return this.skipText();
    let found = this.match(REFERENCE);
    if (found !== null) return new Reference(Number(found[1]), Number(found[2]));
    found = this.match(INTEGER);
    if (found !== null) return Number(found[0]);
    if (![NUMBER, HEX_STRING, CONSTANT].some((each) => this.match(each) !== null))
      this.unreadable();
    return null;
  }

  map(depth) {
    const found = new Map();
    for (;;) {
      this.skip();
      if (this.take('>>')) return found;
      const name = this.name();
      expect(!found.has(name), () => `${name} is there twice`);
      found.set(name, this.value(depth + 1));
    }
  }

  list(depth) {
    const found = [];
    for (;;) {
      this.skip();
      if (this.take(']')) return found;
      found.push(this.value(depth + 1));
    }
  }

  name() {
    return this.expectMatch(NAME)[1].replace(/#([0-9A-Fa-f]{2})/g, (_, code) =>
      String.fromCharCode(parseInt(code, 16)),
    );
  }

  skipText() {
    for (let depth = 1; depth > 0; depth += this.expectMatch(TEXT)[1] === '(' ? 1 : -1);
    return null;
  }

  skip() {
    while (this.match(GAPS) !== null);
  }

  take(word) {
    if (!this.text.startsWith(word, this.at)) return false;
    this.at += word.length;
    return true;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) return null;
    this.at = pattern.lastIndex;
    expect(
      this.at - this.streamed <= OUTLINE_BYTES_MAX,
      () => `expected at most ${OUTLINE_BYTES_MAX} bytes besides streams`,
    );
    return found;
  }

  expectMatch(pattern) {
    const found = this.match(pattern);
    return found === null ? this.unreadable() : found;
  }

  unreadable() {
    throw new Refused('PDF', `it cannot be read from byte ${this.at} on`);
  }
}
