// The structures of proto/govchain.cddl that receipts and trust files are made of.

import { hex } from './bytes.js';
import { decode } from './cbor.js';
import { DOCUMENT_DIGESTS } from './hashes.js';
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
export const HANDOVERS_MAX = 1024;
export const LEAF_BYTES_MAX = 1024;
const GENESIS_BYTES_MAX = 1048576;
const STATE_VALUE_BYTES_MAX = 65536;
const VALIDATORS_MAX = 64;
const DAY_MS = 86400000n;

const VERSION = only(1n);
const SUITE = only(1n);
const DIGEST = bytes(HASH_BYTES);
const ID = text(64);
const UINT = uint();
const VALIDATOR_AT = uint(BigInt(VALIDATORS_MAX - 1));

function checkDigest({ algorithm, digest }, what) {
  const size = DOCUMENT_DIGESTS.get(algorithm)?.size ?? HASH_BYTES;
  if (digest.length !== size) refuse(`${what} digest`, `expected ${size} bytes`);
}

const readRecord = structure(
  {
    algorithm: uint(255n),
    digest: blob(64),
    type: text(32),
    reference: optional(text(128)),
    action: uint(2n),
  },
  checkDigest,
);

const readLeafFields = structure({
  version: VERSION,
  kind: only(1n),
  height: UINT,
  time: UINT,
  txId: DIGEST,
  operation: uint(9999n),
  sender: ID,
  record: readRecord,
});

/** A record leaf inside a byte string; `bytes` are those that the log hashes. */
function readLeaf(value, what) {
  const encoded = blob(LEAF_BYTES_MAX)(value, what);
  return { ...readLeafFields(decode(encoded, what, LEAF_BYTES_MAX), what), bytes: encoded };
}

const readHeader = structure({
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
});

const readVote = structure({ voter: VALIDATOR_AT, time: UINT, signature: bytes(64) });

const readCertificate = structure(
  {
    version: VERSION,
    epoch: UINT,
    setHash: DIGEST,
    phase: uint(2n, 1n),
    view: UINT,
    height: UINT,
    headerDigest: DIGEST,
    votes: list(readVote, VALIDATORS_MAX),
  },
  ({ votes }, what) => {
    const ascends = votes.every((vote, at) => at === 0 || votes[at - 1].voter < vote.voter);
    if (!ascends) refuse(what, 'expected voters in ascending order');
  },
);

const readAggregateKey = structure({ key: bytes(48), possession: bytes(96) });

const readValidator = structure({
  id: ID,
  organisation: ID,
  voteKey: blob(128),
  cosignatureKey: bytes(32),
  aggregateKey: optional(readAggregateKey),
});

const readValidatorSet = structure(
  { version: VERSION, epoch: UINT, members: list(readValidator, VALIDATORS_MAX, 1) },
  ({ members }, what) => {
    const isDistinct = (values) => new Set(values).size === values.length;
    const shared = members.filter((member) => member.aggregateKey !== null);
    const distinct =
      isDistinct(members.map((member) => member.id)) &&
      isDistinct(members.map((member) => hex(member.voteKey))) &&
      isDistinct(shared.map((member) => hex(member.aggregateKey.key)));
    if (!distinct) refuse(what, 'an id or a key occurs twice');
    if (shared.length > 0 && shared.length < members.length) {
      refuse(what, 'expected a BLS key of every member or of none');
    }
  },
);

const readHandover = structure({
  header: readHeader,
  certificate: readCertificate,
  nextSet: readValidatorSet,
});

const readCertified = structure({ header: readHeader, certificate: readCertificate });

const readParameters = structure({
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
});

const readOrganisation = structure({ id: ID, name: text(128), caCertificate: blob(8192) });

const readIdentity = structure({
  id: ID,
  organisation: ID,
  role: uint(5n, 1n),
  publicKey: blob(128),
  notBefore: UINT,
  notAfter: UINT,
});

const readGenesisFields = structure({
  version: VERSION,
  suite: SUITE,
  name: text(128),
  created: UINT,
  testnet: bool,
  parameters: readParameters,
  organisations: list(readOrganisation, 1024),
  validators: readValidatorSet,
  identities: list(readIdentity, 4096),
});

const readCose = structure({ voteKey: bytes(33), signature: bytes(64) });

const readPublic = structure({ note: blob(65536), path: list(DIGEST, 64) });

const readCompactCertificate = structure({
  version: VERSION,
  epoch: UINT,
  height: UINT,
  headerDigest: DIGEST,
  logSize: UINT,
  logRoot: DIGEST,
  stateRoot: DIGEST,
  signers: UINT,
  aggregate: bytes(96),
});

/** Hashes joined in one byte string. */
function readJoinedPath(value, what) {
  const joined = blob(64 * HASH_BYTES)(value, what);
  if (joined.length % HASH_BYTES !== 0) refuse(what, `expected a multiple of ${HASH_BYTES} bytes`);
  return Array.from({ length: joined.length / HASH_BYTES }, (_, at) =>
    joined.subarray(HASH_BYTES * at, HASH_BYTES * (at + 1)),
  );
}

const readCompactProof = structure({ path: readJoinedPath, certificate: readCompactCertificate });

const readReceiptFields = structure({
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

const readCompactReceiptFields = structure({
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
});

const readConsistency = structure({
  format: only('govchain-consistency'),
  version: VERSION,
  suite: SUITE,
  old: readHeader,
  logPath: list(DIGEST, 65),
  headerPath: list(DIGEST, 65),
  header: readHeader,
  certificate: readCertificate,
  handovers: list(readHandover, HANDOVERS_MAX),
});

const readStatusFields = structure(
  {
    version: VERSION,
    standing: uint(2n, 1n),
    count: UINT,
    height: UINT,
    time: UINT,
    logIndex: UINT,
    algorithm: uint(255n),
    digest: blob(64),
  },
  checkDigest,
);

/** The status of a reference inside a byte string; `bytes` are those that the state holds. */
function readStatus(value, what) {
  const encoded = blob(STATE_VALUE_BYTES_MAX)(value, what);
  return { ...readStatusFields(decode(encoded, what, STATE_VALUE_BYTES_MAX), what), bytes: encoded };
}

const readStanding = structure({
  format: only('govchain-standing'),
  version: VERSION,
  suite: SUITE,
  name: structure({ issuer: ID, type: text(32), reference: text(128) }),
  status: optional(readStatus),
  state: structure({
    siblings: list(DIGEST, 256),
    otherLeaf: optional(structure({ keyPath: DIGEST, valueDigest: DIGEST })),
  }),
  header: readHeader,
  certificate: readCertificate,
  handovers: list(readHandover, HANDOVERS_MAX),
});

const readRefreshed = structure({
  format: only('govchain-refreshed'),
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
