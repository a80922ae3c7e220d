// Where the script begins: the page where there is one, and what tests call without it.

import { gather, readBeside } from './beside.js';
import { isTokenOrAnswer } from './cms.js';
import { DOCUMENT_DIGESTS } from './hashes.js';
import { inflate } from './inflate.js';
import { startPage } from './page.js';
import { KINDS, kindOf } from './kinds.js';
import * as signatures from './signatures.js';
import * as sm2 from './sm2.js';
import { loadTrust } from './trust.js';
import { sha1 } from './sha1.js';
import { tellDetail } from './telling.js';

/** Return the digest of pieces by the algorithm of this name. */
function digest(name, ...pieces) {
  const algorithm = [...DOCUMENT_DIGESTS.values()].find((each) => each.name === name);
  const hash = algorithm.start();
  for (const piece of pieces) hash.update(piece);
  return hash.digest();
}

/** Verify what was given as a receipt, by what it is; what is nothing known is no receipt. */
function verify(bytes, trust, document, now, beside) {
  const other = isTokenOrAnswer(bytes) ? KINDS.token : KINDS.receipt;
  const { verify: take } = KINDS[kindOf(bytes)] ?? other;
  return take(bytes, trust, document, now, gather((beside ?? []).map(readBeside)));
}

globalThis.govchainVerifier = {
  kindOf,
  loadTrust,
  tellDetail,
  verify,
  primitives: { ...signatures, ...sm2, digest, inflate, sha1 },
};
if (typeof document !== 'undefined') startPage(document);
