// Lists of revoked certificates (RFC 5280) as far as time-stamping needs them.

import { equal } from './bytes.js';
import { hasSigned, nameText, readExtensions, readOuter, readTime } from './certificate.js';
import {
  CONTEXT_0,
  ENUMERATED,
  GENERALIZED_TIME,
  INTEGER,
  readOnly,
  Reader,
  SEQUENCE,
  UTC_TIME,
} from './der.js';
import { need } from './refusal.js';

const WHAT = 'revocation list';
const REASON = '2.5.29.21';
const INVALID_SINCE = '2.5.29.24';
const HARMLESS = [0n, 3n, 4n, 5n]; // unspecified, affiliation changed, superseded, ceased: merely retired

/** Read a list (DER). It says nothing until `findRevocation` has checked its signature. */
export function readRevocations(encoded) {
  const outer = readOuter(encoded, WHAT);
  const { reader } = outer;
  reader.readIf(INTEGER);
  const inner = reader.read(SEQUENCE).encoded;
  const issuer = reader.read(SEQUENCE).encoded;
  readTime(reader);
  if ([UTC_TIME, GENERALIZED_TIME].includes(reader.bytes[reader.at])) readTime(reader);
  const list = reader.enterIf(SEQUENCE);
  const entries = [];
  while (list !== null && !list.isEmpty) entries.push(readEntry(list.enter(SEQUENCE)));
  const extensions = readExtensions(reader.enterIf(CONTEXT_0), () => true);
  reader.finish();
  return { ...outer.signedWith(inner), issuer, by: nameText(issuer), entries, extensions };
}

function readEntry(reader) {
  const serial = reader.read(INTEGER).encoded;
  const since = readTime(reader);
  const extensions = readExtensions(reader.isEmpty ? null : reader, () => true);
  reader.finish();
  const reason = extensions.get(REASON);
  const number = reason === undefined ? null : readNumber(reason.value);
  const isHarmless = HARMLESS.includes(number);
  const invalid = isHarmless ? undefined : extensions.get(INVALID_SINCE);
  const stolen = invalid === undefined ? since : readTime(new Reader(invalid.value, WHAT));
  return { serial, since: stolen < since ? stolen : since, isHarmless };
}

function readNumber(bytes) {
  const { bytes: content } = readOnly(bytes, ENUMERATED, WHAT);
  need(content.length === 1, WHAT, 'malformed');
  return BigInt(content[0]);
}

/** Return the entry of a certificate, or null; refuses a list that is not what it says. */
function findRevocation(list, { serial }, issuer) {
  if (!equal(list.issuer, issuer.subject)) return null;
  const isWhole = [...list.extensions.values()].every(({ isCritical }) => !isCritical);
  need(isWhole, WHAT, 'expected a whole one, got a part');
  need(hasSigned(issuer, list), WHAT, () => `it is not signed by ${nameText(issuer.subject)}`);
  return list.entries.find((each) => equal(each.serial, serial)) ?? null;
}

/**
 * Return since when a certificate of a token's path is revoked, or null. A key that was merely
 * retired leaves what it had signed before (RFC 3161 section 4).
 */
export function revokedSince(path, lists, time) {
  for (const [at, certificate] of path.slice(0, -1).entries()) {
    for (const list of lists) {
      const found = findRevocation(list, certificate, path[at + 1]);
      if (found === null || (found.isHarmless && time < found.since)) continue;
      return found.since;
    }
  }
  return null;
}

/** Tell whether a list is by somebody who issued one of the certificates. */
export const concerns = ({ issuer }, certificates) =>
  certificates.some((each) => equal(each.issuer, issuer));
