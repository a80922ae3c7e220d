"""Validators, their ordered set, and quorum arithmetic. Integers only; nothing here counts votes.

Source of the arithmetic: n validators tolerate f = (n - 1) // 3 Byzantine ones, and any two quorums
of ceil((n + f + 1) / 2) share at least f + 1 members, hence a correct one. That equals 2f + 1 only
when n = 3f + 1; a flat 2f + 1 is unsafe for n = 5 or 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from node.chain.encoding import (
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_list,
    expect_text,
    expect_version,
)
from node.crypto import domains
from node.crypto.bls import BLS_PUBLIC_KEY_BYTES, BLS_SIGNATURE_BYTES, BlsPublicKey
from node.crypto.signature import PublicKey
from node.crypto.suite import Suite
from node.errors import CryptoError, DecodeError
from node.limits import IDENTITY_ID_BYTES_MAX, VALIDATORS_MAX

COSIGNATURE_KEY_BYTES = 32
PUBLIC_KEY_BYTES_MAX = 128


def faults_tolerated(n: int) -> int:
    """Return f, the number of Byzantine validators a set of `n` tolerates."""
    return (n - 1) // 3


def quorum_size(n: int) -> int:
    """Return q = ceil((n + f + 1) / 2)."""
    return (n + faults_tolerated(n) + 2) // 2


@dataclass(frozen=True, slots=True)
class AggregateKey:
    """A BLS12-381 key as its owner registered it. Untrusted until `check` has passed."""

    key: bytes
    """A point of G1, 48 bytes."""
    possession: bytes
    """The proof that its owner holds the private half, 96 bytes."""

    def parse(self) -> BlsPublicKey:
        """Return the key, its possession checked before; raises `CryptoError` if malformed."""
        return BlsPublicKey.decode(self.key)

    def check(self) -> BlsPublicKey:
        """Return the parsed key; raises `CryptoError` if it is malformed or not proved to be held.

        A millisecond where the native library is installed, else a third of a second.
        """
        key = self.parse()
        if not key.verify_possession(self.possession):
            raise CryptoError("BLS key: the proof of possession does not verify")
        return key

    def to_value(self) -> list[bytes]:
        """Return the CBOR array `aggregate-key`."""
        return [self.key, self.possession]

    @classmethod
    def from_value(cls, value: object) -> AggregateKey:
        """Read the CBOR array `aggregate-key`; raises `DecodeError`."""
        key, possession = expect_array(value, 2, "BLS key")
        return cls(
            expect_bytes(key, "BLS key", size=BLS_PUBLIC_KEY_BYTES),
            expect_bytes(possession, "BLS proof of possession", size=BLS_SIGNATURE_BYTES),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Validator:
    """One consensus participant as the chain knows it."""

    validator_id: str
    """Unique for ever within the chain, at most 64 bytes, for instance `validator-1`."""
    organisation: str
    vote_key: bytes
    """Public key of its votes, encoded as the suite defines."""
    cosignature_key: bytes
    """Ed25519 public key (32 bytes) of its tree-head cosignatures."""
    aggregate_key: AggregateKey | None = None
    """Of its shares of compact certificates; None on a chain that has none."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `validator` of proto/govchain.cddl."""
        return [
            self.validator_id,
            self.organisation,
            self.vote_key,
            self.cosignature_key,
            None if self.aggregate_key is None else self.aggregate_key.to_value(),
        ]

    @classmethod
    def from_value(cls, value: object) -> Validator:
        """Read the CBOR array `validator`; raises `DecodeError`."""
        validator_id, organisation, vote_key, cosignature_key, aggregate_key = expect_array(
            value, 5, "validator"
        )
        return cls(
            validator_id=expect_text(validator_id, "validator id", size_max=IDENTITY_ID_BYTES_MAX),
            organisation=expect_text(
                organisation, "validator organisation", size_max=IDENTITY_ID_BYTES_MAX
            ),
            vote_key=expect_blob(vote_key, "vote key", size_max=PUBLIC_KEY_BYTES_MAX),
            cosignature_key=expect_bytes(
                cosignature_key, "cosignature key", size=COSIGNATURE_KEY_BYTES
            ),
            aggregate_key=None if aggregate_key is None else AggregateKey.from_value(aggregate_key),
        )


