// The structures of proto/govchain.cddl that receipts and trust files are made of.

import { hex } from './bytes.js';
import { decode } from './cbor.js';
import { DOCUMENT_DIGESTS } from './hashes.js';
import { SUITES } from './suites.js';
import {
  blob,
  bool,
  bytes,
  list,
  only,
  optional,
  refuse,
  structure,
  text,
  uint,
} from './shapes.js';

export const RECEIPT_BYTES_MAX = 4194304;
export const RECEIPT_FILE_BYTES_MAX = 6291456; // of a format that carries such a receipt
export const HASH_BYTES = 32;
export const HANDOVERS_MAX = 1024; // of one proof
export const HISTORY_HANDOVERS_MAX = 16384; // of a trust file
export const LEAF_BYTES_MAX = 1024;
const GENESIS_BYTES_MAX = 1048576;
const STATE_VALUE_BYTES_MAX = 65536;
const VALIDATORS_MAX = 64;
const DAY_MS = 86400000n;

const VERSION = only(1n, 'expected version 1');
const SUITE_NUMBER = uint(255n);
const SUITE = (value, what) =>
  SUITES.get(SUITE_NUMBER(value, what)) ??
  refuse(what, `suite: expected one of [${[...SUITES.keys()].join(', ')}], got ${value}`);
const DIGEST = bytes(HASH_BYTES);
const ID = text(64);
const UINT = uint();
const VALIDATOR_AT = uint(BigInt(VALIDATORS_MAX - 1));

function checkDigestOf(what) {
  return ({ algorithm, digest }) => {
    bytes(DOCUMENT_DIGESTS.get(algorithm)?.size ?? HASH_BYTES)(digest, what);
  };
}

const readRecord = structure(
  'record',
  {
    algorithm: uint(255n),
    digest: blob(64),
    type: text(32),
    reference: optional(text(128)),
    action: uint(2n),
  },
  { labels: { algorithm: 'record digest algorithm' }, check: checkDigestOf('record digest') },
);

const readLeafFields = structure('record leaf', {
  version: VERSION,
  kind: only(1n, 'expected kind 1'),
  height: UINT,
  time: UINT,
  txId: DIGEST,
  operation: uint(9999n),
  sender: ID,
  record: readRecord,
}, { prefix: 'leaf', labels: { txId: 'leaf transaction id' } });

/** A record leaf inside a byte string; `bytes` are those that the log hashes. */
function readLeaf(value, what) {
  const encoded = blob(LEAF_BYTES_MAX)(value, what);
  return { ...readLeafFields(decode(encoded, 'record leaf', LEAF_BYTES_MAX)), bytes: encoded };
}

const HEADER_LABELS = {
  timeDegraded: 'header degraded flag',
  txRoot: 'header transaction root',
  nextSetHash: 'header set hash',
};

const readHeader = structure('header', {
  version: VERSION,
  chainId: DIGEST,
  epoch: UINT,
  height: UINT,
  view: UINT,
  time: UINT,
  timeDegraded: bool,
  parent: DIGEST,
  proposer: VALIDATOR_AT,
  txRoot: DIGEST,
  logSize: UINT,
  logRoots: list(DIGEST, 1, 1),
  stateRoot: DIGEST,
  resultsRoot: DIGEST,
  nextSetHash: DIGEST,
  parametersHash: DIGEST,
}, { labels: HEADER_LABELS });

const readVote = structure(
  'certificate vote',
  { voter: VALIDATOR_AT, time: UINT, signature: bytes(64) },
  { prefix: 'certificate', labels: { time: 'certificate vote time' } },
);

const readCertificate = structure(
  'certificate',
  {
    version: VERSION,
    epoch: UINT,
    setHash: DIGEST,
    phase: uint(2n, 1n, '1 (prepare) or 2 (commit)'),
    view: UINT,
    height: UINT,
    headerDigest: DIGEST,
    votes: list(readVote, VALIDATORS_MAX),
  },
  {
    labels: { phase: 'vote phase', headerDigest: 'certificate digest' },
    check: ({ votes }, what) => {
      const at = votes.findIndex((vote, index) => vote.voter <= (votes[index - 1]?.voter ?? -1n));
      if (at < 0) return;
      const [before, got] = [votes[at - 1].voter, votes[at].voter];
      refuse(what, `expected voters in ascending order, got ${got} after ${before}`);
    },
  },
);

const readAggregateKey = structure(
  'BLS key',
  { key: bytes(48), possession: bytes(96) },
  { labels: { key: 'BLS key', possession: 'BLS proof of possession' } },
);

const readValidator = structure('validator', {
  id: ID,
  organisation: ID,
  voteKey: blob(128),
  cosignatureKey: bytes(32),
  aggregateKey: optional(readAggregateKey),
}, { labels: { voteKey: 'vote key', cosignatureKey: 'cosignature key' } });

