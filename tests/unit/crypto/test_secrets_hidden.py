"""No secret in what is seen of an error, wherever it comes: each way to a key, broken at each line.

Every way that a key is opened, used, kept or moved is run with an error forced at the first line of
the product that it runs, then at the second, and so on; nothing that tracebacks, logs, `repr` or
messages show then holds 8 bytes of a secret in a row, in any notation.
"""

from __future__ import annotations

import base64
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from node.cli.passphrases import PASSPHRASE_VARIABLE, TWO_VARIABLE, ask_passphrase, ask_two_people
from node.crypto import keystore
from node.crypto.envelope import ContentCipher, wrap_key
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    KeySecret,
    PassphraseSecret,
    TwoPeopleSecret,
    generate_key,
    load_aggregate_signer,
    load_opener,
    load_signer,
    load_tls_key_pem,
    lock_anew,
    new_content_key,
    save_key,
)
from node.crypto.pkcs11_driver import Pkcs11Device
from node.crypto.sdf_driver import SdfDevice
from node.crypto.signature import P256Signer
from node.crypto.suite import INTERNATIONAL, NATIONAL, SUITES, Suite
from node.errors import CryptoError
from tests.suites import SUITE
from tests.unit.crypto.forced_errors import (
    ForcedError,
    force_at_each_line,
    leaks,
    node_logs,
    shown_of,
)
from tests.unit.crypto.sdf_stub import PASSWORD, build_stub
from tests.unit.crypto.token import PIN, make_token

ROOT = Path(__file__).parents[3]
FIRST, SECOND = "the river of the north", "seven lamps at the gate"
DEVICE_SECRET = bytes(range(1, 33))


