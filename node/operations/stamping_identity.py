"""The identity under which a node records requests for time stamps, given to one that runs already.

Its key waits beside the one in use until the chain knows the identity; then the node is told to use
it. Two years after it was made an identity ends, and another takes its place in the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from node.chain.genesis import Genesis, Identity
from node.config import NODE_FILE, NodeConfig
from node.crypto.keystore import KeySecret
from node.crypto.member_certificate import read_identity
from node.errors import ConfigError
from node.operations.equipment import Outfitter, next_name, timestamp_identity_id
from node.operations.provision import update_toml
from node.service.home import TLS_FILE, TSA_IDENTITY_KEY_FILE

NEXT_KEY_FILE: Final = "keys/tsa-identity.next.key"


def next_identity_id(config: NodeConfig) -> str:
    """Return what the next identity of a node may be called: none is used twice."""
    current = config.timestamp_identity
    return timestamp_identity_id(config.validator_id) if current is None else next_name(current)


def prepare_identity(
    config: NodeConfig, genesis: Genesis, secret: KeySecret, identity_id: str, now_ms: int
) -> Identity:
    """Return an identity for the chain to register; its key is made unless it waits already.

    Raises `ConfigError` or `CryptoError` where the node's own files do not say who it is.
    """
    home = config.home
    organisation = read_identity((home / TLS_FILE).read_bytes()).organisation
    outfitter = Outfitter(genesis.suite, secret, now_ms)
    return outfitter.make_timestamp_identity(
        home, identity_id, organisation, key_file=NEXT_KEY_FILE
    )


def use_identity(home: Path, identity_id: str) -> None:
    """Have the node of `home` record under an identity whose key waits, from its next start on.

    Called again after it was cut short, it ends what it began. Raises `ConfigError`.
    """
    waiting = home / NEXT_KEY_FILE
    if not waiting.exists():
        raise ConfigError(
            f"{waiting}: no identity was prepared",
            fix="prepare one first: govchain node stamping",
        )
    update_toml(home / NODE_FILE, {"timestamp_identity": identity_id})
    waiting.replace(home / TSA_IDENTITY_KEY_FILE)
