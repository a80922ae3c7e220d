// Verification of a compact receipt, the text of a QR code, in six steps: proto/verify/qr.md.

import { ascii, fromBase32, hex, startsWith } from './bytes.js';
import { checkRise, quorumOf } from './chain.js';
import { anchorEpochOf } from './claim.js';
import { checkCompactCertificate, isStatedBy } from './compact.js';
import { DOCUMENT_DIGESTS } from './hashes.js';
import { rootOf } from './merkle.js';
import { ACTIONS, recordedDigest, WITHDRAW } from './record.js';
import { need, needEqual, NotRooted } from './refusal.js';
import { takeSteps } from './steps.js';
import { decodeCompactReceipt } from './structures.js';
import { checkPast, isoTime } from './times.js';

const START = 'GOVCHAIN1:';
const COMPACT_TEXT_BYTES_MAX = 4296;
export const COMPACT_STEPS = ['RECEIPT', 'DOCUMENT', 'ROOT', 'SIGNATURE', 'HISTORY', 'RECORD'];
const WHAT = 'compact receipt';
const SPACE = new Set([0x20, 0x09, 0x0d, 0x0a]);

/** Tell whether bytes are such a text, sound or not, by how they begin. */
export function isCompact(bytes) {
  return startsWith(strip(bytes), ascii(START));
}

/** Return by which algorithm to hash a document before it is compared; SHA-256 where untold. */
export function digestAlgorithmOfCompact(bytes) {
  try {
    const { algorithm } = parse(bytes).leaf.record;
    return DOCUMENT_DIGESTS.get(algorithm) ?? DOCUMENT_DIGESTS.get(1n);
  } catch {
    return DOCUMENT_DIGESTS.get(1n); // verification says what is wrong with it
  }
}

/** Verify the text (bytes) of a compact receipt; the answer is like that of `verifyReceipt`. */
export async function verifyCompact(bytes, trust, document, now) {
  const run = new Verification(bytes, trust, document, now);
  const { outcome, steps } = await takeSteps(COMPACT_STEPS, (name) => run[name]());
  const attested = steps.length === COMPACT_STEPS.length ? run.attestation() : null;
  return { outcome, steps, attested };
}

function strip(bytes) {
  let [start, end] = [0, bytes.length];
  while (start < end && SPACE.has(bytes[start])) start += 1;
  while (end > start && SPACE.has(bytes[end - 1])) end -= 1;
  return bytes.subarray(start, end);
}

function parse(bytes) {
  const text = strip(bytes);
  const isText = text.length <= COMPACT_TEXT_BYTES_MAX && startsWith(text, ascii(START));
  need(
    isText,
    WHAT,
    () => `expected at most ${COMPACT_TEXT_BYTES_MAX} characters that start with ${START}`,
  );
  const digits = String.fromCharCode(...text.subarray(START.length));
  const decoded = fromBase32(digits);
  need(decoded !== null, WHAT, 'expected base 32 with spare bits zero');
  const receipt = decodeCompactReceipt(decoded);
  const { suite, leaf, logIndex, logSize, path } = receipt;
  receipt.logRoot = rootOf(suite, leaf.bytes, logIndex, logSize, path);
  return receipt;
}

class Verification {
  constructor(bytes, trust, document, now) {
    Object.assign(this, { bytes, trust, document, now });
  }

  RECEIPT() {
    this.receipt = parse(this.bytes);
    const { logIndex, logSize } = this.receipt;
    return `version 1, ${this.bytes.length} characters, index ${logIndex} of ${logSize}`;
  }

  DOCUMENT() {
    const recorded = recordedDigest(this.receipt.leaf.record);
    needEqual('document-digest', recorded, this.document);
    return recorded;
  }

  ROOT() {
    const { chainId, epoch, suite } = this.receipt;
    const { trust } = this;
    const anchorEpoch = anchorEpochOf(trust);
    if (hex(chainId) !== hex(trust.chainId) || suite !== trust.suite) {
      throw new NotRooted(`expected chain ${hex(trust.chainId)}, got ${hex(chainId)}`);
    }
    if (epoch !== anchorEpoch) {
        throw new NotRooted(
        epoch < anchorEpoch
          ? `expected epoch ${anchorEpoch}, got ${epoch}: its keys are retired`
          : `expected epoch ${anchorEpoch}, got ${epoch}: a newer trust file knows its keys`,
      );
    }
    this.set = trust.sets[Number(epoch)];
    return `epoch ${epoch}, ${this.set.members.length} validators`;
  }

  SIGNATURE() {
    const { receipt, set } = this;
    this.signers = checkCompactCertificate(receipt, receipt.chainId, set);
    const count = `${this.signers.length} of ${set.members.length}, quorum ${quorumOf(set)}`;
    return `${count}, checkpoint at height ${receipt.height}`;
  }

  HISTORY() {
    const { receipt, trust } = this;
    const { leaf } = receipt;
    need(
      leaf.height <= receipt.height,
      'compact-height',
      () => `expected at most ${receipt.height}, got ${leaf.height}`,
    );
    checkRise('compact-time', trust.genesis.created, leaf.time, leaf.height);
    checkPast(leaf.time, this.now);
    for (const { header } of trust.blocks) checkAgainst(header, receipt);
    return trust.pinned === null
      ? 'pinned at genesis'
      : `pinned at height ${trust.pinned.header.height}`;
  }

  RECORD() {
    const { record, height, time } = this.receipt.leaf;
    need(
      record.action !== WITHDRAW,
      'record-action',
      'expected a record in force, got a withdrawal',
    );
    return `${ACTIONS[Number(record.action)]}, height ${height}, T ${isoTime(time)}`;
  }

  attestation() {
    const { leaf, epoch, height, logIndex, logSize } = this.receipt;
    return {
      leaf,
      height: leaf.height,
      time: leaf.time,
      epoch,
      checkpointHeight: height,
      signers: this.signers,
      validatorCount: this.set.members.length,
      logIndex,
      logSize,
    };
  }
}

/** Refuse unless a header that the trust file holds and a compact receipt fit each other. */
function checkAgainst(header, receipt) {
  const { leaf } = receipt;
  if (header.height === receipt.height) {
    need(
      isStatedBy(receipt.suite, receipt, header),
      'compact-fork',
      () => `another header is pinned at ${header.height}`,
    );
  } else if (header.height < receipt.height) {
    checkRise('compact-log-size', header.logSize, receipt.logSize, receipt.height - header.height);
  } else {
    need(
      header.epoch >= receipt.epoch,
      'compact-epoch',
      () => `epoch ${receipt.epoch} began above ${header.height}`,
    );
    checkRise('compact-log-size', receipt.logSize, header.logSize, header.height - receipt.height);
  }
  const isIn = receipt.logIndex < header.logSize;
  need(
    isIn === leaf.height <= header.height,
    'compact-place',
    () => `the log held ${header.logSize} at ${header.height}`,
  );
  if (leaf.height === header.height) needEqual('compact-time', header.time, leaf.time);
  else if (leaf.height < header.height)
    checkRise('compact-time', leaf.time, header.time, header.height - leaf.height);
  else checkRise('compact-time', header.time, leaf.time, leaf.height - header.height);
}
