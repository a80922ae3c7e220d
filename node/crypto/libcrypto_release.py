"""Which releases of libcrypto may sign by SM2 with a key that is kept.

On 29 September 2026 three errors were published by which SM2's nonces, and so the key, leak through
timing (CVE-2026-54872, -54875, -77696). Distributions mend without a new version number, so the
package's is asked for, in Debian's database. To verify takes no secret, and is safe with any.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from node.errors import CryptoError

ACCEPTED_VARIABLE: Final = "GOVCHAIN_LIBCRYPTO_ACCEPTED"
"""Names in the environment the one release that may sign although it is not known to be mended."""

_MENDED: Final = {(3, 0): 23, (3, 4): 8, (3, 5): 9, (3, 6): 5, (4, 0): 3}
"""The first patch level of each series that is mended, as OpenSSL numbers them."""
_MENDED_IN_DEBIAN: Final = {"3.0.22-1~deb12u": 2, "3.5.7-1~deb13u": 3}
"""And by Debian: the update of a package that has the changes without the number."""
_DEBIAN_DATABASE: Final = Path("/var/lib/dpkg/status")
_DEBIAN_PACKAGE: Final = re.compile(
    r"^Package: libssl3(?:t64)?\n(?:[^\n]+\n)*?Version: (\S+)$", re.MULTILINE
)


def require_mended(version: tuple[int, int, int]) -> None:
    """Raise `CryptoError` unless signing by SM2 is known not to leak keys, or was accepted."""
    text = ".".join(map(str, version))
    package = debian_package(text)
    release = package or text
    if is_mended(version, package) or os.environ.get(ACCEPTED_VARIABLE) == release:
        return
    raise CryptoError(
        f"libcrypto: release {release} is not known to be free of CVE-2026-77696",
        fix="keys of SM2 leak by that: upgrade libssl3, or have Botan compute it "
        "(GOVCHAIN_SM2_LIBRARY=botan), or, to sign with it anyway, "
        f"set {ACCEPTED_VARIABLE}={release}",
    )


def is_mended(version: tuple[int, int, int], package: str) -> bool:
    """Tell whether a version of OpenSSL, of a Debian package ("" for none), has the changes."""
    major, minor, patch = version
    for mended, least in _MENDED_IN_DEBIAN.items():
        update = package.removeprefix(mended)
        if update != package and update.isdecimal() and int(update) >= least:
            return True
    first = _MENDED.get((major, minor))
    return (major, minor) > max(_MENDED) or (first is not None and patch >= first)


def debian_package(version: str) -> str:
    """Return the version of the Debian package of a libcrypto of `version`; "" if there is none."""
    try:
        found = _DEBIAN_PACKAGE.search(_DEBIAN_DATABASE.read_text())
    except (OSError, UnicodeDecodeError):
        return ""
    package = found[1] if found else ""
    return package if package.startswith(f"{version}-") else ""
