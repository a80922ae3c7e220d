"""Keys in a device of PKCS #11, which SoftHSM stands for."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.crypto.device import DeviceSecret, KeyReference, is_reference
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    load_signer,
    load_tls_key_pem,
    move_to_device,
    save_key,
)
from node.crypto.pkcs11_driver import Pkcs11Device
from node.crypto.signature import P256_ORDER, Ed25519Signer, P256Signer
from node.crypto.sm2 import Sm2Signer
from node.errors import CryptoError
from tests.unit.crypto.token import PIN, SoftToken, make_token

SECRET = bytes(range(1, 33))
KINDS = [(P256Signer, KeyPurpose.VOTE), (Ed25519Signer, KeyPurpose.COSIGNATURE)]


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    made = make_token(tmp_path_factory.mktemp("token"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(made.configuration))
        Pkcs11Device(made.module, made.label, PIN).close()  # it reads its settings once
    return made


@pytest.fixture
def device(token: SoftToken) -> Iterator[Pkcs11Device]:
    opened = Pkcs11Device(token.module, token.label, PIN)  # a process logs in to a token once
    yield opened
    opened.close()


@pytest.fixture
def secret(tmp_path: Path, device: Pkcs11Device) -> DeviceSecret:
    return DeviceSecret(KeyFileSecret.generate(tmp_path / "unlock"), device)


@pytest.mark.parametrize(("kind", "purpose"), KINDS)
def test_a_key_moves_into_the_device_and_signs_there(
    tmp_path: Path,
    secret: DeviceSecret,
    kind: type[P256Signer | Ed25519Signer],
    purpose: KeyPurpose,
) -> None:
    path, key = tmp_path / "the.key", kind.from_secret(SECRET)
    save_key(path, key, secret, purpose)
    assert load_signer(path, secret, purpose) == key  # still in its file
    reference = move_to_device(path, secret, purpose)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["the.key", "unlock"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert is_reference(path.read_bytes())
    assert KeyReference.decode(path.read_bytes()) == reference
    opened = load_signer(path, secret, purpose)
    assert opened.public_key == key.public_key
    for number in range(16):
        signature = opened.sign(b"%d" % number)
        assert key.public_key.verify(b"%d" % number, signature)
        assert kind is Ed25519Signer or int.from_bytes(signature[32:], "big") <= P256_ORDER // 2
    with pytest.raises(CryptoError, match="not a key file"):
        move_to_device(path, secret, purpose)


def test_nothing_gets_the_key_out_again(token: SoftToken, device: Pkcs11Device) -> None:
    reference = device.adopt("vote", "ecdsa-p256", SECRET)
    script = """
import sys, pkcs11
module, label, pin, key_id = sys.argv[1:]
session = pkcs11.lib(module).get_token(token_label=label).open(user_pin=pin)
key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, id=bytes.fromhex(key_id))
try:
    print(bytes(key[pkcs11.Attribute.VALUE]).hex())
except pkcs11.exceptions.AttributeSensitive:
    print("refused")
"""
    done = subprocess.run(
        [
            sys.executable, "-c", script, str(token.module), token.label, PIN,
            reference.key_id.hex(),
        ],
        env={"SOFTHSM2_CONF": str(token.configuration)},
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == "refused\n"
    stored = b"".join(
        each.read_bytes() for each in token.configuration.parent.rglob("*") if each.is_file()
    )
    assert SECRET not in stored


def test_a_reference_opens_for_its_purpose_with_its_device_and_in_no_other_way(
    tmp_path: Path, secret: DeviceSecret
) -> None:
    path = tmp_path / "vote.key"
    save_key(path, P256Signer.from_secret(SECRET), secret, KeyPurpose.VOTE)
    move_to_device(path, secret, KeyPurpose.VOTE)
    with pytest.raises(CryptoError, match="its key is in a device, and none is open") as refused:
        load_signer(path, secret.files, KeyPurpose.VOTE)
    assert "custody.driver" in (refused.value.fix or "")
    with pytest.raises(CryptoError, match="expected a key for identity, got one for 'vote'"):
        load_signer(path, secret, KeyPurpose.IDENTITY)
    with pytest.raises(CryptoError, match="not a key file"):
        load_tls_key_pem(path, secret)  # which TLS could not use
    data = path.read_bytes()
    other = P256Signer.from_secret(b"\x05" * 32).public_key.encoded.hex().encode()
    own = P256Signer.from_secret(SECRET).public_key.encoded.hex().encode()
    path.write_bytes(data.replace(own, other))
    with pytest.raises(CryptoError, match="is not the one that is meant"):
        load_signer(path, secret, KeyPurpose.VOTE)
    key_id = KeyReference.decode(data).key_id.hex().encode()
    path.write_bytes(data.replace(key_id, b"00" * 16))
    with pytest.raises(CryptoError, match="has no key 0000"):
        load_signer(path, secret, KeyPurpose.VOTE)
    for malformed in (data + b"\n", data.replace(b"vote", b"vote\x00"), data[:-3]):
        path.write_bytes(malformed)
        with pytest.raises(CryptoError, match="not a reference to a key"):
            load_signer(path, secret, KeyPurpose.VOTE)


def test_what_cannot_be_opened_is_told_without_the_pin(token: SoftToken) -> None:
    wrong = "another pin, wrong"
    cases = [
        (token.module, token.label, wrong, "PinIncorrect"),
        (token.module, "nobody's", PIN, "NoSuchToken"),
        (Path("/nowhere/lib.so"), token.label, PIN, "cannot be opened"),
    ]
    for module, label, pin, said in cases:
        with pytest.raises(CryptoError, match=said) as refused:
            Pkcs11Device(module, label, pin)
        told = f"{refused.value} {refused.value.fix} {refused.value.__cause__!r}"
        assert pin not in told


def test_a_key_of_sm2_stays_in_its_file(tmp_path: Path, secret: DeviceSecret) -> None:
    path = tmp_path / "vote.key"
    save_key(path, Sm2Signer.from_secret(SECRET), secret, KeyPurpose.VOTE)
    before = path.read_bytes()
    with pytest.raises(CryptoError, match="expected a key of P-256 or Ed25519, got one of sm2"):
        move_to_device(path, secret, KeyPurpose.VOTE)
    assert path.read_bytes() == before
