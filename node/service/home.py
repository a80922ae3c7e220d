"""One validator's folder: the names in it, whether it is whole, and whose log it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from node.chain.genesis import Genesis
from node.crypto import domains
from node.errors import ConfigError

VOTE_KEY_FILE: Final = "keys/vote.key"
COSIGNATURE_KEY_FILE: Final = "keys/cosignature.key"
AGGREGATE_KEY_FILE: Final = "keys/bls.key"
"""Of its shares of compact certificates, on a chain that has them."""
IDENTITY_KEY_FILE: Final = "keys/identity.key"
"""Of a node that joined: under it the chain registered who may follow."""
TLS_KEY_FILE: Final = "keys/tls.key"
TLS_FILE: Final = "tls.pem"
TSA_KEY_FILE: Final = "keys/tsa.key"
TSA_FILE: Final = "tsa.pem"
"""Certificate of the key that signs time-stamp tokens; a home without it gives none."""
TSA_IDENTITY_KEY_FILE: Final = "keys/tsa-identity.key"
"""Of the identity under which requests for time stamps are recorded."""
OWN_AUTHORITY_FILE: Final = "authority.pem"
"""Of a node that joined: who certifies it, which the chain may not know yet."""
WAL_FOLDER: Final = "wal"
"""The write-ahead log. It is irreplaceable: it holds what this validator has signed."""


def require_whole(home: Path) -> None:
    """Check that `home` was made to the end; raises `ConfigError` naming what is missing."""
    for name in (VOTE_KEY_FILE, TLS_KEY_FILE, TLS_FILE, WAL_FOLDER):
        if not (home / name).exists():
            raise ConfigError(
                f"{home}: is no whole home of a validator: {name} is missing",
                code="GC-2108",
                fix="restore it; what is lost for ever is replaced by new keys: "
                "govchain node rotate",
            )


def log_identity(genesis: Genesis, validator_id: str) -> bytes:
    """Return whose log it is: 32 bytes over chain and validator."""
    return genesis.suite.tagged_hash(domains.LOG_IDENTITY, genesis.chain_id + validator_id.encode())
