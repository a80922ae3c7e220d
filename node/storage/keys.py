"""The key schema of the ledger: one table of prefixes, one function per key. Nothing else.

Numbers are 8 bytes, big endian, so that keys sort by them. Records are indexed by log index: it
grows with time, and `LOG_INDEX_AT_TIME` turns one into the other.

| prefix | rest of the key              | value                                                  |
|--------|------------------------------|--------------------------------------------------------|
| `!`    |                              | [format version, chain id]                             |
| `.`    |                              | the tip: [height, header digest, log frontier]         |
| `-`    |                              | what of the past is not here yet, see past.py          |
| `<`    |                              | the height below which transactions were pruned        |
| `H`    | height                       | [header, certificate or null]                          |
| `B`    | height                       | transactions and results, see stored_block.py, packed  |
| `T`    | tx_id                        | height, then the index in the block in 2 bytes         |
| `S`    | place of a bucket of state   | the bucket, see node.chain.state_bucket                |
| `K`    | state key of no reference    | empty: these are few, and are looked for by prefix     |
| `L`    | level (1 byte), index        | a tile of the log                                      |
| `I`    | log index of its first leaf  | height of a block                                      |
| `C`    | T of a block                 | log index of its first leaf                            |
| `d`    | first 5 bytes of the digest, | empty; so is the next one                              |
|        | log index in 5 bytes         |                                                        |
| `r`    | first 5 bytes of the hash of |                                                        |
|        | the reference, log index     |                                                        |
| `D`    | bits, part (1 byte each),    | a run of the digests of a large batch, see runs.py;    |
|        | log index of the first one   | its log index has 5 bytes, too                         |
| `R`    | the same                     | a run of its references                                |
| `t`    | type, NUL, log index         | where the run of this type, in one block, has ended    |
| `e`    | epoch, offence, validator    | evidence: see node.chain.evidence. Not part of the     |
|        | (1 byte each)                | chain: what this node learned of misbehaviour          |
| `c`    | size of the public log       | a cosigned checkpoint, see checkpoints.py. As little   |
|        |                              | part of the chain                                      |
| `a`    | epoch                        | its newest compact certificate. Not part of the chain  |
| `~`    | place of a subtree           | only in a draft: how far it is there, see draft.py     |

Arrays are canonical CBOR; a height or log index as a value is a number as in keys, but in `T`,
where it has no leading zeros. Who looks up digests and references finds those of others, too: a
submitter may choose the 5 bytes. So what is found is compared with what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from node.chain.evidence import Charge
from node.chain.log import TileId
from node.crypto.suite import Suite
from node.execution.registry import StateKind

FORMAT: Final = b"!"
TIP: Final = b"."
MISSING_PAST: Final = b"-"
PRUNED: Final = b"<"
HEADER: Final = b"H"
BODY: Final = b"B"
TRANSACTION: Final = b"T"
STATE: Final = b"S"
STATE_KEY: Final = b"K"
LOG_TILE: Final = b"L"
BLOCK_AT_LOG_INDEX: Final = b"I"
LOG_INDEX_AT_TIME: Final = b"C"
RECORD_BY_DIGEST: Final = b"d"
RECORD_BY_REFERENCE: Final = b"r"
DIGEST_RUN: Final = b"D"
REFERENCE_RUN: Final = b"R"
RECORD_BY_TYPE: Final = b"t"
EVIDENCE: Final = b"e"
CHECKPOINT: Final = b"c"
COMPACT: Final = b"a"
DRAFT_MARK: Final = b"~"

FINGERPRINT_BYTES: Final = 5
"""Of digests, and of the hashes of references, by which records are found."""

BESIDE_THE_CHAIN: Final = (EVIDENCE, CHECKPOINT, COMPACT)
"""What a node learned or collected: two ledgers of one chain may differ in it."""

_REFERENCE_KEYS: Final = bytes((0x84, StateKind.REFERENCE))  # [5, issuer, type, reference]
_NUMBER_BYTES: Final = 8
_END_OF_TEXT: Final = b"\x00"  # no type holds a NUL: they are printable
_LOG_INDEX_BYTES: Final = 5  # a million million records


def header(height: int) -> bytes:
    """Return the key of a header and its certificate."""
    return HEADER + number(height)


def body(height: int) -> bytes:
    """Return the key of a block's transactions and results."""
    return BODY + number(height)