@dataclass(frozen=True)
class Way:
    """One way to a key: what it does, and what nobody is to see of it."""

    act: Callable[[], object]
    hidden: list[bytes]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have scrypt cost little: it is run hundreds of times here, and its cost hides nothing."""

    def cheap(*, salt: bytes, length: int, n: int, r: int, p: int) -> Scrypt:
        assert (n, r, p) == (2**17, 8, 1)
        return Scrypt(salt=salt, length=length, n=2**4, r=r, p=p)

    monkeypatch.setattr(keystore, "Scrypt", cheap)


def unlock_file(folder: Path) -> tuple[Path, KeyFileSecret]:
    path = folder / "unlock"
    return path, KeyFileSecret.generate(path)


def file_way(folder: Path, purpose: KeyPurpose, suite: Suite) -> Way:
    """Make a key file, then: its secret read, the key opened and used."""
    unlock, secret = unlock_file(folder)
    key, path = generate_key(purpose, suite), folder / "a.key"
    save_key(path, key, secret, purpose, suite)

    def act() -> None:
        opened = KeyFileSecret.load(unlock)
        if purpose is KeyPurpose.AGGREGATE:
            load_aggregate_signer(path, opened)  # a signature takes a second
        elif purpose is KeyPurpose.ENCRYPTION:
            wrapped = wrap_key(suite, key.public_key.encoded, b"x" * 32, b"info")
            assert load_opener(path, opened, suite).unwrap(wrapped, b"info") == b"x" * 32
        elif purpose is KeyPurpose.TLS:
            assert b"PRIVATE KEY" in load_tls_key_pem(path, opened)
        else:
            load_signer(path, opened, purpose).sign(b"message")

    return Way(act, [key.export_secret(), unlock.read_bytes()])


def saving_way(folder: Path, secret: KeySecret, hidden: list[bytes]) -> Way:
    """Keep a key under a secret of another kind, open it again, and lock it anew."""
    _, files = unlock_file(folder)
    key, path = generate_key(KeyPurpose.IDENTITY, NATIONAL), folder / "a.key"

    def act() -> None:
        path.unlink(missing_ok=True)
        save_key(path, key, secret, KeyPurpose.IDENTITY, NATIONAL)
        load_signer(path, secret, KeyPurpose.IDENTITY).sign(b"message")
        lock_anew(path, secret, files, KeyPurpose.IDENTITY)
        lock_anew(path, files, secret, KeyPurpose.IDENTITY)

    return Way(act, [key.export_secret(), (folder / "unlock").read_bytes(), *hidden])


def passphrase_way(folder: Path) -> Way:
    return saving_way(folder, PassphraseSecret(FIRST), [FIRST.encode()])


def two_people_way(folder: Path) -> Way:
    return saving_way(folder, TwoPeopleSecret(FIRST, SECOND), [FIRST.encode(), SECOND.encode()])


def wrong_secret_way(folder: Path) -> Way:
    """Try to open a key by what does not open it."""
    _, secret = unlock_file(folder)
    key, path = generate_key(KeyPurpose.IDENTITY, INTERNATIONAL), folder / "a.key"
    save_key(path, key, TwoPeopleSecret(FIRST, SECOND), KeyPurpose.IDENTITY)
    other = TwoPeopleSecret(SECOND, "what neither of them chose")

    def act() -> None:
        for tried in (secret, other, PassphraseSecret(FIRST)):
            load_signer(path, tried, KeyPurpose.IDENTITY)

    return Way(act, [key.export_secret(), FIRST.encode(), SECOND.encode()])


def asked_way(_folder: Path) -> Way:
    """Read passphrases from the environment, and from open files."""

    def act() -> None:
        os.environ[PASSPHRASE_VARIABLE] = FIRST
        ask_passphrase()
        numbers = []
        for line in (FIRST, SECOND):
            read_end, write_end = os.pipe()
            os.write(write_end, line.encode() + b"\n")
            os.close(write_end)
            numbers.append(read_end)
        os.environ[TWO_VARIABLE] = ",".join(map(str, numbers))
        ask_two_people()

    return Way(act, [FIRST.encode(), SECOND.encode()])


def pkcs11_way(folder: Path) -> Way:
    """Log in to a token, have it take in a key, and sign there."""
    token = make_token(folder)
    os.environ["SOFTHSM2_CONF"] = str(token.configuration)
    key = P256Signer.from_secret(DEVICE_SECRET)

    def act() -> None:
        device = Pkcs11Device(token.module, token.label, PIN)
        try:
            reference = device.adopt("vote", key.algorithm, key.export_secret())
            device.open_signer(reference).sign(b"message")
        finally:
            sys.settrace(None)  # what ends the session is no step: the next one could not begin
            device.close()

    return Way(act, [PIN.encode(), DEVICE_SECRET])


def sdf_way(folder: Path) -> Way:
    """Open a device of SDF, find a key there, and sign by it."""
    stub = build_stub(folder)
    stub.hold({7: DEVICE_SECRET})
    os.environ["SDF_STUB_KEYS"] = str(stub.keys)

    def act() -> None:
        device = SdfDevice(stub.module, PASSWORD)
        try:
            reference = device.adopt("vote", "sm2", DEVICE_SECRET)
            device.open_signer(reference).sign(b"message")
        finally:
            sys.settrace(None)  # as above
            device.close()

    return Way(act, [PASSWORD.encode(), DEVICE_SECRET])


def vault_way(folder: Path, suite: Suite) -> Way:
    """Seal content, wrap its key for somebody, and open both."""
    path, secret = folder / "a.key", unlock_file(folder)[1]
    key = generate_key(KeyPurpose.ENCRYPTION, suite)
    save_key(path, key, secret, KeyPurpose.ENCRYPTION, suite)
    content_key, content = new_content_key(suite), os.urandom(64)

    def act() -> None:
        cipher = ContentCipher(suite.aead, content_key, b"which content")
        sealed = cipher.seal(0, content, is_last=True)
        wrapped = wrap_key(suite, key.public_key.encoded, content_key, b"info")
        opener = load_opener(path, secret, suite)
        opened = ContentCipher(suite.aead, opener.unwrap(wrapped, b"info"), b"which content")
        assert opened.open(0, sealed, is_last=True) == content
        opened.open(0, sealed[:-1] + bytes([sealed[-1] ^ 1]), is_last=True)

    return Way(act, [key.export_secret(), content_key, content, (folder / "unlock").read_bytes()])


WAYS: dict[str, Callable[[Path], Way]] = {
    **{
        f"file {purpose}": partial(file_way, purpose=purpose, suite=SUITE) for purpose in KeyPurpose
    },
    **{f"vault {suite.name}": partial(vault_way, suite=suite) for suite in SUITES},
    "passphrase": passphrase_way,
    "two people": two_people_way,
    "wrong secret": wrong_secret_way,
    "asked": asked_way,
    "pkcs11": pkcs11_way,
    "sdf": sdf_way,
}


@pytest.fixture
def environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("environment")
# An error between opening a file and whatever would close it leaves that to the collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", WAYS)
def test_an_error_at_any_line_shows_no_secret(tmp_path: Path, name: str) -> None:
    way = WAYS[name](tmp_path)
    forced = 0
    with node_logs() as write:
        for error in force_at_each_line(way.act):
            forced += isinstance(error, ForcedError)
            shown = shown_of(error) + write(error)
            assert leaks(shown, way.hidden) == [], shown
    assert forced > 20
    gc.collect()  # what was half made complains when it goes


def test_a_secret_that_shows_is_found() -> None:
    """Of the search itself: each notation, a piece, and what a log or a frame would tell."""
    secret = bytes(range(100, 132))
    way = Way(lambda: None, [secret])
    pieces = (secret.hex(), secret.hex().upper(), f"0x{secret[8:16].hex()}ff", f"{secret!r}")
    for text in (*pieces, base64.b64encode(secret).decode(), str(int.from_bytes(secret))):
        assert leaks(f"key {text}.", way.hidden), text
    assert not leaks(secret[:7].hex() + " " + secret[8:15].hex(), way.hidden)
    error = CryptoError(f"of {secret.hex()}")
    assert leaks(shown_of(error), way.hidden)
    with node_logs() as write:
        assert leaks(write(error), way.hidden)


PROGRAM = """
import os, resource, sys
from pathlib import Path
from node.cli.passphrases import ask_passphrase, ask_two_people, read_line
from node.crypto.keystore import KeyFileSecret, KeyPurpose, load_signer
from node.crypto.pkcs11_driver import Pkcs11Device
from node.crypto.sdf_driver import SdfDevice
from node.operations.process import forbid_dumps
forbid_dumps()
driver, path, *more = sys.argv[1:]
if driver == "key file":
    load_signer(Path(path), KeyFileSecret.load(Path(more[0])), KeyPurpose.IDENTITY).sign(b"m")
