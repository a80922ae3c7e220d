"""How a node introduces itself to the organisations that are to let it in: a file to be sent.

It holds nothing secret, and nothing that a program would believe for its own sake: what it says of
keys and authority takes effect only once administrators have approved it. They compare it with what
its sender tells them by another way.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from node.chain.genesis import Genesis, Identity, Organisation, Role
from node.chain.governance import (
    AddOrganisation,
    AddValidator,
    Endpoint,
    Operation,
    RegisterIdentity,
    SetEndpoint,
    possession_bytes,
)
from node.chain.membership import AggregateKey, Validator
from node.config import Address, read_text
from node.crypto.certificate import encode_der
from node.crypto.member_certificate import encode_authority_pem
from node.errors import ConfigError, CryptoError, NodeError
from node.operations.equipment import timestamp_identity_id
from node.operations.provision import endpoint_table, update_toml
from node.operations.topology import write_file

INTRODUCTION_FILE: Final = "introduction.json"
INTRODUCTION_FORMAT: Final = "govchain-introduction-1"
INTRODUCTION_BYTES_MAX: Final = 65_536
_FIX: Final = "get introduction.json again from who made it, unchanged"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What the chain has to be told of a node that joins."""

    organisation: Organisation
    identity: Identity
    timestamp_key: bytes
    """Of the identity under which it records requests for time stamps."""
    endpoint: SetEndpoint
    joining: AddValidator

    def registration(self, known_organisations: Collection[str]) -> tuple[Operation, ...]:
        """Return the operations after which it may follow; its organisation is added if need be."""
        added = self.organisation.organisation_id not in known_organisations
        first = (AddOrganisation(self.organisation),) if added else ()
        stamping = RegisterIdentity(self.timestamp_identity)
        return (*first, RegisterIdentity(self.identity), stamping, self.endpoint)

    @property
    def timestamp_identity(self) -> Identity:
        """Return the identity under which it records requests for time stamps."""
        return replace(
            self.identity,
            identity_id=timestamp_identity_id(self.identity.identity_id),
            role=Role.AGENCY,
            public_key=self.timestamp_key,
        )


@dataclass(frozen=True, slots=True)
class Introduction:
    """A newcomer to one chain, and where clients reach it."""

    chain_id: bytes
    newcomer: Newcomer
    client_address: Address

    @property
    def authority_pem(self) -> bytes:
        """Return the certificate of its organisation's authority."""
        return encode_authority_pem(self.newcomer.organisation.ca_certificate)

    def encode(self) -> bytes:
        """Return the content of the file."""
        newcomer = self.newcomer
        validator = newcomer.joining.validator
        aggregate_key = validator.aggregate_key
        content = _Content(
            format=INTRODUCTION_FORMAT,
            chain_id=self.chain_id.hex(),
            node=validator.validator_id,
            organisation=validator.organisation,
            authority=self.authority_pem.decode(),
            identity_key=newcomer.identity.public_key.hex(),
            timestamp_key=newcomer.timestamp_key.hex(),
            not_before_ms=newcomer.identity.not_before_ms,
            not_after_ms=newcomer.identity.not_after_ms,
            vote_key=validator.vote_key.hex(),
            possession=newcomer.joining.possession.hex(),
            cosignature_key=validator.cosignature_key.hex(),
            bls_key="" if aggregate_key is None else aggregate_key.key.hex(),
            bls_possession="" if aggregate_key is None else aggregate_key.possession.hex(),
            peer_address=str(newcomer.endpoint.endpoint),
            client_address=str(self.client_address),
        )
        return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"

    @classmethod
    def decode(cls, data: bytes, genesis: Genesis) -> Introduction:
        """Read a file and check it against the chain it is to join.

        Raises `ConfigError` (GC-2324) unless: (1) it is of this format, and of this chain; (2) the
        node holds its vote key, and a BLS key if one is needed; (3) TLS can use its authority.
        """
        try:
            introduction = msgspec.json.decode(data, type=_Content).read()  # (1)
            introduction.require_sound(genesis)
            if introduction.encode() != data:  # people would read one thing, programs another
                raise ConfigError("expected it as govchain wrote it: each field once, in its order")
        except (msgspec.MsgspecError, ValueError, NodeError) as error:
            raise ConfigError(f"introduction: {error}", code="GC-2324", fix=_FIX) from error
        return introduction

    def require_sound(self, genesis: Genesis) -> None:
        """Check that it is for this chain, and that its keys can be used; raises `NodeError`."""
        if self.chain_id != genesis.chain_id:
            raise ConfigError(
                f"expected one for chain {genesis.chain_id.hex()}, got {self.chain_id.hex()}"
            )
        joining, suite = self.newcomer.joining, genesis.suite
        suite.load_cosignature_key(joining.validator.cosignature_key)
        aggregate_key = joining.validator.aggregate_key
        if (aggregate_key is not None) != genesis.validators.has_aggregates:
            raise CryptoError("expected a BLS key where the chain's validators have one")
        if aggregate_key is not None:
            aggregate_key.check()
        suite.load_public_key(self.newcomer.identity.public_key)
        suite.load_public_key(self.newcomer.timestamp_key)
        Identity.from_value(self.newcomer.timestamp_identity.to_value())
        key = suite.load_public_key(joining.validator.vote_key)
        message = possession_bytes(self.chain_id, joining.validator)
        is_held = len(joining.possession) == suite.signature_size
        if not (is_held and key.verify(message, joining.possession)):  # (2)
            raise CryptoError("the proof that it holds its vote key does not verify")
        _ = self.authority_pem  # (3)