const readValidatorSet = structure(
  'validator set',
  { version: VERSION, epoch: UINT, members: list(readValidator, VALIDATORS_MAX, 1) },
  { labels: { members: 'validator set' }, check: checkMembers },
);

function checkMembers({ members }, what) {
  const isDistinct = (values) => new Set(values).size === values.length;
  const shared = members.filter((member) => member.aggregateKey !== null);
  const isNamed =
    isDistinct(members.map((member) => member.id)) &&
    isDistinct(members.map((member) => hex(member.voteKey)));
  if (!isNamed) refuse(what, 'an id or a vote key occurs twice');
  if (shared.length > 0 && shared.length < members.length) {
    refuse(what, 'expected BLS keys of all members or of none');
  }
  const isSharedOnce = isDistinct(shared.map((member) => hex(member.aggregateKey.key)));
  if (!isSharedOnce) refuse(what, 'a BLS key occurs twice');
}

const readHandover = structure('handover', {
  header: readHeader,
  certificate: readCertificate,
  nextSet: readValidatorSet,
});

const readCertified = structure('certified header', {
  header: readHeader,
  certificate: readCertificate,
});

const readParameters = structure('parameters', {
  version: VERSION,
  precision: uint(DAY_MS, 1n),
  messageDelay: uint(DAY_MS, 1n),
  clockError: uint(DAY_MS),
  accuracy: uint(DAY_MS, 1n),
  windowSlots: uint(4n, 1n),
  viewTimeout: uint(DAY_MS, 10n),
  viewTimeoutMax: uint(DAY_MS, 10n),
  blockTxsMax: uint(5000n, 1n),
  blockBytesMax: uint(4194304n, 1024n),
  checkpointBlocks: uint(1000000n, 1n),
  rotationBlocks: uint(1000000n, 1n),
  rotation: uint(DAY_MS, 20n),
  fairness: uint(DAY_MS, 10n),
}, { prefix: 'parameter' });

const readOrganisation = structure(
  'organisation',
  { id: ID, name: text(128), caCertificate: blob(8192) },
  { labels: { caCertificate: 'organisation certificate' } },
);

const IDENTITY_LABELS = {
  publicKey: 'identity key',
  notBefore: 'identity not-before',
  notAfter: 'identity not-after',
};

const readIdentity = structure('identity', {
  id: ID,
  organisation: ID,
  role: uint(5n, 1n, '1..5'),
  publicKey: blob(128),
  notBefore: UINT,
  notAfter: UINT,
}, { labels: IDENTITY_LABELS });

const readGenesisFields = structure('genesis', {
  version: VERSION,
  suite: SUITE,
  name: text(128),
  created: UINT,
  testnet: bool,
  parameters: readParameters,
  organisations: list(readOrganisation, 1024),
  validators: readValidatorSet,
  identities: list(readIdentity, 4096),
}, { labels: { created: 'genesis time', testnet: 'genesis testnet flag' } });

const readCose = structure(
  'COSE signature',
  { voteKey: bytes(33), signature: bytes(64) },
  { labels: { voteKey: 'COSE key', signature: 'COSE signature' } },
);

const readPublic = structure(
  'receipt checkpoint',
  { note: blob(65536), path: list(DIGEST, 64) },
  { labels: { note: 'receipt checkpoint' } },
);

const readCompactCertificate = structure('compact certificate', {
  version: VERSION,
  epoch: UINT,
  height: UINT,
  headerDigest: DIGEST,
  logSize: UINT,
  logRoot: DIGEST,
  stateRoot: DIGEST,
  signers: UINT,
  aggregate: bytes(96),
}, { prefix: 'checkpoint', labels: { aggregate: 'checkpoint signature' } });

/** Hashes joined in one byte string. */
function readJoinedPath(value) {
  const what = 'compact log path';
  const joined = blob(64 * HASH_BYTES)(value, what);
  if (joined.length % HASH_BYTES !== 0) refuse(what, `expected a multiple of ${HASH_BYTES} bytes`);
  return Array.from({ length: joined.length / HASH_BYTES }, (_, at) =>
    joined.subarray(HASH_BYTES * at, HASH_BYTES * (at + 1)),
  );
}

const readCompactProof = structure('compact proof', {
  path: readJoinedPath,
  certificate: readCompactCertificate,
});

const readReceiptFields = structure('receipt', {
  version: VERSION,
  chainId: DIGEST,
  suite: SUITE,
  leaf: readLeaf,
  logIndex: UINT,
  logPath: list(DIGEST, 64),
  header: readHeader,
  certificate: readCertificate,
  handovers: list(readHandover, HANDOVERS_MAX),
  token: optional(blob(16384)),
  cose: optional(readCose),
  publicCheckpoint: optional(readPublic),
  compact: optional(readCompactProof),
});

