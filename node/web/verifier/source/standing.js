// Verification of a proof of standing: what stands, or never stood, under a reference after a block.
// Its steps are those of proto/STANDING.md; the eighth is of a receipt beside it.

import { ascii, hex } from './bytes.js';
import { encode } from './cbor.js';
import { checkOneChain } from './chain.js';
import { CertifiedClaim } from './claim.js';
import { need, needEqual } from './refusal.js';
import { checkState } from './state.js';
import { takeSteps } from './steps.js';
import { decodeStanding } from './structures.js';
import { checkPast, isoTime } from './times.js';

export const STANDING_START = ascii('\x89\x71govchain-standing'); // an array of nine, its first item
export const STANDING_STEPS = [
  'PROOF',
  'NAME',
  'STATE',
  'CERTIFICATE',
  'ROOT',
  'SIGNATURES',
  'HISTORY',
];
/** Those of a proof beside a receipt: the last is whether the two are of one record. */
export const FOLLOWING_STEPS = [...STANDING_STEPS, 'RECORD'];
const REFERENCE_KIND = 5n;
const WITHDRAWN = 2n;

/**
 * Verify a proof, whatever reference it is of, or of the record of a verified `receipt`; the answer
 * is like that of `verifyReceipt`, with the `fate` of the reference or of that record.
 */
export async function verifyStanding(bytes, trust, now, receipt = null) {
  const run = new Verification(bytes, trust, now, receipt);
  const names = receipt === null ? STANDING_STEPS : FOLLOWING_STEPS;
  const { outcome, steps } = await takeSteps(names, (name) => run[name]());
  return { outcome, steps, attested: outcome === 'verified' ? run.attestation() : null };
}

class Verification {
  constructor(bytes, trust, now, receipt) {
    Object.assign(this, { bytes, trust, now, receipt });
  }

  PROOF() {
    this.proof = decodeStanding(this.bytes);
    this.claim = new CertifiedClaim(this.proof, this.trust);
    return `version 1, ${this.bytes.length} bytes, suite ${this.proof.suite.name}`;
  }

  NAME() {
    return nameOf(this.proof.name);
  }

  STATE() {
    const { suite, name, status, state, header } = this.proof;
    const key = encode([REFERENCE_KIND, name.issuer, name.type, name.reference]);
    checkState(suite, header.stateRoot, key, status === null ? null : status.bytes, state);
    const after = `after height ${header.height}`;
    if (status === null) return `nothing, ${after}, T ${isoTime(header.time)}`;
    return `record ${status.count}, ${after}`;
  }

  CERTIFICATE() {
    return this.claim.checkCertificate();
  }

  ROOT() {
    return this.claim.findValidators();
  }

  SIGNATURES() {
    return this.claim.checkSignatures();
  }

  HISTORY() {
    const told = this.claim.checkHistory();
    checkPast(this.proof.header.time, this.now);
    return told;
  }

  RECORD() {
    const { leaf, logIndex, handovers } = this.receipt;
    const { height, time, record } = leaf;
    const { name, status, header } = this.proof;
    const { trust } = this;
    const hasName = record.reference !== null;
    need(hasName, 'standing-record', 'expected a record with a reference, got none');
    const named = { issuer: leaf.sender, type: record.type, reference: record.reference };
    const [ours, theirs] = [nameOf(name), nameOf(named)];
    const isOne = ['issuer', 'type', 'reference'].every((each) => name[each] === named[each]);
    need(isOne, 'standing-record', () => `expected ${ours}, got ${theirs}`);
    need(header.height >= height, 'standing-older', () => {
      return `expected height ${height} or later, got ${header.height}`;
    });
    const own = [...this.proof.handovers, this.proof];
    checkOneChain(trust.genesis, [...trust.blocks, ...handovers, this.receipt, ...own]);
    const isLater = status !== null && status.logIndex >= logIndex;
    need(isLater, 'standing-contradicts', () => {
      return `expected log index ${logIndex} or later, got ${status?.logIndex ?? 'none'}`;
    });
    this.fate = fateOf(status);
    if (status.logIndex === logIndex) {
      const recorded = written({ ...record, height, time });
      needEqual('standing-contradicts', recorded, written(status));
    } else if (this.fate === 'in_force') {
      const isWithdrawn = status.withdrawnIndex !== null && logIndex <= status.withdrawnIndex;
      this.fate = isWithdrawn ? 'withdrawn' : 'superseded';
    }
    return this.fate;
  }

  attestation() {
    const { name, status, header } = this.proof;
    const { accuracy, sealTime, signers, set } = this.claim;
    return {
      name,
      status,
      fate: this.fate ?? fateOf(status),
      height: header.height,
      epoch: header.epoch,
      time: header.time,
      timeDegraded: header.timeDegraded,
      accuracy,
      sealTime,
      signers,
      validatorCount: set.members.length,
    };
  }
}

const written = ({ height, time, algorithm, digest }) =>
  `(${height}, ${time}, ${algorithm}, '${hex(digest)}')`;

const nameOf = ({ issuer, type, reference }) => `${reference} (${type}, ${issuer})`;

function fateOf(status) {
  if (status === null) return 'absent';
  return status.standing === WITHDRAWN ? 'withdrawn' : 'in_force';
}
