// What every proof under a certified header shares: the way from the trust file to its validators.

import { hex } from './bytes.js';
import {
  checkAbout,
  checkCertified,
  checkHandover,
  checkOneChain,
  headerDigest,
  parametersHash,
  quorumOf,
  setHash,
} from './chain.js';
import { needEqual, NotRooted } from './refusal.js';

/** The epoch whose validators a trust file knows last. */
export const anchorEpochOf = (trust) => BigInt(trust.sets.length - 1);

/** Tell whether a header is of an epoch before that, whose keys prove nothing any more. */
export const isRetired = (header, trust) => header.epoch < anchorEpochOf(trust);

/** A certified header with the handovers to its epoch, checked step by step, in this order. */
export class CertifiedClaim {
  constructor(block, trust) {
    this.block = block;
    this.trust = trust;
    this.suite = block.suite;
  }

  checkCertificate() {
    checkAbout(this.suite, this.block);
    return `header ${headerDigest(this.suite, this.block.header)}`;
  }

  /** Find the `set` of the header's epoch; a retired one only of a header that is joined. */
  async findValidators(isJoined = false) {
    const { header, handovers } = this.block;
    this.set = await findSet(this.block, this.trust, isJoined);
    return `epoch ${header.epoch}, ${this.set.members.length} validators, ${handovers.length} handovers`;
  }

  async checkSignatures() {
    const { block, set } = this;
    await checkCertified(this.suite, block, this.trust.chainId, set);
    return `${block.certificate.votes.length} of ${set.members.length}, quorum ${quorumOf(set)}`;
  }

  /** Check that all certified headers at hand, and `others`, can stand on one chain. */
  checkHistory(others = []) {
    const { genesis, blocks, pinned } = this.trust;
    checkOneChain(genesis, [...blocks, ...this.block.handovers, this.block, ...others]);
    return pinned === null ? 'pinned at genesis' : `pinned at height ${pinned.header.height}`;
  }

  /** How far T may lie from true time, in milliseconds; null where that must not be stated. */
  get accuracy() {
    const { header } = this.block;
    const { parameters } = this.trust.genesis;
    const isPromised = hex(header.parametersHash) === parametersHash(this.suite, parameters);
    return isPromised && !header.timeDegraded ? parameters.accuracy : null;
  }

  /** The lower median of the times that the votes sign. */
  get sealTime() {
    const times = this.block.certificate.votes.map((vote) => vote.time);
    return times.sort((one, other) => (one < other ? -1 : 1))[Math.floor((times.length - 1) / 2)];
  }

  get signers() {
    return this.block.certificate.votes.map((vote) => this.set.members[Number(vote.voter)]);
  }
}

/**
 * Return the set of the header's epoch, by the trust file and the handovers. A retired epoch is not
 * rooted, unless the header `isJoined` to a later one, by whose quorum it stands on the chain.
 */
async function findSet({ suite, header, handovers }, trust, isJoined) {
  const { chainId, sets } = trust;
  const anchorEpoch = anchorEpochOf(trust);
  // The chain id settles the suite, but the steps so far hashed by the proof's word for it.
  if (hex(header.chainId) !== hex(chainId) || suite !== trust.suite) {
    throw new NotRooted(`expected chain ${hex(chainId)}, got ${hex(header.chainId)}`);
  }
  if (isRetired(header, trust) && !isJoined) {
    throw new NotRooted(
      `expected epoch ${anchorEpoch} or later, got ${header.epoch}: its keys are retired`,
    );
  }
  const first = handovers.length > 0 ? handovers[0].header.epoch : header.epoch;
  if (first > anchorEpoch) {
    throw new NotRooted(
      `expected handovers from epoch ${anchorEpoch} or earlier, got from ${first}`,
    );
  }
  let set = sets[Number(first)];
  for (const handover of handovers) {
    set = await checkHandover(suite, handover, chainId, set);
    if (set.epoch <= anchorEpoch) {
      needEqual('handover-known', setHash(suite, sets[Number(set.epoch)]), setHash(suite, set));
    }
  }
  needEqual('handover-last', header.epoch, set.epoch);
  return set;
}
