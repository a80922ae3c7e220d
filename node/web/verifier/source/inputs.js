// Files as the page is given them: told apart, read whole, hashed slice by slice. Nothing leaves.

import { startsWith } from './bytes.js';
import { isTokenOrAnswer } from './cms.js';
import { DOCUMENT_DIGESTS } from './hashes.js';
import { kindOf, KINDS } from './kinds.js';
import { PDF_START } from './opening.js';

const SLICE_BYTES = 4194304;
const HEAD_BYTES = 512;
const BESIDE = ['certificate', 'revocations'];
const PROOFS = ['anchor', 'fork', 'equivocation', ...Object.keys(KINDS)];

/**
 * Tell of each file whether it is the 'trust' file, the 'receipt', the 'document' or goes 'beside':
 * so does a proof of standing where there is a receipt.
 */
export async function guessKinds(files, hasReceipt) {
  const heads = await Promise.all(files.map((file) => readBytes(file.slice(0, HEAD_BYTES))));
  const kinds = files.map((file, at) => guessKind(file.name, heads[at]));
  const isStanding = heads.map((head) => kindOf(head) === 'standing');
  const isReceipt = (kind, at) => kind === 'receipt' && !isStanding[at];
  // A PDF is a document like any other, unless the receipt is missing and a document is there.
  const documents = kinds.filter((kind) => kind === 'document').length;
  const pdf = heads.findIndex((head) => startsWith(head, PDF_START));
  if (pdf >= 0 && documents > 1 && !kinds.some(isReceipt)) kinds[pdf] = 'receipt';
  const isFollowed = hasReceipt || kinds.some(isReceipt);
  return kinds.map((kind, at) => (isFollowed && isStanding[at] ? 'beside' : kind));
}

function guessKind(name, head) {
  const kind = kindOf(head);
  if (kind === 'trust') return 'trust';
  if (!isTokenOrAnswer(head) && BESIDE.includes(kind)) return 'beside';
  // What begins as DER may be anything that begins with a zero; and a PDF is judged with the others.
  if (isTokenOrAnswer(head)) {
    if (/\.(?:tsq|crl|cer|crt|der)$/i.test(name)) return 'beside';
    return /\.(?:tsr|ers)$/i.test(name) ? 'receipt' : 'document';
  }
  return PROOFS.includes(kind) && !startsWith(head, PDF_START) ? 'receipt' : 'document';
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
