// Time-stamp tokens and answers (RFC 3161) of any authority, in their DER form alone: read, not
// judged. What is read here is what anyone may have written: `stamp.js` says what of it holds.

import { compare, equal, fromBigEndian } from './bytes.js';
import {
  checkInteger,
  CONTEXT_0,
  CONTEXT_1,
  CONTEXT_2,
  GENERALIZED_TIME,
  INTEGER,
  NULL,
  OBJECT_IDENTIFIER,
  OCTET_STRING,
  readOnly,
  Reader,
  SEQUENCE,
  SET,
} from './der.js';
import { DOCUMENT_DIGESTS } from './hashes.js';
import { need, Refused } from './refusal.js';

export const SIGNED_DATA = '1.2.840.113549.1.7.2';
export const TST_INFO = '1.2.840.113549.1.9.16.1.4';
export const RSA_PSS = '1.2.840.113549.1.1.10';
const MGF1 = '1.2.840.113549.1.1.8';
const REQUEST_BYTES_MAX = 1024;
const ANSWER_BYTES_MAX = 8388608;
const THOUSANDTHS = 0x80;
const MILLIONTHS = 0x81;
const SECOND_US = 1000000n;
const DAY_US = 86400n * SECOND_US;
const TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{0,11}[1-9]))?Z$/;
/** How documents may be hashed, by the object identifier of the algorithm. */
const IMPRINT_DIGESTS = new Map([
  ['2.16.840.1.101.3.4.2.1', DOCUMENT_DIGESTS.get(1n)],
  ['1.2.156.10197.1.401', DOCUMENT_DIGESTS.get(2n)],
  ['2.16.840.1.101.3.4.2.2', DOCUMENT_DIGESTS.get(3n)],
  ['2.16.840.1.101.3.4.2.3', DOCUMENT_DIGESTS.get(4n)],
]);

/** Read a request for a time stamp (RFC 3161 section 2.4.1): what its token has to repeat. */
export function readRequest(bytes) {
  need(bytes.length <= REQUEST_BYTES_MAX, 'request', `expected at most ${REQUEST_BYTES_MAX} bytes`);
  const reader = readOnly(bytes, SEQUENCE, 'request');
  expectVersion(reader, 1n, 'request');
  const imprint = readImprint(reader);
  const policy = reader.bytes[reader.at] === OBJECT_IDENTIFIER ? reader.readOid() : null;
  const nonce = reader.readIf(INTEGER);
  if (nonce !== null) checkInteger(nonce.content, 'request nonce');
  const wantsCertificates = reader.readTrue();
  reader.finish();
  return { imprint, policy, nonce: nonce?.encoded ?? new Uint8Array(0), wantsCertificates };
}

/** Tell whether bytes begin as a time-stamp token or an answer does: nothing else of ours. */
export function isTokenOrAnswer(bytes) {
  return bytes[0] === SEQUENCE;
}

/** Return the token in an answer that grants one, or the bare token if that is what it is. */
export function tokenOfAnswer(bytes) {
  const isSmall = bytes.length <= ANSWER_BYTES_MAX;
  need(isSmall, 'answer', `expected at most ${ANSWER_BYTES_MAX} bytes`);
  const reader = readOnly(bytes, SEQUENCE, 'answer');
  const first = reader.read();
  if (first.tag === OBJECT_IDENTIFIER) return bytes;
  const status = new Reader(first.content, 'answer status').readInteger();
  need(status === 0n, 'answer-status', () => `expected 0, granted, got ${status}`);
  const token = reader.read(SEQUENCE).encoded;
  reader.finish();
  return token;
}

/** Read a token with one signer, named by issuer and serial number: its parts. */
export function readToken(token) {
  const outer = readOnly(token, SEQUENCE, 'token');
  expectOid(outer, SIGNED_DATA, 'token-type');
  const content = outer.enter(CONTEXT_0);
  outer.finish();
  const signedData = content.enter(SEQUENCE, 'signed data');
  content.finish();
  expectVersion(signedData, 3n, 'signed-data-version');
  const algorithms = signedData.enter(SET, 'digest algorithms');
  const info = readInfo(readContent(signedData));
  const certificates = [];
  const held = signedData.enterIf(CONTEXT_0, 'certificates');
  while (held !== null && !held.isEmpty) certificates.push(held.read(SEQUENCE).encoded);
  const revocations = signedData.readIf(CONTEXT_1);
  need(revocations === null, 'token-revocations', 'expected no revocation lists in the token');
  const signers = signedData.enter(SET, 'signers');
  signedData.finish();
  const signer = signers.enter(SEQUENCE, 'signer');
  need(signers.isEmpty, 'token-signers', 'expected one signer, got more');
  const version = signer.readInteger();
  const signerId = signer.read();
  const isNamed = version === 1n && signerId.tag === SEQUENCE;
  need(isNamed, 'signer-id', 'expected version 1, issuer and serial number');
  const digest = readAlgorithm(signer, 'digest algorithm');
  const isAlone = equal(algorithms.read().encoded, digest.encoded) && algorithms.isEmpty;
  need(isAlone, 'digest-algorithms', 'expected that of the signer alone');
  const attributes = signer.readIf(CONTEXT_0);
  need(attributes !== null, 'attributes-missing', 'expected signed attributes');
  const signatureAlgorithm = readSignatureAlgorithm(signer, digest.name);
  const signature = signer.read(OCTET_STRING).content;
  signer.readIf(CONTEXT_1); // unsigned attributes are no part of what is signed
  signer.finish();
  return {
    info,
    certificates,
    signerId: signerId.encoded,
    digestAlgorithm: digest.name,
    signatureAlgorithm,
    signedAttributes: attributes.content,
    signature,
  };
}

