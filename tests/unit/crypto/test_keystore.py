"""Keys on disk: they open with the right secret for the right purpose, and in no other way."""

from __future__ import annotations

import errno
import json
import os
import stat
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from node.crypto import domains, libcrypto_release
from node.crypto.aead import SM4_GCM
from node.crypto.bls import BlsSigner
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    PassphraseSecret,
    generate_key,
    load_signer,
    load_tls_key_pem,
    lock_anew,
    new_serial_number,
    save_key,
)
from node.crypto.signature import Ed25519Signer, P256Signer
from node.crypto.suite import NATIONAL, suite_by_name
from node.errors import CryptoError

SUITE = suite_by_name("international")
PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def secret(tmp_path: Path) -> KeyFileSecret:
    return KeyFileSecret.generate(tmp_path / "unlock")


@pytest.fixture
def vote_key(tmp_path: Path, secret: KeyFileSecret) -> Path:
    path = tmp_path / "vote.key"
    save_key(path, P256Signer.from_secret(b"\x07" * 32), secret, KeyPurpose.VOTE)
    return path


@pytest.mark.parametrize(
    ("purpose", "signer_type"),
    [
        (KeyPurpose.VOTE, P256Signer),
        (KeyPurpose.IDENTITY, P256Signer),
        (KeyPurpose.TLS, P256Signer),
        (KeyPurpose.AUTHORITY, P256Signer),
        (KeyPurpose.COSIGNATURE, Ed25519Signer),
        (KeyPurpose.AGGREGATE, BlsSigner),
    ],
)
def test_a_generated_key_is_stored_and_opened(
    tmp_path: Path, secret: KeyFileSecret, purpose: KeyPurpose, signer_type: type
) -> None:
    key = generate_key(purpose, SUITE)
    assert isinstance(key, signer_type)
    path = tmp_path / f"{purpose}.key"
    save_key(path, key, secret, purpose)
    opened = load_signer(path, KeyFileSecret.load(tmp_path / "unlock"), purpose)
    assert opened == key
    assert opened.sign(b"message") == key.sign(b"message")


@pytest.mark.parametrize("purpose", [KeyPurpose.VOTE, KeyPurpose.IDENTITY])
def test_a_national_key_is_stored_and_opened(
    tmp_path: Path, secret: KeyFileSecret, purpose: KeyPurpose
) -> None:
    try:
        key = generate_key(purpose, NATIONAL)
    except CryptoError as error:
        pytest.skip(f"SM2 keys were NOT RUN: {error}")
    path = tmp_path / "national.key"
    save_key(path, key, secret, purpose, NATIONAL)
    opened = load_signer(path, secret, purpose)
    assert opened == key
    assert key.public_key.verify(b"message", opened.sign(b"message"))
    assert json.loads(path.read_bytes())["algorithm"] == "sm2"


def test_key_files_of_a_national_chain_are_sealed_by_its_own_algorithms(
    tmp_path: Path, secret: KeyFileSecret
) -> None:
    key, passphrase = P256Signer.from_secret(b"\x07" * 32), PassphraseSecret(PASSPHRASE)
    for opens, lock in ((secret, "hkdf-sm3"), (passphrase, "scrypt-131072-8-1")):
        path = tmp_path / lock
        save_key(path, key, opens, KeyPurpose.TLS, NATIONAL)
        fields = json.loads(path.read_bytes())
        assert (fields["format"], fields["lock"]) == ("govchain-key/2", lock)
        derived = bytearray(NATIONAL.aead.key_size)
        opens.derive_key(bytes.fromhex(fields["salt"]), NATIONAL, derived)
        nonce, sealed = (bytes.fromhex(fields.pop(name)) for name in ("nonce", "sealed"))
        fields["nonce"] = nonce.hex()
        bound = domains.tagged(domains.KEY_FILE, json.dumps(fields).encode())
        assert SM4_GCM.unseal(derived, nonce, sealed, bound) == b"\x07" * 32
        assert load_signer(path, opens, KeyPurpose.TLS) == key
        path.write_bytes(path.read_bytes().replace(b"govchain-key/2", b"govchain-key/1"))
        with pytest.raises(CryptoError):
            load_signer(path, opens, KeyPurpose.TLS)


