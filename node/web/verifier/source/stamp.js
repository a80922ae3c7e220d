// Strict verification of a time-stamp token (RFC 3161) in nine steps, those of proto/verify/tsr.md.
// A token alone is the word of one key: at best that is sound, and not rooted.

import { concat, equal, hex } from './bytes.js';
import {
  alternativeNamesOf,
  checkSignedBy,
  checkTimeStamping,
  checkValid,
  findPath,
  readCertificate,
} from './certificate.js';
import { readAttributes, readToken, TST_INFO, tokenOfAnswer } from './cms.js';
import { CONTEXT_4, element, NULL, OCTET_STRING, oid, readOnly, SEQUENCE, SET } from './der.js';
import { DOCUMENT_DIGESTS, TOKEN_DIGESTS } from './hashes.js';
import { need, NotRooted, Refused } from './refusal.js';
import { revokedSince } from './revocations.js';
import { sha1 } from './sha1.js';
import { takeSteps } from './steps.js';
import { checkPast, isoTime } from './times.js';

export const TOKEN_STEPS = [
  'ANSWER',
  'DOCUMENT',
  'CERTIFICATE',
  'ATTRIBUTES',
  'SIGNATURE',
  'PURPOSE',
  'TIME',
  'AUTHORITY',
  'CHAIN',
];
const CERTIFICATES_MAX = 8; // in a token
const BESIDE_MAX = 64; // beside it
const CONTENT_TYPE = '1.2.840.113549.1.9.3';
const MESSAGE_DIGEST = '1.2.840.113549.1.9.4';
const SIGNING_CERTIFICATE = '1.2.840.113549.1.9.16.2.12'; // of the first version, by SHA-1
const SIGNING_CERTIFICATE_V2 = '1.2.840.113549.1.9.16.2.47';
const SHA_256 = '2.16.840.1.101.3.4.2.1';
const ED25519 = '1.3.101.112';

/** Return by which algorithm to hash a document before it is compared; SHA-256 where untold. */
export function digestAlgorithmOfToken(bytes) {
  try {
    return readToken(tokenOfAnswer(bytes)).info.imprint.algorithm;
  } catch {
    return DOCUMENT_DIGESTS.get(1n); // verification says what is wrong with it
  }
}

/**
 * Verify a token, or an answer that grants one, without a receipt; the answer is like that of
 * `verifyReceipt`, but nothing is ever attested.
 */
export async function verifyToken(bytes, trust, document, now, beside) {
  const check = new TokenCheck(bytes, { document, roots: rootsOf(trust.genesis), now, ...beside });
  const { outcome, steps } = await takeSteps(TOKEN_STEPS, (name) => check[name]());
  return { outcome, steps, attested: null };
}

/**
 * Take the steps up to one of them, by its name; return the `token` and the `path` from its
 * certificate to a root, which is null where none is reached. Throws as the first failed step does.
 */
export function checkToken(bytes, expected, last) {
  const check = new TokenCheck(bytes, expected);
  for (const name of TOKEN_STEPS.slice(0, TOKEN_STEPS.indexOf(last) + 1)) check[name]();
  return check;
}

/** A genesis may hold certificates that cannot be read, which vouch for nobody. */
export function rootsOf({ organisations }) {
  return organisations.flatMap(({ caCertificate }) => {
    try {
      return [readCertificate(caCertificate)];
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return [];
    }
  });
}

/**
 * One run through the steps, against the `document` (name, colon, hex), `roots` and `now`; and, where
 * they are at hand, the `request` it answers, `certificates`, and lists of `revocations`.
 */
class TokenCheck {
  constructor(bytes, expected) {
    this.bytes = bytes;
    this.expected = { request: null, certificates: [], revocations: [], ...expected };
  }

  ANSWER() {
    this.token = readToken(tokenOfAnswer(this.bytes));
    return `serial number ${inHex(this.token.info.serialNumber)}`;
  }

  DOCUMENT() {
    const { algorithm, digest } = this.token.info.imprint;
    const got = `${algorithm.name}:${hex(digest)}`;
    const { document } = this.expected;
    need(document === got, 'imprint', () => `expected ${document}, got ${got}`);
    if (this.expected.request === null) return got;
    this.checkRequest(this.expected.request);
    return `${got}, as the request asks`;
  }

  checkRequest({ imprint, policy, nonce, wantsCertificates }) {
    const { info, certificates } = this.token;
    const isAsked = (condition, rule) => need(condition, rule, 'expected that of the request');
    const { algorithm, digest } = imprint;
    const isSame = algorithm === info.imprint.algorithm && equal(digest, info.imprint.digest);
    isAsked(isSame, 'imprint');
    isAsked(policy === null || policy === info.policy, 'policy');
    isAsked(equal(nonce, info.nonce), 'nonce');
    need(wantsCertificates === certificates.length > 0, 'certificates', () => {
      return `expected ${wantsCertificates ? 'some' : 'none'} in the token, as the request asks`;
    });
  }

