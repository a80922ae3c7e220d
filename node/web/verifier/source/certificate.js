// Certificates (X.509) as far as time-stamping needs them: read, and who issued whom.

import { equal, fromUtf8, hex } from './bytes.js';
import { readPss, RSA_PSS } from './cms.js';
import {
  BIT_STRING,
  BOOLEAN,
  checkInteger,
  CONTEXT_0,
  CONTEXT_3,
  element,
  GENERALIZED_TIME,
  INTEGER,
  NULL,
  OCTET_STRING,
  oid,
  readOnly,
  Reader,
  sequence,
  SEQUENCE,
  SET,
  UTC_TIME,
} from './der.js';
import { SHA_2, SM3 } from './hashes.js';
import { need, Refused } from './refusal.js';
import {
  isCosignature,
  isCosignatureKey,
  isEcdsaSignature,
  isPssSignature,
  isRsaSignature,
  SIGNING_CURVES,
} from './signatures.js';
import { areSm2Scalars, compressSm2 } from './sm2.js';

const WHAT = 'certificate';
const PATH_MAX = 4;
const RSA_BITS_MIN = 2048;
const EC_KEY = '1.2.840.10045.2.1';
const RSA_KEY = '1.2.840.113549.1.1.1';
const ED25519 = '1.3.101.112';
const SM2_CURVE = '1.2.156.10197.1.301';
export const SM2_WITH_SM3 = '1.2.156.10197.1.501';
const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const ALTERNATIVE_NAMES = '2.5.29.17';
const UNDERSTOOD = [BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, ALTERNATIVE_NAMES];
const TIME_STAMPING = '1.3.6.1.5.5.7.3.8';
const ANY_PURPOSE = '2.5.29.37.0';
/** What RFC 4514 calls the attributes of names. */
const ATTRIBUTES = new Map([
  ['2.5.4.3', 'CN'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.6', 'C'],
  ['2.5.4.9', 'STREET'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  ['0.9.2342.19200300.100.1.1', 'UID'],
]);
const TEXT_TAGS = [0x0c, 0x13, 0x16]; // UTF8String, PrintableString, IA5String
const OTHER_TEXT_TAGS = [0x14, 0x1c, 0x1e]; // TeletexString, UniversalString, BMPString
const [SHA256, SHA384, SHA512] = SHA_2.keys();
// What a key of which kind signs, and the digest that goes with it.
const ALGORITHMS = new Map([
  ['1.2.840.10045.4.3.2', { kind: EC_KEY, digest: SHA256 }],
  ['1.2.840.10045.4.3.3', { kind: EC_KEY, digest: SHA384 }],
  ['1.2.840.10045.4.3.4', { kind: EC_KEY, digest: SHA512 }],
  ['1.2.840.113549.1.1.11', { kind: RSA_KEY, digest: SHA256 }],
  ['1.2.840.113549.1.1.12', { kind: RSA_KEY, digest: SHA384 }],
  ['1.2.840.113549.1.1.13', { kind: RSA_KEY, digest: SHA512 }],
]);
const ANY_SHA_2 = [RSA_KEY, RSA_PSS]; // the digest stands in another field
const DIGITAL_SIGNATURE = 0;
const NON_REPUDIATION = 1;
const KEY_CERT_SIGN = 5;
const CRL_SIGN = 6;

/**
 * Read what certificates and revocation lists have in common: a body, here as a `reader`, and a
 * signature. `signedWith` returns these, given the algorithm that the body names.
 */
export function readOuter(encoded, what) {
  const outer = readOnly(encoded, SEQUENCE, what);
  const body = outer.read(SEQUENCE);
  const algorithm = outer.read(SEQUENCE);
  const signature = readBits(outer);
  outer.finish();
  const signedWith = (inner) => {
    const isOneAlgorithm = equal(algorithm.encoded, inner);
    const read = isOneAlgorithm ? readAlgorithm(algorithm.content) : null;
    return { encoded, body: body.encoded, algorithm: read, signature };
  };
  return { reader: new Reader(body.content, what), signedWith };
}

/** Read a certificate (DER). One with a critical extension that is not understood is refused. */
export function readCertificate(encoded) {
  const { reader, signedWith } = readOuter(encoded, WHAT);
  const version = reader.readIf(CONTEXT_0);
  const isThird = version === null || equal(version.content, Uint8Array.of(INTEGER, 1, 2));
  need(isThird, WHAT, 'expected X.509 in PEM or DER form');
  const serial = reader.read(INTEGER);
  checkInteger(serial.content, WHAT);
  need(
    serial.content[0] < 0x80 && serial.content.some(Boolean),
    WHAT,
    'expected a positive serial number',
  );
  const inner = reader.read(SEQUENCE).encoded;
  const issuer = reader.read(SEQUENCE).encoded;
  const validity = reader.enter(SEQUENCE);
  const [notBefore, notAfter] = [readTime(validity), readTime(validity)];
  validity.finish();
  const subject = reader.read(SEQUENCE).encoded;
  const key = readKey(reader.enter(SEQUENCE));
  const extensions = readExtensions(reader.enterIf(CONTEXT_3), (name) => UNDERSTOOD.includes(name));
  reader.finish();
  return {
    ...signedWith(inner),
    serial: serial.encoded,
    issuer,
    subject,
    notBefore,
    notAfter,
    key,
    extensions,
  };
}

/**
 * Return the `name` of a signature's algorithm, with what it takes for PSS, and whether it stands
 * without parameters; of others, null.
 */
function readAlgorithm(content) {
  const reader = new Reader(content, WHAT);
  const name = reader.readOid();
  const pss = name === RSA_PSS && !reader.isEmpty ? readPss(reader.enter(SEQUENCE)) : null;
  const isBare = reader.isEmpty && pss === null;
  reader.readIf(NULL);
  return reader.isEmpty ? { name, pss, isBare } : null;
}

/** Return the bytes of a BIT STRING that has no spare bits. */
function readBits(reader) {
  const { content } = reader.read(BIT_STRING);
  need(content[0] === 0, WHAT, 'expected X.509 in PEM or DER form');
  return content.subarray(1);
}

/** Read UTCTime or GeneralizedTime as RFC 5280 writes them: ms since 1970 UTC. */
export function readTime(reader) {
  const { tag, content } = reader.read();
  const digits = String.fromCharCode(...content.subarray(0, 20));
  const isUtc = tag === UTC_TIME;
  need(isUtc || tag === GENERALIZED_TIME, WHAT, 'expected X.509 in PEM or DER form');
  const found = (isUtc ? /^(\d\d)(\d{10})Z$/ : /^(\d{4})(\d{10})Z$/).exec(digits);
  need(found !== null, WHAT, 'expected X.509 in PEM or DER form');
  const year = isUtc ? Number(found[1]) + (Number(found[1]) < 50 ? 2000 : 1900) : Number(found[1]);
  const [month, day, hour, minute, second] = found[2].match(/../g).map(Number);
  const moment = new Date(Date.UTC(2000, month - 1, day, hour, minute, second));
  moment.setUTCFullYear(year, month - 1, day);
  const written = moment.toISOString().replace(/[-:T]/g, '');
  need(written.slice(4, 14) === found[2], WHAT, 'expected X.509 in PEM or DER form');
  return BigInt(moment.getTime());
}

function readKey(reader) {
  const algorithm = reader.enter(SEQUENCE);
  const kind = algorithm.readOid();
  if (kind === EC_KEY) {
    const curve = algorithm.readOid();
    algorithm.finish();
    const point = readBits(reader);
    reader.finish();
    return { kind, curve, point };
  }
  if (kind === RSA_KEY) {
    const numbers = readOnly(readBits(reader), SEQUENCE, WHAT);
    const [modulus, exponent] = [numbers.readNatural(), numbers.readNatural()];
    numbers.finish();
    reader.finish();
    return { kind, modulus, exponent };
  }
  if (kind === ED25519) {
    algorithm.finish();
    const point = readBits(reader);
    reader.finish();
    return { kind, point };
  }
  return { kind };
}

/** Return extensions by name; a critical one that is not understood is refused. */
export function readExtensions(wrapper, isUnderstood) {
  const found = new Map();
  if (wrapper === null) return found;
  const reader = wrapper.enter(SEQUENCE);
  wrapper.finish();
  while (!reader.isEmpty) {
    const extension = reader.enter(SEQUENCE);
    const name = extension.readOid();
    const flag = extension.readIf(BOOLEAN);
    const value = extension.read(OCTET_STRING).content;
    extension.finish();
    const isCritical = flag !== null;
    need(!isCritical || equal(flag.content, Uint8Array.of(0xff)), WHAT, 'expected TRUE or nothing');
    need(!found.has(name), WHAT, 'malformed extensions');
    need(
      !isCritical || isUnderstood(name),
      WHAT,
      () => `critical extension ${name} is not understood`,
    );
    found.set(name, { isCritical, value });
  }
  return found;
}

/** Tell whether a certificate names an issuer and bears its signature. */
function isIssuedBy({ issuer, body, signature, algorithm }, { subject, key }) {
  if (!equal(issuer, subject) || algorithm === null) return false;
  const { name, pss, isBare } = algorithm;
  if (name === SM2_WITH_SM3) return isBare && isSm2Key(key) && isSignedBySm2(key, body, signature);
  if (key.kind === ED25519 && name === ED25519) {
    return isCosignatureKey(key.point) && isCosignature(key.point, body, signature);
  }
  if (pss !== null) {
    const isKnown = key.kind === RSA_KEY && SHA_2.has(pss.hash) && pss.mask === pss.hash;
    return isKnown && isPssSignature(key, SHA_2.get(pss.hash), body, Number(pss.salt), signature);
  }
  const { kind, digest } = ALGORITHMS.get(name) ?? {};
  return kind !== undefined && kind === key.kind && isSignedBy(key, body, signature, digest);
}

/** Tell whether a key is one of SM2, sound or not. */
export const isSm2Key = ({ kind, curve }) => kind === EC_KEY && curve === SM2_CURVE;

/** Tell whether a signature in DER is by a key of SM2, which has to be a point with both coordinates. */
function isSignedBySm2(key, message, signature) {
  const point = compressSm2(key.point);
  if (point === null) return false;
  try {
    return areSm2Scalars(point, message, ...readScalars(signature, WHAT));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return false;
  }
}

/** Tell whether a list of revocations is by an issuer whose key is for such lists. */
export function hasSigned(issuer, list) {
  const usage = usageOf(issuer.extensions);
  return (usage === null || usage.has(CRL_SIGN)) && isIssuedBy(list, issuer);
}

/** Tell whether a signature, ECDSA or RSA of PKCS #1, is a key's over a message. */
function isSignedBy(key, message, signature, digest) {
  const { hash } = SHA_2.get(digest);
  if (key.kind === RSA_KEY) {
    const identifier = sequence(oid(digest), element(NULL));
    const digestInfo = sequence(identifier, element(OCTET_STRING, hash(message)));
    return isRsaSignature(key.modulus, key.exponent, digestInfo, signature);
  }
  try {
    const [r, s] = readScalars(signature, WHAT);
    return isEcdsaSignature(key.curve, key.point, hash(message), r, s);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return false;
  }
}

/**
 * Refuse unless a certificate's key signed a message: ECDSA or RSA (PKCS #1 v1.5 or PSS), with
 * SHA-2, or SM2 with SM3. `algorithm` and `digest` are object identifiers; PSS has a salt, both by
 * `digest`.
 */
export function checkSignedBy({ key }, message, signature, algorithm, digest) {
  if (algorithm === SM2_WITH_SM3 && digest === SM3) {
    need(isSm2Key(key), 'signature algorithm', "it is not the key's");
    checkSm2Key(key);
    const isValid = isSignedBySm2(key, message, signature);
    need(isValid, 'signature', "it is not the certificate's over this token");
    return;
  }
  const isAny = ANY_SHA_2.includes(algorithm);
  const { kind, digest: hashed } = isAny
    ? { kind: RSA_KEY, digest }
    : (ALGORITHMS.get(algorithm) ?? {});
  const isKnown = kind !== undefined && SHA_2.has(hashed) && hashed === digest;
  need(isKnown, 'signature algorithm', () => {
    const got = `${algorithm} with digest ${digest}`;
    return `expected ECDSA or RSA with SHA-2, or SM2 with SM3, got ${got}`;
  });
  need(key.kind === kind, 'signature algorithm', "it is not the key's");
  const isCurve = kind !== EC_KEY || SIGNING_CURVES.has(key.curve);
  need(isCurve, 'signature key', () => `expected a NIST curve, got ${key.curve}`);
  const isLong = kind !== RSA_KEY || isLongKey(key);
  need(isLong, 'signature key', `expected at least ${RSA_BITS_MIN} bits`);
  const { size } = SHA_2.get(digest);
  const isValid =
    algorithm === RSA_PSS
      ? isPssSignature(key, SHA_2.get(digest), message, size, signature)
      : isSignedBy(key, message, signature, digest);
  need(isValid, 'signature', "it is not the certificate's over this token");
}

function checkSm2Key(key) {
  need(compressSm2(key.point) !== null, WHAT, 'malformed key');
}

const isLongKey = ({ modulus }) => modulus >= 1n << BigInt(RSA_BITS_MIN - 1);

/**
 * Return the certificates from a leaf to one of the roots, by way of others, or null. Refuses where
 * one on the way may not issue. Validity is for the caller to check.
 */
export function findPath(leaf, others, roots) {
  const isOf = (certificates, one) => certificates.some((each) => equal(each.encoded, one.encoded));
  const known = [...roots, ...others];

  function extend(path) {
    const last = path[path.length - 1];
    if (isOf(roots, last)) return path;
    if (path.length === PATH_MAX) return null;
    for (const issuer of known) {
      if (isOf(path, issuer) || !isIssuedBy(last, issuer)) continue;
      checkAuthority(issuer, path.length - 1);
      const found = extend([...path, issuer]);
      if (found !== null) return found;
    }
    return null;
  }

  return extend([leaf]);
}

function checkAuthority({ extensions, key }, between) {
  const constraints = extensions.get(BASIC_CONSTRAINTS);
  const usage = usageOf(extensions);
  let isAuthority = false;
  let lengthMax = null;
  if (constraints !== undefined) {
    const reader = readOnly(constraints.value, SEQUENCE, 'extension');
    isAuthority = reader.readIf(BOOLEAN) !== null;
    lengthMax = reader.isEmpty ? null : reader.readNatural();
    reader.finish();
  }
  const mayIssue = isAuthority && (usage === null || usage.has(KEY_CERT_SIGN));
  need(mayIssue, 'issuing certificate', 'expected one that may sign certificates');
  const purposes = purposesOf(extensions);
  const allowed = [TIME_STAMPING, ANY_PURPOSE];
  const isFor = purposes === null || allowed.some((each) => purposes.includes(each));
  need(isFor, 'issuing certificate', 'expected no purposes, or time-stamping too');
  if (isSm2Key(key)) checkSm2Key(key);
  const isLong = key.kind !== RSA_KEY || isLongKey(key);
  need(isLong, 'issuing certificate', `expected at least ${RSA_BITS_MIN} bits`);
  const isWithin = lengthMax === null || lengthMax >= BigInt(between);
  need(isWithin, 'issuing certificate', () => `${between} below it are more than it allows`);
}

/** Return the numbers of the bits of the key usage, or null if there is none. */
function usageOf(extensions) {
  const usage = extensions.get(KEY_USAGE);
  if (usage === undefined) return null;
  const bits = readOnly(usage.value, BIT_STRING, 'key usage').bytes.subarray(1);
  const numbers = Array.from({ length: 8 * bits.length }, (_, at) => at);
  return new Set(numbers.filter((at) => (bits[at >> 3] << (at & 7)) & 0x80));
}

/** Return what the extended key usage names, or null if there is none. */
function purposesOf(extensions) {
  const extended = extensions.get(EXTENDED_KEY_USAGE);
  if (extended === undefined) return null;
  const reader = readOnly(extended.value, SEQUENCE, 'extended key usage');
  const found = [];
  while (!reader.isEmpty) found.push(reader.readOid());
  return found;
}

/** Return a name (DER) as text, as RFC 4514 writes it. */
export function nameText(name) {
  const parts = readOnly(name, SEQUENCE, 'name');
  const found = [];
  while (!parts.isEmpty) {
    const part = parts.enter(SET);
    const values = [];
    while (!part.isEmpty) values.push(valueText(part.enter(SEQUENCE)));
    found.unshift(values.join('+'));
  }
  return found.join(',');
}

function valueText(reader) {
  const name = reader.readOid();
  const { tag, content } = reader.read();
  const text = TEXT_TAGS.includes(tag) ? fromUtf8(content) : `#${hex(content)}`;
  need(text !== null && [...TEXT_TAGS, ...OTHER_TEXT_TAGS].includes(tag), WHAT, 'expected X.509 in PEM or DER form');
  const escaped = text.replace(/[\\",+;<>]|^[# ]|(?<=.) $/g, '\\$&');
  return `${ATTRIBUTES.get(name) ?? name}=${escaped}`;
}

/** Return the other names (GeneralName, DER) of whom a certificate is for. */
export function alternativeNamesOf({ extensions }) {
  const names = extensions.get(ALTERNATIVE_NAMES);
  if (names === undefined) return [];
  const reader = readOnly(names.value, SEQUENCE, 'alternative names');
  const found = [];
  while (!reader.isEmpty) found.push(reader.read().encoded);
  return found;
}

/** Refuse unless the key may sign time stamps, and nothing but signatures (RFC 3161 section 2.3). */
export function checkTimeStamping({ extensions }) {
  const usage = usageOf(extensions);
  if (usage !== null) {
    const others = [2, 3, 4, KEY_CERT_SIGN, CRL_SIGN];
    const signs = usage.has(DIGITAL_SIGNATURE) || usage.has(NON_REPUDIATION);
    need(signs && !others.some((at) => usage.has(at)), 'key usage', 'expected signatures alone');
  }
  const extended = extensions.get(EXTENDED_KEY_USAGE);
  need(extended !== undefined, 'extended key usage', 'expected time-stamping, got none');
  const isAlone = equal(extended.value, sequence(oid(TIME_STAMPING)));
  need(isAlone, 'extended key usage', 'expected time-stamping alone');
  need(extended.isCritical, 'extended key usage', 'expected a critical one');
}

/** Refuse unless a certificate is valid at that time, ends included. */
export function checkValid({ notBefore, notAfter }, time) {
  const isValid = notBefore <= time && time <= notAfter;
  need(isValid, WHAT, () => `valid in ${notBefore}..${notAfter} ms, got ${time} ms`);
}

/** Return (r, s) of a signature in DER. */
function readScalars(bytes, what) {
  const reader = readOnly(bytes, SEQUENCE, what);
  const scalars = [reader.readNatural(), reader.readNatural()];
  reader.finish();
  return scalars;
}
