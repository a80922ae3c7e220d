"""Applications: who they are, by which keys they sign, what they may do. One file, read anew.

The operator changes `applications.json` with `govchain gateway app`; a running gateway goes by the
file as it is at each request, so that who is removed is refused from the next one on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from node.crypto.application_key import ApplicationKey
from node.errors import ConfigError, CryptoError
from node.operations.topology import write_file

APPLICATIONS_FILE: Final = "applications.json"
APPLICATIONS_MAX: Final = 1_024
KEYS_MAX: Final = 4
"""Of one application: a new one is added before the old one is removed."""
REQUESTS_PER_MINUTE_DEFAULT: Final = 600
REQUESTS_PER_MINUTE_MAX: Final = 60_000
RIGHTS: Final = ("read", "notarize", "submit", "events")
"""What an application may be given: to ask; to have records made in the gateway's name; to hand in
what it signed itself; to be told what happens."""

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")


class Application(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One application of others."""

    name: str
    keys: tuple[str, ...]
    """Public keys, PEM."""
    rights: tuple[str, ...]
    requests_per_minute: int = REQUESTS_PER_MINUTE_DEFAULT


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: int
    applications: tuple[Application, ...]


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key and whose it is."""

    application: Application
    key: ApplicationKey


class Applications:
    """The applications of a gateway, as its file has them now."""

    def __init__(
        self, home: Path, on_change: Callable[[tuple[Application, ...]], None] = lambda _all: None
    ) -> None:
        """`on_change` learns who is let in, at first and whenever the file changed."""
        self._path, self._on_change = home / APPLICATIONS_FILE, on_change
        self._stamp: tuple[int, int, int] | None = None
        self._by_key: Mapping[str, KnownKey] = {}

    def find(self, key_id: str) -> KnownKey | None:
        """Return the key of this id and whose it is; raises `ConfigError` for a broken file."""
        self._refresh()
        return self._by_key.get(key_id)

    def find_public(self, encoded: bytes) -> KnownKey | None:
        """Return the key of this encoding and whose it is: one of P-256, 33 bytes."""
        self._refresh()
        return next((k for k in self._by_key.values() if k.key.public_key.encoded == encoded), None)

    def _refresh(self) -> None:
        try:
            found = self._path.stat()
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}", fix="restore the file") from error
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        if stamp != self._stamp:
            found_now = read_applications(self._path.parent)
            self._by_key, self._stamp = _index(found_now), stamp
            self._on_change(found_now)


def read_applications(home: Path) -> tuple[Application, ...]:
    """Return the applications that a gateway's file names; raises `ConfigError`."""
    path = home / APPLICATIONS_FILE
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", fix="make a gateway: govchain gateway init"
        ) from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}", fix="restore the file") from error
    _index(file.applications)
    return file.applications


def write_applications(home: Path, applications: tuple[Application, ...]) -> None:
    """Replace the file; raises `ConfigError` for what cannot be."""
    _index(applications)
    data = msgspec.json.format(msgspec.json.encode(_File(version=1, applications=applications)))
    write_file(home / APPLICATIONS_FILE, data + b"\n", mode=0o600)


def _index(applications: tuple[Application, ...]) -> dict[str, KnownKey]:
    if len(applications) > APPLICATIONS_MAX:
        raise ConfigError(f"applications: expected at most {APPLICATIONS_MAX}")
    names = [each.name for each in applications]
    if len(frozenset(names)) != len(names):
        raise ConfigError("applications: expected each name once")
    found: dict[str, KnownKey] = {}
    for application in applications:
        _check(application)
        for pem in application.keys:
            try:
                key = ApplicationKey.read(pem.encode())
            except CryptoError as error:
                raise ConfigError(f"{application.name}: {error}", fix=error.fix) from error
            if key.key_id in found:
                raise ConfigError(
                    f"{application.name}: key {key.key_id} is in use",
                    fix="make a key for each application: nobody else knows who signed",
                )
            found[key.key_id] = KnownKey(application, key)
    return found


def _check(application: Application) -> None:
    name = application.name
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"application {name!r:.60}: expected 1 to 32 letters a-z, digits and hyphens"
        )
    if not 0 < len(application.keys) <= KEYS_MAX:
        raise ConfigError(f"{name}: expected 1..{KEYS_MAX} keys, got {len(application.keys)}")
    unknown = [each for each in application.rights if each not in RIGHTS]
    if unknown or not application.rights:
        expected = ", ".join(RIGHTS)
        raise ConfigError(f"{name}: expected rights of {expected}, got {unknown or 'none'}")
    if not 0 < application.requests_per_minute <= REQUESTS_PER_MINUTE_MAX:
        raise ConfigError(f"{name}: expected 1..{REQUESTS_PER_MINUTE_MAX} requests a minute")
