// The token of a record, in the one form that ours have: see proto/RECEIPT.md. It is verified as any
// token is, then made again from what was read, and has to be the same to the byte.

import { compare, concat, equal, fromBigEndian, hex, includes, toBigEndian } from './bytes.js';
import { readToken, SIGNED_DATA, tokenOfAnswer, TST_INFO } from './cms.js';
import {
  CONTEXT_0,
  CONTEXT_1,
  element,
  GENERALIZED_TIME,
  INTEGER,
  integer,
  OCTET_STRING,
  oid,
  readOnly,
  SEQUENCE,
  sequence,
  SET,
} from './der.js';
import { isSm2Key, SM2_WITH_SM3 } from './certificate.js';
import { sha256, SM3, sm3 } from './hashes.js';
import { recordedDigest } from './record.js';
import { need, Refused } from './refusal.js';
import { P256_ORDER } from './signatures.js';
import { SM2_ORDER } from './sm2.js';
import { checkToken, inHex, rootsOf, signerIdOf } from './stamp.js';
import { generalizedTime, isoTime } from './times.js';

const SIGNED_FIELDS = 6; // of a SignerInfo, before its unsigned attributes
const CHAIN_PROOF_NAME = '2.25.163599954292325701006170283646623784039.2';
const CHAIN_PROOF = oid(CHAIN_PROOF_NAME);
const SIGNED_DATA_ID = oid(SIGNED_DATA);
const TST_INFO_ID = oid(TST_INFO);
const CONTENT_TYPE = oid('1.2.840.113549.1.9.3');
const MESSAGE_DIGEST = oid('1.2.840.113549.1.9.4');
const SIGNING_CERTIFICATE_V2 = oid('1.2.840.113549.1.9.16.2.47');
/** How our tokens are hashed and signed: of ECDSA's two s the low one, as our keys give it; SM2 has one. */
const ECDSA_TOKENS = {
  hash: sha256,
  digest: sequence(oid('2.16.840.1.101.3.4.2.1')),
  named: new Uint8Array(0), // RFC 5035 section 4: of the default, SHA-256, DER has nothing
  signature: sequence(oid('1.2.840.10045.4.3.2')),
  order: P256_ORDER,
  sMax: P256_ORDER / 2n,
};
const SM2_TOKENS = {
  hash: sm3,
  digest: sequence(oid(SM3)),
  named: sequence(oid(SM3)),
  signature: sequence(oid(SM2_WITH_SM3)),
  order: SM2_ORDER,
  sMax: SM2_ORDER - 1n,
};
const GRANTED = sequence(integer(0n));
const THOUSANDTHS = 0x80;

/**
 * Check the token of a receipt by a clock, and what is given beside it; return what it says.
 * `accuracy` is the chain's in ms, or null.
 */
export function checkRecordToken(receipt, genesis, accuracy, now, beside) {
  const { token: bytes, chainId, header, leaf, logIndex } = receipt;
  const document = recordedDigest(leaf.record);
  const expected = { document, roots: rootsOf(genesis), now, ...beside };
  const check = checkToken(bytes, expected, 'AUTHORITY');
  const { token, path } = check;
  const { info } = token;
  const isVouchedFor = !header.timeDegraded;
  need(isVouchedFor, 'token-degraded', "expected none: nobody vouches for the block's time");
  const isTimed = info.time === header.time;
  need(isTimed, 'token-time', () => `expected ${header.time} ms, got ${info.time} ms`);
  const place = concat(
    Uint8Array.of(1),
    chainId.subarray(0, 7),
    placeBytes(header.height),
    placeBytes(logIndex),
  );
  const serial = fromBigEndian(place);
  const isPlaced = info.serialNumber === serial;
  need(isPlaced, 'token-serial', () => {
    return `expected ${inHex(serial)}, the record's, got ${inHex(info.serialNumber)}`;
  });
  const isPromised = accuracy === null || equal(info.accuracy, encodeAccuracy(accuracy));
  need(isPromised, 'token-accuracy', () => `expected the promised ${accuracy} ms`);
  const isOwn = equal(encodeAgain(token, path), bytes);
  need(isOwn, 'token-form', "expected the form of this chain's tokens, and no more");
  const since = check.revokedSince;
  const note = since === null ? '' : `; its key is not believed since ${isoTime(since)}`;
  return `serial number ${inHex(serial)}, path of ${path.length} certificates${note}`;
}

/**
 * Check a token over the signature of a COSE Receipt, which names no record; return its genTime in
 * milliseconds. Whether its authority is one to believe is not asked.
 */
export function checkStamp(bytes, signed, notBefore) {
  const { algorithm } = readToken(bytes).info.imprint;
  const digest = algorithm.start().update(signed).digest();
  const document = `${algorithm.name}:${hex(digest)}`;
  const { token, leaf } = checkToken(bytes, { document, roots: [] }, 'TIME');
  const isOwn = equal(encodeAgain(token, [leaf]), bytes);
  need(isOwn, 'cose-token-form', "expected the form of govchain's tokens, and no more");
  const { time } = token.info;
  need(time >= notBefore, 'cose-token-time', () => {
    return `expected at least ${isoTime(notBefore)}, got ${isoTime(time)}`;
  });
  return time;
}

/** Tell whether a token or an answer carries a receipt, as far as its form is ours. */
export function carriesChainProof(bytes) {
  try {
    return takeChainProof(tokenOfAnswer(bytes)).receipt !== null;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return includes(bytes, CHAIN_PROOF); // then it has to be ours, or is nothing
  }
}

/**
 * Return the `receipt` inside a token, or inside an answer that grants it, and the `bare` token
 * without it. Every byte must be of this form.
 */
