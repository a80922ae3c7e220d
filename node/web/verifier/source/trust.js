// The trust file: what its owner pins, checked through before any receipt.

import { fromBase64, fromHex, fromUtf8, hex } from './bytes.js';
import { chainIdOf, checkCertified, checkHandover, checkOneChain } from './chain.js';
import { sha256 } from './hashes.js';
import { parseJson, WrittenNumber } from './json.js';
import { need, needEqual, Refused } from './refusal.js';
import { decodeCertified, decodeGenesis, decodeHandover, HISTORY_HANDOVERS_MAX } from './structures.js';

export const TRUST_BYTES_MAX = 67108864;
const WHAT = 'trust file';
const FORMAT = 'govchain-trust';
const FIELDS = ['format', 'version', 'chain_id', 'genesis', 'handovers', 'pinned'];

/**
 * Return what a trust file pins, checked: `chainId` (bytes), `genesis`, its `suite`, `sets` by epoch,
 * `blocks`, `pinned` or null, and `fingerprint`, the SHA-256 of the file. Throws `Refused`.
 */
export async function loadTrust(bytes) {
  const { chainId, genesis, handovers, pinned } = decodeTrust(bytes);
  needEqual('trust-chain-id', chainIdOf(genesis), hex(chainId));
  const { suite } = genesis;
  const { epoch } = genesis.validators;
  need(epoch === 0n, 'genesis validators', () => `expected epoch 0, got ${epoch}`);
  const sets = [genesis.validators];
  for (const handover of handovers) {
    sets.push(await checkHandover(suite, handover, chainId, sets[sets.length - 1]));
  }
  if (pinned !== null) await checkCertified(suite, pinned, chainId, sets[sets.length - 1]);
  const blocks = pinned === null ? [] : [...handovers, pinned];
  checkOneChain(genesis, blocks);
  return { chainId, genesis, suite, sets, blocks, pinned, fingerprint: hex(sha256(bytes)) };
}

function decodeTrust(bytes) {
  need(bytes.length <= TRUST_BYTES_MAX, WHAT, `expected at most ${TRUST_BYTES_MAX} bytes`);
  const text = fromUtf8(bytes);
  need(text !== null, WHAT, 'expected a JSON object: not UTF-8');
  const fields = parseJson(text, WHAT);
  need(fields instanceof Map, WHAT, 'expected a JSON object, got another value');
  need(fields.get('format') === FORMAT, WHAT, `expected format '${FORMAT}'`);
  const version = fields.get('version');
  const isFirst = version instanceof WrittenNumber && version.digits === '1';
  need(isFirst, `${WHAT} version`, () => `expected 1, got ${version?.digits ?? 'another value'}`);
  const missing = FIELDS.find((name) => !fields.has(name));
  need(missing === undefined, WHAT, () => `missing field '${missing}'`);
  const unknown = [...fields.keys()].find((name) => !FIELDS.includes(name));
  need(unknown === undefined, WHAT, () => `unknown field '${unknown.slice(0, 38)}'`);
  const [handovers, pinned] = [fields.get('handovers'), fields.get('pinned')];
  const isList = Array.isArray(handovers) && handovers.length <= HISTORY_HANDOVERS_MAX;
  need(isList, `${WHAT} handovers`, `expected a list of at most ${HISTORY_HANDOVERS_MAX}`);
  const isPinned = pinned !== null || handovers.length === 0;
  need(isPinned, `${WHAT} pinned`, 'expected a header after the handovers, got null');
  const chainId = fields.get('chain_id');
  const isHex = typeof chainId === 'string' && chainId.length === 64 && fromHex(chainId) !== null;
  need(isHex, `${WHAT} chain_id`, 'expected 64 lower-case hex digits');
  const genesis = decodeGenesis(readBase64(fields.get('genesis'), 'genesis'));
  return {
    chainId: fromHex(chainId),
    genesis,
    handovers: handovers.map((item) => decodeHandover(readBase64(item, 'handovers'))),
    pinned: pinned === null ? null : decodeCertified(readBase64(pinned, 'pinned')),
  };
}

function readBase64(value, field) {
  const bytes = typeof value === 'string' ? fromBase64(value) : null;
  if (bytes === null || bytes.length === 0)
    throw new Refused(`${WHAT} ${field}`, 'expected base64 text');
  return bytes;
}