/** Return the one value (DER) of each signed attribute, by its dotted name. */
export function readAttributes(content) {
  const reader = new Reader(content, 'signed attributes');
  const found = new Map();
  let last = new Uint8Array(0);
  while (!reader.isEmpty) {
    const attribute = reader.read(SEQUENCE);
    const isAscending = compare(attribute.encoded, last) > 0;
    need(isAscending, 'attributes-order', 'expected the ascending order of DER');
    last = attribute.encoded;
    const fields = new Reader(attribute.content, 'signed attribute');
    const name = fields.readOid();
    const values = fields.enter(SET);
    fields.finish();
    const value = values.read().encoded;
    const isOnce = !found.has(name) && values.isEmpty;
    need(isOnce, 'attributes-once', () => `expected one value of ${name}`);
    found.set(name, value);
  }
  return found;
}

/** Return the name of an algorithm whose parameters are NULL or none, and its bytes. */
function readAlgorithm(reader, what) {
  const { content, encoded } = reader.read(SEQUENCE);
  const fields = new Reader(content, what);
  const name = fields.readOid();
  const parameters = fields.readIf(NULL);
  const isPlain = fields.isEmpty && (parameters === null || parameters.content.length === 0);
  need(isPlain, what, 'expected parameters NULL or none');
  return { name, encoded };
}

/** Return its name. PSS is taken with a mask and a salt by the signer's digest alone. */
function readSignatureAlgorithm(reader, digest) {
  const what = 'signature algorithm';
  const { content, encoded } = reader.read(SEQUENCE);
  const fields = new Reader(content, what);
  if (fields.readOid() !== RSA_PSS) return readAlgorithm(new Reader(encoded, what), what).name;
  const found = readPss(fields.enter(SEQUENCE));
  fields.finish();
  const size = BigInt(IMPRINT_DIGESTS.get(digest)?.size ?? -1);
  const isOne = found.hash === digest && found.mask === digest && found.salt === size;
  need(isOne, 'pss-parameters', () => `expected hash, MGF1 and salt by digest ${digest}`);
  return RSA_PSS;
}

/** Read the parameters of PSS (RFC 4055), all of which are given: hash and mask by name, and salt. */
export function readPss(parameters) {
  const { what } = parameters;
  const hashed = parameters.enter(CONTEXT_0);
  const mask = parameters.enter(CONTEXT_1);
  const maskFields = mask.enter(SEQUENCE);
  const salt = parameters.enter(CONTEXT_2);
  const hash = readAlgorithm(hashed, what).name;
  const generator = maskFields.readOid();
  const maskHash = readAlgorithm(maskFields, what).name;
  const found = { hash, mask: generator === MGF1 ? maskHash : null, salt: salt.readInteger() };
  for (const each of [parameters, hashed, mask, maskFields, salt]) each.finish();
  return found;
}

function readContent(signedData) {
  const content = signedData.enter(SEQUENCE, 'token content');
  expectOid(content, TST_INFO, 'token-content-type');
  const held = content.enterIf(CONTEXT_0);
  need(held !== null, 'token-detached', 'expected the content inside the token');
  content.finish();
  const { content: bytes } = held.read(OCTET_STRING);
  held.finish();
  return bytes;
}

