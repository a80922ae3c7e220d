"""The home of a node: what every one holds, and one made on a machine of the node's own.

There nothing is given but the chain's genesis and where other validators listen. What others have
to be told of the node is its introduction (introduction.py). Homes inside the folder of a local
network are for provision.py and newcomer.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.chain.genesis import Genesis, Identity, Organisation, Role
from node.chain.governance import AddValidator, Endpoint, SetEndpoint, possession_bytes
from node.chain.membership import Validator
from node.config import NODE_FILE, Address, NodeConfig
from node.config import Endpoint as KnownPeer
from node.crypto.certificate import Authority, encode_der, encode_pem
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    KeySecret,
    load_aggregate_signer,
    load_signer,
)
from node.crypto.member_certificate import encode_authority_pem, read_identity, verify_node
from node.crypto.suite import Suite
from node.errors import ConfigError, CryptoError
from node.operations.equipment import (
    FOLDER_MODE,
    TLS_REQUEST_FILE,
    Outfitter,
    register,
    timestamp_identity_id,
)
from node.operations.introduction import INTRODUCTION_FILE, Introduction, Newcomer
from node.operations.provision import endpoint_table, render_toml
from node.operations.topology import (
    CA_BUNDLE_FILE,
    GENESIS_FILE,
    SECRET_FILE,
    is_vacant,
    lock_folder,
    sync_folder,
    write_file,
)
from node.service.home import (
    AGGREGATE_KEY_FILE,
    COSIGNATURE_KEY_FILE,
    IDENTITY_KEY_FILE,
    OWN_AUTHORITY_FILE,
    TLS_FILE,
    TLS_KEY_FILE,
    TSA_IDENTITY_KEY_FILE,
    VOTE_KEY_FILE,
    WAL_FOLDER,
    log_identity,
)
from node.storage.wal import WriteAheadLog

_VALIDATOR_ROLE: Final = Role.VALIDATOR.name.lower()
_FIX_CERTIFICATE: Final = f"have it issued at {TLS_REQUEST_FILE} of this very home, as it asks"
_ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - where a server listens on all addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class HomePlan:
    """What a node on a machine of its own is to be."""

    node_id: str
    organisation_id: str
    genesis: Genesis
    peer_address: Address
    """Where it listens for other validators."""
    client_address: Address
    metrics_address: Address | None = None
    http_address: Address | None = None
    host: str
    """DNS name or IP address by which others reach it, at these ports."""
    peers: tuple[KnownPeer, ...]
    """Validators that it finds the chain by."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What opens private keys: a key file at a path, or a passphrase, which has none."""

    opens: KeySecret
    key_file: Path | None


@dataclass(frozen=True, slots=True)
class Issued:
    """What an organisation's authority issued at a request; PEM or DER both."""

    certificate: bytes
    authority: bytes
    """Its own certificate."""


def make_home(
    home: Path, plan: HomePlan, authority_folder: Path, secret: Secret | None, now_ms: int
) -> Introduction:
    """Make the files of a node in `home`, all or none; return how it introduces itself.

    `authority_folder` holds the authority of its organisation (`ca.pem`, `ca.key`, and `secret.key`
    if that is what opens it); one is founded where nothing is. Without a `secret`, each folder gets
    a key file of its own. Raises `ConfigError` where something else is in the way, `CryptoError`
    where keys or names cannot be used.
    """
    _check(home, plan)
    with making_own(home) as workshop:
        authority = open_authority(
            authority_folder, plan.genesis.suite, plan.organisation_id, secret, now_ms
        )
        workshop.mkdir(mode=FOLDER_MODE)
        secret = secret or make_secret(workshop)
        _furnish_own(workshop, plan, authority, secret, now_ms)
        return _introduce(workshop, plan, secret.opens, authority.certificate)


def apply_for_home(home: Path, plan: HomePlan, secret: Secret | None, now_ms: int) -> Path:
    """Make the files of a node in `home` but for its certificate; return the request for that.

    For organisations whose authority is kept elsewhere. Raises as `make_home` does.
    """
    _check(home, plan)
    with making_own(home) as workshop:
        workshop.mkdir(mode=FOLDER_MODE)
        _furnish_own(workshop, plan, None, secret or make_secret(workshop), now_ms)
    return home / TLS_REQUEST_FILE