def add_to_profile(profile: Path, introduction: Introduction) -> None:
    """Have clients by this profile ask the node, too, certified by its own authority alone.

    What the profile said of it before is replaced.
    """
    newcomer = introduction.newcomer
    node_id, authority = newcomer.identity.identity_id, introduction.authority_pem
    file = f"authority-{hashlib.sha256(authority).hexdigest()[:16]}.pem"
    write_file(profile.parent / file, authority)
    table = tomllib.loads(read_text(profile))
    kept = [each for each in table["endpoints"] if each["validator_id"] != node_id]
    address = introduction.client_address
    added = {**endpoint_table(node_id, address.host, address.port), "authority": file}
    update_toml(profile, {"endpoints": [*kept, added]})


class _Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file as it is read and written."""

    format: str
    chain_id: str
    node: str
    organisation: str
    authority: str
    """PEM."""
    identity_key: str
    timestamp_key: str
    not_before_ms: int
    not_after_ms: int
    vote_key: str
    possession: str
    cosignature_key: str
    bls_key: str = ""
    """Empty, as its proof, on a chain without compact certificates."""
    bls_possession: str = ""
    peer_address: str
    client_address: str

    def read(self) -> Introduction:
        """Return what it says; raises `ValueError` or `NodeError`."""
        if self.format != INTRODUCTION_FORMAT:
            raise ValueError(f"expected format {INTRODUCTION_FORMAT}, got {self.format!r:.80}")
        peer_address = Address.parse(self.peer_address)
        validator = Validator(
            validator_id=self.node,
            organisation=self.organisation,
            vote_key=bytes.fromhex(self.vote_key),
            cosignature_key=bytes.fromhex(self.cosignature_key),
            aggregate_key=AggregateKey(
                bytes.fromhex(self.bls_key), bytes.fromhex(self.bls_possession)
            )
            if self.bls_key or self.bls_possession
            else None,
        )
        identity = Identity(
            identity_id=self.node,
            organisation=self.organisation,
            role=Role.VALIDATOR,
            public_key=bytes.fromhex(self.identity_key),
            not_before_ms=self.not_before_ms,
            not_after_ms=self.not_after_ms,
        )
        organisation = Organisation(
            organisation_id=self.organisation,
            name=self.organisation,
            ca_certificate=encode_der(self.authority.encode()),
        )
        endpoint = Endpoint(peer_address.host, peer_address.port)
        newcomer = Newcomer(  # the bounds of what a chain takes are those of its decoders
            organisation=Organisation.from_value(organisation.to_value()),
            identity=Identity.from_value(identity.to_value()),
            timestamp_key=bytes.fromhex(self.timestamp_key),
            endpoint=SetEndpoint(self.node, Endpoint.from_value(endpoint.to_value())),
            joining=AddValidator(
                Validator.from_value(validator.to_value()), bytes.fromhex(self.possession)
            ),
        )
        chain_id, clients = bytes.fromhex(self.chain_id), Address.parse(self.client_address)
        return Introduction(chain_id, newcomer, clients)
