// Byte strings: compared, joined, and in their text forms. Every reader here takes one form alone.

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const BASE64_VALUES = valuesOf(DIGITS);
const BASE32_VALUES = valuesOf('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567');
const HEX_PAIRS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export const ascii = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));

export const utf8 = (text) => new TextEncoder().encode(text);

/** Return the text, or null for bytes that are not UTF-8. A byte order mark is a character. */
export function fromUtf8(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

export function equal(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

/** Return -1, 0 or 1 as one sorts before, with or after the other, byte by byte. */
export function compare(one, other) {
  const shared = Math.min(one.length, other.length);
  for (let at = 0; at < shared; at += 1) {
    if (one[at] !== other[at]) return one[at] < other[at] ? -1 : 1;
  }
  return Math.sign(one.length - other.length);
}

export function concat(...parts) {
  const joined = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export function startsWith(bytes, start) {
  return bytes.length >= start.length && start.every((byte, at) => byte === bytes[at]);
}

/** Tell whether a piece occurs anywhere in bytes. */
export function includes(bytes, piece) {
  for (let at = bytes.indexOf(piece[0]); at >= 0; at = bytes.indexOf(piece[0], at + 1)) {
    if (startsWith(bytes.subarray(at), piece)) return true;
  }
  return false;
}

export function hex(bytes) {
  let text = '';
  for (const byte of bytes) text += HEX_PAIRS[byte];
  return text;
}

/** Read lower-case hex of an even number of digits, or return null. */
export function fromHex(text) {
  if (!/^(?:[0-9a-f]{2})*$/.test(text)) return null;
  return Uint8Array.from({ length: text.length / 2 }, (_, at) =>
    Number.parseInt(text.slice(2 * at, 2 * at + 2), 16),
  );
}

export function base64(bytes) {
  const whole = toDigits(bytes, 6, DIGITS);
  return whole + '='.repeat(-whole.length & 3);
}

/** Read padded base64 (RFC 4648 section 4) with spare bits zero, or return null. */
export function fromBase64(text) {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  const bytes = fromDigits(text.replace(/=+$/, ''), 6, BASE64_VALUES);
  return bytes === null || base64(bytes) !== text ? null : bytes;
}

/** Read base 32 (RFC 4648 section 6) without padding, spare bits zero, or return null. */
export function fromBase32(text) {
  const bytes = /^[A-Z2-7]*$/.test(text) ? fromDigits(text, 5, BASE32_VALUES) : null;
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  return bytes === null || toDigits(bytes, 5, digits) !== text ? null : bytes;
}

/** Return an unsigned number, big endian, as a bigint. */
export function fromBigEndian(bytes) {
  return bytes.length === 0 ? 0n : BigInt(`0x${hex(bytes)}`);
}

/** Return a bigint as so many bytes, big endian; it must fit. */
export function toBigEndian(value, size) {
  return fromHex(value.toString(16).padStart(2 * size, '0'));
}

function valuesOf(digits) {
  return new Map(Array.from(digits, (digit, value) => [digit, value]));
}

function toDigits(bytes, width, digits) {
  let text = '';
  let held = 0;
  let bits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= width) {
      bits -= width;
      text += digits[held >> bits];
      held &= (1 << bits) - 1;
    }
  }
  return bits === 0 ? text : text + digits[held << (width - bits)];
}

function fromDigits(text, width, values) {
  const bytes = new Uint8Array(Math.floor((text.length * width) / 8));
  let held = 0;
  let bits = 0;
  let at = 0;
  for (const digit of text) {
    held = (held << width) | values.get(digit);
    bits += width;
    if (bits >= 8) {
      bits -= 8;
      bytes[at] = held >> bits;
      at += 1;
      held &= (1 << bits) - 1;
    }
  }
  return bytes;
}
