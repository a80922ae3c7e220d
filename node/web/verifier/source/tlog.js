// Verification of a C2SP tlog-proof by the validators that a trust file knows, in six steps: those
// of `govchain verify`. What each says, proto/verify/tlog.md tells those who have other tools.

import { anchorEpochOf } from './claim.js';
import { quorumOf } from './chain.js';
import { DOCUMENT_DIGESTS } from './hashes.js';
import { checkInclusion } from './merkle.js';
import {
  beginsWithLine,
  decodeText,
  keysOf,
  NOTE_BYTES_MAX,
  originOf,
  quoted,
  readBase64,
  readCheckpoint,
  readDecimal,
  signedBy,
  splitNote,
  strangersOf,
} from './note.js';
import { ACTIONS, recordedDigest, WITHDRAW } from './record.js';
import { need, needEqual, NotRooted } from './refusal.js';
import { takeSteps } from './steps.js';
import { INTERNATIONAL } from './suites.js';
import { decodeLeaf, HASH_BYTES, LEAF_BYTES_MAX } from './structures.js';
import { checkPast } from './times.js';

export const TLOG_STEPS = ['PROOF', 'ENTRY', 'DOCUMENT', 'CHECKPOINT', 'INCLUSION', 'RECORD'];
const FIRST_LINE = 'c2sp.org/tlog-proof@v1';
const WHAT = 'tlog-proof';
const PROOF_BYTES_MAX = NOTE_BYTES_MAX + 16384;
const PATH_HASHES_MAX = 63;

/** Tell whether a file is one, by its first line. */
export const isTlogProof = (bytes) => beginsWithLine(bytes, FIRST_LINE);

/** Return by which algorithm to hash a document before it is compared; SHA-256 where untold. */
export function digestAlgorithmOfTlog(bytes) {
  try {
    const { algorithm } = decodeLeaf(readProof(bytes).entry).record;
    return DOCUMENT_DIGESTS.get(algorithm) ?? DOCUMENT_DIGESTS.get(1n);
  } catch {
    return DOCUMENT_DIGESTS.get(1n); // verification says what is wrong with it
  }
}

/**
 * Verify a proof by the newest set that a trust file knows; the answer is like that of
 * `verifyReceipt`. Not rooted where an earlier one cosigned it: its keys are retired; or where too
 * few keys that are known did, and unknown ones of the same log.
 */
export async function verifyTlog(bytes, trust, document, now) {
  const newest = await run(bytes, trust, Number(anchorEpochOf(trust)), document, now);
  const failed = newest.steps[newest.steps.length - 1];
  if (failed.passed || failed.name !== 'CHECKPOINT') return newest;
  for (let epoch = trust.sets.length - 2; epoch >= 0; epoch -= 1) {
    const earlier = await run(bytes, trust, epoch, document, now);
    if (earlier.attested !== null) {
      const detail = `cosigned in epoch ${epoch}, whose keys are retired`;
      const steps = [...newest.steps.slice(0, -1), { ...failed, detail }];
      return { outcome: 'not rooted', steps, attested: null };
    }
  }
  return newest;
}

async function run(bytes, trust, epoch, document, now) {
  const verification = new Verification(bytes, trust, trust.sets[epoch], document, now);
  const { outcome, steps } = await takeSteps(TLOG_STEPS, (name) => verification[name]());
  const attested = steps.length === TLOG_STEPS.length ? verification.attestation() : null;
  return { outcome, steps, attested };
}

/** Read the one form of a proof: the `entry` at an `index`, its `path`, and the `note` it leads to. */
function readProof(bytes) {
  const text = decodeText(bytes, WHAT, PROOF_BYTES_MAX);
  const gap = text.indexOf('\n\n');
  const head = gap < 0 ? text : text.slice(0, gap);
  const [first, ...lines] = head.split('\n');
  need(first === FIRST_LINE, WHAT, `expected the first line ${FIRST_LINE}`);
  need(lines.length >= 2, WHAT, 'expected lines extra and index');
  const [extra, index, ...path] = lines;
  need(path.length <= PATH_HASHES_MAX, WHAT, `expected at most ${PATH_HASHES_MAX} hashes`);
  return {
    entry: readBase64(after('extra', extra), 'tlog-proof extra', LEAF_BYTES_MAX),
    index: readDecimal(after('index', index), 'tlog-proof index'),
    path: readHashes(path),
    note: splitNote(gap < 0 ? '' : text.slice(gap + 2)),
  };
}

