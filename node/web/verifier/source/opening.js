// Opening a receipt in whatever format: which it is, by its first bytes, and what it carries.
// What a format says besides the native receipt in it must be what that exports to.

import { ascii, compare, concat, equal, startsWith } from './bytes.js';
import { isTokenOrAnswer } from './cms.js';
import { COSE_START, coseProtected, decodeCose } from './cose.js';
import { encode } from './cbor.js';
import { DOCUMENT_DIGESTS } from './hashes.js';
import { attachedFile } from './pdf.js';
import { need, NotRooted } from './refusal.js';
import {
  decodeConsistency,
  decodeReceipt,
  decodeRefreshed,
  RECEIPT_FILE_BYTES_MAX,
} from './structures.js';
import { checkStamp, openChainProof } from './token.js';

export const REFRESHED_START = ascii('\x84\x72govchain-refreshed'); // an array of four, its first item
export const PDF_START = ascii('%PDF-');

/**
 * Return the `receipt` in a file, its `format` and `size`; `stamped`, ms of a COSE stamp, and what it
 * is `joined` by to a later header, where it has them, else null.
 */
export function openReceipt(bytes) {
  if (isTokenOrAnswer(bytes)) return openToken(bytes);
  if (startsWith(bytes, COSE_START)) return openCose(bytes);
  if (startsWith(bytes, PDF_START)) return openCarried('pdf', attachedFile(bytes));
  return openCarried(startsWith(bytes, REFRESHED_START) ? 'refreshed' : 'native', bytes);
}

/** Return by which algorithm to hash a document before it is compared; SHA-256 where untold. */
export function digestAlgorithmOf(bytes) {
  try {
    const { algorithm } = openReceipt(bytes).receipt.leaf.record;
    return DOCUMENT_DIGESTS.get(algorithm) ?? DOCUMENT_DIGESTS.get(1n);
  } catch {
    return DOCUMENT_DIGESTS.get(1n); // verification says what is wrong with it
  }
}

/** Read a receipt, refreshed or not, as a format carries it. */
function openCarried(format, carried) {
  if (!startsWith(carried, REFRESHED_START)) return opened(format, carried, null);
  const { receipt, proof } = decodeRefreshed(carried);
  return opened(format, receipt, proof);
}

function opened(format, carried, proof) {
  const joined = proof === null ? null : { ...decodeConsistency(proof), bytes: proof };
  return { format, receipt: decodeReceipt(carried), size: carried.length, stamped: null, joined };
}

function openToken(bytes) {
  const { bare, receipt, isAnswer } = openChainProof(bytes);
  const found = openCarried('tsr', receipt);
  need(
    found.receipt.token === null,
    'token-carried',
    'expected null for the token of the receipt inside',
  );
  need(isAnswer, 'answer-form', 'expected that the answer grants the token, and no more');
  const size = encode([
    ...found.receipt.value.slice(0, 9),
    bare,
    ...found.receipt.value.slice(10),
  ]).length;
  return { ...found, receipt: { ...found.receipt, token: bare }, size };
}

function openCose(bytes) {
  need(
    bytes.length <= RECEIPT_FILE_BYTES_MAX,
    'COSE receipt',
    `expected at most ${RECEIPT_FILE_BYTES_MAX} bytes`,
  );
  const written = decodeCose(bytes);
  if (written.carried === null) {
    throw new NotRooted(
      'a COSE Receipt that carries no chain proof is the word of one validator, about a leaf that it does not hold',
    );
  }
  const found = opened('cose', written.carried, written.join);
  const { cose, chainId, header, logIndex, logPath } = found.receipt;
  need(cose !== null, 'cose-carried', 'expected a receipt with a COSE signature');
  const isOwn =
    equal(written.protectedHeader, coseProtected(chainId, cose.voteKey)) &&
    written.logSize === header.logSize &&
    written.logIndex === logIndex &&
    compare(concat(...written.logPath), concat(...logPath)) === 0 &&
    equal(written.signature, cose.signature);
  need(isOwn, 'cose-header', 'expected that of the receipt it carries');
  if (written.token === null) return found;
  const signed = encode(written.signature);
  return { ...found, stamped: checkStamp(written.token, signed, header.time) };
}
