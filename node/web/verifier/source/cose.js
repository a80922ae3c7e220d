// COSE Receipts (RFC 9942) in the one form of this product, and what a validator signs of a root.

import { ascii, concat, equal, hex, startsWith } from './bytes.js';
import { decode, encode } from './cbor.js';
import { need, Refused } from './refusal.js';
import { bytes as bytesOf, list, structure, uint } from './shapes.js';
import { RECEIPT_BYTES_MAX } from './structures.js';

export const COSE_START = Uint8Array.of(0xd2, 0x84);
const WHAT = 'COSE receipt';
const TOKEN_LABEL = Uint8Array.of(0x19, 0x01, 0x0e); // 270
const PROOF_LABEL = Uint8Array.of(0x19, 0x01, 0x8c); // 396
const CARRIED_LABEL = Uint8Array.of(0x3a, 0x00, 0x67, 0x6f, 0x75); // -6778742
const JOIN_LABEL = Uint8Array.of(0x3a, 0x00, 0x67, 0x6f, 0x76); // -6778743
const INCLUSION = Uint8Array.of(0xa1, 0x20, 0x81); // {-1: [
const DETACHED = Uint8Array.of(0xf6);
const HASH_BYTES = 32;

const readProof = structure('inclusion proof', {
  logSize: uint(),
  logIndex: uint(),
  logPath: list(bytesOf(HASH_BYTES), 64),
});

/** The Sig_structure (RFC 9052) of a log root, as proto/RECEIPT.md spells it out. */
export function coseSigned(chainId, voteKey, root) {
  const header = coseProtected(chainId, voteKey);
  return concat(ascii('\x84\x6aSignature1\x58\x7f'), header, ascii('\x40\x58\x20'), root);
}

export function coseProtected(chainId, voteKey) {
  const issuer = ascii(`\x78\x4fgovchain:chain:${hex(chainId)}`);
  const before = ascii('\xa4\x01\x26\x04\x58\x21');
  return concat(before, voteKey, ascii('\x0f\xa1\x01'), issuer, ascii('\x19\x01\x8b\x01'));
}

/** Read a COSE Receipt: its parts, of which `token`, `carried` and `join` may be null. */
export function decodeCose(bytes) {
  const reader = new Pieces(bytes);
  reader.skip(COSE_START);
  const found = { protectedHeader: reader.byteString(), token: null, carried: null, join: null };
  let proof = null;
  for (let left = reader.mapSize(); left > 0; left -= 1) {
    if (reader.has(TOKEN_LABEL)) {
      found.token = reader.byteString();
    } else if (reader.has(PROOF_LABEL)) {
      reader.skip(INCLUSION);
      proof = reader.byteString();
    } else if (reader.has(JOIN_LABEL)) {
      found.join = reader.byteString();
    } else {
      reader.skip(CARRIED_LABEL);
      found.carried = reader.byteString();
    }
  }
  reader.skip(DETACHED);
  found.signature = reader.byteString();
  need(proof !== null, WHAT, 'expected header 396');
  const { length } = found.signature;
  need(length === 64, 'COSE signature', () => `expected 64 bytes, got ${length} bytes`);
  Object.assign(
    found,
    readProof(decode(proof, 'inclusion proof', RECEIPT_BYTES_MAX), 'inclusion proof'),
  );
  // A longer form, headers twice or out of order, a byte more: no other bytes say this.
  need(
    equal(encodeCose(found, proof), bytes),
    WHAT,
    'not the canonical encoding, or bytes follow the end',
  );
  return found;
}

function encodeCose({ protectedHeader, token, carried, join, signature }, proof) {
  const headers = [concat(PROOF_LABEL, INCLUSION, encode(proof))];
  if (token !== null) headers.unshift(concat(TOKEN_LABEL, encode(token)));
  if (carried !== null) headers.push(concat(CARRIED_LABEL, encode(carried)));
  if (join !== null) headers.push(concat(JOIN_LABEL, encode(join)));
  const map = concat(Uint8Array.of(0xa0 | headers.length), ...headers);
  return concat(COSE_START, encode(protectedHeader), map, DETACHED, encode(signature));
}

/** Pieces of CBOR one after the other; whether they are canonical is seen by encoding again. */
class Pieces {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  has(piece) {
    const found = startsWith(this.bytes.subarray(this.at), piece);
    if (found) this.at += piece.length;
    return found;
  }

  skip(piece) {
    if (!this.has(piece)) throw new Refused(WHAT, `expected 0x${hex(piece)} at byte ${this.at}`);
  }

  mapSize() {
    const head = this.bytes[this.at];
    need(head >= 0xa0 && head < 0xb8, WHAT, () => `expected unprotected header at byte ${this.at}`);
    this.at += 1;
    return head - 0xa0;
  }

  byteString() {
    const low = this.bytes[this.at] - 0x40;
    need(low >= 0 && low < 27, WHAT, () => `expected signature at byte ${this.at}`);
    const width = { 24: 1, 25: 2, 26: 4 }[low] ?? 0;
    const start = this.at + 1 + width;
    const size =
      width === 0 ? low : Number.parseInt(hex(this.bytes.subarray(this.at + 1, start)), 16);
    need(
      start + size <= this.bytes.length,
      WHAT,
      () => `signature ends after byte ${this.bytes.length}`,
    );
    this.at = start + size;
    return this.bytes.slice(start, this.at);
  }
}
