// Opening a receipt in whatever format: which it is, by its first bytes, and what it carries.
// What a format says besides the native receipt in it must be what that exports to.

import { ascii, compare, concat, equal, includes, startsWith } from './bytes.js';
import { COSE_START, coseProtected, decodeCose } from './cose.js';
import { encode } from './cbor.js';
import { DOCUMENT_DIGESTS } from './hashes.js';
import { inflate } from './inflate.js';
import { need, NotRooted, Refused } from './refusal.js';
import {
  decodeConsistency,
  decodeReceipt,
  decodeRefreshed,
  RECEIPT_BYTES_MAX,
  RECEIPT_FILE_BYTES_MAX,
} from './structures.js';
import { CHAIN_PROOF, checkStamp, isTokenOrAnswer, takeChainProof } from './token.js';

export const REFRESHED_START = ascii('\x84\x72govchain-refreshed'); // an array of four, its first item
const PDF_START = ascii('%PDF-');
const EMBEDDED_FILE =
  /<<[ \t\n\r\f\v]{0,8}\/Length ([0-9]{1,9})[ \t\n\r\f\v]{0,8}\/Type[ \t\n\r\f\v]{0,8}\/EmbeddedFile(?![^\0\t\n\f\r ()<>[\]{}/%])/;
const NAMED =
  /\/(?:E|#45)(?:m|#6[dD])(?:b|#62)(?:e|#65)(?:d|#64)(?:d|#64)(?:e|#65)(?:d|#64)(?:F|#46)(?:i|#69)(?:l|#6[cC])(?:e|#65)(?![^\0\t\n\f\r ()<>[\]{}/%])/g; // wherever it stands, however it is written
const STREAM = /\bstream\r?\n/;
const HEAD_BYTES_MAX = 400;

/**
 * Return the `receipt` in a file, its `format` and `size`; `stamped`, ms of a COSE stamp, and what it
 * is `joined` by to a later header, where it has them, else null.
 */
export function openReceipt(bytes) {
  if (isTokenOrAnswer(bytes)) return openToken(bytes);
  if (startsWith(bytes, COSE_START)) return openCose(bytes);
  if (startsWith(bytes, REFRESHED_START)) {
    const { receipt, proof } = decodeRefreshed(bytes);
    return { ...opened('refreshed', receipt), joined: decodeConsistency(proof) };
  }
  const isPdf = startsWith(bytes, PDF_START);
  return opened(isPdf ? 'pdf' : 'native', isPdf ? openPdf(bytes) : bytes);
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

function opened(format, carried, stamped = null) {
  return { format, receipt: decodeReceipt(carried), size: carried.length, stamped, joined: null };
}

function openToken(bytes) {
  need(
    bytes.length <= RECEIPT_FILE_BYTES_MAX,
    'answer',
    `expected at most ${RECEIPT_FILE_BYTES_MAX} bytes`,
  );
  const { bare, receipt } = takeChainProof(bytes);
  if (receipt === null) {
    need(!includes(bytes, CHAIN_PROOF), 'token', 'expected a chain proof');
    throw new NotRooted('a time-stamp token that carries no receipt is the word of one key');
  }
  const found = opened('tsr', receipt);
  need(
    found.receipt.token === null,
    'token-carried',
    'expected null for the token of the receipt inside',
  );
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
  const found = opened('cose', written.carried);
  const { cose, chainId, header, logIndex, logPath } = found.receipt;
  need(cose !== null, 'cose-carried', 'expected a receipt with a COSE signature');
  const isOwn =
    equal(written.protectedHeader, coseProtected(chainId, cose.voteKey)) &&
    written.logSize === header.logSize &&
    written.logIndex === logIndex &&
    compare(concat(...written.logPath), concat(...logPath)) === 0 &&
    equal(written.signature, cose.signature);
  need(isOwn, 'cose-header', 'expected those of the receipt it carries');
  if (written.token === null) return found;
  const signed = encode(written.signature);
  return { ...found, stamped: checkStamp(written.token, DOCUMENT_DIGESTS, signed, header.time) };
}

/** Return the one file attached to a PDF certificate. */
function openPdf(bytes) {
  need(
    bytes.length <= RECEIPT_FILE_BYTES_MAX,
    'PDF',
    `expected at most ${RECEIPT_FILE_BYTES_MAX} bytes`,
  );
  const text = new TextDecoder('latin1').decode(bytes);
  const count = [...text.matchAll(NAMED)].length;
  need(count === 1, 'PDF', () => `expected one attached file, got ${count}`);
  const attached = EMBEDDED_FILE.exec(text);
  if (attached === null)
    throw new Refused('PDF', 'the attached file is not as a certificate has it');
  const headAt = attached.index + attached[0].length;
  const stream = STREAM.exec(text.slice(headAt, headAt + HEAD_BYTES_MAX));
  if (stream === null) throw new Refused('PDF', 'the attached file has no stream');
  const start = headAt + stream.index + stream[0].length;
  const content = bytes.slice(start, start + Number(attached[1]));
  const isDeflated = text.slice(headAt, headAt + stream.index).includes('/FlateDecode');
  return isDeflated ? inflate(content, RECEIPT_BYTES_MAX + 1) : content;
}