@dataclass(frozen=True)
class ValidatorSet:
    """The ordered validators of one epoch; a validator's index is its position."""

    epoch: int
    validators: tuple[Validator, ...]
    suite: Suite

    def __post_init__(self) -> None:
        """Refuse an empty or oversized set, or one that repeats an id or a key.

        Of compact certificates either every member has a key or none; a key that two members share
        would let one signature count twice.
        """
        if not 1 <= len(self.validators) <= VALIDATORS_MAX:
            raise DecodeError(
                f"validator set: expected 1..{VALIDATORS_MAX} members, got {len(self.validators)}"
            )
        ids = [validator.validator_id for validator in self.validators]
        keys = [validator.vote_key for validator in self.validators]
        if len(frozenset(ids)) != len(ids) or len(frozenset(keys)) != len(keys):
            raise DecodeError("validator set: an id or a vote key occurs twice")
        proven = [v.aggregate_key.key for v in self.validators if v.aggregate_key is not None]
        if len(proven) not in (0, len(ids)):
            raise DecodeError("validator set: expected BLS keys of all members or of none")
        if len(frozenset(proven)) != len(proven):
            raise DecodeError("validator set: a BLS key occurs twice")

    @property
    def size(self) -> int:
        """Return n."""
        return len(self.validators)

    @cached_property
    def faults(self) -> int:
        """Return f."""
        return faults_tolerated(len(self.validators))

    @cached_property
    def quorum(self) -> int:
        """Return q."""
        return quorum_size(len(self.validators))

    @cached_property
    def digest(self) -> bytes:
        """Return the set hash that votes and headers bind: members, keys and epoch."""
        return self.suite.tagged_hash(domains.VALIDATOR_SET, self.encode())

    @cached_property
    def vote_keys(self) -> tuple[PublicKey, ...]:
        """Return the parsed vote keys in index order; raises `CryptoError` on a malformed key."""
        return tuple(self.suite.load_public_key(v.vote_key) for v in self.validators)

    @property
    def has_aggregates(self) -> bool:
        """Whether its members sign compact certificates: set in genesis, kept ever after."""
        return self.validators[0].aggregate_key is not None

    def check_possessions(self) -> None:
        """Check every member's BLS key; raises `CryptoError` naming the first that is not held."""
        for member in self.validators:
            try:
                if member.aggregate_key is not None:
                    member.aggregate_key.check()
            except CryptoError as error:
                raise CryptoError(f"{member.validator_id}: {error}") from error

    def primary(self, view: int) -> int:
        """Return the index of the primary of `view`."""
        return view % len(self.validators)

    def index_of(self, validator_id: str) -> int | None:
        """Return the index of a member, or None."""
        for index, validator in enumerate(self.validators):
            if validator.validator_id == validator_id:
                return index
        return None

    def to_value(self) -> list[Any]:
        """Return the CBOR array `validator-set`."""
        return [1, self.epoch, [validator.to_value() for validator in self.validators]]

    def encode(self) -> bytes:
        """Return the canonical bytes whose hash votes bind."""
        return encode(self.to_value())

    @classmethod
    def from_value(cls, value: object, suite: Suite) -> ValidatorSet:
        """Read the CBOR array `validator-set`; raises `DecodeError`."""
        version, epoch, members = expect_array(value, 3, "validator set")
        expect_version(version, "validator set")
        if type(epoch) is not int or epoch < 0:
            raise DecodeError("validator set: epoch must be an unsigned integer")
        listed: Sequence[Any] = expect_list(members, VALIDATORS_MAX, "validator set")
        return cls(epoch, tuple(Validator.from_value(member) for member in listed), suite)
