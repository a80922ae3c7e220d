// What a file is, told by how it begins: one of those that the page verifies, and how; or another of
// this product, and which command takes it.

import { ascii, fromUtf8, startsWith } from './bytes.js';
import { isTokenOrAnswer } from './cms.js';
import { CONSISTENCY_START, CONSISTENCY_STEPS, verifyConsistency } from './consistency.js';
import { COSE_START } from './cose.js';
import { CONTEXT_0, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE } from './der.js';
import { digestAlgorithmOf, PDF_START, REFRESHED_START } from './opening.js';
import { COMPACT_STEPS, digestAlgorithmOfCompact, isCompact, verifyCompact } from './qr.js';
import { digestAlgorithmOfToken, TOKEN_STEPS, verifyToken } from './stamp.js';
import { STANDING_START, STANDING_STEPS, verifyStanding } from './standing.js';
import { digestAlgorithmOfTlog, isTlogProof, TLOG_STEPS, verifyTlog } from './tlog.js';
import { carriesChainProof } from './token.js';
import { STEPS, verifyReceipt } from './verify.js';

const NATIVE_START = Uint8Array.of(0x8d, 0x01, 0x58, 0x20); // 13 items: version 1, a chain id
const RECEIPT_STARTS = [NATIVE_START, COSE_START, REFRESHED_START, PDF_START];
const EQUIVOCATION_START = Uint8Array.of(0x8d, 0x01); // 13 items as well: version 1, an epoch
const ANCHOR_START = ascii('\x85\x6fgovchain-anchor'); // an array of five, its first item
// Byte order marks: of UTF-8, and of UTF-16 in either order.
const MARKS = [Uint8Array.of(0xef, 0xbb, 0xbf), Uint8Array.of(0xff, 0xfe), Uint8Array.of(0xfe, 0xff)];
const INTEGER_1 = Uint8Array.of(0x02, 0x01, 0x01);
const HEAD_BYTES = 512; // all that is looked at of a text

/** What the page verifies. Without `algorithmOf` there is no document that it is about. */
export const KINDS = {
  receipt: { steps: STEPS, verify: verifyReceipt, algorithmOf: digestAlgorithmOf },
  compact: { steps: COMPACT_STEPS, verify: verifyCompact, algorithmOf: digestAlgorithmOfCompact },
  token: { steps: TOKEN_STEPS, verify: verifyToken, algorithmOf: digestAlgorithmOfToken },
  tlog: { steps: TLOG_STEPS, verify: verifyTlog, algorithmOf: digestAlgorithmOfTlog },
  standing: {
    steps: STANDING_STEPS,
    verify: (bytes, trust, _, now) => verifyStanding(bytes, trust, now),
  },
  consistency: {
    steps: CONSISTENCY_STEPS,
    verify: (bytes, trust, _, now) => verifyConsistency(bytes, trust, now),
  },
};

// Texts, by how they begin; white space before them is of no account.
const TEXTS = [
  ['trust', /^\{[^]*"govchain-trust"/],
  ['report', /^\{[^]*"govchain-audit-report"/],
  ['privateKey', /^\{[^]*"govchain-key\/|^-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/],
  ['certificate', /^-----BEGIN CERTIFICATE-----/],
  ['revocations', /^-----BEGIN X509 CRL-----/],
  ['fork', /^govchain\.fork-proof@v1\n/],
  ['checkpoint', /^govchain\/[0-9a-f]{64}\n/],
  ['policy', /^(?:#[^\n]*\n|\n)*log /],
];

/**
 * Return what a file is: a name of `KINDS`, or of one that another command takes; null for what is
 * none of ours.
 */
export function kindOf(bytes) {
  if (MARKS.some((mark) => startsWith(bytes, mark))) return 'marked';
  if (isCompact(bytes)) return 'compact';
  if (isTlogProof(bytes)) return 'tlog';
  if (startsWith(bytes, STANDING_START)) return 'standing';
  if (startsWith(bytes, CONSISTENCY_START)) return 'consistency';
  if (startsWith(bytes, ANCHOR_START)) return 'anchor';
  if (isTokenOrAnswer(bytes)) return kindOfDer(bytes);
  if (RECEIPT_STARTS.some((start) => startsWith(bytes, start))) return 'receipt';
  if (startsWith(bytes, EQUIVOCATION_START) && bytes[2] < 0x1c) return 'equivocation';
  const head = textOf(bytes.subarray(0, HEAD_BYTES)).trimStart();
  const [found] = TEXTS.find(([, pattern]) => pattern.test(head)) ?? [null];
  return found;
}

/** A token begins with its type, an answer with its status, and others of ours with a version 1. */
function kindOfDer(bytes) {
  const inside = afterHead(bytes);
  if (afterHead(inside)[0] === CONTEXT_0 && inside[0] === SEQUENCE) return 'certificate';
  if (isRevocationList(inside)) return 'revocations';
  if (!startsWith(inside, INTEGER_1)) return carriesChainProof(bytes) ? 'receipt' : 'token';
  try {
    const fields = new Reader(inside.subarray(INTEGER_1.length), '').enter(SEQUENCE);
    fields.read(SEQUENCE);
    return fields.bytes[fields.at] === OCTET_STRING ? 'request' : 'evidence';
  } catch {
    return 'token'; // cut off: its verification says so
  }
}

/** A list holds its version and an algorithm, where an answer has its status, and text if any. */
function isRevocationList(inside) {
  const fields = afterHead(inside);
  const algorithm = fields.subarray(INTEGER_1.length);
  const isNamed = algorithm[0] === SEQUENCE && afterHead(algorithm)[0] === OBJECT_IDENTIFIER;
  return startsWith(fields, INTEGER_1) && isNamed;
}

/** Return what follows the first tag and length of bytes. */
function afterHead(bytes) {
  const size = bytes[1] < 0x80 ? 2 : 2 + (bytes[1] & 0x7f);
  return bytes.subarray(size);
}

/** Return as much of bytes as is text: the last character may be cut. */
function textOf(bytes) {
  for (let cut = 0; cut < 4 && cut <= bytes.length; cut += 1) {
    const text = fromUtf8(bytes.subarray(0, bytes.length - cut));
    if (text !== null) return text;
  }
  return '';
}
