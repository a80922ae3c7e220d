"""A validator whose keys stay in a device: it votes by them, and its PIN is nowhere to be seen."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from node.crypto.device import is_reference
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    load_aggregate_signer,
    load_signer,
)
from node.crypto.signature import Ed25519Signer, P256Signer
from node.crypto.sm2 import Sm2Signer
from node.operations.process import ProcessRecord, stop_processes
from node.operations.supervisor import PROCESS_FILE
from tests.network.local_network import national_testnet
from tests.unit.cli.command import run
from tests.unit.crypto.sdf_stub import PASSWORD, SdfStub, build_stub
from tests.unit.crypto.token import PIN, SoftToken, make_token

FIRST, SECOND = "the river of the north", "seven lamps at the gate"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    return make_token(tmp_path_factory.mktemp("token"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("custody") / "net"
    up = run("testnet", "up", "--suite", "international", "--home", folder, "--json")
    assert up.code == 0, up.out
    yield folder
    run("testnet", "down", "--home", folder)


def stop(home: Path, validator_id: str) -> None:
    """End a validator of the network."""
    process = ProcessRecord.load(home / "nodes" / validator_id / PROCESS_FILE)
    assert process is not None
    stop_processes([process], grace_s=30)


def govchain(token: SoftToken, *arguments: object, pin: str) -> subprocess.Popen[bytes]:
    """Start the command with a token of SoftHSM."""
    return started_with({"SOFTHSM2_CONF": str(token.configuration)}, *arguments, pin=pin)


def started_with(
    environment: Mapping[str, str], *arguments: object, pin: str
) -> subprocess.Popen[bytes]:
    """Start the command, with the PIN waiting for it in a pipe."""
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as pipe:
        pipe.write(pin.encode() + b"\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "node", *map(str, arguments), "--pin-fd", str(read_end)],
        env={**os.environ, **environment, "LANGUAGE": "en"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(read_end,),
    )
    os.close(read_end)
    return process


def in_pipes(*lines: str) -> dict[str, str]:
    """Return the environment that names open files with a line each."""
    numbers = []
    for line in lines:
        read_end, write_end = os.pipe()
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(line.encode() + b"\n")
        numbers.append(str(read_end))
    return {"GOVCHAIN_PASSPHRASE_FDS": ",".join(numbers)}


def test_a_key_of_two_people_signs_with_both_alone(home: Path, tmp_path: Path) -> None:
    document = tmp_path / "document.txt"
    document.write_bytes(secrets.token_bytes(16))
    record = ("notarize", document, "--home", home, "--out", tmp_path, "--json")
    locking = ("identity", "lock", "--home", home, "--json", "--people")
    locked = run(*locking, 2, env=in_pipes(FIRST, SECOND))
    try:
        assert (locked.json["people"], locked.json["changed"]) == (2, True)
        assert run(*locking, 2).json["changed"] is False
        alone = run(*record)
        assert alone.json["error"]["code"] == "GC-2311"
        assert "takes two people" in alone.json["error"]["message"]
        for people in ((FIRST, "what the other knows"), ("nor this one, as it is", SECOND)):
            refused = run(*record, env=in_pipes(*people))
            assert refused.code != 0
            assert "does not open with this secret" in refused.out
            assert not any(each in refused.out + refused.err for each in (FIRST, SECOND))
        made = run(*record, env=in_pipes(SECOND, FIRST))
        assert made.code == 0, made.out
    finally:
        unlocked = run(*locking, 1, env=in_pipes(FIRST, SECOND))
    assert unlocked.json["changed"] is True
    document.write_bytes(secrets.token_bytes(16))
    assert run(*record).code == 0


@pytest.mark.parametrize("numbers", ["3", "3,3", "3,x", "-1,4", "3,4,5", "x"])
def test_two_open_files_are_named_by_two_numbers(home: Path, numbers: str) -> None:
    refused = run(
        "identity", "lock", "--home", home, "--people", 2, "--json",
        env={"GOVCHAIN_PASSPHRASE_FDS": numbers},
    )  # fmt: skip
    assert refused.json["error"]["code"] == "GC-2311"
    assert "expected the numbers of two open files" in refused.json["error"]["message"]


def test_nothing_secret_of_a_running_network_is_to_be_seen(home: Path) -> None:
    """What opens its keys, and the keys: not in logs, nor in what others see of its processes."""
    unlock = (home / "secret.key").read_bytes()
    opened = KeyFileSecret.load(home / "secret.key")
    hidden = {unlock}
    for path in home.rglob("*.key"):
        fields = path.read_bytes()
        if b'"purpose"' in fields:
            purpose = KeyPurpose(json.loads(fields)["purpose"])
            if purpose is KeyPurpose.AGGREGATE:
                hidden.add(load_aggregate_signer(path, opened).export_secret())
                continue
            key = load_signer(path, opened, purpose)
            assert isinstance(key, P256Signer | Ed25519Signer)
            hidden.add(key.export_secret())
    assert len(hidden) > 20
    seen = [each for each in home.rglob("*") if each.is_file() and each.name != "secret.key"]
    processes = [ProcessRecord.load(each) for each in home.rglob(PROCESS_FILE)]
    alive = [each.pid for each in processes if each is not None and each.is_alive]
    assert len(alive) == 4
    seen += [Path(f"/proc/{pid}/{name}") for pid in alive for name in ("cmdline", "environ")]
    shown = b"\0".join(each.read_bytes() for each in seen)
    for secret in hidden:
        written = (base64.b64encode(secret), secret.hex().encode(), repr(secret)[2:-1].encode())
        assert not any(form in shown for form in (secret, *written))
    for pid in alive:
        (limit,) = (
            each for each in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core" in each
        )
        assert limit.split()[4:6] == ["0", "0"]


def test_keys_move_into_the_device_and_the_validator_votes_by_them(
    home: Path, token: SoftToken, tmp_path: Path
) -> None:
    node = home / "nodes" / "validator-1"
    stop(home, "validator-1")
    names = [option for key in ("vote", "cosignature", "timestamp") for option in ("--key", key)]
    without = run("node", "custody", "--home", node, "--json")
    assert without.json["error"]["message"].endswith("names no device")
    with (node / "node.toml").open("a") as file:
        file.write(f'\n[custody]\ndriver = "pkcs11"\nmodule = "{token.module}"\n')
        file.write(f'token = "{token.label}"\n')
    wrong = govchain(token, "node", "custody", "--home", node, "--json", pin="of somebody else")
    out, _ = wrong.communicate(timeout=60)
    assert wrong.returncode != 0
    assert b"PinIncorrect" in out
    moved = govchain(token, "node", "custody", "--home", node, *names, "--json", pin=PIN)
    out, _ = moved.communicate(timeout=60)
    assert moved.returncode == 0, out
    files = ("vote.key", "cosignature.key", "tsa.key")
    assert all(is_reference((node / "keys" / name).read_bytes()) for name in files)

    log = tmp_path / "log"
    started = govchain(token, "node", "run", "--home", node, "--log", log, pin=PIN)
    try:
        stop(home, "validator-2")
        document = tmp_path / "document.txt"
        document.write_bytes(secrets.token_bytes(16))
        made = run("notarize", document, "--home", home, "--out", tmp_path, "--json")
        assert made.code == 0, made.out  # by three of four: not without the one with the device
        process = Path(f"/proc/{started.pid}")
        seen = [process / "cmdline", process / "environ", log, *node.rglob("*")]
        held = b"".join(each.read_bytes() for each in seen if each.is_file())
        assert PIN.encode() not in held
        (limit,) = (
            line for line in (process / "limits").read_text().splitlines() if "core file" in line
        )
        assert limit.split()[4:6] == ["0", "0"]
    finally:
        started.send_signal(signal.SIGTERM)
        out, said = started.communicate(timeout=60)
    assert PIN.encode() not in out + said
    assert started.returncode == 0, said


def test_a_national_validator_votes_by_a_key_in_a_device_of_sdf(tmp_path: Path) -> None:
    stub = build_stub(tmp_path)
    with national_testnet(tmp_path / "net") as home:
        keep_a_vote_key_in(stub, home)


def keep_a_vote_key_in(stub: SdfStub, home: Path) -> None:
    """Have the first of four validators vote by the device, and one of the others be gone."""
    node = home / "nodes" / "validator-1"
    stop(home, "validator-1")
    path, secret = node / "keys" / "vote.key", KeyFileSecret.load(home / "secret.key")
    key = load_signer(path, secret, KeyPurpose.VOTE)
    assert isinstance(key, Sm2Signer)
    stub.hold({3: key.export_secret()})  # its maker's tool does that
    with (node / "node.toml").open("a") as file:
        file.write(f'\n[custody]\ndriver = "sdf"\nmodule = "{stub.module}"\n')
    names = {"SDF_STUB_KEYS": str(stub.keys)}
    moved = started_with(names, "node", "custody", "--home", node, "--json", pin=PASSWORD)
    out, _ = moved.communicate(timeout=60)
    assert moved.returncode == 0, out
    assert is_reference(path.read_bytes())
    started = started_with(names, "node", "run", "--home", node, pin=PASSWORD)
    try:
        stop(home, "validator-2")
        document = home / "document.txt"
        document.write_bytes(secrets.token_bytes(16))
        made = run("notarize", document, "--home", home, "--out", home / "receipts", "--json")
        assert made.code == 0, made.out  # by three of four: not without the one with the device
        process = Path(f"/proc/{started.pid}")
        seen = [process / "cmdline", process / "environ", *node.rglob("*")]
        held = b"".join(each.read_bytes() for each in seen if each.is_file())
        assert PASSWORD.encode() not in held
        assert key.export_secret() not in held
        assert key.export_secret().hex().encode() not in held
    finally:
        started.send_signal(signal.SIGTERM)
        out, said = started.communicate(timeout=60)
    assert PASSWORD.encode() not in out + said
    assert started.returncode == 0, said


def test_without_its_pin_it_does_not_start(home: Path, token: SoftToken) -> None:
    node = home / "nodes" / "validator-1"
    done = subprocess.run(
        [sys.executable, "-m", "node", "node", "run", "--home", node],
        env={**os.environ, "SOFTHSM2_CONF": str(token.configuration), "LANGUAGE": "en"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert b"nobody to ask for the PIN" in done.stderr