def test_where_a_suite_cannot_sign_no_key_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypto_release, "is_mended", lambda _version, _package: False)
    with pytest.raises(CryptoError, match="not known to be free of CVE-2026-77696"):
        generate_key(KeyPurpose.VOTE, NATIONAL)
    assert generate_key(KeyPurpose.TLS, NATIONAL).algorithm == P256Signer.algorithm


def test_generated_keys_and_serial_numbers_differ() -> None:
    keys = [generate_key(KeyPurpose.VOTE, SUITE).public_key.encoded for _ in range(8)]
    assert len(set(keys)) == len(keys)
    serial_numbers = [new_serial_number() for _ in range(8)]
    assert len(set(serial_numbers)) == len(serial_numbers)
    assert all(0 < number < 2**159 for number in serial_numbers)


def test_files_are_private_complete_and_leave_nothing_beside_them(
    tmp_path: Path, vote_key: Path
) -> None:
    assert sorted(path.name for path in tmp_path.iterdir()) == ["unlock", "vote.key"]
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    fields = json.loads(vote_key.read_text(encoding="utf-8"))
    assert fields["format"] == "govchain-key/1"
    assert fields["purpose"] == "vote"
    assert fields["public_key"] == P256Signer.from_secret(b"\x07" * 32).public_key.encoded.hex()
    assert (b"\x07" * 32).hex() not in vote_key.read_text(encoding="utf-8")


def test_the_same_key_is_encrypted_differently_each_time(
    tmp_path: Path, secret: KeyFileSecret, vote_key: Path
) -> None:
    again = tmp_path / "again.key"
    save_key(again, P256Signer.from_secret(b"\x07" * 32), secret, KeyPurpose.VOTE)
    one, other = (json.loads(path.read_text(encoding="utf-8")) for path in (vote_key, again))
    for name in ("salt", "nonce", "sealed"):
        assert one[name] != other[name]


def test_a_key_is_never_overwritten(tmp_path: Path, secret: KeyFileSecret, vote_key: Path) -> None:
    before = vote_key.read_bytes()
    with pytest.raises(CryptoError, match=r"vote\.key: exists already") as caught:
        save_key(vote_key, P256Signer.from_secret(b"\x08" * 32), secret, KeyPurpose.VOTE)
    assert "choose another name" in caught.value.fix
    assert vote_key.read_bytes() == before
    with pytest.raises(CryptoError, match="unlock: exists already"):
        KeyFileSecret.generate(tmp_path / "unlock")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["unlock", "vote.key"]


def test_a_passphrase_opens_what_it_locked_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "authority.key"
    key = P256Signer.from_secret(b"\x07" * 32)
    save_key(path, key, PassphraseSecret(PASSPHRASE + " \u00e9"), KeyPurpose.AUTHORITY)
    # The same letter as another system may type it: e and a combining accent.
    opened = load_signer(path, PassphraseSecret(PASSPHRASE + " e\u0301"), KeyPurpose.AUTHORITY)
    assert opened == key
    with pytest.raises(CryptoError, match=r"authority\.key: does not open") as caught:
        load_signer(path, PassphraseSecret(PASSPHRASE), KeyPurpose.AUTHORITY)
    assert "check the passphrase" in caught.value.fix
    assert PASSPHRASE not in "".join(str(e) for e in (caught.value, caught.value.__cause__))