export function openChainProof(bytes) {
  const token = tokenOfAnswer(bytes);
  const { bare, receipt } = takeChainProof(token);
  need(receipt !== null, 'token', 'expected a chain proof');
  const isAnswer = equal(bytes, token) || equal(bytes, sequence(GRANTED, token));
  return { bare, receipt, isAnswer };
}

function takeChainProof(token) {
  const parts = splitToken(token);
  if (parts.unsigned === null) return { bare: token, receipt: null };
  const attributes = readOnly(parts.unsigned, CONTEXT_1, 'unsigned attributes');
  const attribute = attributes.enter(SEQUENCE, 'unsigned attribute');
  const name = attribute.readOid();
  const values = attribute.enter(SET);
  const isOurs = name === CHAIN_PROOF_NAME;
  need(isOurs, attribute.what, () => `expected ${CHAIN_PROOF_NAME}, got ${name}`);
  const receipt = values.read(OCTET_STRING).content;
  const own = element(
    CONTEXT_1,
    sequence(CHAIN_PROOF, element(SET, element(OCTET_STRING, receipt))),
  );
  const isAlone = equal(parts.join(own), token);
  need(isAlone, 'unsigned attributes', 'expected the chain proof alone');
  return { bare: parts.join(new Uint8Array(0)), receipt };
}

/** Cut a token where unsigned attributes stand: the last of its only SignerInfo. */
function splitToken(token) {
  const outer = readOnly(token, SEQUENCE, 'token');
  need(outer.readOid() === SIGNED_DATA, 'token', 'expected signed data');
  const wrapper = outer.enter(CONTEXT_0, 'signed data');
  outer.finish();
  const signedData = wrapper.enter(SEQUENCE);
  wrapper.finish();
  const before = [INTEGER, SET, SEQUENCE].map((tag) => signedData.read(tag).encoded);
  for (const tag of [CONTEXT_0, CONTEXT_1]) {
    const found = signedData.readIf(tag); // certificates, revocation lists
    if (found !== null) before.push(found.encoded);
  }
  const signers = signedData.enter(SET, 'signer infos');
  signedData.finish();
  const signer = signers.enter(SEQUENCE, 'signer info');
  signers.finish();
  const signed = Array.from({ length: SIGNED_FIELDS }, () => signer.read().encoded);
  const unsigned = signer.readIf(CONTEXT_1);
  signer.finish();
  return {
    unsigned: unsigned === null ? null : unsigned.encoded,
    join: (unsigned) =>
      sequence(
        SIGNED_DATA_ID,
        element(CONTEXT_0, sequence(...before, element(SET, sequence(...signed, unsigned)))),
      ),
  };
}

/** Return the token that a node makes of the same statement, certificate and signature. */
function encodeAgain({ info, certificates, signature }, path) {
  const [leaf] = path;
  const algorithms = isSm2Key(leaf.key) ? SM2_TOKENS : ECDSA_TOKENS;
  const own = encodeInfo(info);
  const held = path.filter((each) => certificates.some((one) => equal(one, each.encoded)));
  const encoded = held.map((each) => each.encoded).sort(compare);
  const signerInfo = sequence(
    integer(1n),
    signerIdOf(leaf),
    algorithms.digest,
    element(CONTEXT_0, ...attributesOf(own, leaf, algorithms)),
    algorithms.signature,
    element(OCTET_STRING, sequence(...readScalars(signature, algorithms).map(integer))),
  );
  const signedData = sequence(
    integer(3n),
    element(SET, algorithms.digest),
    sequence(TST_INFO_ID, element(CONTEXT_0, element(OCTET_STRING, own))),
    encoded.length === 0 ? new Uint8Array(0) : element(CONTEXT_0, ...encoded),
    element(SET, signerInfo),
  );
  return sequence(SIGNED_DATA_ID, element(CONTEXT_0, signedData));
}

function encodeInfo({ policy, imprint, serial, time, accuracy, nonce }) {
  const digits = Uint8Array.from(generalizedTime(time), (each) => each.charCodeAt(0));
  const written = element(GENERALIZED_TIME, digits);
  return sequence(integer(1n), oid(policy), imprint.encoded, serial, written, accuracy, nonce);
}

function attributesOf(info, leaf, { hash, named: algorithm }) {
  const certificate = sequence(algorithm, element(OCTET_STRING, hash(leaf.encoded)));
  const named = sequence(sequence(certificate));
  return [
    sequence(CONTENT_TYPE, element(SET, TST_INFO_ID)),
    sequence(MESSAGE_DIGEST, element(SET, element(OCTET_STRING, hash(info)))),
    sequence(SIGNING_CERTIFICATE_V2, element(SET, named)),
  ].sort(compare);
}

/** Return (r, s) of a signature of ours. */
function readScalars(signature, { order, sMax }) {
  const reader = readOnly(signature, SEQUENCE, 'token signature');
  const [r, s] = [reader.readInteger(), reader.readInteger()];
  reader.finish();
  const isOurs = r > 0n && r < order && s > 0n && s <= sMax;
  need(isOurs, 'token-signature', 'expected one of P-256 with the low s');
  return [r, s];
}

function encodeAccuracy(accuracy) {
  const [seconds, rest] = [accuracy / 1000n, accuracy % 1000n];
  const parts = seconds > 0n ? [integer(seconds)] : [];
  if (rest > 0n) parts.push(element(THOUSANDTHS, integer(rest).subarray(2)));
  return sequence(...parts);
}

/** Six bytes, big endian; a height or a place that needs more has no token. */
function placeBytes(number) {
  need(number < 1n << 48n, 'token-serial', 'expected the coordinates of a record');
  return toBigEndian(number, 6);
}
