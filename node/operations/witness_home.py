"""A witness's folder, and the witness that runs on it: follows logs, answers those who bring one.

`witness.toml` names it; `witness.key` signs; `logs/CHAIN-ID/` holds what it knows of each log: the
trust file it was given, `urls` where the log is served, what it cosigned last, and proofs of forks.
"""

from __future__ import annotations

import asyncio
import signal
import time
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

import uvloop

from node.config import Address, read_text
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    KeySecret,
    generate_key,
    load_signer,
    save_key,
)
from node.crypto.suite import INTERNATIONAL
from node.errors import ConfigError, DecodeError, NodeError
from node.operations.log_reader import LogReader
from node.operations.provision import render_toml
from node.operations.topology import write_file
from node.operations.witness import (
    TRUST_FILE,
    AddCheckpoint,
    LogWitness,
    Reply,
    Seen,
    Sight,
)
from node.timestamp.log.checkpoint import Checkpoint
from node.timestamp.log.note import SignatureType, VerifierKey
from node.timestamp.trust import load_trust
from node.web import witnessing
from node.web.app import make_app
from node.web.server import HttpServer

SETTINGS_FILE: Final = "witness.toml"
KEY_FILE: Final = "witness.key"
SECRET_FILE: Final = "secret.key"  # noqa: S105 - a file name
LOGS_FOLDER: Final = "logs"
URLS_FILE: Final = "urls"
INTERVAL_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What `witness.toml` says."""

    name: str
    listen: Address | None


@dataclass(frozen=True, slots=True)
class Followed:
    """A log and where it is served."""

    witness: LogWitness
    readers: tuple[LogReader, ...]


Tell = Callable[[LogReader, LogWitness, Sight | NodeError], None]
"""Hears of every look at a log."""


def make_witness(home: Path, name: str, listen: Address | None) -> VerifierKey:
    """Make the folder of a witness, which knows no log yet; return its key.

    Raises `ConfigError` where something is there, `DecodeError` for a name that cannot be one.
    """
    key = generate_key(KeyPurpose.WITNESS, INTERNATIONAL)
    vkey = VerifierKey.of(name, SignatureType.COSIGNATURE, key.public_key.encoded)
    try:
        home.mkdir(parents=True, exist_ok=True)
        if any(home.iterdir()):
            raise ConfigError(f"{home}: is not empty", fix="name another folder")
        secret = KeyFileSecret.generate(home / SECRET_FILE)
        save_key(home / KEY_FILE, key, secret, KeyPurpose.WITNESS)
        (home / LOGS_FOLDER).mkdir()
        settings = {"name": name} | ({} if listen is None else {"listen": str(listen)})
        write_file(home / SETTINGS_FILE, render_toml(settings))
    except OSError as error:
        raise ConfigError(f"{home}: {error.strerror}") from error
    return vkey


def follow_log(home: Path, trust: bytes, urls: Sequence[str]) -> str:
    """Have the witness of `home` follow a log from now on; return the log's chain id in hex.

    Raises `ConfigError` where it does already, `DecodeError` or `ProofError` for a bad trust file.
    """
    read_settings(home)
    anchor = load_trust(trust)
    lines = "".join(f"{LogReader(url).url}\n" for url in urls)
    folder = home / LOGS_FOLDER / anchor.chain_id.hex()
    try:
        folder.mkdir()
        write_file(folder / URLS_FILE, lines.encode())
        write_file(folder / TRUST_FILE, trust)  # last: a folder with it is whole
    except FileExistsError as error:
        raise ConfigError(
            f"{folder}: is there already", fix=f"edit {folder / URLS_FILE}"
        ) from error
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}") from error
    return anchor.chain_id.hex()


def read_settings(home: Path) -> Settings:
    """Return the settings of a witness; raises `ConfigError`."""
    path = home / SETTINGS_FILE
    try:
        found = tomllib.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}", fix="make it: govchain witness init") from error
    name, listen = found.pop("name", None), found.pop("listen", None)
    if not isinstance(name, str) or not isinstance(listen, str | None) or found:
        raise ConfigError(f"{path}: expected a name, perhaps listen, and nothing else")
    return Settings(name, None if listen is None else Address.parse(listen))


class Witness:
    """The witness of one folder."""

    def __init__(self, home: Path, settings: Settings, secret: KeySecret | None = None) -> None:
        """Open what is in `home`; raises `NodeError` for what cannot be gone on from."""
        self.settings = settings
        opened = KeyFileSecret.load(home / SECRET_FILE) if secret is None else secret
        signer = load_signer(home / KEY_FILE, opened, KeyPurpose.WITNESS)
        name = settings.name
        self.key = VerifierKey.of(name, SignatureType.COSIGNATURE, signer.public_key.encoded)
        self.followed = tuple(
            Followed(LogWitness(folder, name, signer, lambda: int(time.time())), _readers(folder))
            for folder in sorted((home / LOGS_FOLDER).iterdir())
            if (folder / TRUST_FILE).exists()
        )
        self._worker = ThreadPoolExecutor(1, "witness")

    def look_around(self, tell: Tell) -> bool:
        """Look at every log where it is served, once; return whether any is forked."""
        forked = False
        for each in self.followed:
            for reader in each.readers:
                try:
                    sight: Sight | NodeError = each.witness.look(reader.checkpoint(), reader)
                except NodeError as error:
                    sight = error
                forked |= isinstance(sight, Sight) and sight.seen is Seen.FORK
                tell(reader, each.witness, sight)
        return forked

    def answer(self, body: bytes) -> Reply:
        """Answer a checkpoint that somebody brought."""
        try:
            request = AddCheckpoint.decode(body)
        except DecodeError as error:
            return Reply(HTTPStatus.BAD_REQUEST, f"{error}\n".encode())
        origin = Checkpoint.parse(request.note.text).origin
        for each in self.followed:
            if each.witness.origin == origin:
                return each.witness.add_checkpoint(request.old_size, request.path, request.note)
        return Reply(HTTPStatus.NOT_FOUND, b"no such log is followed here\n")

    def cosigned(self, chain_id: str) -> bytes | None:
        """Return what was cosigned last of the log of a chain."""
        for each in self.followed:
            if each.witness.chain_id.hex() == chain_id:
                return each.witness.cosigned
        return None

    def run(self, tell: Tell, started: Callable[[int | None], None]) -> None:
        """Follow and answer until told to stop (SIGTERM, SIGINT).

        `started` learns of the port listened on, None where it does not listen.
        """
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            loop.run(self._run(tell, started))

    async def _run(self, tell: Tell, started: Callable[[int | None], None]) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        failures: list[Exception] = []

        def fail(error: Exception) -> None:
            failures.append(error)
            stopping.set()

        server = self._server(fail)
        started(None if server is None else await server.start())
        try:
            while not stopping.is_set():
                await loop.run_in_executor(self._worker, self.look_around, tell)
                try:
                    await asyncio.wait_for(stopping.wait(), INTERVAL_MS / 1_000)
                except TimeoutError:
                    continue
        finally:
            if server is not None:
                await server.stop()
            self._worker.shutdown(wait=True)
        if failures:
            raise failures[0]

    def _server(self, fail: Callable[[Exception], None]) -> HttpServer | None:
        listen = self.settings.listen
        if listen is None:
            return None
        loop = asyncio.get_running_loop()

        async def add(body: bytes) -> Reply:
            return await loop.run_in_executor(self._worker, self.answer, body)

        async def cosigned(chain_id: str) -> bytes | None:
            return await loop.run_in_executor(self._worker, partial(self.cosigned, chain_id))

        app = make_app([witnessing.routes(add, cosigned)], fail)
        return HttpServer(app, listen.host, listen.port, on_end=fail)


def _readers(folder: Path) -> tuple[LogReader, ...]:
    path = folder / URLS_FILE
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return tuple(LogReader(line) for line in lines if line)