def test_a_key_opens_with_its_new_secret_for_good_once_that_is_said(
    vote_key: Path, secret: KeyFileSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, fsync = vote_key.read_bytes(), os.fsync
    synced: list[tuple[bool, bool]] = []

    def note(descriptor: int) -> None:
        fsync(descriptor)
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((is_folder, vote_key.read_bytes() == old))

    monkeypatch.setattr(os, "fsync", note)
    lock_anew(vote_key, secret, PassphraseSecret(PASSPHRASE), KeyPurpose.VOTE)
    assert synced == [(False, True), (True, True), (True, False)]


def test_short_passphrases_are_refused() -> None:
    with pytest.raises(CryptoError, match="at least 12 characters"):
        PassphraseSecret("x" * 11)


def test_another_key_file_does_not_open(tmp_path: Path, vote_key: Path) -> None:
    other = KeyFileSecret.generate(tmp_path / "other")
    with pytest.raises(CryptoError, match=r"vote\.key: does not open"):
        load_signer(vote_key, other, KeyPurpose.VOTE)


def test_the_wrong_kind_of_secret_is_named(vote_key: Path) -> None:
    with pytest.raises(CryptoError, match="expected a secret for 'hkdf-sha256'") as caught:
        load_signer(vote_key, PassphraseSecret(PASSPHRASE), KeyPurpose.VOTE)
    assert "give what it was locked with" in caught.value.fix


def test_a_key_of_another_purpose_is_refused(vote_key: Path, secret: KeyFileSecret) -> None:
    for purpose in KeyPurpose:
        if purpose is not KeyPurpose.VOTE:
            with pytest.raises(CryptoError, match=f"expected a key for {purpose}, got one for"):
                load_signer(vote_key, secret, purpose)
    with pytest.raises(CryptoError, match="expected a key for tls"):
        load_tls_key_pem(vote_key, secret)


def test_a_rewritten_purpose_does_not_open(vote_key: Path, secret: KeyFileSecret) -> None:
    text = vote_key.read_text(encoding="utf-8")
    vote_key.write_text(text.replace('"purpose": "vote"', '"purpose": "tls"'), encoding="utf-8")
    with pytest.raises(CryptoError, match="does not open"):
        load_tls_key_pem(vote_key, secret)


def test_any_altered_byte_is_noticed(vote_key: Path, secret: KeyFileSecret) -> None:
    """Bits that keep hex digits and JSON well-formed, letter case among them, are tried as well."""
    data = vote_key.read_bytes()
    for index in range(len(data)):
        for mask in (0x01, 0x02, 0x20, 0x80):
            vote_key.write_bytes(data[:index] + bytes([data[index] ^ mask]) + data[index + 1 :])
            with pytest.raises(CryptoError, match=r"vote\.key: ") as caught:
                load_signer(vote_key, secret, KeyPurpose.VOTE)
            assert caught.value.fix
    vote_key.write_bytes(data)
    assert load_signer(vote_key, secret, KeyPurpose.VOTE).sign(b"as before")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b'{"salt": 1}', b"[" * 4_000, b"\xff\xfe", b'{"purpose": "vote"}'],
)
def test_what_is_no_key_file_is_called_so(
    vote_key: Path, secret: KeyFileSecret, content: bytes
) -> None:
    vote_key.write_bytes(content)
    with pytest.raises(CryptoError, match=r"vote\.key: not a key file of format govchain-key/1"):
        load_signer(vote_key, secret, KeyPurpose.VOTE)


def test_truncated_extended_and_reordered_files_are_refused(
    vote_key: Path, secret: KeyFileSecret
) -> None:
    data = vote_key.read_bytes()
    fields = json.loads(data)
    compact = json.dumps(fields).encode()
    reordered = json.dumps(dict(reversed(fields.items())), indent=2).encode() + b"\n"
    extended = json.dumps({**fields, "note": "x"}, indent=2).encode() + b"\n"
    shorter = json.dumps({**fields, "salt": fields["salt"][2:]}, indent=2).encode() + b"\n"
    for other in (data[:-1], data + b"\n", data[:100], compact, reordered, extended, shorter):
        vote_key.write_bytes(other)
        with pytest.raises(CryptoError, match="not a key file of format"):
            load_signer(vote_key, secret, KeyPurpose.VOTE)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o660, 0o610])
def test_files_that_others_may_use_are_refused(
    tmp_path: Path, vote_key: Path, secret: KeyFileSecret, mode: int
) -> None:
    vote_key.chmod(mode)
    with pytest.raises(CryptoError, match=rf"vote\.key: .*mode {mode:04o}") as caught:
        load_signer(vote_key, secret, KeyPurpose.VOTE)
    assert caught.value.fix == f"chmod 600 {vote_key}"
    unlock = tmp_path / "unlock"
    unlock.chmod(mode)
    with pytest.raises(CryptoError, match=rf"unlock: .*mode {mode:04o}"):
        KeyFileSecret.load(unlock)


