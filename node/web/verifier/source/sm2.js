// SM2 signatures (GB/T 32918.2) with SM3 over the recommended curve (GB/T 32918.5): checked alone.
// Nothing here is secret, so nothing needs to take the same time whatever it is given.

import { ascii, concat, fromBigEndian, hex, toBigEndian } from './bytes.js';
import { sm3 } from './hashes.js';

const FIELD = 0xfffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffffn;
const ORDER = 0xfffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123n;
const A = FIELD - 3n;
const B = 0x28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93n;
const BASE = {
  x: 0x32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7n,
  y: 0xbc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0n,
};
const SCALAR_BYTES = 32;
const KEY_BYTES = 1 + SCALAR_BYTES; // compressed
const POINT_BYTES = 1 + 2 * SCALAR_BYTES;
const IDENTITY = ascii('1234567812345678'); // of GM/T 0009, where nothing else was agreed on
const INFINITY = { x: 0n, y: 1n, z: 0n };

export const SM2_ORDER = ORDER;

const points = new Map(); // a point or null, by the hex of its key: a set's keys come again and again

/** Tell whether bytes are the compressed form of a point of the curve. */
export const isSm2Key = (key) => pointOf(key) !== null;

/** Return the compressed form of a point with both coordinates, or null where it is none. */
export function compressSm2(point) {
  if (point.length !== POINT_BYTES || point[0] !== 4) return null;
  const key = concat(Uint8Array.of(2 | (point[POINT_BYTES - 1] & 1)), point.slice(1, KEY_BYTES));
  const y = fromBigEndian(point.slice(KEY_BYTES));
  return pointOf(key)?.y === y ? key : null;
}

/** Tell whether r || s, 64 bytes, is this key's over a message, by the default identity. */
export function isSm2Signature(key, message, signature) {
  if (signature.length !== 2 * SCALAR_BYTES) return false;
  const r = fromBigEndian(signature.slice(0, SCALAR_BYTES));
  const s = fromBigEndian(signature.slice(SCALAR_BYTES));
  return areSm2Scalars(key, message, r, s);
}

/** Tell the same of bigints: the steps of GB/T 32918.2 section 7.1, by their letters there. */
export function areSm2Scalars(key, message, r, s) {
  const point = pointOf(key);
  if (point === null) return false;
  if (r < 1n || r >= ORDER || s < 1n || s >= ORDER) return false; // B1, B2
  const e = fromBigEndian(sm3(identityOf(point), message)); // B3, B4
  const t = (r + s) % ORDER;
  if (t === 0n) return false; // B5
  const sum = multiplyTwo(s, BASE, t, point); // B6
  if (sum.z === 0n) return false;
  const x = modulo(sum.x * inverse(sum.z * sum.z));
  return (e + x) % ORDER === r; // B7
}

/** Z of section 5.5: whose key signs, hashed before the message. */
function identityOf({ x, y }) {
  const bits = toBigEndian(BigInt(8 * IDENTITY.length), 2);
  const numbers = [A, B, BASE.x, BASE.y, x, y].map((each) => toBigEndian(each, SCALAR_BYTES));
  return sm3(bits, IDENTITY, ...numbers);
}

function pointOf(key) {
  const name = hex(key);
  if (!points.has(name)) points.set(name, decompress(key));
  return points.get(name);
}

/** Return the point of a compressed form, or null. The field's prime is 3 modulo 4. */
function decompress(key) {
  const isCompressed = key.length === KEY_BYTES && (key[0] === 2 || key[0] === 3);
  const x = fromBigEndian(key.slice(1));
  if (!isCompressed || x >= FIELD) return null;
  const square = modulo(x * x * x + A * x + B);
  const root = power(square, (FIELD + 1n) >> 2n);
  if (modulo(root * root) !== square) return null;
  const isOdd = key[0] === 3;
  return { x, y: isOdd === ((root & 1n) === 1n) ? root : modulo(FIELD - root) };
}

// --- Arithmetic: Jacobian coordinates, (X / Z^2, Y / Z^3); Z = 0 is the point at infinity. ---

/** Return a * p + b * q. */
function multiplyTwo(a, p, b, q) {
  const [one, other] = [p, q].map((each) => ({ ...each, z: 1n }));
  const both = add(one, other);
  let found = INFINITY;
  for (let bit = BigInt(8 * SCALAR_BYTES - 1); bit >= 0n; bit -= 1n) {
    found = double(found);
    const [hasOne, hasOther] = [(a >> bit) & 1n, (b >> bit) & 1n];
    if (hasOne && hasOther) found = add(found, both);
    else if (hasOne) found = add(found, one);
    else if (hasOther) found = add(found, other);
  }
  return found;
}

function double({ x, y, z }) {
  if (z === 0n) return INFINITY; // no point of this curve has y = 0: its order is an odd prime
  const zz = modulo(z * z);
  const slope = modulo(3n * (x - zz) * (x + zz)); // a = -3
  const yy = modulo(y * y);
  const middle = modulo(4n * x * yy);
  const newX = modulo(slope * slope - 2n * middle);
  const newY = modulo(slope * (middle - newX) - 8n * yy * yy);
  return { x: newX, y: newY, z: modulo(2n * y * z) };
}

function add(one, other) {
  if (one.z === 0n) return other;
  if (other.z === 0n) return one;
  const [z1, z2] = [modulo(one.z * one.z), modulo(other.z * other.z)];
  const [u1, u2] = [modulo(one.x * z2), modulo(other.x * z1)];
  const [s1, s2] = [modulo(one.y * other.z * z2), modulo(other.y * one.z * z1)];
  const [h, r] = [modulo(u2 - u1), modulo(s2 - s1)];
  if (h === 0n) return r === 0n ? double(one) : INFINITY;
  const hh = modulo(h * h);
  const hhh = modulo(h * hh);
  const v = modulo(u1 * hh);
  const x = modulo(r * r - hhh - 2n * v);
  return { x, y: modulo(r * (v - x) - s1 * hhh), z: modulo(h * one.z * other.z) };
}

function modulo(value) {
  const rest = value % FIELD;
  return rest < 0n ? rest + FIELD : rest;
}

const inverse = (value) => power(modulo(value), FIELD - 2n); // Fermat's

function power(base, exponent) {
  let result = 1n;
  let square = base;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = modulo(result * square);
    square = modulo(square * square);
  }
  return result;
}