elif driver == "passphrase":
    load_signer(Path(path), ask_passphrase(), KeyPurpose.IDENTITY).sign(b"m")
elif driver == "two people":
    load_signer(Path(path), ask_two_people(), KeyPurpose.IDENTITY).sign(b"m")
elif driver == "pkcs11":
    opened = Pkcs11Device(Path(path), more[0], read_line(int(more[1]), "--pin-fd"))
else:
    opened = SdfDevice(Path(path), read_line(int(more[0]), "--pin-fd"))
print("open", resource.getrlimit(resource.RLIMIT_CORE), flush=True)
sys.stdin.read()
"""


def in_pipe(text: str) -> int:
    read_end, write_end = os.pipe()
    os.write(write_end, text.encode() + b"\n")
    os.close(write_end)
    return read_end


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("driver", ["key file", "passphrase", "two people", "pkcs11", "sdf"])
def test_nobody_sees_what_opens_a_key_in_the_process_that_opened_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    monkeypatch.undo()  # another process opens it, by all that scrypt costs
    unlock, files = unlock_file(tmp_path)
    kinds: dict[str, KeySecret] = {
        "passphrase": PassphraseSecret(FIRST),
        "two people": TwoPeopleSecret(FIRST, SECOND),
    }
    key, path = generate_key(KeyPurpose.IDENTITY, SUITE), tmp_path / "a.key"
    save_key(path, key, kinds.get(driver, files), KeyPurpose.IDENTITY, SUITE)
    arguments, pipes, told = [str(path), str(unlock)], [], dict[str, str]()
    if driver == "passphrase":
        told[PASSPHRASE_VARIABLE] = FIRST
    elif driver == "two people":
        pipes = [in_pipe(FIRST), in_pipe(SECOND)]
        told[TWO_VARIABLE] = ",".join(map(str, pipes))
    elif driver == "pkcs11":
        token, pipes = make_token(tmp_path), [in_pipe(PIN)]
        told["SOFTHSM2_CONF"] = str(token.configuration)
        arguments = [str(token.module), token.label, str(pipes[0])]
    elif driver == "sdf":
        stub, pipes = build_stub(tmp_path), [in_pipe(PASSWORD)]
        stub.hold({7: DEVICE_SECRET})
        told["SDF_STUB_KEYS"] = str(stub.keys)
        arguments = [str(stub.module), str(pipes[0])]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, driver, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **told},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=pipes,
    )
    assert process.stdout is not None
    opened = process.stdout.readline()
    shown = b"".join(
        Path(f"/proc/{process.pid}/{each}").read_bytes() for each in ("cmdline", "environ")
    )
    out, err = process.communicate(timeout=60)
    for each in pipes:
        os.close(each)
    assert opened == b"open (0, 0)\n", err
    hidden = [key.export_secret(), unlock.read_bytes(), DEVICE_SECRET]
    hidden += [each.encode() for each in (FIRST, SECOND, PIN, PASSWORD)]
    assert leaks((shown + opened + out + err).decode("latin-1"), hidden) == []
