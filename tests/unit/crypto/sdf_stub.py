"""A device of SDF without a device: `sdf_stub.c`, built where there is a compiler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.compiled import build_library

PASSWORD = "a-password-of-some-length"
SOURCE = Path(__file__).with_name("sdf_stub.c")
HEADER = Path("/usr/include/openssl/evp.h")


@dataclass(frozen=True)
class SdfStub:
    """The library that a maker would give, and what SDF_STUB_KEYS has to name."""

    module: Path
    keys: Path

    def hold(self, secrets: dict[int, bytes]) -> None:
        """Have the device hold these keys, by number, from when it is opened next."""
        lines = (f"{number} {PASSWORD} {secret.hex()}\n" for number, secret in secrets.items())
        self.keys.write_text("".join(lines))


def build_stub(folder: Path, *options: str) -> SdfStub:
    """Build the library, with options of the compiler.

    Skips the test where there is no compiler, or OpenSSL has no headers.
    """
    if not HEADER.exists():
        pytest.skip("NOT RUN: OpenSSL has no headers here (Debian: libssl-dev)")
    module = build_library(SOURCE, folder / "libsdf_stub.so", *options, "-lcrypto")
    return SdfStub(module, folder / "keys")
