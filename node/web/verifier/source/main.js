// Where the script begins: the page where there is one, and what may be called without it.

import { isCompact, verifyCompact } from './qr.js';
import { startPage } from './page.js';
import { TEXTS } from './texts.js';
import { loadTrust } from './trust.js';
import { verifyReceipt } from './verify.js';
import { DOCUMENT_DIGESTS } from './hashes.js';

globalThis.govchainVerifier = {
  DOCUMENT_DIGESTS,
  isCompact,
  loadTrust,
  TEXTS,
  verifyCompact,
  verifyReceipt,
};
if (typeof document !== 'undefined') startPage(document);