def transaction(tx_id: bytes) -> bytes:
    """Return the key of where a transaction is."""
    return TRANSACTION + tx_id


def state(place: bytes) -> bytes:
    """Return the key of the bucket of current state at a place: they sort by the paths in them."""
    return STATE + place


def listed(state_key: bytes) -> bytes | None:
    """Return the key by which a state key is found by its prefix; None for those of references."""
    return None if state_key.startswith(_REFERENCE_KEYS) else STATE_KEY + state_key


def all_listed(state_keys: Iterable[bytes]) -> list[bytes]:
    """Return those of which `listed` gives a key. Most that a block writes are of references."""
    size = len(_REFERENCE_KEYS)
    return [state_key for state_key in state_keys if state_key[:size] != _REFERENCE_KEYS]


def draft_mark(place: str) -> bytes:
    """Return the key of how far the subtree at a place is in a draft."""
    return DRAFT_MARK + place.encode()


def log_tile(tile: TileId) -> bytes:
    """Return the key of a tile of the log."""
    return LOG_TILE + bytes((tile.level,)) + number(tile.index)


def block_at_log_index(first_log_index: int) -> bytes:
    """Return the key of the block whose first leaf has this log index."""
    return BLOCK_AT_LOG_INDEX + number(first_log_index)


def log_index_at_time(time_ms: int) -> bytes:
    """Return the key of the first leaf of the block with this T."""
    return LOG_INDEX_AT_TIME + number(time_ms)


def reference_hash(reference: str, suite: Suite) -> bytes:
    """Return what begins with the fingerprint of a reference, as references begin alike."""
    return suite.hash(reference.encode())


def records_by_digest(digest: bytes) -> bytes:
    """Return the prefix of the records of a document digest, and of others that begin alike."""
    return RECORD_BY_DIGEST + digest[:FINGERPRINT_BYTES]


def records_by_reference(hashed: bytes) -> bytes:
    """Return the prefix of the records whose references have this hash, or one that begins alike.

    They are of whatever issuer and type.
    """
    return RECORD_BY_REFERENCE + hashed[:FINGERPRINT_BYTES]


def runs(family: bytes, bits: int, part: int) -> bytes:
    """Return the prefix of the runs, of one family, of fingerprints that begin with these bits."""
    return family + bytes((bits, part))


def run(family: bytes, bits: int, part: int, first: int) -> bytes:
    """Return the key of one of them, of the transaction whose first record has this log index."""
    return runs(family, bits, part) + log_index(first)


def log_index(value: int) -> bytes:
    """Return a log index as the keys of records and of runs end with it."""
    return value.to_bytes(_LOG_INDEX_BYTES, "big")


def last_log_index(key: bytes) -> int:
    """Return the log index that such a key ends with."""
    return int.from_bytes(key[-_LOG_INDEX_BYTES:], "big")


def records_by_type(type_code: str) -> bytes:
    """Return the prefix of the runs of records of a type."""
    return RECORD_BY_TYPE + type_code.encode() + _END_OF_TEXT


def compact(epoch: int) -> bytes:
    """Return the key of the newest compact certificate of an epoch."""
    return COMPACT + number(epoch)


def evidence(charge: Charge) -> bytes:
    """Return the key of the evidence of one charge."""
    return EVIDENCE + number(charge.epoch) + bytes((charge.offence, charge.validator))


def checkpoint(size: int) -> bytes:
    """Return the key of the cosigned checkpoint of this size."""
    return CHECKPOINT + number(size)


def number(value: int) -> bytes:
    """Return a number as keys, and values that are one number, hold it."""
    return value.to_bytes(_NUMBER_BYTES, "big")


def last_number(key: bytes) -> int:
    """Return the number that a key, or a value that is one number, ends with."""
    return int.from_bytes(key[-_NUMBER_BYTES:], "big")