function after(word, line) {
  need(line.startsWith(`${word} `), WHAT, `expected a line that begins with ${word}`);
  return line.slice(word.length + 1);
}

function readHashes(lines) {
  const hashes = lines.map((line) => readBase64(line, 'tlog-proof path', HASH_BYTES));
  const areHashes = hashes.every((each) => each.length === HASH_BYTES);
  need(areHashes, 'tlog-proof path', `expected hashes of ${HASH_BYTES} bytes`);
  return hashes;
}

class Verification {
  constructor(bytes, trust, set, document, now) {
    Object.assign(this, { bytes, trust, set, document, now });
  }

  PROOF() {
    this.proof = readProof(this.bytes);
    return `${this.bytes.length} bytes, index ${this.proof.index}`;
  }

  ENTRY() {
    this.leaf = decodeLeaf(this.proof.entry);
    checkPast(this.leaf.time, this.now);
    return `a record of ${this.leaf.sender} at height ${this.leaf.height}`;
  }

  DOCUMENT() {
    const recorded = recordedDigest(this.leaf.record);
    needEqual('document-digest', recorded, this.document);
    return recorded;
  }

  CHECKPOINT() {
    const { trust, set, proof } = this;
    this.checkpoint = readCheckpoint(proof.note.text);
    const { origin, size } = this.checkpoint;
    const { logs, cosigners } = keysOf(originOf(trust.chainId), set);
    const quorum = quorumOf(set);
    // Of a set too few of which could sign no policy can be made: no quorum ever did.
    const isKnown = origin === originOf(trust.chainId) && cosigners.length >= quorum;
    if (!isKnown) throw new NotRooted(`the policy names no log ${origin.slice(0, 120)}`);
    const byLog = signedBy(proof.note, logs).length > 0;
    this.cosigned = signedBy(proof.note, cosigners);
    if (!byLog || this.cosigned.length < quorum) {
      const strangers = strangersOf(proof.note, origin, [...logs, ...cosigners]);
      const names = strangers.join(', ').slice(0, 200);
      const said = `too few known keys signed it; unknown ones did: ${names}`;
      if (strangers.length > 0) throw new NotRooted(said);
    }
    need(byLog, 'policy-log', 'no line of a log that the policy knows');
    const names = this.cosigned.map((each) => `validator/${each.key.name.split('/').pop()}`);
    const isEnough = names.length >= quorum;
    need(isEnough, 'policy-quorum', () => {
      return `validators asks for more than ${names.join(', ') || 'none'}`;
    });
    return `size ${size}, cosigned by ${names.join(', ') || 'nobody'}`;
  }

  INCLUSION() {
    const { index, path } = this.proof;
    const { size, root } = this.checkpoint;
    checkInclusion(INTERNATIONAL, this.leaf.bytes, index, size, path, root);
    return `index ${index} of ${size}, path of ${path.length}`;
  }

  RECORD() {
    const { action } = this.leaf.record;
    need(action !== WITHDRAW, 'record-action', 'expected a record in force, got a withdrawal');
    return ACTIONS[Number(action)];
  }

  attestation() {
    const { leaf, set, checkpoint, cosigned, proof } = this;
    const times = cosigned.map((each) => each.time).sort((one, other) => (one < other ? -1 : 1));
    const names = new Set(cosigned.map((each) => each.key.name));
    const origin = originOf(this.trust.chainId);
    return {
      leaf,
      height: leaf.height,
      time: leaf.time,
      epoch: set.epoch,
      sealTime: 1000n * (times[Math.floor((times.length - 1) / 2)] ?? 0n),
      signers: set.members.filter((each) => names.has(`${origin}/${quoted(each.id)}`)),
      validatorCount: set.members.length,
      logIndex: proof.index,
      logSize: checkpoint.size,
    };
  }
}