const COMPACT_LABELS = Object.fromEntries(
  ['epoch', 'height', 'headerDigest', 'logSize', 'stateRoot', 'signers'].map((name) => [
    name,
    `checkpoint ${name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)}`,
  ]),
);
COMPACT_LABELS.aggregate = 'checkpoint signature';

const readCompactReceiptFields = structure('compact receipt', {
  version: VERSION,
  chainId: DIGEST,
  suite: SUITE,
  leaf: readLeaf,
  logIndex: UINT,
  path: readJoinedPath,
  epoch: UINT,
  height: UINT,
  headerDigest: DIGEST,
  logSize: UINT,
  stateRoot: DIGEST,
  signers: UINT,
  aggregate: bytes(96),
}, { labels: COMPACT_LABELS });

const readConsistency = structure('consistency proof', {
  format: only('govchain-consistency', "expected 'govchain-consistency'"),
  version: VERSION,
  suite: SUITE,
  old: readHeader,
  logPath: list(DIGEST, 65),
  headerPath: list(DIGEST, 65),
  header: readHeader,
  certificate: readCertificate,
  handovers: list(readHandover, HANDOVERS_MAX),
});

const STATUS = {
  version: VERSION,
  standing: uint(2n, 1n, '1 (in force) or 2 (withdrawn)'),
  count: UINT,
  height: UINT,
  time: UINT,
  logIndex: UINT,
  algorithm: uint(255n),
  digest: blob(64),
};
const OF_STATUS = {
  prefix: 'reference',
  labels: { count: 'reference version', algorithm: 'reference digest algorithm' },
  check: checkDigestOf('reference digest'),
};
const STATUS_ITEMS = Object.keys(STATUS).length;
const readStatusFields = structure('reference status', STATUS, OF_STATUS);
/** In force, though something before was withdrawn: of that, the newest place in the log. */
const readRenewedFields = structure(
  'reference status',
  { ...STATUS, standing: onlyRenewed, withdrawnIndex: (value) => value },
  {
    ...OF_STATUS,
    check: (found) => {
      OF_STATUS.check(found);
      uint(found.logIndex - 1n)(found.withdrawnIndex, 'reference withdrawn index');
    },
  },
);

function onlyRenewed(value, what) {
  return only(3n, 'expected 3 (renewed)')(uint(3n)(value, what), what);
}

/** The status of a reference inside a byte string; `bytes` are those that the state holds. */
function readStatus(value, what) {
  const encoded = blob(STATE_VALUE_BYTES_MAX)(value, what);
  const fields = decode(encoded, 'reference status', STATE_VALUE_BYTES_MAX);
  const isRenewed = Array.isArray(fields) && fields.length > STATUS_ITEMS;
  const read = isRenewed ? readRenewedFields : readStatusFields;
  return { withdrawnIndex: null, ...read(fields), bytes: encoded };
}

const readStateLeaf = structure(
  'state proof other leaf',
  { keyPath: DIGEST, valueDigest: DIGEST },
  { prefix: 'state proof' },
);

const readStanding = structure('standing proof', {
  format: only('govchain-standing', "expected 'govchain-standing'"),
  version: VERSION,
  suite: SUITE,
  name: structure(
    'reference name',
    { issuer: ID, type: text(32), reference: text(128) },
    { prefix: 'record', labels: { issuer: 'issuer' } },
  ),
  status: optional(readStatus),
  state: structure('state proof', {
    siblings: list(DIGEST, 256),
    otherLeaf: optional(readStateLeaf),
  }),
  header: readHeader,
  certificate: readCertificate,
  handovers: list(readHandover, HANDOVERS_MAX),
});

const readRefreshed = structure('refreshed receipt', {
  format: only('govchain-refreshed', "expected 'govchain-refreshed'"),
  version: VERSION,
  receipt: blob(RECEIPT_BYTES_MAX),
  proof: blob(RECEIPT_BYTES_MAX),
});

const readFrom = (reader, what, sizeMax) => (encoded) =>
  reader(decode(encoded, what, sizeMax), what);

export const decodeReceipt = readFrom(readReceiptFields, 'receipt', RECEIPT_BYTES_MAX);
export const decodeCompactReceipt = readFrom(readCompactReceiptFields, 'compact receipt', 4296);
export const decodeConsistency = readFrom(readConsistency, 'consistency proof', RECEIPT_BYTES_MAX);
export const decodeStanding = readFrom(readStanding, 'standing proof', RECEIPT_BYTES_MAX);
export const decodeLeaf = (encoded) => readLeaf(encoded, 'record leaf');
export const decodeRefreshed = readFrom(readRefreshed, 'refreshed receipt', RECEIPT_FILE_BYTES_MAX);
export const decodeGenesis = readFrom(readGenesisFields, 'genesis', GENESIS_BYTES_MAX);
export const decodeHandover = readFrom(readHandover, 'handover', STATE_VALUE_BYTES_MAX);
export const decodeCertified = readFrom(readCertified, 'certified header', RECEIPT_BYTES_MAX);
