// Checkpoints of the public log (C2SP signed notes), in the one form that receipts hold.

import { ascii, concat, fromBase64, fromBigEndian, fromUtf8, hex, utf8 } from './bytes.js';
import { quorumOf } from './chain.js';
import { sha256 } from './hashes.js';
import { need } from './refusal.js';
import { isCosignature, isCosignatureKey } from './signatures.js';

const RULE = 'checkpoint';
const LOG_SIGNATURE = 1;
const COSIGNATURE = 4;
const TIME_END = 1n << 63n;

/** Refuse unless a quorum of the set cosigned this note; return the `size` and `root` it states. */
export function checkNote(note, chainId, set) {
  const text = fromUtf8(note);
  need(text !== null, RULE, 'expected UTF-8');
  const lines = text.split('\n');
  const isWhole = lines.length >= 6 && lines[3] === '' && lines[lines.length - 1] === '';
  need(isWhole, RULE, 'expected three lines, an empty one, and those that sign');
  const [origin, size, root] = lines;
  const name = `govchain/${hex(chainId)}`;
  need(origin === name, 'checkpoint-origin', () => `expected ${name}`);
  const isSize = /^(?:0|[1-9][0-9]{0,19})$/.test(size) && BigInt(size) < 1n << 64n;
  need(isSize, 'checkpoint-size', 'expected a decimal below 2**64');
  const rootHash = fromBase64(root);
  need(rootHash?.length === 32, 'checkpoint-root', 'expected base64 of 32 bytes');
  const body = utf8(`${lines.slice(0, 3).join('\n')}\n`);
  const members = countedMembers(set);
  checkLogLine(lines[4], name, members, body);
  const count = checkCosigners(lines.slice(5, -1), name, members, body);
  const quorum = quorumOf(set);
  need(count >= quorum, 'checkpoint-quorum', () => `expected ${quorum} cosignatures, got ${count}`);
  return { size: BigInt(size), root: rootHash };
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

function checkLogLine(line, name, members, body) {
  const data = signatureOf(line, name);
  const isSigned = members.some(
    ({ cosignatureKey: key }) =>
      hex(data.subarray(0, 4)) === keyId(name, LOG_SIGNATURE, key) &&
      isCosignature(key, body, data.subarray(4)),
  );
  need(isSigned, 'checkpoint-log', 'expected one line of the log that verifies');
}

/** Check the lines of cosigners, which stand in the order of the set; return how many there are. */
function checkCosigners(lines, origin, members, body) {
  let at = 0;
  for (const line of lines) {
    const startOf = (member) => `\u2014 ${origin}/${quoted(member.id)} `;
    while (at < members.length && !line.startsWith(startOf(members[at]))) at += 1;
    need(
      at < members.length,
      'checkpoint-lines',
      'expected no other lines, in the order of the set',
    );
    const { id, cosignatureKey: key } = members[at];
    const name = `${origin}/${quoted(id)}`;
    const data = signatureOf(line, name);
    need(
      hex(data.subarray(0, 4)) === keyId(name, COSIGNATURE, key),
      'checkpoint-lines',
      'another key',
    );
    const time = fromBigEndian(data.subarray(4, 12));
    const signed = concat(ascii(`cosignature/v1\ntime ${time}\n`), body);
    const isSigned = time < TIME_END && isCosignature(key, signed, data.subarray(12));
    need(isSigned, 'note-signature', () => `the line of ${name} does not verify`);
    at += 1;
  }
  return lines.length;
}

function signatureOf(line, name) {
  const start = `\u2014 ${name} `;
  const data = line.startsWith(start) ? fromBase64(line.slice(start.length)) : null;
  need(data !== null, 'checkpoint-lines', () => `expected a line of ${name}`);
  return data;
}

function keyId(name, type, key) {
  return hex(sha256(utf8(`${name}\n`), Uint8Array.of(type), key).subarray(0, 4));
}

/** An id with each byte outside the unreserved characters of URLs as "%" and two digits. */
function quoted(id) {
  return Array.from(utf8(id), (byte) => {
    const character = String.fromCharCode(byte);
    const digits = byte.toString(16).toUpperCase().padStart(2, '0');
    return /[A-Za-z0-9._~-]/.test(character) ? character : `%${digits}`;
  }).join('');
}
