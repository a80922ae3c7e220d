"""Genesis: what every node shares from the first block, and whose hash is the chain id."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bool,
    expect_list,
    expect_text,
    expect_uint,
    expect_version,
)
from node.chain.membership import PUBLIC_KEY_BYTES_MAX, ValidatorSet
from node.crypto import domains
from node.crypto.suite import Suite, suite_by_id
from node.errors import CryptoError, DecodeError
from node.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_TXS_MAX,
    CERTIFICATE_BYTES_MAX,
    DURATION_MS_MAX,
    GENESIS_BYTES_MAX,
    IDENTITIES_MAX,
    IDENTITY_ID_BYTES_MAX,
    NAME_BYTES_MAX,
    ORGANISATIONS_MAX,
    ROTATION_BLOCKS_MAX,
    WINDOW_SLOTS_MAX,
)


class Role(IntEnum):
    """What an identity is; numbers are consensus."""

    VALIDATOR = 1
    OBSERVER = 2
    AGENCY = 3
    AUDITOR = 4
    ADMIN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Consensus parameters, identical on every node (architecture sections 4 and 5)."""

    precision_ms: int = 100
    message_delay_ms: int = 500
    clock_error_ms: int = 50
    accuracy_ms: int = 1_000
    """Promised accuracy of T; D + PRECISION + clock error never exceeds it."""
    window_slots: int = 2
    view_timeout_ms: int = 1_000
    """How long a view may go without a commit while work is pending, before back-off."""
    view_timeout_max_ms: int = 30_000
    block_txs_max: int = 2_000
    block_bytes_max: int = 1_048_576
    checkpoint_blocks: int = 100
    rotation_blocks: int = 1_000
    """After so many blocks in a view the next validator becomes primary."""
    rotation_ms: int = 600_000
    """And after so long in a view, with work or without."""
    fairness_ms: int = 5_000
    """How much later another transaction may come and be preferred, before its primary is left."""

    def to_value(self) -> list[int]:
        """Return the CBOR array `parameters`."""
        return [
            1,
            self.precision_ms,
            self.message_delay_ms,
            self.clock_error_ms,
            self.accuracy_ms,
            self.window_slots,
            self.view_timeout_ms,
            self.view_timeout_max_ms,
            self.block_txs_max,
            self.block_bytes_max,
            self.checkpoint_blocks,
            self.rotation_blocks,
            self.rotation_ms,
            self.fairness_ms,
        ]

    @classmethod
    def from_value(cls, value: object) -> Parameters:
        """Read and validate the CBOR array `parameters`; raises `DecodeError` naming the field."""
        items = expect_array(value, 14, "parameters")
        expect_version(items[0], "parameters")
        bounds = (
            ("precision_ms", 1, DURATION_MS_MAX),
            ("message_delay_ms", 1, DURATION_MS_MAX),
            ("clock_error_ms", 0, DURATION_MS_MAX),
            ("accuracy_ms", 1, DURATION_MS_MAX),
            ("window_slots", 1, WINDOW_SLOTS_MAX),
            ("view_timeout_ms", 10, DURATION_MS_MAX),
            ("view_timeout_max_ms", 10, DURATION_MS_MAX),
            ("block_txs_max", 1, BLOCK_TXS_MAX),
            ("block_bytes_max", 1_024, BLOCK_BYTES_MAX),
            ("checkpoint_blocks", 1, 1_000_000),
            ("rotation_blocks", 1, ROTATION_BLOCKS_MAX),
            ("rotation_ms", 20, DURATION_MS_MAX),
            ("fairness_ms", 10, DURATION_MS_MAX),
        )
        fields: dict[str, int] = {}
        for item, (name, low, high) in zip(items[1:], bounds, strict=True):
            fields[name] = expect_uint(item, f"parameter {name}", high)
            if fields[name] < low:
                raise DecodeError(f"parameter {name}: expected at least {low}, got {item}")
        parameters = cls(**fields)
        promised = parameters.precision_ms + parameters.clock_error_ms + parameters.message_delay_ms
        if promised > parameters.accuracy_ms:
            raise DecodeError(
                "parameter accuracy_ms: expected at least message_delay_ms + precision_ms + "
                f"clock_error_ms = {promised}, got {parameters.accuracy_ms}"
            )
        if parameters.view_timeout_ms > parameters.view_timeout_max_ms:
            raise DecodeError("parameter view_timeout_ms: exceeds view_timeout_max_ms")
        if parameters.rotation_ms < 2 * parameters.view_timeout_max_ms:
            raise DecodeError("parameter rotation_ms: is below twice view_timeout_max_ms")
        if parameters.fairness_ms < parameters.view_timeout_ms:
            raise DecodeError("parameter fairness_ms: is below view_timeout_ms")
        return parameters

    def digest(self, suite: Suite) -> bytes:
        """Return the parameters hash that headers carry."""
        return suite.tagged_hash(domains.PARAMETERS, encode(self.to_value()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """A member organisation and the certificate authority of its people and machines."""

    organisation_id: str
    name: str
    ca_certificate: bytes
    """DER of its self-signed CA certificate."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `organisation`."""
        return [self.organisation_id, self.name, self.ca_certificate]

    @classmethod
    def from_value(cls, value: object) -> Organisation:
        """Read the CBOR array `organisation`; raises `DecodeError`."""
        organisation_id, name, certificate = expect_array(value, 3, "organisation")
        return cls(
            organisation_id=expect_text(
                organisation_id, "organisation id", size_max=IDENTITY_ID_BYTES_MAX
            ),
            name=expect_text(name, "organisation name", size_max=NAME_BYTES_MAX),
            ca_certificate=expect_blob(
                certificate, "organisation certificate", size_max=CERTIFICATE_BYTES_MAX
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who may sign transactions: the public half of an X.509 identity, as kept in state."""

    identity_id: str
    organisation: str
    role: Role
    public_key: bytes
    not_before_ms: int
    not_after_ms: int

    def to_value(self) -> list[Any]:
        """Return the CBOR array `identity`."""
        return [
            self.identity_id,
            self.organisation,
            self.role.value,
            self.public_key,
            self.not_before_ms,
            self.not_after_ms,
        ]

    @classmethod
    def from_value(cls, value: object) -> Identity:
        """Read the CBOR array `identity`; raises `DecodeError`."""
        identity_id, organisation, role, public_key, not_before, not_after = expect_array(
            value, 6, "identity"
        )
        number = expect_uint(role, "identity role", Role.ADMIN.value)
        if not number:
            raise DecodeError("identity role: expected 1..5, got 0")
        return cls(
            identity_id=expect_text(identity_id, "identity id", size_max=IDENTITY_ID_BYTES_MAX),
            organisation=expect_text(
                organisation, "identity organisation", size_max=IDENTITY_ID_BYTES_MAX
            ),
            role=Role(number),
            public_key=expect_blob(public_key, "identity key", size_max=PUBLIC_KEY_BYTES_MAX),
            not_before_ms=expect_uint(not_before, "identity not-before"),
            not_after_ms=expect_uint(not_after, "identity not-after"),
        )


@dataclass(frozen=True, kw_only=True)
class Genesis:
    """The agreed first state. Two genesis files are the same chain only when equal to the byte."""

    suite: Suite
    name: str
    created_ms: int
    testnet: bool
    """True only for trials: relaxes what production must not (clock sources, chaos commands)."""
    parameters: Parameters
    organisations: tuple[Organisation, ...]
    validators: ValidatorSet
    """The set of epoch 0."""
    identities: tuple[Identity, ...]

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `genesis`."""
        return encode(
            [
                1,
                self.suite.suite_id,
                self.name,
                self.created_ms,
                self.testnet,
                self.parameters.to_value(),
                [organisation.to_value() for organisation in self.organisations],
                self.validators.to_value(),
                [identity.to_value() for identity in self.identities],
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Genesis:
        """Read and validate a genesis; raises `DecodeError` naming the field."""
        (
            version,
            suite_id,
            name,
            created_ms,
            testnet,
            parameters,
            organisations,
            validators,
            identities,
        ) = expect_array(decode(data, what="genesis", size_max=GENESIS_BYTES_MAX), 9, "genesis")
        expect_version(version, "genesis")
        try:
            suite = suite_by_id(expect_uint(suite_id, "genesis suite", 255))
        except CryptoError as error:
            raise DecodeError(f"genesis suite: {error}") from error
        genesis = cls(
            suite=suite,
            name=expect_text(name, "genesis name", size_max=NAME_BYTES_MAX),
            created_ms=expect_uint(created_ms, "genesis time"),
            testnet=expect_bool(testnet, "genesis testnet flag"),
            parameters=Parameters.from_value(parameters),
            organisations=tuple(
                Organisation.from_value(item)
                for item in expect_list(organisations, ORGANISATIONS_MAX, "genesis organisations")
            ),
            validators=ValidatorSet.from_value(validators, suite),
            identities=tuple(
                Identity.from_value(item)
                for item in expect_list(identities, IDENTITIES_MAX, "genesis identities")
            ),
        )
        genesis.check()
        return genesis

    def check(self) -> None:
        """Check what spans fields: epoch 0, distinct ids, every organisation known, keys sound.

        Not here, for it takes long without the native library: whether the BLS keys are held
        (`validators.check_possessions`). Who makes a genesis, a home or a running node of it asks.
        """
        if self.validators.epoch != 0:
            raise DecodeError(f"genesis validators: expected epoch 0, got {self.validators.epoch}")
        known = [organisation.organisation_id for organisation in self.organisations]
        ids = [identity.identity_id for identity in self.identities]
        if len(frozenset(known)) != len(known) or len(frozenset(ids)) != len(ids):
            raise DecodeError("genesis: an organisation or identity id occurs twice")
        members = [(v.validator_id, v.organisation) for v in self.validators.validators]
        members += [(i.identity_id, i.organisation) for i in self.identities]
        for member_id, organisation in members:
            if organisation not in known:
                raise DecodeError(f"genesis: {member_id} belongs to unknown {organisation!r}")
        try:
            _ = self.validators.vote_keys
            for identity in self.identities:
                self.suite.load_public_key(identity.public_key)
        except CryptoError as error:
            raise DecodeError(f"genesis: malformed public key: {error}") from error

    @cached_property
    def chain_id(self) -> bytes:
        """Return the chain id: the hash of the genesis bytes."""
        return self.suite.tagged_hash(domains.GENESIS, self.encode())
