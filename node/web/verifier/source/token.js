// Time-stamp tokens (RFC 3161) of records, in the one form that ours have: see proto/RECEIPT.md.
// A token is read, made again from what was read, and has to be the same to the byte.

import { compare, concat, equal, fromBigEndian, hex, toBigEndian } from './bytes.js';
import {
  checkTimeStamping,
  checkValid,
  findPath,
  p256KeyOf,
  P256,
  readCertificate,
  readScalars,
} from './certificate.js';
import {
  checkInteger,
  CONTEXT_0,
  CONTEXT_1,
  element,
  GENERALIZED_TIME,
  INTEGER,
  integer,
  NULL,
  OBJECT_IDENTIFIER,
  OCTET_STRING,
  oid,
  readOnly,
  Reader,
  SEQUENCE,
  sequence,
  SET,
} from './der.js';
import { sha256 } from './hashes.js';
import { need, needEqual, NotRooted, Refused } from './refusal.js';
import { isEcdsaSignature, P256_ORDER } from './signatures.js';
import { generalizedTime } from './times.js';

const WHAT = 'token';
const CERTIFICATES_MAX = 8;
const SIGNED_FIELDS = 6; // of a SignerInfo, before its unsigned attributes
const ARC = '2.25.163599954292325701006170283646623784039';
export const CHAIN_PROOF = oid(`${ARC}.2`);
const SIGNED_DATA = oid('1.2.840.113549.1.7.2');
const TST_INFO = oid('1.2.840.113549.1.9.16.1.4');
const CONTENT_TYPE = oid('1.2.840.113549.1.9.3');
const MESSAGE_DIGEST = oid('1.2.840.113549.1.9.4');
const SIGNING_CERTIFICATE_V2 = oid('1.2.840.113549.1.9.16.2.47');
const SHA256 = sequence(oid('2.16.840.1.101.3.4.2.1'));
const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));
const GRANTED = sequence(integer(0n));
const THOUSANDTHS = 0x80;
const MILLIONTHS = 0x81;
const IMPRINT_OIDS = new Map([
  [1n, '2.16.840.1.101.3.4.2.1'],
  [2n, '1.2.156.10197.1.401'],
  [3n, '2.16.840.1.101.3.4.2.2'],
  [4n, '2.16.840.1.101.3.4.2.3'],
]);
const TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{1,3}))?Z$/;

/** Check the token of a receipt; return what it says. `accuracy` is the chain's in ms, or null. */
export function checkRecordToken({ token, chainId, header, leaf, logIndex }, genesis, accuracy) {
  need(
    !header.timeDegraded,
    'token-degraded',
    "expected none: nobody vouches for the block's time",
  );
  const read = readToken(token);
  const { info } = read;
  needEqual('token-time', generalizedTime(header.time), info.time);
  const place = concat(
    Uint8Array.of(1),
    chainId.subarray(0, 7),
    placeBytes(header.height),
    placeBytes(logIndex),
  );
  needEqual('token-serial', hex(place), info.serial.toString(16).padStart(40, '0'));
  checkImprint(info, leaf.record.algorithm, leaf.record.digest);
  const promised = accuracy === null || equal(info.accuracy, encodeAccuracy(accuracy));
  need(promised, 'token-accuracy', () => `expected the promised ${accuracy} ms`);
  checkSignature(read, header.time);
  const path = findPath(read.signer, read.certificates, readRoots(genesis));
  for (const each of path ?? []) checkValid(each, header.time);
  const used = path?.filter((each) =>
    read.certificates.some((held) => equal(held.encoded, each.encoded)),
  );
  checkForm(read, token, used ?? read.certificates);
  if (path === null) {
    throw new NotRooted('its certificate leads to no authority of the trust file');
  }
  return `serial number ${info.serial.toString(16)}, path of ${path.length} certificates`;
}

/**
 * Check a token over the signature of a COSE Receipt, which names no record; return its genTime in
 * milliseconds. Whether its authority is one to believe is not asked.
 */
export function checkStamp(token, algorithms, signed, notBefore) {
  const read = readToken(token);
  const { info } = read;
  const algorithm = [...IMPRINT_OIDS.keys()].find(
    (each) => IMPRINT_OIDS.get(each) === info.imprintAlgorithm,
  );
  need(algorithm !== undefined, 'imprint-algorithm', `got ${info.imprintAlgorithm}`);
  const digest = algorithms.get(algorithm).start().update(signed).digest();
  checkImprint(info, algorithm, digest);
  const time = readTime(info.time);
  checkSignature(read, time);
  checkForm(read, token, [read.signer]);
  need(time >= notBefore, 'cose-token-time', 'expected one of the block or later');
  return time;
}

/** Tell whether bytes begin as a time-stamp token or an answer does: nothing else of ours. */
export function isTokenOrAnswer(bytes) {
  return bytes[0] === SEQUENCE;
}

/**
 * Return the `receipt` inside a token, or inside an answer that grants it, and the `bare` token
 * without it; the receipt is null where there is none. Every byte must be of this form.
 */
