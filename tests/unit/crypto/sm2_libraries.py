"""Each library that computes SM2, used as a process that names it would."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from node.crypto import botan, sm2


def has_botan() -> bool:
    """Tell whether any version that is known here is installed, right or wrong."""
    for name in botan._NAMES:  # noqa: SLF001 - what the product looks for
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


@contextmanager
def using(library: str) -> Iterator[None]:
    """Have SM2 computed by `library` meanwhile; skips the test where it is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sm2, "_in_use", [])
        if library == "botan" and not has_botan():
            pytest.skip("NOT RUN: Botan is not installed (Debian: libbotan-2-19)")
        sm2.use_sm2_library(library)
        yield
