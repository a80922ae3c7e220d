"""The trust file: what an auditor pins, and the only way from it to a `TrustAnchor`.

JSON, because people keep, compare and mail it; everything hashed or signed inside is base64 of
canonical bytes. A genesis alone roots every receipt that brings its handovers along. The pinned
header is what protects against retired keys: epochs before it can no longer be rewritten.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from node.chain.block import CertifiedHeader
from node.chain.genesis import Genesis
from node.chain.membership import ValidatorSet
from node.crypto.suite import Suite
from node.errors import CryptoError, DecodeError, PeerError, ProofError
from node.limits import TRUST_FILE_BYTES_MAX
from node.timestamp.history import (
    HISTORY_HANDOVERS_MAX,
    Handover,
    check_certified,
    check_one_chain,
    expect_equal,
    follow_handovers,
)

TRUST_FORMAT: Final = "govchain-trust"
TRUST_VERSION: Final = 1
_CHAIN_ID: Final = re.compile("[0-9a-f]{64}")
_BRACKET: Final = re.compile(rb"[\[{\]}]")
_DEPTH_MAX: Final = 2  # an object, and the list of handovers in it
_FIELDS: Final = ("format", "version", "chain_id", "genesis", "handovers", "pinned")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchor:
    """What a verifier starts from, checked through; made only by `TrustFile.establish`."""

    genesis: Genesis
    validator_sets: tuple[ValidatorSet, ...]
    """Of every epoch from 0 to the anchor's; the position is the epoch."""
    handovers: tuple[Handover, ...]
    """What led from each of those sets to the next."""
    pinned: CertifiedHeader | None
    """A header of the last of those epochs; None where only the genesis is pinned."""

    @property
    def suite(self) -> Suite:
        """Return the chain's suite."""
        return self.genesis.suite

    @property
    def chain_id(self) -> bytes:
        """Return the chain id."""
        return self.genesis.chain_id

    @property
    def epoch(self) -> int:
        """Return the latest epoch whose validator set is known."""
        return len(self.validator_sets) - 1

    @property
    def authorities(self) -> tuple[bytes, ...]:
        """Return the certificates of the founding organisations' authorities."""
        return tuple(each.ca_certificate for each in self.genesis.organisations)

    @property
    def blocks(self) -> tuple[CertifiedHeader, ...]:
        """Return every certified header the anchor holds, in ascending order of heights."""
        pinned = () if self.pinned is None else (self.pinned,)
        return (*(handover.block for handover in self.handovers), *pinned)

    def up_to(self, epoch: int) -> TrustAnchor:
        """Return the part of this that leads to an epoch; all of it, if it ends before.

        By that part the keys of this epoch are not retired: as by the genesis alone, where a proof
        brings all handovers along.
        """
        if epoch >= self.epoch:
            return self
        return TrustAnchor(
            genesis=self.genesis,
            validator_sets=self.validator_sets[: epoch + 1],
            handovers=self.handovers[:epoch],
            pinned=None,
        )

    def extend(
        self, handovers: Iterable[Handover], pinned: CertifiedHeader | None = None
    ) -> TrustAnchor:
        """Return an anchor that goes on from this one over `handovers`, to a newer header if given.

        Raises `ProofError` as `TrustFile.establish` does, and where anything on the way contradicts
        what is pinned here: what was once believed is never given up for what somebody says today.
        """
        new = tuple(handovers)
        with _certificate_at_fault():
            sets = follow_handovers(self.chain_id, self.validator_sets[-1], new)
            if pinned is not None:
                check_certified(pinned, self.chain_id, sets[-1])
        further = TrustAnchor(
            genesis=self.genesis,
            validator_sets=(*self.validator_sets, *sets[1:]),
            handovers=(*self.handovers, *new),
            pinned=pinned,
        )
        self.check_joined([*(each.block for each in new), *([] if pinned is None else [pinned])])
        return further

    def check_joined(self, blocks: Iterable[CertifiedHeader]) -> None:
        """Check that certified headers can stand on one chain with those of the anchor.

        By the rules of `check_one_chain`, which its own were checked by already: only what lies
        between the lowest and the highest of `blocks`, and on either side of these, is looked at.
        Raises `ProofError`.
        """
        new, known = sorted(blocks, key=_height), self.blocks
        if new:
            first = max(bisect_left(known, _height(new[0]), key=_height) - 1, 0)
            last = bisect_right(known, _height(new[-1]), key=_height)
            check_one_chain(self.genesis, [*known[first : last + 1], *new])

    def join(self, other: TrustAnchor) -> None:
        """Check that this and another anchor of this genesis can stand on one chain.

        Raises `ProofError`.
        """
        for mine, theirs in zip(self.validator_sets, other.validator_sets, strict=False):
            expect_equal("history-set", mine.digest.hex(), theirs.digest.hex())
        check_one_chain(self.genesis, [*self.blocks, *other.blocks])

    @property
    def file(self) -> TrustFile:
        """Return the trust file that pins just this."""
        return TrustFile(
            chain_id=self.chain_id,
            genesis=self.genesis,
            handovers=self.handovers,
            pinned=self.pinned,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFile:
    """A trust file as written: its fields, decoded but not checked against each other."""

    chain_id: bytes
    genesis: Genesis
    handovers: tuple[Handover, ...] = ()
    pinned: CertifiedHeader | None = None

    def encode(self) -> bytes:
        """Return the JSON text, indented, in UTF-8, ending in a line feed."""
        fields = {
            "format": TRUST_FORMAT,
            "version": TRUST_VERSION,
            "chain_id": self.chain_id.hex(),
            "genesis": _to_base64(self.genesis.encode()),
            "handovers": [_to_base64(handover.encode()) for handover in self.handovers],
            "pinned": None if self.pinned is None else _to_base64(self.pinned.encode()),
        }
        return (json.dumps(fields, indent=2) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> TrustFile:
        """Read a trust file; raises `DecodeError` naming what is missing, unknown or malformed."""
        if len(data) > TRUST_FILE_BYTES_MAX:
            raise DecodeError(
                f"trust file: expected at most {TRUST_FILE_BYTES_MAX} bytes, got {len(data)}"
            )
        fields = _read_object(data)
        if fields.get("format") != TRUST_FORMAT:
            raise DecodeError(f"trust file: expected format {TRUST_FORMAT!r}")
        version = fields.get("version")
        if type(version) is not int or version != TRUST_VERSION:
            raise DecodeError(f"trust file version: expected {TRUST_VERSION}, got {version!r:.40}")
        for name in (*_FIELDS, *fields):
            if name not in fields or name not in _FIELDS:
                problem = "missing" if name not in fields else "unknown"
                raise DecodeError(f"trust file: {problem} field {name!r:.40}")
        handovers, pinned = fields["handovers"], fields["pinned"]
        if not isinstance(handovers, list) or len(handovers) > HISTORY_HANDOVERS_MAX:
            raise DecodeError(
                f"trust file handovers: expected a list of at most {HISTORY_HANDOVERS_MAX}"
            )
        if handovers and pinned is None:
            raise DecodeError("trust file pinned: expected a header after the handovers, got null")
        genesis = Genesis.decode(_from_base64(fields["genesis"], "genesis"))
        return cls(
            chain_id=_chain_id(fields["chain_id"]),
            genesis=genesis,
            handovers=tuple(
                Handover.decode(_from_base64(item, "handovers"), genesis.suite)
                for item in handovers
            ),
            pinned=None
            if pinned is None
            else CertifiedHeader.decode(_from_base64(pinned, "pinned"), genesis.suite),
        )

    def establish(self) -> TrustAnchor:
        """Check the file through and return what it pins. Raises `ProofError` naming the rule.

        1. The chain id is the hash of the genesis.
        2. Each handover is certified by the set it ends, the first by the genesis set.
        3. The pinned header is certified by the set of its epoch, the last one handed over to.
        4. All headers can stand on one chain.
        """
        expect_equal("trust-chain-id", self.genesis.chain_id.hex(), self.chain_id.hex())
        with _certificate_at_fault():
            validator_sets = follow_handovers(
                self.chain_id, self.genesis.validators, self.handovers
            )
            if self.pinned is not None:
                check_certified(self.pinned, self.chain_id, validator_sets[-1])
        anchor = TrustAnchor(
            genesis=self.genesis,
            validator_sets=validator_sets,
            handovers=self.handovers,
            pinned=self.pinned,
        )
        check_one_chain(self.genesis, anchor.blocks)
        return anchor


@contextmanager
def _certificate_at_fault() -> Iterator[None]:
    try:
        yield
    except (CryptoError, PeerError) as error:
        raise ProofError("trust-certificate", str(error)) from error


def _height(block: CertifiedHeader) -> int:
    return block.header.height


def load_trust(data: bytes) -> TrustAnchor:
    """Return the anchor of a trust file's bytes.

    Raises `DecodeError` if they are no trust file, `ProofError` if what it pins does not hold.
    """
    return TrustFile.decode(data).establish()


def _read_object(data: bytes) -> dict[str, Any]:
    _check_nesting(data)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"trust file: expected a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise DecodeError(f"trust file: expected a JSON object, got {type(value).__name__}")
    return value


def _check_nesting(data: bytes) -> None:
    """Bound the depth before parsing: the parser recurses, as deep as the input likes.

    No text of a trust file holds a bracket, so all of them are structure.
    """
    depth = 0
    for bracket in _BRACKET.finditer(data):
        depth += 1 if bracket.group() in b"[{" else -1
        if depth > _DEPTH_MAX:
            raise DecodeError("trust file: expected a JSON object, nested too deep")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; a name that occurs twice has no one meaning."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise DecodeError("trust file: a field occurs twice")
    return fields


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_base64(value: object, field: str) -> bytes:
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if not data or _to_base64(data) != value:
        raise DecodeError(f"trust file {field}: expected base64 text")
    return data


def _chain_id(value: object) -> bytes:
    if not isinstance(value, str) or not _CHAIN_ID.fullmatch(value):
        raise DecodeError("trust file chain_id: expected 64 lower-case hex digits")
    return bytes.fromhex(value)
