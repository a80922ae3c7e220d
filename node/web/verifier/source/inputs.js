// Files as the page is given them: told apart, read whole, hashed slice by slice. Nothing leaves.

import { ascii, fromUtf8, startsWith } from './bytes.js';
import { COSE_START } from './cose.js';
import { DOCUMENT_DIGESTS } from './hashes.js';
import { REFRESHED_START } from './opening.js';
import { isCompact } from './qr.js';

const SLICE_BYTES = 4194304;
const HEAD_BYTES = 512;
const PDF_START = ascii('%PDF-');
const NATIVE_START = Uint8Array.of(0x8d, 0x01, 0x58, 0x20); // 13 items: version 1, a chain id
const TRUST = /^[ \t\n\r]*\{[^]*"govchain-trust"/;

/** Tell of each file whether it is the 'trust' file, the 'receipt' or the 'document'. */
export async function guessKinds(files) {
  const heads = await Promise.all(files.map((file) => readBytes(file.slice(0, HEAD_BYTES))));
  const kinds = files.map((file, at) => guessKind(file.name, heads[at]));
  // A PDF is a document like any other, unless the receipt is missing and a document is there.
  const documents = kinds.filter((kind) => kind === 'document').length;
  const pdf = heads.findIndex((head) => startsWith(head, PDF_START));
  if (pdf >= 0 && documents > 1 && !kinds.includes('receipt')) kinds[pdf] = 'receipt';
  return kinds;
}

function guessKind(name, head) {
  if (TRUST.test(fromUtf8(head) ?? '')) return 'trust';
  const isReceipt = [NATIVE_START, COSE_START, REFRESHED_START].some((start) =>
    startsWith(head, start),
  );
  return isReceipt || isCompact(head) || /\.tsr$/i.test(name) ? 'receipt' : 'document';
}

export async function readBytes(blob) {
  return new Uint8Array(await blob.arrayBuffer());
}

/** Return the digest of a file, or null once `isWanted` denies it; `onProgress` is told the part done. */
export async function hashFile(file, algorithm, onProgress, isWanted) {
  const hash = algorithm.start();
  for (let at = 0; at < file.size; at += SLICE_BYTES) {
    hash.update(await readBytes(file.slice(at, at + SLICE_BYTES)));
    if (!isWanted()) return null;
    onProgress(Math.min(1, (at + SLICE_BYTES) / file.size));
  }
  return hash.digest();
}

/** Read `ALGORITHM:HEX`, or the hex of a SHA-256 digest; null for anything else. */
export function parseDigest(text) {
  const written = text.trim().toLowerCase();
  const [, name = 'sha-256', digits] = /^(?:([a-z0-9-]+):)?([0-9a-f]+)$/.exec(written) ?? [];
  const algorithm = [...DOCUMENT_DIGESTS.values()].find((each) => each.name === name);
  const isWhole = digits !== undefined && algorithm?.size * 2 === digits.length;
  return isWhole ? `${name}:${digits}` : null;
}
