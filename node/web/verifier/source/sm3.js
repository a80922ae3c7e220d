// SM3 (GB/T 32905-2016), fed piece by piece.

const BLOCK_BYTES = 64;
const START = [
  0x7380166f, 0x4914b2b9, 0x172442d7, 0xda8a0600, 0xa96f30bc, 0x163138aa, 0xe38dee4d, 0xb0fb0e4e,
];
const ROUND = Int32Array.from({ length: 64 }, (_, j) =>
  rotate(j < 16 ? 0x79cc4519 : 0x7a879d8a, j % 32),
);

export class Sm3 {
  constructor() {
    this.state = Int32Array.from(START);
    this.words = new Int32Array(68);
    this.block = new Uint8Array(BLOCK_BYTES);
    this.held = 0;
    this.size = 0;
  }

  update(bytes) {
    this.size += bytes.length;
    let at = 0;
    if (this.held > 0) {
      at = Math.min(BLOCK_BYTES - this.held, bytes.length);
      this.block.set(bytes.subarray(0, at), this.held);
      this.held += at;
      if (this.held < BLOCK_BYTES) return this;
      this.compress(this.block, 0);
      this.held = 0;
    }
    for (; at + BLOCK_BYTES <= bytes.length; at += BLOCK_BYTES) this.compress(bytes, at);
    this.block.set(bytes.subarray(at));
    this.held = bytes.length - at;
    return this;
  }

  digest() {
    const bits = BigInt(this.size) * 8n;
    const padding = new Uint8Array(((119 - (this.size % 64)) % 64) + 9);
    padding[0] = 0x80;
    new DataView(padding.buffer).setBigUint64(padding.length - 8, bits);
    this.update(padding);
    const digest = new DataView(new ArrayBuffer(32));
    this.state.forEach((word, at) => digest.setInt32(4 * at, word));
    return new Uint8Array(digest.buffer);
  }

  compress(bytes, start) {
    const { state, words: w } = this;
    for (let j = 0, at = start; j < 16; j += 1, at += 4) {
      w[j] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
    }
    for (let j = 16; j < 68; j += 1) {
      const x = w[j - 16] ^ w[j - 9] ^ rotate(w[j - 3], 15);
      w[j] = x ^ rotate(x, 15) ^ rotate(x, 23) ^ rotate(w[j - 13], 7) ^ w[j - 6];
    }
    let a = state[0];
    let b = state[1];
    let c = state[2];
    let d = state[3];
    let e = state[4];
    let f = state[5];
    let g = state[6];
    let h = state[7];
    for (let j = 0; j < 64; j += 1) {
      const a12 = rotate(a, 12);
      const ss1 = rotate((a12 + e + ROUND[j]) | 0, 7);
      const ff = j < 16 ? a ^ b ^ c : (a & b) | (a & c) | (b & c);
      const gg = j < 16 ? e ^ f ^ g : (e & f) | (~e & g);
      const tt1 = (ff + d + (ss1 ^ a12) + (w[j] ^ w[j + 4])) | 0;
      const tt2 = (gg + h + ss1 + w[j]) | 0;
      d = c;
      c = rotate(b, 9);
      b = a;
      a = tt1;
      h = g;
      g = rotate(f, 19);
      f = e;
      e = tt2 ^ rotate(tt2, 9) ^ rotate(tt2, 17);
    }
    state[0] ^= a;
    state[1] ^= b;
    state[2] ^= c;
    state[3] ^= d;
    state[4] ^= e;
    state[5] ^= f;
    state[6] ^= g;
    state[7] ^= h;
  }
}

function rotate(word, bits) {
  return bits === 0 ? word : (word << bits) | (word >>> (32 - bits));
}
