// Verification of a proof of consistency: that a chain only grew from one header to a later,
// certified one. Its eight steps are those of proto/CONSISTENCY.md.

import { ascii, fromHex, hex } from './bytes.js';
import { encode } from './cbor.js';
import { checkRise, headerDigest } from './chain.js';
import { CertifiedClaim } from './claim.js';
import { checkInclusion, checkPrefix } from './merkle.js';
import { need, needEqual, NotRooted, Refused } from './refusal.js';
import { takeSteps } from './steps.js';
import { decodeConsistency } from './structures.js';
import { checkPast, isoTime } from './times.js';

export const CONSISTENCY_START = ascii('\x89\x74govchain-consistency'); // an array of nine, its first item
export const CONSISTENCY_STEPS = [
  'PROOF',
  'ORDER',
  'LOG',
  'HEADER',
  'CERTIFICATE',
  'ROOT',
  'SIGNATURES',
  'HISTORY',
];
const HEADER_LEAF = 0n;

/** Verify a proof; the answer is like that of `verifyReceipt`. */
export async function verifyConsistency(bytes, trust, now) {
  const run = new Verification(bytes, trust, now);
  const { outcome, steps } = await takeSteps(CONSISTENCY_STEPS, (name) => run[name]());
  return { outcome, steps, attested: outcome === 'verified' ? run.attestation() : null };
}

/**
 * Return what a proof attests that joins a receipt to a later header. Throws as a step of a receipt
 * does, saying which step of the proof failed.
 */
export async function checkConsistency(bytes, trust) {
  const { outcome, steps, attested } = await verifyConsistency(bytes, trust);
  const { number, detail } = steps[steps.length - 1];
  const said = `joined: step ${number}: ${detail}`;
  if (outcome === 'not rooted') throw new NotRooted(said);
  if (outcome !== 'verified') throw new Refused('refreshed-proof', said);
  return attested;
}

class Verification {
  constructor(bytes, trust, now) {
    Object.assign(this, { bytes, trust, now });
  }

  PROOF() {
    this.proof = decodeConsistency(this.bytes);
    this.claim = new CertifiedClaim(this.proof, this.trust);
    return `version 1, ${this.bytes.length} bytes, suite ${this.proof.suite.name}`;
  }

  ORDER() {
    const { old, header } = this.proof;
    const blocks = header.height - old.height;
    needEqual('consistency-chain', hex(header.chainId), hex(old.chainId));
    need(blocks >= 1n, 'consistency-height', () => {
      return `expected above height ${old.height}, got ${header.height}`;
    });
    checkRise('consistency-time', old.time, header.time, blocks);
    checkRise('consistency-log-size', old.logSize, header.logSize, blocks);
    checkRise('consistency-epoch', old.epoch, header.epoch, 0n);
    return `heights ${old.height} and ${header.height}, T ${isoTime(old.time)} and later`;
  }

  LOG() {
    const { suite, old, header, logPath } = this.proof;
    checkPrefix(suite, old.logSize, old.logRoots[0], header.logSize, header.logRoots[0], logPath);
    return `${old.logSize} of ${header.logSize} leaves, path of ${logPath.length}`;
  }

  HEADER() {
    const { suite, old, header, headerPath } = this.proof;
    const leaf = encode([1n, HEADER_LEAF, old.height, fromHex(headerDigest(suite, old))]);
    checkInclusion(suite, leaf, old.logSize, header.logSize, headerPath, header.logRoots[0]);
    return `index ${old.logSize}, path of ${headerPath.length}`;
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
    const { suite, old, handovers, header } = this.proof;
    const found = this.claim.checkHistory();
    for (const each of [...this.trust.blocks, ...handovers, this.proof]) {
      if (each.header.height !== old.height) continue;
      needEqual('history-fork', headerDigest(suite, each.header), headerDigest(suite, old));
    }
    checkPast(header.time, this.now);
    return found;
  }

  attestation() {
    const { old, header } = this.proof;
    const { sealTime, signers, set } = this.claim;
    return {
      old,
      height: header.height,
      epoch: header.epoch,
      time: header.time,
      logSize: header.logSize,
      sealTime,
      signers,
      validatorCount: set.members.length,
    };
  }
}
