"""Keys and certificates of authorities, nodes and clients, written encrypted into their folders.

Used where a network is made and where somebody joins one. What they are for is decided there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from node.chain.genesis import Identity, Role
from node.chain.membership import AggregateKey, Validator
from node.crypto.bls import BlsSigner
from node.crypto.certificate import (
    LOOPBACK_HOSTS,
    Authority,
    Issuance,
    Member,
    build_authority_certificate,
    build_identity_certificate,
    build_node_certificate,
    build_node_request,
    build_timestamp_certificate,
    build_timestamp_request,
    encode_pem,
)
from node.crypto.keystore import (
    KeyPurpose,
    KeySecret,
    generate_key,
    load_signer,
    new_serial_number,
    save_key,
)
from node.crypto.signature import Signer, SoftwareSigner
from node.crypto.suite import Suite
from node.errors import ConfigError
from node.operations.topology import write_file
from node.service.home import (
    AGGREGATE_KEY_FILE,
    COSIGNATURE_KEY_FILE,
    IDENTITY_KEY_FILE,
    TLS_FILE,
    TLS_KEY_FILE,
    TSA_FILE,
    TSA_IDENTITY_KEY_FILE,
    TSA_KEY_FILE,
    VOTE_KEY_FILE,
)

AUTHORITY_FILE: Final = "ca.pem"
AUTHORITY_KEY_FILE: Final = "ca.key"
TLS_REQUEST_FILE: Final = "tls.csr"
TSA_REQUEST_FILE: Final = "tsa.csr"
FOLDER_MODE: Final = 0o700

_DAY_MS: Final = 86_400_000
_CLOCK_SLACK_MS: Final = 300_000
"""Certificates begin this much before now: clocks of one network may differ."""
_AUTHORITY_DAYS: Final = 3_650
_MEMBER_DAYS: Final = 730
_TSA_DAYS: Final = 1_825
"""A token's certificate is asked for as long as the token is shown; within the authority's own."""


class Outfitter:
    """Makes what somebody needs to take part, for one chain, under one secret, from one time on."""

    def __init__(self, suite: Suite, secret: KeySecret, now_ms: int) -> None:
        self._suite, self._secret, self._now_ms = suite, secret, now_ms

    def found_authority(self, folder: Path, organisation_id: str) -> Authority:
        """Make the authority of an organisation in `folder`, made if need be."""
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        signer = generate_key(KeyPurpose.AUTHORITY, self._suite)
        certificate = build_authority_certificate(
            signer, organisation_id, self._issuance(_AUTHORITY_DAYS)
        )
        write_file(folder / AUTHORITY_FILE, encode_pem(certificate))
        self._save_key(folder / AUTHORITY_KEY_FILE, signer, KeyPurpose.AUTHORITY)
        return Authority(certificate, signer)

    def load_authority(self, folder: Path) -> Authority:
        """Open an authority that `found_authority` made."""
        try:
            certificate = (folder / AUTHORITY_FILE).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{folder / AUTHORITY_FILE}: {error.strerror}",
                fix="name an organisation whose authority is kept here",
            ) from error
        key = load_signer(folder / AUTHORITY_KEY_FILE, self._secret, KeyPurpose.AUTHORITY)
        return Authority(certificate, key)

    def equip_validator(
        self,
        home: Path,
        validator_id: str,
        organisation_id: str,
        authority: Authority,
        *,
        hosts: Sequence[str],
        with_aggregate_key: bool = False,
    ) -> Validator:
        """Make the keys and the TLS certificate of a validator in a new `home`."""
        vote_key, cosignature_key, tls_key = self.make_keys(home)
        self._certify_node(home, validator_id, tls_key, authority, hosts)
        tsa_key = self._make_key(home / TSA_KEY_FILE, KeyPurpose.TIMESTAMP).public_key
        issuance = self._issuance(_TSA_DAYS)
        stamping = build_timestamp_certificate(authority, validator_id, tsa_key, issuance)
        write_file(home / TSA_FILE, encode_pem(stamping))
        return Validator(
            validator_id=validator_id,
            organisation=organisation_id,
            vote_key=vote_key.public_key.encoded,
            cosignature_key=cosignature_key.public_key.encoded,
            aggregate_key=self.make_aggregate_key(home) if with_aggregate_key else None,
        )

    def equip_applicant(
        self, home: Path, validator_id: str, organisation_id: str, *, hosts: Sequence[str]
    ) -> None:
        """Make the keys of a validator in a new `home`, and requests for its certificates."""
        _, _, tls_key = self.make_keys(home)
        tsa_key = self._make_key(home / TSA_KEY_FILE, KeyPurpose.TIMESTAMP)
        stamping = build_timestamp_request(tsa_key, validator_id, organisation_id)
        write_file(home / TSA_REQUEST_FILE, stamping)
        request = build_node_request(
            tls_key, validator_id, organisation_id, hosts=_names(validator_id, hosts)
        )
        write_file(home / TLS_REQUEST_FILE, request)

    def make_keys(self, home: Path) -> tuple[Signer, Signer, Signer]:
        """Make the keys of a validator in a new `home`: for votes, for cosignatures, for TLS."""
        make_folder(home / "keys")
        return (
            self._make_key(home / VOTE_KEY_FILE, KeyPurpose.VOTE),
            self._make_key(home / COSIGNATURE_KEY_FILE, KeyPurpose.COSIGNATURE),
            self._make_key(home / TLS_KEY_FILE, KeyPurpose.TLS),
        )

    def make_node_identity(self, home: Path) -> None:
        """Make the key under which the chain registers a node that is to join."""
        self._make_key(home / IDENTITY_KEY_FILE, KeyPurpose.IDENTITY)

    def make_timestamp_identity(
        self,
        home: Path,
        identity_id: str,
        organisation_id: str,
        *,
        key_file: str = TSA_IDENTITY_KEY_FILE,
    ) -> Identity:
        """Make the key of the identity under which a node records requests for time stamps.

        One that is there already, of a call that was cut short, is taken up.
        """
        path = home / key_file
        if path.exists():
            key = load_signer(path, self._secret, KeyPurpose.IDENTITY)
        else:
            key = self._make_key(path, KeyPurpose.IDENTITY)
        issuance = self._issuance(_MEMBER_DAYS)
        return Identity(
            identity_id=identity_id,
            organisation=organisation_id,
            role=Role.AGENCY,
            public_key=key.public_key.encoded,
            not_before_ms=issuance.not_before_ms,
            not_after_ms=issuance.not_after_ms,
        )

    def equip_client(
        self,
        folder: Path,
        client_id: str,
        role: Role,
        organisation_id: str,
        authority: Authority,
    ) -> Identity:
        """Make the keys and the certificate of a client in a new `folder`."""
        make_folder(folder)
        identity_key = self._make_key(folder / "client.key", KeyPurpose.IDENTITY)
        tls_key = self._make_key(folder / "tls.key", KeyPurpose.TLS)
        issuance = self._certify_client(folder, client_id, role, tls_key, authority)
        return Identity(
            identity_id=client_id,
            organisation=organisation_id,
            role=role,
            public_key=identity_key.public_key.encoded,
            not_before_ms=issuance.not_before_ms,
            not_after_ms=issuance.not_after_ms,
        )

    def renew_node(
        self, folder: Path, validator_id: str, authority: Authority, *, hosts: Sequence[str]
    ) -> None:
        """Make a new key for TLS, and its certificate, for a node in a new `folder`."""
        make_folder(folder / "keys")
        tls_key = self._make_key(folder / TLS_KEY_FILE, KeyPurpose.TLS)
        self._certify_node(folder, validator_id, tls_key, authority, hosts)

    def _certify_node(
        self,
        home: Path,
        validator_id: str,
        tls_key: Signer,
        authority: Authority,
        hosts: Sequence[str],
    ) -> None:
        member = Member(
            identity_id=validator_id, role="validator", public_key=tls_key.public_key.encoded
        )
        certificate = build_node_certificate(
            authority, member, self._issuance(_MEMBER_DAYS), hosts=_names(validator_id, hosts)
        )
        write_file(home / TLS_FILE, encode_pem(certificate))

    def renew_client(self, folder: Path, client_id: str, role: Role, authority: Authority) -> None:
        """Make a new key for TLS, and its certificate, for a client in a new `folder`."""
        make_folder(folder)
        tls_key = self._make_key(folder / "tls.key", KeyPurpose.TLS)
        self._certify_client(folder, client_id, role, tls_key, authority)

    def _certify_client(
        self, folder: Path, client_id: str, role: Role, tls_key: Signer, authority: Authority
    ) -> Issuance:
        member = Member(
            identity_id=client_id,
            role=role.name.lower(),
            public_key=tls_key.public_key.encoded,
        )
        issuance = self._issuance(_MEMBER_DAYS)
        certificate = build_identity_certificate(authority, member, issuance)
        write_file(folder / "client.pem", encode_pem(certificate))
        return issuance

    def make_aggregate_key(self, home: Path) -> AggregateKey:
        """Make the key of a validator's shares of compact certificates; return what is registered.

        The proof is deterministic: whoever opens the key can give it again.
        """
        key = generate_key(KeyPurpose.AGGREGATE, self._suite)
        self._save_key(home / AGGREGATE_KEY_FILE, key, KeyPurpose.AGGREGATE)
        return register(key)

    def _make_key(self, path: Path, purpose: KeyPurpose) -> Signer:
        key = generate_key(purpose, self._suite)
        self._save_key(path, key, purpose)
        return key

    def _save_key(self, path: Path, key: SoftwareSigner, purpose: KeyPurpose) -> None:
        save_key(path, key, self._secret, purpose, self._suite)

    def _issuance(self, days: int) -> Issuance:
        return Issuance(
            serial_number=new_serial_number(),
            not_before_ms=self._now_ms - _CLOCK_SLACK_MS,
            not_after_ms=self._now_ms + days * _DAY_MS,
        )


def timestamp_identity_id(owner: str) -> str:
    """Return the id of the identity under which requests for time stamps are recorded.

    `owner` is an organisation whose one node serves them, or a node that joined later.
    """
    return f"{owner}-tsa"


def next_name(name: str) -> str:
    """Return the name after one that was used: NAME.2 after NAME, NAME.3 after NAME.2."""
    base, dot, number = name.rpartition(".")
    return f"{base}.{int(number) + 1}" if dot and number.isdecimal() else f"{name}.2"


def register(key: BlsSigner) -> AggregateKey:
    """Return a BLS key as the chain registers it."""
    return AggregateKey(key.public_key.encoded, key.prove_possession())


def make_folder(folder: Path) -> Path:
    """Make a folder for its owner alone, and those above it; it must not exist."""
    folder.mkdir(mode=FOLDER_MODE, parents=True)
    return folder


def _names(validator_id: str, hosts: Sequence[str]) -> tuple[str, ...]:
    """Return all that a node may be called by who connects to it."""
    return tuple(dict.fromkeys((validator_id, *hosts, *LOOPBACK_HOSTS)))
