"""The folder of whoever makes anchors: the authorities it believes, and the anchors it made.

`authorities/NAME/` holds `authority.toml` (the URL, perhaps a policy), `roots.pem`, certificates
that are believed, and `others.pem`, those at hand besides. `anchors/` holds files
`DATE.HEIGHT.NAME.anchor`, and beside each the receipt of its record once it has one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.config import read_text
from node.crypto.authority import AuthorityCertificate
from node.crypto.certificate import encode_pem, split_pem
from node.errors import ConfigError, DecodeError, NodeError, ProofError, StorageError
from node.operations.provision import render_toml
from node.operations.stamp_client import check_url
from node.operations.topology import write_file
from node.timestamp.outside.anchor import ANCHOR_SUFFIX, Anchor
from node.timestamp.outside.stamp import OutsideAuthority
from node.timestamp.receipt import RECEIPT_SUFFIX
from node.timestamp.tokens.reading import ReadToken

AUTHORITIES_FOLDER: Final = "authorities"
ANCHORS_FOLDER: Final = "anchors"
SETTINGS_FILE: Final = "authority.toml"
ROOTS_FILE: Final = "roots.pem"
OTHERS_FILE: Final = "others.pem"

_NAME: Final = re.compile("[a-z0-9][a-z0-9-]{0,31}")
_FILE_NAME: Final = re.compile(
    rf"(\d{{4}}-\d\d-\d\d)\.(\d{{1,19}})\.({_NAME.pattern})" + re.escape(ANCHOR_SUFFIX)
)
_POLICY: Final = re.compile(r"[0-2](\.(0|[1-9]\d{0,38})){1,30}")


@dataclass(frozen=True, slots=True)
class PinnedAuthority:
    """An authority as this folder names it: where it is asked, and how its word is told."""

    name: str
    url: str
    policy: str | None
    """The policy (dotted) that is asked for and expected, if any."""
    outside: OutsideAuthority


@dataclass(frozen=True, slots=True)
class KeptAnchor:
    """An anchor that was made, stamped and verified."""

    path: Path
    date: str
    """Day (UTC) of the anchored block's T."""
    height: int
    authority: str
    receipt: Path | None
    """That of its record, once it has one."""

    def read(self) -> Anchor:
        """Return it; raises `StorageError` or `DecodeError` naming the file."""
        try:
            return Anchor.decode(self.path.read_bytes())
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}") from error
        except DecodeError as error:
            fix = "move it away: another one is made"
            raise DecodeError(f"{self.path}: {error}", fix=fix) from error

    def stamped_ms(self) -> int:
        """Return genTime as its token states it, nothing of it verified; raises as `read`."""
        try:
            return ReadToken.decode(self.read().token).info.time_ms
        except ProofError as error:
            raise DecodeError(f"{self.path}: {error}") from error