export function takeChainProof(bytes) {
  const token = tokenOf(bytes);
  const parts = splitToken(token);
  if (parts.unsigned === null) return { bare: token, receipt: null };
  const attribute = readOnly(parts.unsigned, CONTEXT_1, WHAT).enter(SEQUENCE);
  attribute.expect(CHAIN_PROOF, 'unsigned attribute');
  const receipt = attribute.enter(SET).read(OCTET_STRING).content;
  const own = element(
    CONTEXT_1,
    sequence(CHAIN_PROOF, element(SET, element(OCTET_STRING, receipt))),
  );
  need(equal(parts.join(own), token), 'unsigned attributes', 'expected the chain proof alone');
  return { bare: parts.join(new Uint8Array(0)), receipt };
}

/** Return the token in an answer that grants one and says no more, or the token itself. */
function tokenOf(bytes) {
  const reader = readOnly(bytes, SEQUENCE, 'answer');
  const first = reader.read();
  if (first.tag === OBJECT_IDENTIFIER) return bytes;
  need(
    equal(first.encoded, GRANTED),
    'answer-status',
    'expected that a token is granted, and no more',
  );
  const token = reader.read(SEQUENCE).encoded;
  reader.finish();
  need(equal(sequence(GRANTED, token), bytes), 'answer-form', 'expected another form');
  return token;
}

/** Return a reader of the fields of the SignedData in a token. */
function enterSignedData(token) {
  const outer = readOnly(token, SEQUENCE, WHAT);
  outer.expect(SIGNED_DATA, 'token-type');
  const wrapper = outer.enter(CONTEXT_0);
  outer.finish();
  const signedData = wrapper.enter(SEQUENCE);
  wrapper.finish();
  return signedData;
}

/** Cut a token where unsigned attributes stand: the last of its only SignerInfo. */
function splitToken(token) {
  const signedData = enterSignedData(token);
  const before = [INTEGER, SET, SEQUENCE].map((tag) => signedData.read(tag).encoded);
  for (const tag of [CONTEXT_0, CONTEXT_1]) {
    const found = signedData.readIf(tag); // certificates, revocation lists
    if (found !== null) before.push(found.encoded);
  }
  const signers = signedData.enter(SET);
  signedData.finish();
  const signer = signers.enter(SEQUENCE);
  signers.finish();
  const signed = Array.from({ length: SIGNED_FIELDS }, () => signer.read().encoded);
  const unsigned = signer.readIf(CONTEXT_1);
  signer.finish();
  return {
    unsigned: unsigned === null ? null : unsigned.encoded,
    join: (unsigned) =>
      sequence(
        SIGNED_DATA,
        element(CONTEXT_0, sequence(...before, element(SET, sequence(...signed, unsigned)))),
      ),
  };
}

function readToken(token) {
  const signedData = enterSignedData(token);
  signedData.expect(integer(3n), 'signed-data-version');
  signedData.expect(element(SET, SHA256), 'digest-algorithms');
  const content = signedData.enter(SEQUENCE);
  content.expect(TST_INFO, 'token-content-type');
  const info = readInfo(readOnly(content.read(CONTEXT_0).content, OCTET_STRING, WHAT).bytes);
  const held = signedData.enter(CONTEXT_0);
  const certificates = [];
  while (!held.isEmpty) certificates.push(readCertificate(held.read(SEQUENCE).encoded));
  need(
    certificates.length <= CERTIFICATES_MAX,
    'certificates',
    `expected at most ${CERTIFICATES_MAX}`,
  );
  const signerInfo = signedData.enter(SET).enter(SEQUENCE);
  signerInfo.expect(integer(1n), 'signer-id');
  const signerId = signerInfo.read(SEQUENCE).encoded;
  const signer = certificates.find((each) => equal(signerIdOf(each), signerId));
  need(signer !== undefined, 'certificate-missing', "expected the signer's in the token");
  signerInfo.expect(SHA256, 'digest-algorithm');
  signerInfo.read(CONTEXT_0);
  signerInfo.expect(ECDSA_WITH_SHA256, 'signature-algorithm');
  const scalars = readScalars(signerInfo.read(OCTET_STRING).content, 'token signature');
  return { info, certificates, signer, scalars };
}

function readInfo(encoded) {
  const reader = readOnly(encoded, SEQUENCE, 'token info');
  reader.expect(integer(1n), 'info-version');
  const policy = oid(reader.readOid());
  const imprint = reader.read(SEQUENCE);
  const fields = new Reader(imprint.content, 'imprint');
  const identifier = fields.enter(SEQUENCE);
  const imprintAlgorithm = identifier.readOid();
  const parameters = identifier.readIf(NULL)?.encoded ?? new Uint8Array(0);
  const digest = fields.read(OCTET_STRING).content;
  const serial = reader.readNatural();
  const time = String.fromCharCode(...reader.read(GENERALIZED_TIME).content.subarray(0, 32));
  const accuracy = reader.readIf(SEQUENCE);
  if (accuracy !== null) checkAccuracy(accuracy.content);
  const nonce = reader.readIf(INTEGER);
  if (nonce !== null) checkInteger(nonce.content, 'token info nonce');
  return {
    policy,
    imprintAlgorithm,
    parameters,
    digest,
    serial,
    time,
    accuracy: accuracy?.encoded ?? new Uint8Array(0),
    nonce: nonce?.encoded ?? new Uint8Array(0),
  };
}

