"""Which libcrypto is believed."""

from __future__ import annotations

import pytest

from node.crypto import libcrypto
from node.errors import CryptoError


def test_a_machine_without_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypto, "LIBCRYPTO", "libcrypto.so.none")
    with pytest.raises(CryptoError, match="expected OpenSSL 3") as refused:
        libcrypto._tried_library.__wrapped__()  # noqa: SLF001 - as above
    assert refused.value.fix is not None
    assert "libssl3" in refused.value.fix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_SIGNER_IDENTITY", b""),
        ("_KNOWN_MESSAGE", b"message digesT"),
        ("_KNOWN_SECRET", b"\x01" * 32),
    ],
)
def test_one_that_answers_otherwise_than_the_standard_is_not_used(
    monkeypatch: pytest.MonkeyPatch, name: str, value: bytes
) -> None:
    monkeypatch.setattr(libcrypto, name, value)
    with pytest.raises(CryptoError, match="expected OpenSSL 3"):
        libcrypto._tried_library.__wrapped__()  # noqa: SLF001 - as above
