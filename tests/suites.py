"""The suite that tests found their chains on: international, or the one GOVCHAIN_SUITE names.

It is that of chains which tests make by hand, of networks of processes, and of those that the
command makes. Tests that are about one suite name it themselves, and are the same under both, as
are those of golden files (`vectors/`) and of the simulation, whose signatures are stand-ins. What
cannot run on the national suite, and why, is told in `national.toml`, which `conftest.py` reads.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Final

from node.cli.choice import choose_suite
from node.crypto.signature import SoftwareSigner
from node.crypto.suite import Suite

SUITE: Final[Suite] = choose_suite(None)


def hash_by_hand(data: bytes) -> bytes:
    """Return the suite's hash of bytes, by the standard library."""
    name = {"international": "sha256", "national": "sm3"}[SUITE.name]
    return hashlib.new(name, data).digest()


def digest_by_hand(document: bytes) -> str:
    """Return how records of the chain name a document, unless somebody says otherwise."""
    name = {"international": "sha-256", "national": "sm3"}[SUITE.name]
    return f"{name}:{hash_by_hand(document).hex()}"


def signer_from(secret: bytes) -> SoftwareSigner:
    """Return the signer of votes and transactions with this secret, 32 bytes."""
    return SUITE.signer_type.from_secret(secret)


def unable_on_national() -> dict[str, str]:
    """Return, by pytest id, why a test or file of tests cannot run on the national suite."""
    rows = tomllib.loads(Path(__file__).with_name("national.toml").read_text())["unable"]
    return {test: row["why"] for row in rows for test in row["tests"]}
