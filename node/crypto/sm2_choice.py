"""Which library computes SM2 in a process that opens keys, and whether it may sign with them.

The system's libcrypto does, unless GOVCHAIN_SM2_LIBRARY names Botan. Processes that only verify use
no secret and ask nothing: they take libcrypto.
"""

from __future__ import annotations

import os
from typing import Final

from node.crypto.libcrypto import Libcrypto
from node.crypto.libcrypto_release import require_mended
from node.crypto.sm2 import SM2_LIBRARIES, use_sm2_library
from node.errors import CryptoError

LIBRARY_VARIABLE: Final = "GOVCHAIN_SM2_LIBRARY"
"""Names in the environment the library that computes SM2."""


def prepare_to_sign() -> None:
    """Have the library compute SM2 that the environment names.

    Raises `CryptoError` for an unknown name, where the library is missing or answers wrongly, and
    unless signing by its release is known not to leak keys, or was accepted.
    """
    name = os.environ.get(LIBRARY_VARIABLE) or Libcrypto.name
    if name not in SM2_LIBRARIES:
        raise CryptoError(
            f"{LIBRARY_VARIABLE}: expected {' or '.join(SM2_LIBRARIES)}, got {name!r:.40}",
            fix="correct it, or take it out of the environment",
        )
    library = use_sm2_library(name)
    if isinstance(library, Libcrypto):
        require_mended(library.version())