def certify_home(
    home: Path, plan: HomePlan, issued: Issued, secret: Secret | None, now_ms: int
) -> Introduction:
    """Finish a home that `apply_for_home` began, by the same plan; return how it introduces itself.

    Raises `ConfigError` where no such home waits for a certificate, `CryptoError` where it is not
    what the node can use.
    """
    _check(home, plan)
    if not (home / TLS_REQUEST_FILE).is_file() or (home / INTRODUCTION_FILE).exists():
        raise ConfigError(
            f"{home}: no node there waits for a certificate",
            code="GC-2102",
            fix="make one that does: govchain node init --request; one that has it runs as it is",
        )
    with lock_folder(home, wait=True):
        config = NodeConfig.load(home)
        is_same_chain = (home / GENESIS_FILE).read_bytes() == plan.genesis.encode()
        if config.validator_id != plan.node_id or not is_same_chain:
            raise ConfigError(
                f"{home}: was made for {config.validator_id!r}, or for another chain",
                fix="give the options of the call that made the request",
            )
        secret = secret or Secret(KeyFileSecret.load(home / SECRET_FILE), home / SECRET_FILE)
        shown = verify_node(issued.certificate, issued.authority, now_ms)
        key = load_signer(home / TLS_KEY_FILE, secret.opens, KeyPurpose.TLS).public_key.encoded
        if (shown.identity_id, shown.role) != (plan.node_id, _VALIDATOR_ROLE):
            raise CryptoError(
                f"certificate: expected one of validator {plan.node_id!r}, got one of "
                f"{shown.role} {shown.identity_id!r}",
                fix=_FIX_CERTIFICATE,
            )
        if shown.public_key_encoded != key:
            raise CryptoError(
                f"certificate: is not for the key of {home / TLS_KEY_FILE}", fix=_FIX_CERTIFICATE
            )
        write_file(home / TLS_FILE, encode_pem(issued.certificate))
        write_file(home / NODE_FILE, render_toml(_settings(plan, secret, home)))
        return _introduce(home, plan, secret.opens, issued.authority)


def furnish(
    workshop: Path,
    genesis: Genesis,
    outfitter: Outfitter,
    authority: Authority | None,
    settings: Mapping[str, Any],
    *,
    organisation_id: str,
    host: str,
) -> None:
    """Put into `workshop` what a node needs that is to join: keys, certificate, log, settings.

    `settings` become `node.toml`. Without its authority there are requests for the certificates.
    """
    node_id = settings["validator_id"]
    if authority is None:
        outfitter.equip_applicant(workshop, node_id, organisation_id, hosts=(host,))
    else:
        outfitter.equip_validator(workshop, node_id, organisation_id, authority, hosts=(host,))
    if genesis.validators.has_aggregates:
        outfitter.make_aggregate_key(workshop)
    outfitter.make_node_identity(workshop)
    outfitter.make_timestamp_identity(workshop, timestamp_identity_id(node_id), organisation_id)
    write_file(workshop / GENESIS_FILE, genesis.encode())
    WriteAheadLog.create(workshop / WAL_FOLDER, log_identity(genesis, node_id))
    write_file(workshop / NODE_FILE, render_toml(settings))


def make_known(home: Path, authority: bytes, bundle: bytes) -> None:
    """Write who certifies the node (PEM or DER), and whom its clients believe (PEM)."""
    write_file(home / CA_BUNDLE_FILE, bundle)
    write_file(home / OWN_AUTHORITY_FILE, encode_pem(authority))


def read_newcomer(
    home: Path, genesis: Genesis, secret: KeySecret, authority: bytes, endpoint: Endpoint
) -> Newcomer:
    """Return what the chain has to be told of the node of `home`, from its keys.

    `authority` is its organisation's certificate, `endpoint` where others reach it.
    """
    vote_key = load_signer(home / VOTE_KEY_FILE, secret, KeyPurpose.VOTE)
    cosigner = load_signer(home / COSIGNATURE_KEY_FILE, secret, KeyPurpose.COSIGNATURE)
    identity_key = load_signer(home / IDENTITY_KEY_FILE, secret, KeyPurpose.IDENTITY)
    stamping_key = load_signer(home / TSA_IDENTITY_KEY_FILE, secret, KeyPurpose.IDENTITY)
    shown = read_identity((home / TLS_FILE).read_bytes())
    validator = Validator(
        validator_id=shown.identity_id,
        organisation=shown.organisation,
        vote_key=vote_key.public_key.encoded,
        cosignature_key=cosigner.public_key.encoded,
        aggregate_key=register(load_aggregate_signer(home / AGGREGATE_KEY_FILE, secret))
        if genesis.validators.has_aggregates
        else None,
    )
    return Newcomer(
        organisation=Organisation(
            organisation_id=shown.organisation,
            name=shown.organisation,
            ca_certificate=encode_der(authority),
        ),
        identity=Identity(
            identity_id=shown.identity_id,
            organisation=shown.organisation,
            role=Role.VALIDATOR,
            public_key=identity_key.public_key.encoded,
            not_before_ms=shown.not_before_ms,
            not_after_ms=shown.not_after_ms,
        ),
        timestamp_key=stamping_key.public_key.encoded,
        endpoint=SetEndpoint(shown.identity_id, endpoint),
        joining=AddValidator(
            validator, vote_key.sign(possession_bytes(genesis.chain_id, validator))
        ),
    )


