"""Each library that computes SM2, used as a process that names it would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from node.crypto import sm2
from node.errors import CryptoError


@contextmanager
def using(library: str) -> Iterator[None]:
    """Have SM2 computed by `library` meanwhile; skips the test where it is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sm2, "_in_use", [])
        try:
            sm2.use_sm2_library(library)
        except CryptoError as error:
            if "found none" not in str(error):
                raise
            pytest.skip("NOT RUN: Botan is not installed (Debian: libbotan-2-19)")
        yield
