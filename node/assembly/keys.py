"""What the running node proves itself with, and whether the chain and its name go with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from node.chain.genesis import Genesis
from node.chain.membership import ValidatorSet
from node.config import NodeConfig
from node.crypto.authority import read_timestamp_certificate
from node.crypto.bls import BlsSigner
from node.crypto.certificate import split_pem
from node.crypto.keystore import (
    KeyPurpose,
    KeySecret,
    load_aggregate_signer,
    load_signer,
)
from node.crypto.member_certificate import read_identity
from node.crypto.signature import Signer
from node.errors import ConfigError, CryptoError
from node.rpc.certificate_watch import load_tls
from node.rpc.identity import RenewableTls, TlsIdentity
from node.service.home import (
    AGGREGATE_KEY_FILE,
    COSIGNATURE_KEY_FILE,
    OWN_AUTHORITY_FILE,
    TLS_FILE,
    TLS_KEY_FILE,
    TSA_FILE,
    TSA_IDENTITY_KEY_FILE,
    TSA_KEY_FILE,
    VOTE_KEY_FILE,
)

_FIX_TSA: Final = "put the certificate there that was issued for this key, or none"


@dataclass(frozen=True, slots=True)
class StampingKeys:
    """What the running node stamps time with."""

    certificates: Sequence[bytes]
    """Of `signer`, PEM: one, and those by which it was renewed."""
    signer: Signer
    """Of tokens."""
    submitter: Signer | None
    """Of the identity under which requests are recorded, where the settings name one."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What the running node proves itself with."""

    tls: RenewableTls
    reload_tls: Callable[[], TlsIdentity]
    """Reads the files of `tls` again; raises `ConfigError` for what nobody would believe."""
    signer: Signer
    """Of its votes."""
    cosigner: Signer
    sharer: BlsSigner | None
    """Of its shares of compact certificates; None on a chain that has none."""
    stamping: StampingKeys | None
    """None where its home has no certificate for time-stamping."""
    own_authority: Mapping[str, bytes]
    """By organisation: its own, which the state may not name yet; nothing where it does."""


def load_keys(home: Path, config: NodeConfig, genesis: Genesis, secret: KeySecret) -> Keys:
    """Return what `home` holds; raises `ConfigError` for what nobody would believe."""
    signer = load_signer(home / VOTE_KEY_FILE, secret, KeyPurpose.VOTE)
    cosigner = load_signer(home / COSIGNATURE_KEY_FILE, secret, KeyPurpose.COSIGNATURE)
    reload_tls = partial(_load_tls, home, config, secret)
    tls = reload_tls()
    check_key(config, signer, genesis.validators)  # founders keep their keys as long as their ids
    sharer = _load_sharer(home, config, genesis, secret)
    stamping = _load_stamping_keys(home, config, secret)
    own_authority = _own_authority(home, tls)
    return Keys(RenewableTls(tls), reload_tls, signer, cosigner, sharer, stamping, own_authority)


def _load_tls(home: Path, config: NodeConfig, secret: KeySecret) -> TlsIdentity:
    """Return what the node shows of itself; raises `ConfigError` for what nobody would believe."""
    tls = load_tls(home / TLS_FILE, home / TLS_KEY_FILE, secret)
    _check_name(config, tls)
    return tls


def _load_sharer(
    home: Path, config: NodeConfig, genesis: Genesis, secret: KeySecret
) -> BlsSigner | None:
    """Return the key of its shares; raises `ConfigError` where a founder's key is not held."""
    if not genesis.validators.has_aggregates:
        return None
    try:
        genesis.validators.check_possessions()
    except CryptoError as error:
        raise ConfigError(
            f"{config.home}: genesis: {error}", fix="do not found a chain on this genesis"
        ) from error
    sharer = load_aggregate_signer(home / AGGREGATE_KEY_FILE, secret)
    me = genesis.validators.index_of(config.validator_id)
    registered = None if me is None else genesis.validators.validators[me].aggregate_key
    if registered is not None and registered.key != sharer.public_key.encoded:
        raise ConfigError(
            f"{config.home / AGGREGATE_KEY_FILE}: is not the key that this chain gives "
            f"{config.validator_id}",
            fix="restore the key; if it is lost, give the validator a new one: "
            "govchain node rotate",
        )
    return sharer


def _load_stamping_keys(home: Path, config: NodeConfig, secret: KeySecret) -> StampingKeys | None:
    if not (home / TSA_FILE).exists():
        return None
    signer = load_signer(home / TSA_KEY_FILE, secret, KeyPurpose.TIMESTAMP)
    try:
        certificates = split_pem((home / TSA_FILE).read_bytes())
        named = [read_timestamp_certificate(each) for each in certificates]
    except CryptoError as error:
        raise ConfigError(f"{home / TSA_FILE}: {error}", fix=_FIX_TSA) from error
    if not all(each.is_of(signer.public_key) for each in named):
        raise ConfigError(f"{home / TSA_FILE}: is not of the key {TSA_KEY_FILE}", fix=_FIX_TSA)
    submitter = None
    if config.timestamp_identity is not None:
        submitter = load_signer(home / TSA_IDENTITY_KEY_FILE, secret, KeyPurpose.IDENTITY)
    return StampingKeys(certificates, signer, submitter)


def _check_name(config: NodeConfig, tls: TlsIdentity) -> None:
    """Refuse to run under a name that no peer would believe."""
    shown = read_identity(tls.certificate_pem)
    if shown.identity_id != config.validator_id:
        raise ConfigError(
            f"{config.home}: {TLS_FILE} is of {shown.identity_id!r}, not {config.validator_id!r}",
            fix="correct validator_id in node.toml, or put the right certificate there",
        )


def _own_authority(home: Path, tls: TlsIdentity) -> dict[str, bytes]:
    """Return who certifies this node, if its home says so: its own people may ask it at once."""
    path = home / OWN_AUTHORITY_FILE
    if not path.exists():
        return {}
    return {read_identity(tls.certificate_pem).organisation: path.read_bytes()}


def check_key(config: NodeConfig, signer: Signer, validators: ValidatorSet) -> None:
    """Refuse to vote under another key than the chain knows; who is no member does not vote."""
    me = validators.index_of(config.validator_id)
    if me is not None and signer.public_key.encoded != validators.validators[me].vote_key:
        raise ConfigError(
            f"{config.home / VOTE_KEY_FILE}: is not the key that this chain gives "
            f"{config.validator_id}",
            fix="restore the key; if it is lost, give the validator a new one: "
            "govchain node rotate",
        )