function checkAccuracy(content) {
  const reader = new Reader(content, 'token info accuracy');
  need(!reader.isEmpty, 'token info accuracy', 'expected at least one unit');
  reader.readIf(INTEGER);
  for (const tag of [THOUSANDTHS, MILLIONTHS]) {
    const found = reader.readIf(tag);
    if (found === null) continue;
    checkInteger(found.content, reader.what);
    const value = fromBigEndian(found.content);
    const isSmall = found.content[0] < 0x80 && value >= 1n && value <= 999n;
    need(isSmall, reader.what, 'expected 1 to 999');
  }
  reader.finish();
}

function checkImprint({ imprintAlgorithm, digest }, algorithm, expected) {
  needEqual('imprint', IMPRINT_OIDS.get(algorithm), imprintAlgorithm);
  needEqual('imprint', hex(expected), hex(digest));
}

/** Check that the signer's certificate may, and did, sign the attributes of this token then. */
function checkSignature(read, time) {
  const { signer, scalars } = read;
  const [r, s] = scalars;
  need(s <= P256_ORDER / 2n, 'token-signature', 'expected one of P-256 with the low s');
  const signed = sha256(element(SET, ...attributesOf(read)));
  const key = p256KeyOf(signer);
  const isValid = key !== null && isEcdsaSignature(P256, key, signed, r, s);
  need(isValid, 'signature', "it is not the certificate's over this token");
  checkTimeStamping(signer);
  checkValid(signer, time);
}

function checkForm(read, token, held) {
  need(
    equal(encodeToken(read, held), token),
    'token-form',
    "expected the form of this chain's tokens, and no more",
  );
}

/** Return the token that a node makes of the same statement, certificate and signature. */
function encodeToken(read, held) {
  const { signer, scalars } = read;
  const certificates = held.map((each) => each.encoded).sort(compare);
  const signerInfo = sequence(
    integer(1n),
    signerIdOf(signer),
    SHA256,
    element(CONTEXT_0, ...attributesOf(read)),
    ECDSA_WITH_SHA256,
    element(OCTET_STRING, sequence(...scalars.map(integer))),
  );
  const content = element(CONTEXT_0, element(OCTET_STRING, encodeInfo(read.info)));
  const signedData = sequence(
    integer(3n),
    element(SET, SHA256),
    sequence(TST_INFO, content),
    element(CONTEXT_0, ...certificates),
    element(SET, signerInfo),
  );
  return sequence(SIGNED_DATA, element(CONTEXT_0, signedData));
}

function encodeInfo({
  policy,
  imprintAlgorithm,
  parameters,
  digest,
  serial,
  time,
  accuracy,
  nonce,
}) {
  const imprint = sequence(
    sequence(oid(imprintAlgorithm), parameters),
    element(OCTET_STRING, digest),
  );
  const written = element(
    GENERALIZED_TIME,
    Uint8Array.from(time, (each) => each.charCodeAt(0)),
  );
  return sequence(integer(1n), policy, imprint, integer(serial), written, accuracy, nonce);
}

function attributesOf({ info, signer }) {
  const named = sequence(sequence(sequence(element(OCTET_STRING, sha256(signer.encoded)))));
  return [
    sequence(CONTENT_TYPE, element(SET, TST_INFO)),
    sequence(MESSAGE_DIGEST, element(SET, element(OCTET_STRING, sha256(encodeInfo(info))))),
    sequence(SIGNING_CERTIFICATE_V2, element(SET, named)),
  ].sort(compare);
}

function signerIdOf({ issuer, serial }) {
  return sequence(issuer, serial);
}

function encodeAccuracy(accuracy) {
  const [seconds, rest] = [accuracy / 1000n, accuracy % 1000n];
  const parts = seconds > 0n ? [integer(seconds)] : [];
  if (rest > 0n) parts.push(element(THOUSANDTHS, integer(rest).subarray(2)));
  return sequence(...parts);
}

/** A genesis may hold certificates that cannot be read, which vouch for nobody. */
function readRoots({ organisations }) {
  return organisations.flatMap(({ caCertificate }) => {
    try {
      return [readCertificate(caCertificate)];
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return [];
    }
  });
}

/** Read a GeneralizedTime that is written as ours are, to the millisecond. */
function readTime(text) {
  const found = TIME.exec(text);
  need(found !== null, 'time-form', 'expected YYYYMMDDhhmmss[.f]Z');
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number);
  const milliseconds = Number((found[7] ?? '').padEnd(3, '0'));
  const time = BigInt(Date.UTC(year, month - 1, day, hour, minute, second, milliseconds));
  need(
    time >= 0n && generalizedTime(time) === text,
    'time-form',
    'expected a time of the calendar',
  );
  return time;
}

/** Six bytes, big endian; a height or a place that needs more has no token. */
function placeBytes(number) {
  need(number < 1n << 48n, 'token-serial', 'expected a number of six bytes');
  return toBigEndian(number, 6);
}
