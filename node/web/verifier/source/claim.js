// What every proof under a certified header shares: the way from the trust file to its validators.

import { hex } from './bytes.js';
import { checkHandover, setHash } from './chain.js';
import { needEqual, NotRooted } from './refusal.js';

/** The epoch whose validators a trust file knows last. */
export const anchorEpochOf = (trust) => BigInt(trust.sets.length - 1);

/** Tell whether a header is of an epoch before that, whose keys prove nothing any more. */
export const isRetired = (header, trust) => header.epoch < anchorEpochOf(trust);

/**
 * Return the set of the header's epoch, by the trust file and the handovers. A retired epoch is not
 * rooted, unless the header `isJoined` to a later one, by whose quorum it stands on the chain.
 */
export async function findSet({ header, handovers }, trust, isJoined = false) {
  const { chainId, sets } = trust;
  const anchorEpoch = anchorEpochOf(trust);
  if (hex(header.chainId) !== hex(chainId)) {
    throw new NotRooted(`expected chain ${hex(chainId)}, got ${hex(header.chainId)}`);
  }
  if (isRetired(header, trust) && !isJoined) {
    const got = `got ${header.epoch}: its keys are retired`;
    throw new NotRooted(`expected epoch ${anchorEpoch} or later, ${got}`);
  }
  const first = handovers.length > 0 ? handovers[0].header.epoch : header.epoch;
  if (first > anchorEpoch) {
    throw new NotRooted(
      `expected handovers from epoch ${anchorEpoch} or earlier, got from ${first}`,
    );
  }
  let set = sets[Number(first)];
  for (const handover of handovers) {
    set = await checkHandover(handover, chainId, set);
    if (set.epoch <= anchorEpoch) {
      needEqual('handover-known', setHash(sets[Number(set.epoch)]), setHash(set));
    }
  }
  needEqual('handover-last', header.epoch, set.epoch);
  return set;
}
