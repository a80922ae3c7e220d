"""Keys in a device of SDF (GM/T 0018), which a library in software stands for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from node.crypto.device import DeviceSecret, KeyReference, is_reference
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    load_signer,
    move_to_device,
    save_key,
)
from node.crypto.sdf_driver import SdfDevice
from node.crypto.signature import P256Signer
from node.crypto.sm2 import Sm2Signer
from node.crypto.suite import NATIONAL
from node.errors import CryptoError
from tests.unit.crypto import sm2_reference as reference
from tests.unit.crypto.sdf_stub import PASSWORD, SdfStub, build_stub

SECRET, OTHER = bytes(range(1, 33)), bytes(range(2, 34))
KEY = Sm2Signer.from_secret(SECRET)


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> SdfStub:
    return build_stub(tmp_path_factory.mktemp("sdf"))


@pytest.fixture(autouse=True)
def keys(stub: SdfStub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.hold({1: OTHER, 7: SECRET})
    monkeypatch.setenv("SDF_STUB_KEYS", str(stub.keys))


@pytest.fixture
def device(stub: SdfStub) -> Iterator[SdfDevice]:
    opened = SdfDevice(stub.module, PASSWORD)
    yield opened
    opened.close()


@pytest.fixture
def secret(tmp_path: Path, device: SdfDevice) -> DeviceSecret:
    return DeviceSecret(KeyFileSecret.generate(tmp_path / "unlock"), device)


def test_a_key_that_the_device_holds_is_found_and_signs_there(
    tmp_path: Path, secret: DeviceSecret
) -> None:
    path = tmp_path / "vote.key"
    save_key(path, KEY, secret, KeyPurpose.VOTE, NATIONAL)
    moved = move_to_device(path, secret, KeyPurpose.VOTE)
    assert moved.key_id == (7).to_bytes(4, "big")
    assert is_reference(path.read_bytes())
    signer = load_signer(path, secret, KeyPurpose.VOTE)
    assert signer.public_key == KEY.public_key
    made = {signer.sign(b"message") for _ in range(4)}
    assert len(made) == 4  # the device draws its nonces
    for number in range(16):
        message = b"%d" % number * number
        signature = signer.sign(message)
        assert KEY.public_key.verify(message, signature)
        assert reference.verifies(KEY.public_key.encoded, message, signature)


def test_threads_share_the_session(device: SdfDevice) -> None:
    signer = device.open_signer(device.adopt("vote", "sm2", SECRET))
    with ThreadPoolExecutor(4) as threads:
        assert all(
            threads.map(
                lambda n: KEY.public_key.verify(b"%d" % n, signer.sign(b"%d" % n)), range(32)
            )
        )


def test_a_key_that_the_device_has_not_stays_in_its_file(
    tmp_path: Path, stub: SdfStub, secret: DeviceSecret
) -> None:
    path = tmp_path / "vote.key"
    third = Sm2Signer.from_secret(bytes(range(3, 35)))
    save_key(path, third, secret, KeyPurpose.VOTE, NATIONAL)
    before = path.read_bytes()
    with pytest.raises(CryptoError, match="none of the keys 1 to 256") as refused:
        move_to_device(path, secret, KeyPurpose.VOTE)
    assert "maker" in (refused.value.fix or "")
    assert path.read_bytes() == before
    other = tmp_path / "tls.key"
    save_key(other, P256Signer.from_secret(SECRET), secret, KeyPurpose.VOTE)
    with pytest.raises(CryptoError, match="expected a key of SM2, got one of ecdsa-p256"):
        move_to_device(other, secret, KeyPurpose.VOTE)
    stub.hold({})
    empty = SdfDevice(stub.module, PASSWORD)
    with pytest.raises(CryptoError, match="none of the keys"):
        empty.adopt("vote", "sm2", SECRET)
    empty.close()


def test_a_reference_opens_the_very_key_that_it_names(device: SdfDevice) -> None:
    known = device.adopt("vote", "sm2", SECRET)
    for number, said in ((1, "holds another key 1, or none"), (9, "holds another key 9, or none")):
        with pytest.raises(CryptoError, match=said):
            device.open_signer(replace(known, key_id=number.to_bytes(4, "big")))
    for key_id in (b"", bytes(4), b"\0" * 16, (257).to_bytes(4, "big")):
        with pytest.raises(CryptoError, match="expected the reference of a key in a device of SDF"):
            device.open_signer(replace(known, key_id=key_id))
    with pytest.raises(CryptoError, match="expected the reference of a key"):
        device.open_signer(replace(known, algorithm="ecdsa-p256"))


def test_what_cannot_be_opened_is_told_without_the_password(
    stub: SdfStub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = "another-password"
    locked = SdfDevice(stub.module, wrong)
    asked = KeyReference(
        purpose="vote",
        algorithm="sm2",
        public_key=KEY.public_key.encoded,
        key_id=(7).to_bytes(4, "big"),
    )
    with pytest.raises(CryptoError, match="SDR_PRKRERR") as refused:
        locked.open_signer(asked)
    assert wrong not in f"{refused.value} {refused.value.fix} {refused.value.__cause__!r}"
    locked.close()
    with pytest.raises(CryptoError, match="it is no library of SDF"):
        SdfDevice(Path("/nowhere/lib.so"), PASSWORD)
    with pytest.raises(CryptoError, match="it is no library of SDF"):
        SdfDevice(Path("libcrypto.so.3"), PASSWORD)
    monkeypatch.setenv("SDF_STUB_KEYS", str(tmp_path / "nothing"))
    with pytest.raises(CryptoError, match="cannot be opened: SDR_OPENDEVICE"):
        SdfDevice(stub.module, PASSWORD)


def test_a_device_that_lays_out_its_numbers_otherwise_is_refused(
    tmp_path: Path, device: SdfDevice
) -> None:
    """Makers differ: of one that puts 32 bytes first the wrong half would be read."""
    known = device.adopt("vote", "sm2", SECRET)
    odd = SdfDevice(build_stub(tmp_path, "-DHIGH_FIRST").module, PASSWORD)
    for refused in (lambda: odd.adopt("vote", "sm2", SECRET), lambda: odd.open_signer(known)):
        with pytest.raises(CryptoError, match="lays out its numbers otherwise than GM/T 0018"):
            refused()
    odd.close()
