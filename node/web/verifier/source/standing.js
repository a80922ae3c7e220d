// Verification of a proof of standing: what stands, or never stood, under a reference after a block.
// Its seven steps are the first of proto/STANDING.md; the eighth is of a receipt beside it.

import { ascii } from './bytes.js';
import { encode } from './cbor.js';
import { CertifiedClaim } from './claim.js';
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
const REFERENCE_KIND = 5n;
const IN_FORCE = 1n;

/** Verify a proof, whatever reference it is of; the answer is like that of `verifyReceipt`. */
export async function verifyStanding(bytes, trust, now) {
  const run = new Verification(bytes, trust, now);
  const { outcome, steps } = await takeSteps(STANDING_STEPS, (name) => run[name]());
  return { outcome, steps, attested: outcome === 'verified' ? run.attestation() : null };
}

class Verification {
  constructor(bytes, trust, now) {
    Object.assign(this, { bytes, trust, now });
  }

  PROOF() {
    this.proof = decodeStanding(this.bytes);
    this.claim = new CertifiedClaim(this.proof, this.trust);
    return `version 1, ${this.bytes.length} bytes, suite international`;
  }

  NAME() {
    const { issuer, type, reference } = this.proof.name;
    return `${reference} (${type}, ${issuer})`;
  }

  STATE() {
    const { name, status, state, header } = this.proof;
    const key = encode([REFERENCE_KIND, name.issuer, name.type, name.reference]);
    checkState(header.stateRoot, key, status === null ? null : status.bytes, state);
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

  attestation() {
    const { name, status, header } = this.proof;
    const { accuracy, sealTime, signers, set } = this.claim;
    return {
      name,
      status,
      fate: status === null ? 'absent' : status.standing === IN_FORCE ? 'in_force' : 'withdrawn',
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