@contextmanager
def making(place: Path) -> Iterator[Path]:
    """Yield a place to make a folder at; it takes its name once all of it is made."""
    workshop = place.with_name(f".{place.name}.unfinished")
    shutil.rmtree(workshop, ignore_errors=True)  # left by a run that was killed
    try:
        yield workshop
        workshop.chmod(FOLDER_MODE)
        workshop.rename(place)
        sync_folder(place.parent)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _check(home: Path, plan: HomePlan) -> None:
    """Refuse what could never run, before any key is made."""
    if plan.host in _ANYWHERE:
        raise ConfigError(
            f"{plan.host}: is no address at which others reach this node",
            fix="name a host name or IP address that is: --at",
        )
    if any(peer.validator_id == plan.node_id for peer in plan.peers):
        raise ConfigError(
            f"{plan.node_id}: is named as a peer of itself",
            fix=f"give {home.name} a name that was never used, or name other validators",
        )
    if plan.genesis.validators.index_of(plan.node_id) is not None:
        raise ConfigError(
            f"{plan.node_id}: is a validator by the genesis already: no name is used twice",
            code="GC-2102",
            fix="name another validator",
        )
    plan.genesis.validators.check_possessions()


def open_authority(
    folder: Path, suite: Suite, organisation_id: str, secret: Secret | None, now_ms: int
) -> Authority:
    """Open the authority in `folder`, or found it there."""
    if is_vacant(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with making(folder) as workshop:
            workshop.mkdir(mode=FOLDER_MODE)
            opens = (
                KeyFileSecret.generate(workshop / SECRET_FILE) if secret is None else secret.opens
            )
            Outfitter(suite, opens, now_ms).found_authority(workshop, organisation_id)
    own = folder / SECRET_FILE
    if own.exists():
        return Outfitter(suite, KeyFileSecret.load(own), now_ms).load_authority(folder)
    if secret is None:
        raise ConfigError(
            f"{folder}: holds no {SECRET_FILE} that opens the authority's key",
            code="GC-2311",
            fix="name the secret that opens it: --key-file, or --passphrase",
        )
    return Outfitter(suite, secret.opens, now_ms).load_authority(folder)


@contextmanager
def making_own(home: Path) -> Iterator[Path]:
    """Yield a place to make `home` at, where nothing is in the way."""
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with lock_folder(home.parent, wait=True):
            if not is_vacant(home):
                raise ConfigError(
                    f"{home}: exists and is not empty",
                    code="GC-2102",
                    fix="name another folder; a node that was made there is started as it is",
                )
            with making(home) as workshop:
                yield workshop
    except OSError as error:
        raise ConfigError(
            f"{home}: cannot be made: {error.strerror}",
            code="GC-2103",
            fix="check the folder above it: its rights and the space on its disk",
        ) from error


def make_secret(workshop: Path) -> Secret:
    """Make a key file in a folder that is being made."""
    return Secret(KeyFileSecret.generate(workshop / SECRET_FILE), workshop / SECRET_FILE)


def _furnish_own(
    workshop: Path, plan: HomePlan, authority: Authority | None, secret: Secret, now_ms: int
) -> None:
    furnish(
        workshop,
        plan.genesis,
        Outfitter(plan.genesis.suite, secret.opens, now_ms),
        authority,
        _settings(plan, secret, workshop),
        organisation_id=plan.organisation_id,
        host=plan.host,
    )
    NodeConfig.load(workshop)  # what it would refuse at its start is refused now


def _settings(plan: HomePlan, secret: Secret, home: Path) -> dict[str, Any]:
    settings = {
        "version": 1,
        "validator_id": plan.node_id,
        "timestamp_identity": timestamp_identity_id(plan.node_id),
        "peer_address": str(plan.peer_address),
        "client_address": str(plan.client_address),
        "peers": [
            endpoint_table(each.validator_id, each.address.host, each.address.port)
            for each in plan.peers
        ],
    }
    if plan.metrics_address is not None:
        settings["metrics_address"] = str(plan.metrics_address)
    if plan.http_address is not None:
        settings["http_address"] = str(plan.http_address)
    if secret.key_file is not None:
        is_own = secret.key_file == home / SECRET_FILE
        settings["key_file"] = SECRET_FILE if is_own else str(secret.key_file.resolve())
    return settings


def _introduce(home: Path, plan: HomePlan, opens: KeySecret, authority: bytes) -> Introduction:
    """Write what makes a node known that has its certificate."""
    genesis = plan.genesis
    endpoint = Endpoint(plan.host, plan.peer_address.port)
    newcomer = read_newcomer(home, genesis, opens, authority, endpoint)
    if newcomer.identity.organisation != plan.organisation_id:
        raise ConfigError(
            f"the authority is of {newcomer.identity.organisation!r}, not of "
            f"{plan.organisation_id!r}",
            fix="use the organisation's own authority",
        )
    bundle = {encode_authority_pem(authority): None}
    for each in genesis.organisations:
        with suppress(CryptoError):  # one that is none in truth certifies nobody
            bundle[encode_authority_pem(each.ca_certificate)] = None
    make_known(home, authority, b"".join(bundle))
    client_address = Address(plan.host, plan.client_address.port)
    introduction = Introduction(genesis.chain_id, newcomer, client_address)
    write_file(home / INTRODUCTION_FILE, introduction.encode())
    return introduction
