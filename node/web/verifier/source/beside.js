// What may be given beside a receipt or a time-stamp token: each file read, and told what it is.

import { fromBase64, fromUtf8 } from './bytes.js';
import { readCertificate } from './certificate.js';
import { readRequest, readToken, tokenOfAnswer } from './cms.js';
import { SEQUENCE } from './der.js';
import { kindOf } from './kinds.js';
import { openReceipt } from './opening.js';
import { need } from './refusal.js';
import { readRevocations } from './revocations.js';

const NO_CERTIFICATES = ['certificates', 'expected PEM and nothing before it'];
const NO_LIST = ['revocation list', 'expected one in PEM or DER'];
/** How those are read that the page takes; a proof of standing is read when it is verified. */
const READERS = {
  standing: (bytes) => [bytes],
  request: (bytes) => [readRequest(bytes)],
  certificate: (bytes) => fromPem(bytes, 'CERTIFICATE', NO_CERTIFICATES).map(readCertificate),
  revocations: (bytes) => fromPem(bytes, 'X509 CRL', NO_LIST).map(readRevocations),
};
/** Of which there is one at most. */
export const ONCE = ['standing', 'request'];

/** Tell whether a kind of file is one of these. */
export const isBeside = (kind) => kind in READERS;

/** Return the kind of a file and what was read of it. Refuses what cannot be read. */
export function readBeside(bytes) {
  const kind = kindOf(bytes);
  need(isBeside(kind), 'beside', 'expected what goes with a receipt or a token');
  return { kind, read: READERS[kind](bytes) };
}

/** Return what files hold, by kind: a proof of `standing` and a `request` or null, lists of others. */
export function gather(files) {
  const of = (kind) => files.filter((each) => each.kind === kind).flatMap(({ read }) => read);
  const [standing = null] = of('standing');
  const [request = null] = of('request');
  return { standing, request, certificates: of('certificate'), revocations: of('revocations') };
}

/** Return the DER in a file in PEM form, or the file itself where that is DER; `wrong` refuses it. */
function fromPem(bytes, label, wrong) {
  if (bytes[0] === SEQUENCE) return [bytes];
  const [head, ...blocks] = (fromUtf8(bytes) ?? '').split(`-----BEGIN ${label}-----`);
  need(head.trim() === '' && blocks.length > 0, ...wrong);
  return blocks.map((block) => {
    const [content] = block.split(`-----END ${label}-----`);
    const found = fromBase64(content.replace(/\s/g, ''));
    need(found !== null && content !== block, ...wrong);
    return found;
  });
}

/** Return the certificates in the token of a file; none where there is no token that can be read. */
export function certificatesIn(bytes) {
  try {
    const token = kindOf(bytes) === 'token' ? tokenOfAnswer(bytes) : openReceipt(bytes).receipt.token;
    return token === null ? [] : readToken(token).certificates.map(readCertificate);
  } catch {
    return []; // verification says what is wrong with it
  }
}
