// Signatures: ECDSA on P-256, P-384 and P-521, Ed25519, RSA, and BLS12-381 aggregates.

import { bls12_381 } from '@noble/curves/bls12-381.js';
import { ed25519Point, p256, p384, p521 } from './curves.js';
import { sha512 } from '@noble/hashes/sha2.js';
import { concat, equal, fromBigEndian, hex, toBigEndian } from './bytes.js';

export const P256_ORDER = p256.Point.Fn.ORDER;
export const P256_KEY_BYTES = 33;
const ED25519_ORDER = ed25519Point.Fn.ORDER;
export const P256 = '1.2.840.10045.3.1.7';
export const SIGNING_CURVES = new Map([
  [P256, p256],
  ['1.3.132.0.34', p384],
  ['1.3.132.0.35', p521],
]);
const RSA_BITS_MAX = 16384n;
const RSA_SMALL_BITS = 3072n; // up to which the exponent may be of any size
const RSA_EXPONENT_BITS = 64n;
const AGGREGATE_TAG = 'BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_';
const INFINITY_BIT = 0x40;
const p256Keys = new Map(); // whether it is a point, by its hex: a set's keys are asked for again and again

/** Tell whether bytes are the compressed form of a point of P-256. */
export function isP256Key(key) {
  if (key.length !== P256_KEY_BYTES) return false;
  const name = hex(key);
  if (!p256Keys.has(name)) p256Keys.set(name, isPoint(key));
  return p256Keys.get(name);
}

function isPoint(key) {
  try {
    p256.Point.fromBytes(key);
    return true;
  } catch {
    return false;
  }
}

/** Tell whether r || s, with the low s, is this key's over SHA-256 of a message. */
export function isP256Signature(key, message, signature) {
  return isP256Key(key) && p256.verify(signature, message, key, { lowS: true });
}

/** Tell whether (r, s), bigints, is this key's over a digest; `curve` is an object identifier. */
export function isEcdsaSignature(curve, key, digest, r, s) {
  const { Point, verify } = SIGNING_CURVES.get(curve) ?? {};
  if (Point === undefined || r < 1n || s < 1n || r >= Point.Fn.ORDER || s >= Point.Fn.ORDER)
    return false;
  const signature = concat(toBigEndian(r, Point.Fn.BYTES), toBigEndian(s, Point.Fn.BYTES));
  return verify(signature, digest, key, { lowS: false, prehash: false });
}

/** Tell whether a signature of PKCS #1 version 1.5 is over `DigestInfo`, which is DER. */
export function isRsaSignature(modulus, exponent, digestInfo, signature) {
  if (!isRsaKey(modulus, exponent)) return false;
  const size = Math.ceil(modulus.toString(16).length / 2);
  const value = fromBigEndian(signature);
  const isWhole = signature.length === size && value < modulus && size >= digestInfo.length + 11;
  if (!isWhole) return false;
  const padding = new Uint8Array(size - digestInfo.length - 3).fill(0xff);
  const wanted = concat(Uint8Array.of(0, 1), padding, Uint8Array.of(0), digestInfo);
  return power(value, exponent, modulus) === fromBigEndian(wanted);
}

/** Tell whether a signature of PSS (RFC 8017) is over a message; the mask is by the same hash. */
export function isPssSignature({ modulus, exponent }, { hash, size }, message, saltSize, signature) {
  if (!isRsaKey(modulus, exponent)) return false;
  const bits = modulus.toString(2).length - 1;
  const encodedSize = Math.ceil(bits / 8);
  const value = fromBigEndian(signature);
  const isWhole = signature.length === Math.ceil((bits + 1) / 8) && value < modulus;
  const isRoomy = saltSize >= 0 && encodedSize >= size + saltSize + 2;
  if (!isWhole || !isRoomy) return false;
  const opened = power(value, exponent, modulus);
  if (opened >> BigInt(8 * encodedSize) !== 0n) return false;
  const encoded = toBigEndian(opened, encodedSize);
  const maskedSize = encodedSize - size - 1;
  const digest = encoded.subarray(maskedSize, -1);
  const spare = 0xff >> (8 * encodedSize - bits); // the bits that may be set in the first byte
  if (encoded[encodedSize - 1] !== 0xbc || (encoded[0] & ~spare) !== 0) return false;
  const mask = maskOf(hash, digest, maskedSize);
  const block = encoded.subarray(0, maskedSize).map((byte, at) => byte ^ mask[at]);
  block[0] &= spare;
  const saltAt = maskedSize - saltSize;
  const isPadded = block.every((byte, at) => at >= saltAt || byte === (at === saltAt - 1 ? 1 : 0));
  const again = hash(concat(new Uint8Array(8), hash(message), block.subarray(saltAt)));
  return isPadded && equal(again, digest);
}

/** MGF1 of RFC 8017. */
function maskOf(hash, seed, size) {
  const mask = new Uint8Array(size);
  for (let at = 0, counter = 0n; at < size; counter += 1n) {
    const piece = hash(concat(seed, toBigEndian(counter, 4))).subarray(0, size - at);
    mask.set(piece, at);
    at += piece.length;
  }
  return mask;
}

/** Tell whether a key is a canonical Ed25519 point that is not of small order. */
export function isCosignatureKey(key) {
  try {
    return !ed25519Point.fromBytes(key).isSmallOrder();
  } catch {
    return false;
  }
}

/**
 * Tell whether a signature (RFC 8032) is this key's. Without the cofactor, and R is compared as
 * bytes: one of the two readings that RFC 8032 allows, and the one of OpenSSL.
 */
export function isCosignature(key, message, signature) {
  if (signature.length !== 64) return false;
  const encoded = signature.subarray(0, 32);
  const s = fromBigEndian(signature.slice(32).reverse());
  if (s >= ED25519_ORDER) return false;
  const hashed = sha512(concat(encoded, key, message)).reverse();
  const k = fromBigEndian(hashed) % ED25519_ORDER;
  const point = ed25519Point.fromBytes(key);
  const found = ed25519Point.BASE.multiplyUnsafe(s).subtract(point.multiplyUnsafe(k));
  return equal(found.toBytes(), encoded);
}

/** Tell whether a signature is the aggregate of all these keys' over one message. */
export function isAggregate(keys, message, signature) {
  const scheme = bls12_381.longSignatures;
  const sum = decodePoint(bls12_381.G2.Point, signature);
  const points = keys.map((key) => decodePoint(bls12_381.G1.Point, key));
  if (sum === null || points.length === 0 || points.includes(null)) return false;
  const key = points.reduce((total, point) => total.add(point));
  return !key.is0() && scheme.verify(sum, scheme.hash(message, AGGREGATE_TAG), key);
}

/** Return the point, or null where bytes are not the one encoding of one of the subgroup. */
function decodePoint(Point, bytes) {
  if ((bytes[0] & INFINITY_BIT) !== 0) return null;
  try {
    const point = Point.fromBytes(bytes);
    return point.isTorsionFree() && hex(point.toBytes(true)) === hex(bytes) ? point : null;
  } catch {
    return null;
  }
}

/** Tell whether a key is one that takes no hours to use: the bounds are those of OpenSSL. */
function isRsaKey(modulus, exponent) {
  const isSmall = modulus < 1n << RSA_BITS_MAX && exponent < modulus;
  return isSmall && (modulus < 1n << RSA_SMALL_BITS || exponent < 1n << RSA_EXPONENT_BITS);
}

function power(base, exponent, modulus) {
  let result = 1n;
  let square = base % modulus;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}
