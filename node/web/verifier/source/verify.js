// Verification of a receipt in ten numbered steps: those of proto/RECEIPT.md, named as there.

import { hex } from './bytes.js';
import {
  checkAbout,
  checkCertified,
  checkOneChain,
  headerDigest,
  parametersHash,
  quorumOf,
} from './chain.js';
import { findSet, isRetired } from './claim.js';
import { checkCompactCertificate, isStatedBy } from './compact.js';
import { checkConsistency } from './consistency.js';
import { coseSigned } from './cose.js';
import { checkInclusion } from './merkle.js';
import { checkNote } from './note.js';
import { openReceipt } from './opening.js';
import { ACTIONS, recordedDigest, WITHDRAW } from './record.js';
import { need, needEqual } from './refusal.js';
import { isVoteKey, isVoteSignature } from './signatures.js';
import { takeSteps } from './steps.js';
import { checkPast, isoTime } from './times.js';
import { checkRecordToken } from './token.js';

export const STEPS = [
  'RECEIPT',
  'DOCUMENT',
  'BLOCK',
  'LOG',
  'CERTIFICATE',
  'ROOT',
  'SIGNATURES',
  'HISTORY',
  'TOKEN',
  'RECORD',
];

/**
 * Verify the bytes of a receipt in any format that carries one. `trust` is what `loadTrust` gave,
 * `document` the name of a digest, a colon and its hex, `now` what a clock says, in ms since 1970
 * UTC (a bigint; undefined asks none). Never throws: the answer has `outcome`
 * ('verified', 'not verified' or 'not rooted'), the `steps` taken, and what is `attested` or null.
 */
export async function verifyReceipt(bytes, trust, document, now) {
  const run = new Verification(bytes, trust, document, now);
  const { outcome, steps } = await takeSteps(STEPS, (name) => run[name]());
  const attested = steps.length === STEPS.length ? run.attestation() : null;
  return { outcome, steps, attested };
}

class Verification {
  constructor(bytes, trust, document, now) {
    Object.assign(this, { bytes, trust, document, now });
  }

  RECEIPT() {
    const opened = openReceipt(this.bytes);
    this.receipt = opened.receipt;
    this.joined = opened.joined;
    const carrier = opened.format === 'native' ? '' : `carried by ${opened.format}: `;
    const stamped =
      opened.stamped === null ? '' : `its signature was stamped at ${isoTime(opened.stamped)}: `;
    return `${carrier}${stamped}version 1, ${opened.size} bytes, suite international`;
  }

  DOCUMENT() {
    const recorded = recordedDigest(this.receipt.leaf.record);
    needEqual('document-digest', recorded, this.document);
    return recorded;
  }

  BLOCK() {
    const { leaf, header, chainId } = this.receipt;
    needEqual('receipt-chain', hex(header.chainId), hex(chainId));
    needEqual('leaf-height', header.height, leaf.height);
    needEqual('leaf-time', header.time, leaf.time);
    return `height ${header.height}, T ${isoTime(header.time)}`;
  }

  LOG() {
    const { leaf, logIndex, logPath, header } = this.receipt;
    checkInclusion(leaf.bytes, logIndex, header.logSize, logPath, header.logRoots[0]);
    return `index ${logIndex} of ${header.logSize}, path of ${logPath.length}`;
  }

  CERTIFICATE() {
    checkAbout(this.receipt);
    return `header ${headerDigest(this.receipt.header)}`;
  }

  async ROOT() {
    const { receipt, trust, joined } = this;
    if (joined !== null) {
      this.joinedSet = await checkConsistency(joined, trust);
      needEqual('refreshed-header', headerDigest(receipt.header), headerDigest(joined.old));
    }
    this.set = await findSet(receipt, trust, joined !== null);
    const { epoch } = receipt.header;
    const found = `epoch ${epoch}, ${this.set.members.length} validators, ${receipt.handovers.length} handovers`;
    if (joined === null) return found;
    return `${found}; joined to height ${joined.header.height} of epoch ${joined.header.epoch}`;
  }