def test_paths_that_hold_no_private_file_are_named(tmp_path: Path, secret: KeyFileSecret) -> None:
    with pytest.raises(CryptoError, match="missing: cannot be read: No such file") as caught:
        load_signer(tmp_path / "missing", secret, KeyPurpose.VOTE)
    assert caught.value.fix
    with pytest.raises(CryptoError, match="cannot be read: Is a directory"):
        load_signer(tmp_path, secret, KeyPurpose.VOTE)
    with pytest.raises(CryptoError, match="expected a regular file"):
        load_signer(Path("/dev/null"), secret, KeyPurpose.VOTE)
    large = tmp_path / "large"
    large.touch(mode=0o600)
    large.write_bytes(bytes(4_097))
    with pytest.raises(CryptoError, match="at most 4096 bytes"):
        load_signer(large, secret, KeyPurpose.VOTE)
    with pytest.raises(CryptoError, match="cannot be written: No such file") as caught:
        KeyFileSecret.generate(tmp_path / "nowhere" / "unlock")
    assert caught.value.fix


def test_a_failed_write_is_reported_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(descriptor))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CryptoError, match="unlock: cannot be written: Input/output error"):
        KeyFileSecret.generate(tmp_path / "unlock")
    assert not list(tmp_path.iterdir())


def test_a_short_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.touch(mode=0o600)
    path.write_bytes(bytes(31))
    with pytest.raises(CryptoError, match="at least 32 random bytes, got 31"):
        KeyFileSecret.load(path)


def test_a_key_of_an_unknown_algorithm_is_refused(tmp_path: Path, secret: KeyFileSecret) -> None:
    @dataclass(frozen=True)
    class FutureSigner(P256Signer):
        algorithm: ClassVar[str] = "future"

    known = P256Signer.from_secret(b"\x07" * 32)
    path = tmp_path / "future.key"
    save_key(path, FutureSigner(known.public_key, known.private_key), secret, KeyPurpose.VOTE)
    with pytest.raises(CryptoError, match="algorithm 'future', which is not known here"):
        load_signer(path, secret, KeyPurpose.VOTE)


def test_the_tls_key_comes_as_pem_of_the_same_key(tmp_path: Path, secret: KeyFileSecret) -> None:
    path = tmp_path / "tls.key"
    key = P256Signer.from_secret(b"\x07" * 32)
    save_key(path, key, secret, KeyPurpose.TLS)
    pem = load_tls_key_pem(path, secret)
    opened = load_pem_private_key(pem, password=None)
    assert isinstance(opened, EllipticCurvePrivateKey)
    assert opened.private_numbers() == key.private_key.private_numbers()
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert pem not in path.read_bytes()


def test_a_tls_key_that_tls_cannot_use_is_refused(tmp_path: Path, secret: KeyFileSecret) -> None:
    path = tmp_path / "tls.key"
    save_key(path, Ed25519Signer.from_secret(b"\x07" * 32), secret, KeyPurpose.TLS)
    with pytest.raises(CryptoError, match=r"tls\.key: expected a P-256 key, got ed25519"):
        load_tls_key_pem(path, secret)


@dataclass(frozen=True)
class Holder:
    """Any structure that holds secrets and is shown in a log by mistake."""

    items: list[object] = field(default_factory=list)


def test_no_repr_and_no_error_shows_a_secret(tmp_path: Path) -> None:
    unlock = KeyFileSecret.generate(tmp_path / "unlock")
    signer = P256Signer.from_secret(bytes(range(1, 33)))
    passphrase = PassphraseSecret(PASSPHRASE)
    path = tmp_path / "vote.key"
    save_key(path, signer, unlock, KeyPurpose.VOTE)
    path.write_bytes(path.read_bytes().replace(b'"vote"', b'"tlss"'))
    try:
        load_signer(path, unlock, KeyPurpose.VOTE)
    except CryptoError as error:
        trace = "".join(traceback.format_exception(error))
    shown = repr(Holder([unlock, signer, passphrase])) + f"{unlock} {signer} {passphrase}" + trace
    unlock_bytes = (tmp_path / "unlock").read_bytes()
    secrets = [PASSPHRASE]
    for raw in (unlock_bytes, signer.export_secret()):
        secrets += [raw.hex(), repr(raw)[2:-1], str(int.from_bytes(raw, "big"))]
    assert "PassphraseSecret()" in shown
    assert "KeyFileSecret()" in shown
    for form in secrets:
        assert form not in shown