class AnchorHome:
    """One such folder."""

    def __init__(self, folder: Path) -> None:
        """Name the folder, which may be made by `add`."""
        self.folder = folder

    def add(
        self,
        name: str,
        url: str,
        roots: Sequence[bytes],
        *,
        others: Sequence[bytes] = (),
        policy: str | None = None,
        allows_ed25519: bool = False,
    ) -> None:
        """Believe another authority from now on; certificates are PEM or DER.

        Raises `ConfigError` for what cannot be, or where one of this name is there already.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r:.60}: expected 1 to 32 of a-z, 0-9 and -, as a name")
        check_url(url)
        if policy is not None and not _POLICY.fullmatch(policy):
            raise ConfigError(f"policy {policy!r:.60}: expected numbers between dots")
        if not roots:
            raise ConfigError(f"{name}: expected at least one certificate to believe")
        settings: dict[str, object] = {"url": url, "allows_ed25519": allows_ed25519}
        settings |= {} if policy is None else {"policy": policy}
        folder = self.folder / AUTHORITIES_FOLDER / name
        try:
            (self.folder / ANCHORS_FOLDER).mkdir(parents=True, exist_ok=True)
            folder.mkdir(parents=True)
            write_file(folder / ROOTS_FILE, _to_pem(roots))
            if others:
                write_file(folder / OTHERS_FILE, _to_pem(others))
            write_file(folder / SETTINGS_FILE, render_toml(settings))  # last: then it is whole
        except FileExistsError as error:
            fix = f"edit {folder}, or name it otherwise"
            raise ConfigError(f"{folder}: is there already", fix=fix) from error
        except OSError as error:
            raise ConfigError(f"{folder}: {error.strerror}") from error

    def authorities(self) -> tuple[PinnedAuthority, ...]:
        """Return those that are believed, by name; raises `ConfigError`."""
        found = sorted(self.folder.glob(f"{AUTHORITIES_FOLDER}/*/{SETTINGS_FILE}"))
        if not found:
            fix = "name an authority: govchain anchor add"
            raise ConfigError(f"{self.folder}: knows no authority", fix=fix)
        return tuple(_read_authority(path.parent) for path in found)

    def anchors(self, authority: str | None = None) -> tuple[KeptAnchor, ...]:
        """Return the anchors kept, of one authority or of all, by height."""
        folder = self.folder / ANCHORS_FOLDER
        found = []
        for path in folder.glob(f"*{ANCHOR_SUFFIX}"):
            parts = _FILE_NAME.fullmatch(path.name)
            if parts is None or authority not in (None, parts[3]):
                continue
            receipt = path.with_name(path.name + RECEIPT_SUFFIX)
            is_recorded = receipt.exists()
            found.append(
                KeptAnchor(
                    path, parts[1], int(parts[2]), parts[3], receipt if is_recorded else None
                )
            )
        return tuple(sorted(found, key=lambda each: (each.height, each.authority)))

    def last_stamped_ms(self) -> dict[str, int]:
        """Return when each authority believed stamped last, by name; 0 for never, or not readable.

        Raises `ConfigError`.
        """
        last_ms = dict.fromkeys((each.name for each in self.authorities()), 0)
        for kept in reversed(self.anchors()):  # a later block was stamped later
            if last_ms.get(kept.authority) == 0:
                with suppress(NodeError):  # a damaged one counts for nothing
                    last_ms[kept.authority] = kept.stamped_ms()
        return last_ms

    def keep(self, authority: str, date: str, anchor: Anchor) -> KeptAnchor:
        """Write an anchor that was verified, durably; raises `StorageError`."""
        height = anchor.checkpoint.block.header.height
        path = self.folder / ANCHORS_FOLDER / f"{date}.{height}.{authority}{ANCHOR_SUFFIX}"
        _write(path, anchor.encode())
        return KeptAnchor(path, date, height, authority, None)

    def keep_receipt(self, kept: KeptAnchor, receipt: bytes) -> None:
        """Write the receipt of an anchor's record beside it, durably; raises `StorageError`."""
        _write(kept.path.with_name(kept.path.name + RECEIPT_SUFFIX), receipt)


def _read_authority(folder: Path) -> PinnedAuthority:
    path = folder / SETTINGS_FILE
    try:
        said = tomllib.loads(read_text(path))
        roots = _read_pem(folder / ROOTS_FILE)
        others = _read_pem(folder / OTHERS_FILE) if (folder / OTHERS_FILE).exists() else ()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: {error}", fix="add it anew: govchain anchor add") from error
    url, policy = said.pop("url", None), said.pop("policy", None)
    allows = said.pop("allows_ed25519", False)
    is_typed = isinstance(url, str) and isinstance(policy, str | None) and type(allows) is bool
    if not is_typed or said:
        raise ConfigError(f"{path}: expected url, perhaps policy and allows_ed25519, nothing else")
    check_url(url)
    outside = OutsideAuthority(
        roots=roots,
        certificates=others,
        policies=() if policy is None else (policy,),
        allows_ed25519=allows,
    )
    return PinnedAuthority(folder.name, url, policy, outside)


def _read_pem(path: Path) -> tuple[bytes, ...]:
    return tuple(AuthorityCertificate.read(each).encoded for each in split_pem(path.read_bytes()))


def _to_pem(certificates: Sequence[bytes]) -> bytes:
    return b"".join(encode_pem(each) for each in certificates)


def _write(path: Path, data: bytes) -> None:
    try:
        write_file(path, data)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
