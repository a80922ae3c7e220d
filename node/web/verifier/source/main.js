// Where the script begins: the page where there is one, and what tests call without it.

import { DOCUMENT_DIGESTS } from './hashes.js';
import { inflate } from './inflate.js';
import { startPage } from './page.js';
import { isCompact, verifyCompact } from './qr.js';
import * as signatures from './signatures.js';
import { loadTrust } from './trust.js';
import { verifyReceipt } from './verify.js';

/** Return the digest of pieces by the algorithm of this name. */
function digest(name, ...pieces) {
  const algorithm = [...DOCUMENT_DIGESTS.values()].find((each) => each.name === name);
  const hash = algorithm.start();
  for (const piece of pieces) hash.update(piece);
  return hash.digest();
}

globalThis.govchainVerifier = {
  isCompact,
  loadTrust,
  verifyCompact,
  verifyReceipt,
  primitives: { ...signatures, digest, inflate },
};
if (typeof document !== 'undefined') startPage(document);
