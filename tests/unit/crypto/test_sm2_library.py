"""Which library computes SM2, and that none is believed that answers wrongly."""

from __future__ import annotations

import pytest

from node.crypto import botan, libcrypto, libcrypto_release, sm2, sm2_library
from node.crypto.keystore import KeyPurpose, generate_key
from node.crypto.libcrypto import Libcrypto
from node.crypto.sm2_choice import LIBRARY_VARIABLE, prepare_to_sign
from node.crypto.suite import NATIONAL
from node.errors import CryptoError
from tests.unit.crypto.sm2_libraries import using

LIBRARIES = sorted(sm2.SM2_LIBRARIES)


@pytest.mark.parametrize(
    ("name", "names", "package"),
    [
        ("libcrypto", (libcrypto, "LIBCRYPTO", "libcrypto.so.none"), "libssl3"),
        ("botan", (botan, "_NAMES", ("libbotan-none.so",)), "libbotan-2-19"),
    ],
)
def test_a_machine_without_it_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, names: tuple[object, str, object], package: str
) -> None:
    monkeypatch.setattr(*names)
    with pytest.raises(CryptoError, match=f"{name}: expected") as refused:
        sm2.SM2_LIBRARIES[name]()
    assert refused.value.fix is not None
    assert package in refused.value.fix


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("_KNOWN_MESSAGE", b"message digesT"),
        ("_KNOWN_SECRET", b"\x01" * 32),
        ("_KNOWN_PLAINTEXT", b"encryption standarD"),
    ],
)
def test_one_that_answers_otherwise_than_the_standard_is_not_used(
    monkeypatch: pytest.MonkeyPatch, name: str, answer: str, value: bytes
) -> None:
    with using(name):
        monkeypatch.setattr(sm2_library, answer, value)
        with pytest.raises(CryptoError):
            sm2._tried.__wrapped__(name)  # noqa: SLF001 - past what is known of it


@pytest.mark.parametrize("name", LIBRARIES)
def test_one_that_hashes_no_identity_is_not_used(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with using(name):
        monkeypatch.setattr(libcrypto, "SIGNER_IDENTITY", b"")
        monkeypatch.setattr(botan, "_SIGNING", b",SM3")
        with pytest.raises(
            CryptoError, match=f"{name}: expected .* that computes SM2 by the standard"
        ):
            sm2._tried.__wrapped__(name)  # noqa: SLF001 - as above


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, "gmssl")
    with pytest.raises(CryptoError, match="expected libcrypto or botan, got 'gmssl'"):
        generate_key(KeyPurpose.VOTE, NATIONAL)


def test_libcrypto_is_used_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with using("botan"):
        monkeypatch.setattr(libcrypto_release, "is_mended", lambda *_: True)
        for said in ({}, {LIBRARY_VARIABLE: ""}):
            monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
            for name, value in said.items():
                monkeypatch.setenv(name, value)
            prepare_to_sign()
            assert isinstance(sm2.sm2_library(), Libcrypto)


def test_botan_signs_where_libcrypto_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with using("botan"):
        monkeypatch.setattr(libcrypto_release, "is_mended", lambda *_: False)
        monkeypatch.setenv(LIBRARY_VARIABLE, "botan")
        made = generate_key(KeyPurpose.VOTE, NATIONAL)
        assert made.public_key.verify(b"message", made.sign(b"message"))
        assert isinstance(sm2.sm2_library(), botan.Botan)
        monkeypatch.delenv(LIBRARY_VARIABLE)
        with pytest.raises(CryptoError, match="CVE-2026-77696"):
            generate_key(KeyPurpose.VOTE, NATIONAL)
