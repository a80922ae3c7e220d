"""A gateway as its own process, before a chain whose blocks are committed at once; applications.

The chain is that of `InstantNode`: real signatures, blocks, receipts, over the real client API.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import IO, Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from node.crypto.application_key import ApplicationKey, encode_public_pem
from node.crypto.signature import Ed25519Signer, P256Signer
from node.gateway.applications import REQUESTS_PER_MINUTE_DEFAULT
from node.gateway.http_signature import sign_request
from node.operations.topology import find_free_ports
from tests.unit.cli.command import ENGLISH, run
from tests.unit.cli.instant import InstantNode
from tests.unit.cli.served import served

DEADLINE_S = 40.0
ALL_RIGHTS = ("read", "notarize", "submit", "events")


def digest_of(number: int) -> str:
    return hashlib.sha256(b"document %d" % number).hexdigest()


@dataclass
class Reply:
    """What a gateway answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass
class App:
    """An application: its key never leaves this process."""

    name: str
    signer: Ed25519Signer | P256Signer
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    shown: ssl.SSLContext | None = None
    """As `tls`, showing the certificate of the application."""

    @property
    def key_id(self) -> str:
        return ApplicationKey.read(encode_public_pem(self.signer)).key_id

    def url(self, target: str) -> str:
        return f"https://{self.host}:{self.port}{target}"

    def signed(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        fields: Mapping[str, str] | None = None,
        **given: int | str,
    ) -> dict[str, str]:
        return sign_request(
            self.signer,
            self.key_id,
            method,
            self.url(target),
            created_s=int(given.get("created_s", time.time())),
            nonce=str(given.get("nonce", secrets.token_hex(16))),
            body=body,
            fields=fields,
        )

    def ask(self, method: str, target: str, value: object = None, **fields: str) -> Reply:
        body = b"" if value is None else json.dumps(value).encode()
        named = {name.replace("_", "-"): text for name, text in fields.items()}
        if body:
            named["content-type"] = "application/json"
        return self.send(method, target, body, self.signed(method, target, body, named))

    def send(
        self,
        method: str,
        target: str,
        body: bytes,
        fields: Mapping[str, str],
        tls: ssl.SSLContext | None = None,
    ) -> Reply:
        with self.connected(tls) as connection:
            connection.request(method, target, body or None, dict(fields))
            found = connection.getresponse()
            headers = {name.lower(): value for name, value in found.getheaders()}
            return Reply(found.status, headers, found.read())

    @contextmanager
    def connected(self, tls: ssl.SSLContext | None = None) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPSConnection(
            self.host, self.port, timeout=DEADLINE_S, context=tls or self.tls
        )
        try:
            yield connection
        finally:
            connection.close()

    def record(self, key: str, *numbers: int, **more: object) -> Reply:
        records = [{"digest": digest_of(number)} for number in numbers]
        return self.ask("POST", "/v1/records", {"records": records, **more}, idempotency_key=key)


class GatewayRig:
    """The folder of a gateway, before the chain of a profile."""

    def __init__(self, folder: Path, profile: Path) -> None:
        self.folder, self.home = folder, folder / "gateway"
        (port,) = find_free_ports("127.0.0.1", 1)
        listen = f"127.0.0.1:{port}"
        made = run("gateway", "init", self.home, "--profile", profile, "--listen", listen)
        assert made.code == 0, made.err
        self.apps: list[App] = []
        self.errors: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self.program: tuple[str, ...] = ("node",)
        """What runs as the gateway."""
        self.environment: dict[str, str] = {}

    def app(
        self,
        name: str,
        *rights: str,
        seed: int = 1,
        p256: bool = False,
        per_minute: int = REQUESTS_PER_MINUTE_DEFAULT,
    ) -> App:
        kind: Any = P256Signer if p256 else Ed25519Signer
        app = App(name, kind.from_secret(bytes([seed]) * 32))
        public = self.folder / f"{name}.pub"
        public.write_bytes(encode_public_pem(app.signer))
        may = [word for right in rights or ALL_RIGHTS for word in ("--may", right)]
        words = [name, "--key", public, *may, "--per-minute", per_minute]
        added = run("gateway", "app", "add", self.home, *words, "--json")
        assert added.code == 0, added.err
        app.tls = ssl.create_default_context(cafile=str(self.home / "ca.pem"))
        if p256:
            private = self.folder / f"{name}.key"
            assert isinstance(app.signer, P256Signer)
            _write_private(private, app.signer)
            app.shown = ssl.create_default_context(cafile=str(self.home / "ca.pem"))
            certificate = added.json["application"]["certificate"]
            app.shown.load_cert_chain(certificate, private)
        self.apps.append(app)
        return app

    @contextmanager
    def gateway(self) -> Iterator[None]:
        """Run the gateway."""
        command = [sys.executable, "-m", *self.program, "gateway", "run", str(self.home)]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **ENGLISH, **self.environment},
        )
        self.process = process
        lines: Queue[str] = Queue()
        assert process.stderr is not None
        reader = threading.Thread(target=_read, args=(process.stderr, lines))
        reader.start()
        try:
            self._await_port(lines)
            yield
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)
            reader.join()
            process.stderr.close()
            while not lines.empty():
                self.errors.append(lines.get())

    def _await_port(self, lines: Queue[str]) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            line = lines.get(timeout=max(0.1, deadline_s - time.monotonic()))
            self.errors.append(line)
            if line.startswith("listens on port "):
                for app in self.apps:
                    app.port = int(line.split()[-1])
                return

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of the security log."""
        files = sorted((self.home / "security").glob("*.jsonl"))
        return [json.loads(line) for path in files for line in path.read_text().splitlines()]


class Rig(GatewayRig):
    """A gateway, and the chain before which it runs."""

    def __init__(self, folder: Path) -> None:
        self.net = folder / "net"
        self.node = InstantNode(self.net)
        super().__init__(folder, self.net / "clients/agency-1/profile.toml")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve the chain, and run the gateway before it as a process of its own."""
        with self.chain(), self.gateway():
            yield

    @contextmanager
    def chain(self) -> Iterator[None]:
        """Serve the chain."""
        with served(self.node, self.net, self.node.chain.chain_id):
            yield


def _read(stream: IO[str], lines: Queue[str]) -> None:
    for line in stream:
        lines.put(line.rstrip())


def _write_private(path: Path, signer: P256Signer) -> None:
    key = signer.private_key
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
