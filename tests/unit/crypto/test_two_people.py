"""Keys that two people open together, each of whom alone has nothing; and what is overwritten."""

from __future__ import annotations

import ctypes
import stat
from pathlib import Path

import pytest

from node.crypto import keystore
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    KeySecret,
    PassphraseSecret,
    TwoPeopleSecret,
    load_signer,
    lock_anew,
    save_key,
    takes_two_people,
)
from node.crypto.signature import P256Signer
from node.crypto.suite import INTERNATIONAL, NATIONAL, Suite
from node.crypto.wiping import secret_buffer
from node.errors import CryptoError
from tests.suites import SUITE

FIRST, SECOND = "the river of the north", "seven lamps at the gate"
KEY = SUITE.signer_type.from_secret(bytes(range(1, 33)))


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash as scrypt does, at a thousandth of the cost: how much it costs is not what is tested."""
    scrypt = keystore.Scrypt  # type: ignore[attr-defined]  # the library's

    def cheaper(*, salt: bytes, length: int, n: int, r: int, p: int) -> object:
        return scrypt(salt=salt, length=length, n=n >> 10, r=r, p=p)

    monkeypatch.setattr(keystore, "Scrypt", cheaper)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    saved = tmp_path / "client.key"
    save_key(saved, KEY, TwoPeopleSecret(FIRST, SECOND), KeyPurpose.IDENTITY, SUITE)
    return saved


def opens(path: Path, secret: KeySecret) -> bool:
    try:
        load_signer(path, secret, KeyPurpose.IDENTITY)
    except CryptoError:
        return False
    return True


def test_both_open_it_in_either_order(path: Path) -> None:
    for people in ((FIRST, SECOND), (SECOND, FIRST)):
        opened = load_signer(path, TwoPeopleSecret(*people), KeyPurpose.IDENTITY)
        assert opened.public_key == KEY.public_key
    assert takes_two_people(path)


def test_neither_opens_it_alone_or_with_another(path: Path, tmp_path: Path) -> None:
    other = "something else altogether"
    for people in ((FIRST, other), (other, SECOND), (SECOND, other), (other, FIRST)):
        assert not opens(path, TwoPeopleSecret(*people))
    for one in (FIRST, SECOND, FIRST + SECOND):
        assert not opens(path, PassphraseSecret(one))
    assert not opens(path, KeyFileSecret.generate(tmp_path / "secret"))


def test_the_lock_cannot_be_made_to_take_one(path: Path) -> None:
    """Who can write the file, and knows one passphrase, has no more than before."""
    data = path.read_bytes()
    start = data.index(b'"two-scrypt')
    end = data.index(b'"', start + 1) + 1
    path.write_bytes(data[:start] + b'"scrypt-131072-8-1"' + data[end:])
    assert not opens(path, PassphraseSecret(FIRST))
    assert not opens(path, PassphraseSecret(SECOND))


def test_one_person_is_not_two() -> None:
    with pytest.raises(CryptoError, match="expected two, got one twice"):
        TwoPeopleSecret(FIRST, FIRST)
    with pytest.raises(CryptoError, match="expected two, got one twice"):
        TwoPeopleSecret("\u212bngstrom and others", "\u00c5ngstrom and others")
    with pytest.raises(CryptoError, match="at least 12 characters"):
        TwoPeopleSecret(FIRST, "short")
    assert FIRST not in repr(TwoPeopleSecret(FIRST, SECOND))


def test_a_key_is_locked_anew_and_back(path: Path, tmp_path: Path) -> None:
    both, one = TwoPeopleSecret(FIRST, SECOND), KeyFileSecret.generate(tmp_path / "secret")
    with pytest.raises(CryptoError, match="expected a secret for"):
        lock_anew(path, one, both, KeyPurpose.IDENTITY)
    before = path.read_bytes()
    with pytest.raises(CryptoError, match="does not open"):
        lock_anew(path, TwoPeopleSecret(FIRST, FIRST + "?"), one, KeyPurpose.IDENTITY)
    assert path.read_bytes() == before
    lock_anew(path, both, one, KeyPurpose.IDENTITY)
    assert not takes_two_people(path)
    assert opens(path, one)
    assert not opens(path, both)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["client.key", "secret"]
    lock_anew(path, one, both, KeyPurpose.IDENTITY)
    assert opens(path, both)


@pytest.mark.parametrize("suite", [INTERNATIONAL, NATIONAL], ids=lambda suite: suite.name)
def test_the_file_keeps_the_algorithms_of_its_chain(tmp_path: Path, suite: Suite) -> None:
    saved, one = tmp_path / "client.key", KeyFileSecret.generate(tmp_path / "secret")
    key = P256Signer.from_secret(bytes(range(1, 33)))
    save_key(saved, key, one, KeyPurpose.IDENTITY, suite)
    first_line = saved.read_text().splitlines()[1]
    lock_anew(saved, one, TwoPeopleSecret(FIRST, SECOND), KeyPurpose.IDENTITY)
    assert saved.read_text().splitlines()[1] == first_line
    assert f"hkdf-{suite.keyed_hash.name}" in saved.read_text()


def test_a_buffer_is_zero_when_it_is_given_back_whatever_happened() -> None:
    with secret_buffer(32) as buffer:
        assert buffer == bytes(32)
        buffer[:] = b"s" * 32
        address = ctypes.addressof((ctypes.c_char * 32).from_buffer(buffer))
    assert buffer == bytes(32)
    assert ctypes.string_at(address, 32) == bytes(32)

    def fail() -> None:
        with secret_buffer(16) as inner:
            held.append(inner)
            inner[:] = b"s" * 16
            raise CryptoError("in between")

    held: list[bytearray] = []
    with pytest.raises(CryptoError, match="in between"):
        fail()
    assert held == [bytearray(16)]


def test_what_opens_a_file_is_overwritten_after_it_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent: list[tuple[bytearray, bytes]] = []
    derive = TwoPeopleSecret.derive_key

    def watched(self: TwoPeopleSecret, salt: bytes, suite: Suite, key: bytearray) -> None:
        derive(self, salt, suite, key)
        lent.append((key, bytes(key)))

    monkeypatch.setattr(TwoPeopleSecret, "derive_key", watched)
    assert opens(path, TwoPeopleSecret(FIRST, SECOND))
    ((key, was),) = lent
    assert any(was)
    assert not any(key)
