// SHA-1 (FIPS 180-4), by which the first form of a signed attribute names a certificate (RFC 2634).
// Nothing rests on it alone: the signature is over the attribute, and the certificate is at hand.

const BLOCK_BYTES = 64;
const CONSTANTS = [0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6];

export function sha1(bytes) {
  const size = BLOCK_BYTES * Math.ceil((bytes.length + 9) / BLOCK_BYTES);
  const padded = new Uint8Array(size);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(size - 8, BigInt(bytes.length) * 8n);
  const state = Int32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0);
  for (let at = 0; at < size; at += BLOCK_BYTES) compress(state, view, at);
  const digest = new DataView(new ArrayBuffer(4 * state.length));
  state.forEach((word, at) => digest.setInt32(4 * at, word));
  return new Uint8Array(digest.buffer);
}

function compress(state, view, start) {
  const words = new Int32Array(80);
  for (let at = 0; at < 80; at += 1) {
    words[at] =
      at < 16
        ? view.getInt32(start + 4 * at)
        : rotate(words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16], 1);
  }
  let [a, b, c, d, e] = state;
  words.forEach((word, at) => {
    const round = Math.floor(at / 20);
    const mixed =
      round === 0 ? (b & c) | (~b & d) : round === 2 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
    const next = (rotate(a, 5) + mixed + e + CONSTANTS[round] + word) | 0;
    [a, b, c, d, e] = [next, a, rotate(b, 30), c, d];
  });
  [a, b, c, d, e].forEach((word, at) => {
    state[at] += word;
  });
}

function rotate(word, bits) {
  return (word << bits) | (word >>> (32 - bits));
}
