// When a header is certified, how trust passes from set to set, and what one chain allows.
// The terms are those of proto/RECEIPT.md.

import { ascii, concat, hex } from './bytes.js';
import { encode } from './cbor.js';
import { breathe } from './pause.js';
import { need, needEqual } from './refusal.js';
import { P256_KEY_BYTES } from './signatures.js';
import { INTERNATIONAL, tagged } from './suites.js';

const COMMIT = 2n;
const VOTE_TAG = ascii('govchain/v1/vote\x00');

export const setHash = (suite, set) => hex(tagged(suite, 'validator-set', set.value));
export const headerDigest = (suite, header) => hex(tagged(suite, 'header', header.value));
export const parametersHash = (suite, { value }) => hex(tagged(suite, 'parameters', value));
export const chainIdOf = (genesis) => hex(tagged(genesis.suite, 'genesis', genesis.value));

/** Return q for so many members. */
export function quorumOf(set) {
  const n = set.members.length;
  const f = Math.floor((n - 1) / 3);
  return Math.floor((n + f + 2) / 2);
}

/** Refuse unless the certificate is a commit certificate about this header. */
export function checkAbout(suite, { header, certificate }) {
  const isCommit = certificate.phase === COMMIT;
  need(isCommit, 'certificate-phase', 'expected COMMIT, got PREPARE');
  needEqual('certificate-epoch', header.epoch, certificate.epoch);
  needEqual('certificate-height', header.height, certificate.height);
  needEqual('certificate-digest', headerDigest(suite, header), hex(certificate.headerDigest));
  need(
    certificate.view >= header.view,
    'certificate-view',
    () => `expected at least view ${header.view}, got ${certificate.view}`,
  );
}

/** Refuse unless a set certified this header of this chain. */
export async function checkCertified(suite, block, chainId, set) {
  const { header, certificate } = block;
  needEqual('header-chain', hex(chainId), hex(header.chainId));
  checkAbout(suite, block);
  const [known, named] = [setHash(suite, set), hex(certificate.setHash)];
  need(set.epoch === certificate.epoch && known === named, 'certificate-set', () => {
    const [wanted, got] = [known, named].map((each) => each.slice(0, 16));
    const { epoch } = certificate;
    return `expected epoch ${set.epoch} and set ${wanted}, got epoch ${epoch} and set ${got}`;
  });
  const quorum = quorumOf(set);
  const { votes } = certificate;
  need(
    votes.length >= quorum,
    'certificate-quorum',
    () => `expected ${quorum} distinct votes, got ${votes.length}`,
  );
  for (const member of set.members) {
    await breathe();
    checkVoteKey(suite, member.voteKey);
  }
  for (const vote of votes) {
    await breathe();
    const statement = encode([
      chainId,
      certificate.epoch,
      certificate.setHash,
      certificate.phase,
      certificate.view,
      certificate.height,
      certificate.headerDigest,
      vote.time,
    ]);
    const member = set.members[Number(vote.voter)];
    const isValid =
      member !== undefined &&
      suite.isVoteSignature(member.voteKey, concat(VOTE_TAG, statement), vote.signature);
    need(
      isValid,
      'certificate-signature',
      () => `the vote of validator ${vote.voter} does not verify`,
    );
  }
}

function checkVoteKey(suite, key) {
  const isWhole = suite !== INTERNATIONAL || key.length === P256_KEY_BYTES;
  need(isWhole, 'public key', () => `expected ${P256_KEY_BYTES} bytes, got ${key.length}`);
  need(suite.isVoteKey(key), 'public key', `expected a compressed point of ${suite.curve}`);
}

/** Refuse unless a set handed over to the next; return that one. */
export async function checkHandover(suite, handover, chainId, set) {
  await checkCertified(suite, handover, chainId, set);
  const { nextSet, header } = handover;
  needEqual('handover-epoch', set.epoch + 1n, nextSet.epoch);
  needEqual('handover-set', hex(header.nextSetHash), setHash(suite, nextSet));
  return nextSet;
}

/** Refuse unless certified headers can all stand on the chain of this genesis. */
export function checkOneChain(genesis, blocks) {
  const ordered = [...blocks].sort((one, other) =>
    compareNumbers(one.header.height, other.header.height),
  );
  for (const { header } of ordered) {
    checkRise('history-time', genesis.created, header.time, header.height);
    checkRise('history-log-size', 0n, header.logSize, header.height);
  }
  for (let at = 1; at < ordered.length; at += 1) {
    checkSuccessive(genesis.suite, ordered[at - 1], ordered[at]);
  }
}

function checkSuccessive(suite, { header: old }, { header, certificate }) {
  const digest = headerDigest(suite, old);
  const blocks = header.height - old.height;
  if (blocks === 0n) {
    needEqual('history-fork', digest, headerDigest(suite, header));
    return;
  }
  checkRise('history-time', old.time, header.time, blocks);
  checkRise('history-log-size', old.logSize, header.logSize, blocks);
  need(header.epoch >= old.epoch, 'history-epoch', () => {
    return `expected at least ${old.epoch}, got ${header.epoch}`;
  });
  if (blocks === 1n) needEqual('history-parent', digest, hex(header.parent));
  needEqual('history-set', hex(old.nextSetHash), hex(certificate.setHash));
}

/** Refuse unless a quantity has risen by one or more per block. */
export function checkRise(rule, from, to, blocks) {
  need(to >= from + blocks, rule, () => `expected at least ${from + blocks}, got ${to}`);
}

function compareNumbers(one, other) {
  return one < other ? -1 : Number(one > other);
}
