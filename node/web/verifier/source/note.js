// Signed notes of the public log (C2SP signed-note, tlog-cosignature): read, and their lines checked.
// Lines of keys that nobody asks for are carried and ignored, as the format wants.

import { ascii, concat, fromBase64, fromBigEndian, fromUtf8, hex, startsWith, utf8 } from './bytes.js';
import { quorumOf } from './chain.js';
import { sha256 } from './hashes.js';
import { need } from './refusal.js';
import { isCosignature, isCosignatureKey } from './signatures.js';

export const NOTE_BYTES_MAX = 65536;
const LOG_LINE = 0x01; // the key signs the text
const COSIGNATURE = 0x04; // a line that says so, one with a time, and the text
const SIGNATURES_MAX = 256;
const SIGNATURE_BYTES_MAX = 8192;
const NAME_BYTES_MAX = 512;
const HASH_BYTES = 32;
const TIME_END = 1n << 63n;
const DASH = '\u2014 ';
const CONTROL = /[\u0000-\u0009\u000b-\u001f]/;
const SPACE = /[\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** Return UTF-8 text with no control character but the line feed. */
export function decodeText(bytes, what, sizeMax) {
  const isSmall = bytes.length <= sizeMax;
  need(isSmall, what, () => `expected at most ${sizeMax} bytes, got ${bytes.length}`);
  const text = fromUtf8(bytes);
  need(text !== null, what, 'expected UTF-8 text');
  need(!CONTROL.test(text), what, 'expected no control character but the line feed');
  return text;
}

/** Read canonical base64 of at most so many bytes, and at least one. */
export function readBase64(text, what, sizeMax) {
  const isShort = text.length <= 4 * (Math.floor(sizeMax / 3) + 1);
  need(isShort, what, `expected base64 of at most ${sizeMax} bytes`);
  const bytes = fromBase64(text);
  const isThere = bytes !== null && bytes.length > 0;
  need(isThere, what, () => `expected base64, got '${text.slice(0, 78)}'`);
  return bytes;
}

/** Read an ASCII decimal with no leading zeros, below 2**64. */
export function readDecimal(text, what) {
  const isNumber = /^(?:0|[1-9][0-9]{0,19})$/.test(text) && BigInt(text) < 1n << 64n;
  need(isNumber, what, () => `expected a decimal below 2**64, got '${text.slice(0, 38)}'`);
  return BigInt(text);
}

function decodeNote(bytes) {
  return splitNote(decodeText(bytes, 'note', NOTE_BYTES_MAX));
}

/** Return the `text` of a note, and its `lines`, each with `name`, `keyId` (hex) and `signature`. */
export function splitNote(note) {
  const gap = note.lastIndexOf('\n\n');
  const isWhole = gap >= 0 && note.endsWith('\n') && note.length > gap + 2;
  need(isWhole, 'note', 'expected text, an empty line, and signature lines');
  const listed = note.slice(gap + 2, -1).split('\n');
  const isFew = listed.length <= SIGNATURES_MAX;
  need(isFew, 'note', () => `expected at most ${SIGNATURES_MAX} signatures, got ${listed.length}`);
  return { text: note.slice(0, gap + 1), lines: listed.map(readLine) };
}

function readLine(line) {
  const what = 'note signature';
  need(line.startsWith(DASH), what, 'expected a line that begins with an em dash');
  const [, name, encoded] = /^([^ ]*) (.*)$/s.exec(line.slice(DASH.length)) ?? [];
  const isNamed = name !== undefined && isName(name);
  need(isNamed, what, 'expected a key name and base64');
  const data = readBase64(encoded, what, SIGNATURE_BYTES_MAX);
  need(data.length > 4, what, 'expected a key id and a signature');
  return { line, name, keyId: hex(data.subarray(0, 4)), signature: data.subarray(4) };
}

/** Tell whether a text may name a key: no spaces, no plus, not empty. */
function isName(name) {
  const { length } = utf8(name);
  return length > 0 && length <= NAME_BYTES_MAX && !name.includes('+') && !SPACE.test(name);
}

/** Read the three lines of a checkpoint: the `origin` of the log, its `size` and `root`. */
export function readCheckpoint(text) {
  const lines = text.split('\n');
  const isWhole = lines.length === 4 && lines[3] === '' && lines[0] !== '';
  need(isWhole, 'checkpoint', 'expected exactly three lines: origin, size, root');
  const [origin, size, encoded] = lines;
  const root = readBase64(encoded, 'checkpoint root', HASH_BYTES);
  const isHash = root.length === HASH_BYTES;
  need(isHash, 'checkpoint root', () => `expected ${HASH_BYTES} bytes, got ${root.length}`);
  return { origin, size: readDecimal(size, 'checkpoint size'), root };
}

/**
 * Return the lines of these keys, in the order of the keys, every one checked. A key has `name`,
 * `type` and `key`; a line that is returned has the `time` of a cosignature, in seconds, besides.
 */
export function signedBy({ text, lines }, keys) {
  const known = keys.map((each) => ({ ...each, id: keyId(each) }));
  const found = new Map();
  for (const line of lines) {
    const candidates = known.filter((each) => each.name === line.name && each.id === line.keyId);
    // Key ids are short: somebody may have made a key to have the id of another.
    const verified = candidates.flatMap((each) => {
      const time = timeOf(each, line, text);
      return time === undefined ? [] : [{ key: each, line, time }];
    });
    const isSigned = candidates.length === 0 || verified.length > 0;
    need(isSigned, 'note-signature', () => `the line of ${line.name} does not verify`);
    for (const signed of verified) {
      need(!found.has(signed.key), 'note-twice', () => `${line.name} signs twice`);
      found.set(signed.key, signed);
    }
  }
  return known.filter((each) => found.has(each)).map((each) => found.get(each));
}

/** Return who signed as the log of this origin, or as its validators, by no key given. */
export function strangersOf({ lines }, origin, keys) {
  const known = new Set(keys.map((each) => `${each.name} ${keyId(each)}`));
  const others = lines.filter((each) => !known.has(`${each.name} ${each.keyId}`));
  const isOfLog = ({ name }) => name === origin || name.startsWith(`${origin}/`);
  const shorten = ({ name }) => (name === origin ? name : name.slice(origin.length + 1));
  return others.filter(isOfLog).map(shorten);
}

/** Return the time of a cosignature that verifies, null of a log's signature; else undefined. */
function timeOf({ type, key }, { signature }, text) {
  if (type === LOG_LINE) return isCosignature(key, utf8(text), signature) ? null : undefined;
  const time = fromBigEndian(signature.subarray(0, 8));
  const signed = concat(ascii(`cosignature/v1\ntime ${time}\n`), utf8(text));
  const isSigned = time < TIME_END && isCosignature(key, signed, signature.subarray(8));
  return isSigned ? time : undefined;
}

function keyId({ name, type, key }) {
  return hex(sha256(utf8(`${name}\n`), Uint8Array.of(type), key).subarray(0, 4));
}

/** The name of a chain's log, the first line of its checkpoints. */
export const originOf = (chainId) => `govchain/${hex(chainId)}`;

/** The keys by which a set signs as the log of an origin, and by which its members cosign. */
export function keysOf(origin, set) {
  const members = countedMembers(set);
  const logs = members.map((each) => ({ name: origin, type: LOG_LINE, key: each.cosignatureKey }));
  const cosigners = members.map((each) => {
    const name = `${origin}/${quoted(each.id)}`;
    return { name, type: COSIGNATURE, key: each.cosignatureKey };
  });
  return { logs, cosigners };
}

/** Those whose keys can be counted: sound ones, each for the first that names it. */
function countedMembers({ members }) {
  const seen = new Set();
  return members.filter(({ cosignatureKey: key }) => {
    const counts = !seen.has(hex(key)) && isCosignatureKey(key);
    seen.add(hex(key));
    return counts;
  });
}

/**
 * Refuse unless a quorum of the set cosigned this note of its chain, in the order of the set, and
 * nobody else signed it; return the `size` and `root` it states.
 */
export function checkNote(bytes, chainId, set) {
  const note = decodeNote(bytes);
  const checkpoint = readCheckpoint(note.text);
  const origin = originOf(chainId);
  const isOwn = checkpoint.origin === origin;
  need(isOwn, 'checkpoint-origin', () => {
    return `expected ${origin}, got ${checkpoint.origin.slice(0, 80)}`;
  });
  const { logs, cosigners } = keysOf(origin, set);
  const [byLog, byMembers] = [signedBy(note, logs), signedBy(note, cosigners)];
  const isOne = byLog.length === 1;
  need(isOne, 'checkpoint-log', () => `expected one line of the log, got ${byLog.length}`);
  const quorum = quorumOf(set);
  const isEnough = byMembers.length >= quorum;
  need(isEnough, 'checkpoint-quorum', () => {
    return `expected ${quorum} cosignatures, got ${byMembers.length}`;
  });
  const ordered = [...byLog, ...byMembers].map((each) => each.line);
  const isAll =
    note.lines.length === ordered.length && ordered.every((each, at) => each === note.lines[at]);
  need(isAll, 'checkpoint-lines', 'expected no other lines, in the order of the set');
  return checkpoint;
}

/** An id with each byte outside the unreserved characters of URLs as "%" and two digits. */
export function quoted(id) {
  return Array.from(utf8(id), (byte) => {
    const character = String.fromCharCode(byte);
    const digits = byte.toString(16).toUpperCase().padStart(2, '0');
    return /[A-Za-z0-9._~-]/.test(character) ? character : `%${digits}`;
  }).join('');
}

/** Tell whether bytes begin with a line of text. */
export const beginsWithLine = (bytes, line) => startsWith(bytes, utf8(`${line}\n`));