/** Read TSTInfo (RFC 3161 section 2.4.2): what the token states. */
function readInfo(encoded) {
  const reader = readOnly(encoded, SEQUENCE, 'token info');
  expectVersion(reader, 1n, 'info-version');
  const policy = reader.readOid();
  const imprint = readImprint(reader);
  const before = reader.at;
  const serialNumber = reader.readInteger();
  const serial = reader.bytes.subarray(before, reader.at);
  const time = readTime(reader.read(GENERALIZED_TIME).content);
  const accuracy = reader.readIf(SEQUENCE);
  if (accuracy !== null) checkAccuracy(accuracy.content);
  reader.readTrue(); // ordering, of which nothing follows here
  const nonce = reader.readIf(INTEGER);
  const name = reader.enterIf(CONTEXT_0, 'token info authority');
  let authorityName = null;
  if (name !== null) {
    authorityName = name.read().encoded;
    name.finish();
  }
  const extensions = reader.enterIf(CONTEXT_1, 'token info extensions');
  if (extensions !== null) checkExtensions(extensions);
  reader.finish();
  if (nonce !== null) checkInteger(nonce.content, 'token info nonce');
  return {
    encoded,
    policy,
    imprint,
    serialNumber,
    serial,
    time,
    accuracy: accuracy?.encoded ?? new Uint8Array(0),
    nonce: nonce?.encoded ?? new Uint8Array(0),
    authorityName,
  };
}

/** Read MessageImprint: the `algorithm` of the document's `digest`, and how that is `encoded`. */
function readImprint(reader) {
  const { content, encoded } = reader.read(SEQUENCE);
  const fields = new Reader(content, 'imprint');
  const identifier = fields.enter(SEQUENCE, 'imprint algorithm');
  const name = identifier.readOid();
  const parameters = identifier.readIf(NULL);
  const isPlain = parameters === null || parameters.content.length === 0;
  need(isPlain, identifier.what, 'expected parameters NULL or none');
  const algorithm = IMPRINT_DIGESTS.get(name);
  need(algorithm !== undefined, 'imprint-algorithm', () => {
    const names = Array.from(IMPRINT_DIGESTS.values(), (each) => each.name).join(', ');
    return `imprint algorithm: expected ${names}, got ${name}`;
  });
  identifier.finish();
  const digest = fields.read(OCTET_STRING).content;
  fields.finish();
  const isWhole = digest.length === algorithm.size;
  need(isWhole, 'imprint', () => `expected ${algorithm.size} bytes, got ${digest.length}`);
  return { algorithm, digest, encoded };
}

/** Return ms since 1970 from the only form of GeneralizedTime that RFC 3161 allows. */
function readTime(content) {
  const written = String.fromCharCode(...content.subarray(0, 64));
  const found = content.length <= 64 ? TIME.exec(written) : null;
  need(found !== null && Number(found[6]) <= 59, 'time-form', () => {
    return `expected YYYYMMDDhhmmss[.s...]Z in UTC, got '${written.slice(0, 24)}'`;
  });
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number);
  const moment = new Date(Date.UTC(2000, 0, 1, hour, minute, second));
  moment.setUTCFullYear(year, month - 1, day);
  const isDay = year > 0 && moment.getUTCMonth() === month - 1 && moment.getUTCDate() === day;
  need(isDay && hour < 24 && minute < 60, 'time-form', 'expected a time of the calendar');
  const fraction = (found[7] ?? '').slice(0, 3).padEnd(3, '0');
  return BigInt(moment.getTime()) + BigInt(fraction);
}

function checkAccuracy(content) {
  const reader = new Reader(content, 'token info accuracy');
  const { what } = reader;
  const seconds = reader.readIf(INTEGER);
  need(seconds !== null || !reader.isEmpty, what, 'expected at least one unit');
  let total = 0n;
  if (seconds !== null) {
    checkInteger(seconds.content, what);
    total = signed(seconds.content) * SECOND_US;
    need(total >= 0n, what, 'expected no negative seconds');
  }
  for (const [tag, unit] of [
    [THOUSANDTHS, 1000n],
    [MILLIONTHS, 1n],
  ]) {
    const found = reader.readIf(tag);
    if (found === null) continue;
    checkInteger(found.content, what);
    const part = signed(found.content);
    need(part >= 1n && part <= 999n, what, 'expected 1 to 999');
    total += part * unit;
  }
  reader.finish();
  need(total <= DAY_US, what, 'expected a day at most');
}

function signed(content) {
  return BigInt.asIntN(8 * content.length, fromBigEndian(content));
}

function checkExtensions(reader) {
  need(!reader.isEmpty, reader.what, 'expected at least one');
  while (!reader.isEmpty) {
    const extension = reader.enter(SEQUENCE, 'token info extension');
    const name = extension.readOid();
    if (extension.readTrue())
      throw new Refused('info-extension', `critical extension ${name} is not understood`);
    extension.read(OCTET_STRING);
    extension.finish();
  }
}

function expectOid(reader, expected, rule) {
  const got = reader.readOid();
  need(got === expected, rule, () => `expected ${expected}, got ${got}`);
}

function expectVersion(reader, expected, rule) {
  const got = reader.readInteger();
  need(got === expected, rule, () => `expected ${expected}, got ${got}`);
}