  CERTIFICATE() {
    const { token } = this;
    this.attributes = readAttributes(token.signedAttributes);
    const isFew = token.certificates.length <= CERTIFICATES_MAX;
    need(isFew, 'certificates', `expected at most ${CERTIFICATES_MAX}`);
    const beside = this.expected.certificates;
    const areFew = beside.length <= BESIDE_MAX;
    need(areFew, 'certificates', `expected at most ${BESIDE_MAX} beside the token`);
    this.held = [...token.certificates.map(readCertificate), ...beside];
    this.leaf = this.held.find((each) => equal(signerIdOf(each), token.signerId));
    const isThere = this.leaf !== undefined;
    need(isThere, 'certificate-missing', "expected the signer's in the token, or at hand");
    this.path = findPath(this.leaf, this.held, this.expected.roots);
    const named = signingCertificates(this.attributes);
    const path = this.path ?? [this.leaf];
    const checkNamed = ({ hash, digest }, at) => {
      const isOf = at < path.length && equal(hash(path[at].encoded), digest);
      const ofPath = 'expected the digests of those of its path, in order';
      const wanted = at === 0 ? "expected the digests of the signer's first" : ofPath;
      need(isOf, 'signing-certificate', wanted);
    };
    for (const digests of named) digests.forEach(checkNamed);
    this.checkName();
    const most = Math.max(...named.map((digests) => digests.length));
    return `${token.certificates.length} in the token, ${most} named by what is signed`;
  }

  checkName() {
    const { authorityName } = this.token.info;
    if (authorityName === null) return;
    const names = [element(CONTEXT_4, this.leaf.subject), ...alternativeNamesOf(this.leaf)];
    const isOwn = names.some((each) => equal(each, authorityName));
    need(isOwn, 'authority-name', 'expected a name of the certificate');
  }

  ATTRIBUTES() {
    const { token, attributes } = this;
    const type = attributes.get(CONTENT_TYPE);
    const isTyped = type !== undefined && equal(type, oid(TST_INFO));
    need(isTyped, 'content-type', `expected ${TST_INFO}`);
    const algorithm = TOKEN_DIGESTS.get(token.digestAlgorithm);
    const isKnown = algorithm !== undefined;
    need(isKnown, 'digest-algorithm', () => `expected SHA-2, got ${token.digestAlgorithm}`);
    const told = attributes.get(MESSAGE_DIGEST);
    const digest = element(OCTET_STRING, algorithm.hash(token.info.encoded));
    const isOwn = told !== undefined && equal(told, digest);
    need(isOwn, 'message-digest', "expected that of the token's content");
    return `${attributes.size} signed attributes, ${algorithm.name}`;
  }

  SIGNATURE() {
    const { signatureAlgorithm: algorithm, digestAlgorithm, signature } = this.token;
    const isTaken = algorithm !== ED25519;
    need(isTaken, 'signature-algorithm', 'expected ECDSA, RSA or SM2, got Ed25519');
    const signed = element(SET, this.token.signedAttributes);
    checkSignedBy(this.leaf, signed, signature, algorithm, digestAlgorithm);
    return `algorithm ${algorithm}`;
  }

  PURPOSE() {
    checkTimeStamping(this.leaf);
    return 'time-stamping alone';
  }

  TIME() {
    const { time } = this.token.info;
    for (const each of this.path ?? [this.leaf]) checkValid(each, time);
    checkPast(time, this.expected.now);
    return isoTime(time);
  }

  AUTHORITY() {
    if (this.path === null) {
      throw new NotRooted('its certificate leads to no authority of the trust file');
    }
    return `path of ${this.path.length} certificates`;
  }

  CHAIN() {
    const since = this.revokedSince;
    need(since === null, 'revoked', () => `its key is not believed since ${isoTime(since)}`);
    throw new NotRooted('without a chain proof a time-stamp token is the word of one key');
  }

  /** Since when a certificate of its path is revoked, or null. */
  get revokedSince() {
    return revokedSince(this.path ?? [], this.expected.revocations, this.token.info.time);
  }
}

/** How a token names the certificate of its key. */
export function signerIdOf({ issuer, serial }) {
  return element(SEQUENCE, concat(issuer, serial));
}

/** Return the digests of the certificates that what is signed names, each with how it is hashed: a list for each form. */
function signingCertificates(attributes) {
  const named = [];
  for (const [name, read] of [
    [SIGNING_CERTIFICATE, readFirstVersion],
    [SIGNING_CERTIFICATE_V2, readSecondVersion],
  ]) {
    if (!attributes.has(name)) continue;
    const outer = readOnly(attributes.get(name), SEQUENCE, 'signing certificate');
    const certificates = outer.enter(SEQUENCE);
    outer.readIf(SEQUENCE); // policies, which name nothing that is checked
    outer.finish();
    need(!certificates.isEmpty, 'signing-certificate', 'expected a list of at least one');
    const digests = [];
    while (!certificates.isEmpty) digests.push(read(certificates.enter(SEQUENCE)));
    named.push(digests);
  }
  need(named.length > 0, 'signing-certificate', 'expected the signed attribute, got none');
  return named;
}

function readFirstVersion(reader) {
  const digest = reader.read(OCTET_STRING).content;
  reader.readIf(SEQUENCE); // issuer and serial number: the digest says more
  reader.finish();
  return { hash: sha1, digest };
}

function readSecondVersion(reader) {
  let name = SHA_256;
  const identifier = reader.enterIf(SEQUENCE);
  if (identifier !== null) {
    name = identifier.readOid();
    identifier.readIf(NULL);
    identifier.finish();
    need(TOKEN_DIGESTS.has(name), 'signing certificate', () => `expected SHA-2, got ${name}`);
  }
  const digest = reader.read(OCTET_STRING).content;
  reader.readIf(SEQUENCE);
  reader.finish();
  return { hash: TOKEN_DIGESTS.get(name).hash, digest };
}

export const inHex = (number) => number.toString(16);
