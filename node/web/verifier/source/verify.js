// Verification of a receipt in ten numbered steps: those of proto/RECEIPT.md, named as there.

import { hex } from './bytes.js';
import { headerDigest } from './chain.js';
import { CertifiedClaim, isRetired } from './claim.js';
import { checkCompactCertificate, isStatedBy } from './compact.js';
import { checkConsistency } from './consistency.js';
import { coseSigned } from './cose.js';
import { checkInclusion } from './merkle.js';
import { checkNote } from './note.js';
import { openReceipt } from './opening.js';
import { ACTIONS, recordedDigest, WITHDRAW } from './record.js';
import { need, needEqual } from './refusal.js';
import { isP256Key, isP256Signature } from './signatures.js';
import { verifyStanding } from './standing.js';
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
 * UTC (a bigint; undefined asks none), `beside` what `gather` gave. Never throws: the answer has
 * `outcome` ('verified', 'not verified' or 'not rooted'), the `steps` taken, what is `attested` or
 * null, and `followed`, the answer to a proof of standing beside a verified one, or null.
 */
export async function verifyReceipt(bytes, trust, document, now, beside = {}) {
  const { standing = null, ...ofToken } = beside;
  const run = new Verification(bytes, trust, document, now, ofToken);
  const { outcome, steps } = await takeSteps(STEPS, (name) => run[name]());
  const attested = steps.length === STEPS.length ? run.attestation() : null;
  const isFollowed = standing !== null && outcome === 'verified';
  const followed = isFollowed ? await verifyStanding(standing, trust, now, run.receipt) : null;
  return { outcome, steps, attested, followed };
}

class Verification {
  constructor(bytes, trust, document, now, beside) {
    Object.assign(this, { bytes, trust, document, now, beside });
  }

  RECEIPT() {
    const opened = openReceipt(this.bytes);
    this.receipt = opened.receipt;
    this.claim = new CertifiedClaim(this.receipt, this.trust);
    this.joined = opened.joined;
    this.stamped = opened.stamped;
    const carrier = opened.format === 'native' ? '' : `carried by ${opened.format}: `;
    const stamped =
      opened.stamped === null
        ? ''
        : `its signature was stamped at ${isoTime(opened.stamped)}, by an authority that nobody checked: `;
    return `${carrier}${stamped}version 1, ${opened.size} bytes, suite ${this.receipt.suite.name}`;
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
    const { suite, leaf, logIndex, logPath, header } = this.receipt;
    checkInclusion(suite, leaf.bytes, logIndex, header.logSize, logPath, header.logRoots[0]);
    return `index ${logIndex} of ${header.logSize}, path of ${logPath.length}`;
  }

  CERTIFICATE() {
    return this.claim.checkCertificate();
  }

  async ROOT() {
    const { receipt, joined } = this;
    if (joined === null) return this.claim.findValidators();
    this.joinedBy = await checkConsistency(joined.bytes, this.trust);
    const { suite } = receipt;
    needEqual('refreshed-header', headerDigest(suite, receipt.header), headerDigest(suite, joined.old));
    const found = await this.claim.findValidators(true);
    return `${found}; joined to height ${joined.header.height} of epoch ${joined.header.epoch}`;
  }

  async SIGNATURES() {
    const { chainId } = this.trust;
    const { receipt } = this;
    let found = await this.claim.checkSignatures();
    const { set } = this.claim;
    if (receipt.cose !== null) {
      this.checkCose(receipt.cose);
      found += '; the COSE signature too';
    }
    if (receipt.publicCheckpoint !== null) {
      const { size, root } = checkNote(receipt.publicCheckpoint.note, chainId, set);
      checkInclusion(
        receipt.suite,
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
    const { receipt } = this;
    const { set } = this.claim;
    const isMember = set.members.some((member) => hex(member.voteKey) === hex(voteKey));
    need(isMember, 'cose-key', () => `no validator's of epoch ${set.epoch}`);
    const signed = coseSigned(receipt.chainId, voteKey, receipt.header.logRoots[0]);
    const isValid = isP256Key(voteKey) && isP256Signature(voteKey, signed, signature);
    need(isValid, 'cose-signature', () => `expected one of ${hex(voteKey)}`);
  }

  checkCompact({ path, certificate }) {
    const { suite, header, leaf, logIndex } = this.receipt;
    checkCompactCertificate(certificate, this.trust.chainId, this.claim.set);
    checkInclusion(suite, leaf.bytes, logIndex, certificate.logSize, path, certificate.logRoot);
    need(
      certificate.height >= header.height,
      'compact-height',
      () => `expected at least ${header.height}`,
    );
    const isFork = certificate.height === header.height && !isStatedBy(suite, certificate, header);
    need(!isFork, 'compact-fork', () => `another header of height ${header.height}`);
  }

  HISTORY() {
    const joined = this.joined === null ? [] : [...this.joined.handovers, this.joined];
    const found = this.claim.checkHistory(joined);
    const times = [this.receipt, ...joined].map(({ header }) => header.time);
    for (const time of [...times, this.stamped ?? 0n]) checkPast(time, this.now);
    return found;
  }

  TOKEN() {
    const { receipt, beside } = this;
    if (receipt.token !== null) {
      return checkRecordToken(receipt, this.trust.genesis, this.claim.accuracy, this.now, beside);
    }
    const isAsked = (beside.request ?? null) !== null;
    need(!isAsked, 'token-missing', 'expected one that answers the request, got none');
    return 'none';
  }

  RECORD() {
    const { action } = this.receipt.leaf.record;
    need(action !== WITHDRAW, 'record-action', 'expected a record in force, got a withdrawal');
    return ACTIONS[Number(action)];
  }

  attestation() {
    const { header, leaf, logIndex } = this.receipt;
    const { accuracy, sealTime, signers, set } = this.claim;
    // Retired keys may sign any time: then the votes that count are those of the later header.
    const later = isRetired(header, this.trust) ? this.joinedBy : null;
    return {
      leaf,
      height: header.height,
      time: header.time,
      timeDegraded: header.timeDegraded,
      accuracy,
      sealTime: later?.sealTime ?? sealTime,
      epoch: header.epoch,
      signers: later?.signers ?? signers,
      validatorCount: later?.validatorCount ?? set.members.length,
      joinedHeight: later?.height ?? null,
      logIndex,
      logSize: header.logSize,
    };
  }
}
