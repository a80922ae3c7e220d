"""The error tree of the whole node, and `invariant`. Nothing else may live here.

Families say whose fault an error is: data that came from outside (`DecodeError`, `CryptoError`,
`PeerError`, `ProofError`), the caller (`ClientError`, `ConfigError`), this machine
(`StorageError`), or us (`InvariantViolation`). An error a person can meet carries a stable code and
the fix.
"""

from __future__ import annotations


class NodeError(Exception):
    """Root of every error raised on purpose by this package.

    `code` is stable across versions and documented; `fix` says what to do about it, where known.
    """

    code = "GC-0000"

    def __init__(self, message: str, *, code: str | None = None, fix: str = "") -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.fix = fix


class DecodeError(NodeError):
    """Bytes from outside are not the canonical form of what was expected."""

    code = "GC-1001"


class CryptoError(NodeError):
    """A key, certificate or ciphertext is malformed or does not open."""

    code = "GC-1002"


class PeerError(NodeError):
    """Another validator broke a rule of the protocol; `rule` names it for traces and tests."""

    code = "GC-1003"

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{rule}: {message}")
        self.rule = rule


class ProofError(NodeError):
    """A proof does not show what it claims; `rule` names the broken rule for tests and readers."""

    code = "GC-1004"

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(f"{rule}: {message}")
        self.rule = rule


class ClientError(NodeError):
    """A request cannot be served as asked."""

    code = "GC-2001"


class ConfigError(NodeError):
    """Genesis or node configuration is unusable; the message names the field."""

    code = "GC-2002"


class StorageError(NodeError):
    """A disk or database did not keep its contract. The process must stop."""

    code = "GC-3001"


class InvariantViolation(NodeError):  # noqa: N818 - the field's term; a violated invariant is no mere error
    """The program contradicts itself. Never caught except to stop the process."""

    code = "GC-9001"


def invariant(condition: object, message: str) -> None:
    """Raise `InvariantViolation` unless `condition` holds. Unlike `assert`, it survives `-O`."""
    if not condition:
        raise InvariantViolation(message)
