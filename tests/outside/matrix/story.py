"""The chain of the matrix, which signs whatever it is told, and the receipt of one record on it.

Three epochs: validator-1 is removed at the end of the second. The record is of the third, which is
the one that the trust file pins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Self

from node.chain.compact import CompactCertificate
from node.chain.record import Record
from node.crypto.certificate import Issuance
from node.timestamp.compact import CompactProof
from node.timestamp.cose import CoseSignature
from node.timestamp.log.checkpoint import Checkpoint
from node.timestamp.log.note import Note
from node.timestamp.receipt import PublicCheckpoint, Receipt
from node.timestamp.tokens.issuing import TokenIssuer
from tests.vectors.receipt.chain import CREATED_MS, Chain, record_of
from tests.vectors.receipt.cosigned import checkpoint_at, cosigned, with_checkpoint
from tests.vectors.receipt.keyed import certificate_at, keyed, with_compact
from tests.vectors.receipt.story import DOCUMENT, SET_0, SET_1, SET_2
from tests.vectors.receipt.tokens import YEAR_MS, authority_of, issuer_of, with_token

NOW_MS: Final = CREATED_MS + 2 * YEAR_MS
"""What the clocks of all verifiers say."""
PINNED_HEIGHT: Final = 3
HEIGHT: Final = 4
"""Of the record."""
RETIRED_HEIGHT: Final = 2
"""Of the same record in the second epoch."""
LAST_HEIGHT: Final = 5
REMOVED: Final = "validator-1"
FOUR_YEARS: Final = Issuance(
    serial_number=2, not_before_ms=CREATED_MS, not_after_ms=CREATED_MS + 4 * YEAR_MS
)
"""Of the certificate of the time-stamping key."""


@cache
def chain_of(name: str = "matrix", after_ms: int = 1_000) -> Chain:
    """Return a chain whose record is committed so long after the block that is pinned.

    The checkpoints that prove the record, too, are of the last block.
    """
    chain = _begun(name)
    chain.append(*_around(DOCUMENT), next_set=keyed(SET_2))
    chain.append(record_of(b"pinned"))
    return _ended(chain, after_ms)


@cache
def chain_of_retired() -> Chain:
    """Return the chain as the validators of its second epoch, all of them, would have it go on."""
    return _ended(_begun("matrix"), 1_000)


def _begun(name: str) -> Chain:
    """Return a chain in its second epoch."""
    plain, validators = Chain.found(name), keyed(SET_0)
    genesis = replace(plain.genesis, validators=validators)
    tip = replace(plain.tip, chain_id=genesis.chain_id, next_set_digest=validators.digest)
    chain = Chain(genesis, validators, tip)
    chain.append(next_set=keyed(SET_1))
    return chain


def _around(document: bytes) -> tuple[Record, Record, Record]:
    """Return the record of a document with another on either side."""
    return record_of(b"before"), record_of(document), record_of(b"after")


def _ended(chain: Chain, after_ms: int) -> Chain:
    chain.append(*_around(DOCUMENT), after_ms=after_ms)
    chain.append(record_of(b"later"))
    return chain


def later_checkpoint(chain: Chain) -> Checkpoint:
    """Return the checkpoint of the public log after the last block."""
    return checkpoint_at(chain, len(chain.leaves))


@dataclass(frozen=True, slots=True)
class Whole:
    """A receipt with everything that any format needs, its parts at hand to be changed."""

    receipt: Receipt
    token: bytes
    cose: CoseSignature
    public: PublicCheckpoint
    compact: CompactProof

    @classmethod
    def of(cls, chain: Chain, issuer: TokenIssuer | None = None, *, height: int = HEIGHT) -> Self:
        """Return the receipt of the record, which is that in the middle of its block."""
        made = issuer or issuer_of(authority_of(chain), issuance=FOUR_YEARS)
        receipt = with_token(chain.receipt(height, 1), made)
        at = checkpoint_at(chain, len(chain.leaves))
        quorum = range(chain.validators.quorum)
        note = cosigned(at, chain.validators, quorum).encode()
        public = with_checkpoint(chain, receipt, note, at.head.size)
        receipt = replace(receipt, checkpoint=public)
        receipt = with_compact(chain, receipt, certificate_at(chain, chain.tip.height, quorum))
        token, cose, compact = receipt.token, receipt.cose, receipt.compact
        assert token is not None
        assert cose is not None
        assert compact is not None
        return cls(receipt, token, cose, public, compact)

    @property
    def note(self) -> Note:
        """Return the checkpoint of the public log."""
        return Note.decode(self.public.note)

    def with_note(self, note: Note) -> Receipt:
        """Return the receipt with another checkpoint of the public log."""
        return replace(self.receipt, checkpoint=replace(self.public, note=note.encode()))

    def with_certificate(self, certificate: CompactCertificate) -> CompactProof:
        """Return the proof of the QR code with another certificate."""
        return replace(self.compact, certificate=certificate)


@cache
def good() -> Whole:
    """Return the receipt that all others are made from."""
    return Whole.of(chain_of())


def retired_receipt(chain: Chain) -> Receipt:
    """Return the receipt of the record in the second epoch, with a token."""
    issuer = issuer_of(authority_of(chain), issuance=FOUR_YEARS)
    return with_token(chain.receipt(RETIRED_HEIGHT, 1), issuer)