  async SIGNATURES() {
    const { chainId } = this.trust;
    const { receipt, set } = this;
    await checkCertified(receipt, chainId, set);
    let found = `${receipt.certificate.votes.length} of ${set.members.length}, quorum ${quorumOf(set)}`;
    if (receipt.cose !== null) {
      this.checkCose(receipt.cose);
      found += '; the COSE signature too';
    }
    if (receipt.publicCheckpoint !== null) {
      const { size, root } = checkNote(receipt.publicCheckpoint.note, chainId, set);
      checkInclusion(
        receipt.leaf.bytes,
        receipt.logIndex,
        size,
        receipt.publicCheckpoint.path,
        root,
      );
      found += '; the public checkpoint too';
    }
    if (receipt.compact !== null) {
      this.checkCompact(receipt.compact);
      found += '; the compact certificate too';
    }
    return found;
  }

  checkCose({ voteKey, signature }) {
    const { set, receipt } = this;
    const isMember = set.members.some((member) => hex(member.voteKey) === hex(voteKey));
    need(isMember, 'cose-key', () => `no validator's of epoch ${set.epoch}`);
    const signed = coseSigned(receipt.chainId, voteKey, receipt.header.logRoots[0]);
    const isValid = isVoteKey(voteKey) && isVoteSignature(voteKey, signed, signature);
    need(isValid, 'cose-signature', () => `expected one of ${hex(voteKey)}`);
  }

  checkCompact({ path, certificate }) {
    const { header, leaf, logIndex } = this.receipt;
    checkCompactCertificate(certificate, this.trust.chainId, this.set);
    checkInclusion(leaf.bytes, logIndex, certificate.logSize, path, certificate.logRoot);
    need(
      certificate.height >= header.height,
      'compact-height',
      () => `expected at least ${header.height}`,
    );
    const isFork = certificate.height === header.height && !isStatedBy(certificate, header);
    need(!isFork, 'compact-fork', () => `another header of height ${header.height}`);
  }

  HISTORY() {
    const { genesis, blocks, pinned } = this.trust;
    const brought = [this.receipt, ...(this.joined === null ? [] : [this.joined])];
    const all = brought.flatMap((each) => [...each.handovers, each]);
    checkOneChain(genesis, [...blocks, ...all]);
    const joining = this.joined === null ? [] : [...this.joined.handovers, this.joined];
    for (const { header } of [this.receipt, ...joining]) checkPast(header.time, this.now);
    return pinned === null ? 'pinned at genesis' : `pinned at height ${pinned.header.height}`;
  }

  TOKEN() {
    if (this.receipt.token === null) return 'none';
    return checkRecordToken(this.receipt, this.trust.genesis, this.accuracy);
  }

  RECORD() {
    const { action } = this.receipt.leaf.record;
    need(action !== WITHDRAW, 'record-action', 'expected a record in force, got a withdrawal');
    return ACTIONS[Number(action)];
  }

  /** How far T may lie from true time, in milliseconds; null where that must not be stated. */
  get accuracy() {
    const { header } = this.receipt;
    const { parameters } = this.trust.genesis;
    const isPromised = hex(header.parametersHash) === parametersHash(parameters);
    return isPromised && !header.timeDegraded ? parameters.accuracy : null;
  }

  attestation() {
    const { header, leaf, logIndex } = this.receipt;
    // Retired keys may sign any time: then the votes that count are those of the later header.
    const isJoined = isRetired(header, this.trust);
    const { votes } = (isJoined ? this.joined : this.receipt).certificate;
    const { members } = isJoined ? this.joinedSet : this.set;
    const times = votes.map((vote) => vote.time).sort((one, other) => (one < other ? -1 : 1));
    return {
      leaf,
      height: header.height,
      time: header.time,
      timeDegraded: header.timeDegraded,
      accuracy: this.accuracy,
      sealTime: times[Math.floor((times.length - 1) / 2)],
      epoch: header.epoch,
      signers: votes.map((vote) => members[Number(vote.voter)]),
      validatorCount: members.length,
      joinedHeight: isJoined ? this.joined.header.height : null,
      logIndex,
      logSize: header.logSize,
    };
  }
}
