// Verification of a proof of consistency: that a chain only grew from one header to a later,
// certified one. Its eight steps are those of proto/CONSISTENCY.md.

import { fromHex, hex } from './bytes.js';
import { encode } from './cbor.js';
import { checkAbout, checkCertified, checkOneChain, checkRise, headerDigest } from './chain.js';
import { findSet } from './claim.js';
import { checkInclusion, checkPrefix } from './merkle.js';
import { need, needEqual, NotRooted, Refused } from './refusal.js';
import { takeSteps } from './steps.js';

const STEPS = ['ORDER', 'LOG', 'HEADER', 'CERTIFICATE', 'ROOT', 'SIGNATURES', 'HISTORY'];
const HEADER_LEAF = 0n;

/**
 * Return the set that certified the later header of a proof that was read (the first step). Throws
 * as a step of a receipt does, saying which step of the proof failed.
 */
export async function checkConsistency(proof, trust) {
  const run = new Verification(proof, trust);
  const { outcome, steps } = await takeSteps(STEPS, (name) => run[name]());
  const { number, detail } = steps[steps.length - 1];
  const said = `joined: step ${number + 1}: ${detail}`;
  if (outcome === 'not rooted') throw new NotRooted(said);
  if (outcome !== 'verified') throw new Refused('refreshed-proof', said);
  return run.set;
}

class Verification {
  constructor(proof, trust) {
    Object.assign(this, { proof, trust });
  }

  ORDER() {
    const { old, header } = this.proof;
    const blocks = header.height - old.height;
    needEqual('consistency-chain', hex(header.chainId), hex(old.chainId));
    need(blocks >= 1n, 'consistency-height', () => `expected above height ${old.height}`);
    checkRise('consistency-time', old.time, header.time, blocks);
    checkRise('consistency-log-size', old.logSize, header.logSize, blocks);
    need(header.epoch >= old.epoch, 'consistency-epoch', () => `expected at least ${old.epoch}`);
  }

  LOG() {
    const { old, header, logPath } = this.proof;
    checkPrefix(old.logSize, old.logRoots[0], header.logSize, header.logRoots[0], logPath);
  }

  HEADER() {
    const { old, header, headerPath } = this.proof;
    const leaf = encode([1n, HEADER_LEAF, old.height, fromHex(headerDigest(old))]);
    checkInclusion(leaf, old.logSize, header.logSize, headerPath, header.logRoots[0]);
  }

  CERTIFICATE() {
    checkAbout(this.proof);
  }

  async ROOT() {
    this.set = await findSet(this.proof, this.trust);
  }

  async SIGNATURES() {
    await checkCertified(this.proof, this.trust.chainId, this.set);
  }

  HISTORY() {
    const { genesis, blocks } = this.trust;
    const { old, handovers } = this.proof;
    const all = [...blocks, ...handovers, this.proof];
    checkOneChain(genesis, all);
    for (const { header } of all.filter((each) => each.header.height === old.height)) {
      needEqual('history-fork', headerDigest(header), headerDigest(old));
    }
  }
}
