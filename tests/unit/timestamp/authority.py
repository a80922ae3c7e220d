"""A time-stamping authority of fixed keys, and OpenSSL as its judge."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Final

from node.crypto.certificate import (
    Authority,
    Issuance,
    build_authority_certificate,
    build_timestamp_certificate,
    encode_pem,
)
from node.crypto.suite import SHA_256, DocumentDigest
from node.timestamp.tokens.issuing import POLICY, Coordinates, Stamp, TokenIssuer, encode_granted
from node.timestamp.tokens.request import Imprint, TimeStampRequest
from tests.vectors.receipt.chain import CREATED_MS, signer

YEAR_MS: Final = 31_536_000_000
ISSUANCE: Final = Issuance(
    serial_number=7, not_before_ms=CREATED_MS, not_after_ms=CREATED_MS + 10 * YEAR_MS
)
ROOT: Final = build_authority_certificate(signer("org-1 authority"), "org-1", ISSUANCE)
AUTHORITY: Final = Authority(ROOT, signer("org-1 authority"))
TSA_KEY: Final = signer("validator-1 time-stamping")
TSA: Final = build_timestamp_certificate(
    AUTHORITY,
    "validator-1",
    TSA_KEY.public_key.encoded,
    replace(ISSUANCE, serial_number=8),
)
ISSUER: Final = TokenIssuer([TSA], TSA_KEY, policy=POLICY, accuracy_ms=1_000)
DOCUMENT: Final = "本证照仅供测试。\n".encode()
COORDINATES: Final = Coordinates(bytes(range(1, 8)), height=5, log_index=17)
TIME_MS: Final = CREATED_MS + 5_120


def imprint_of(document: bytes = DOCUMENT, algorithm: DocumentDigest = SHA_256) -> Imprint:
    """Return the imprint of a document."""
    return Imprint.of(algorithm, algorithm.new_hash(document).digest())


def stamp(**fields: object) -> Stamp:
    """Return what the usual token states, with fields replaced."""
    usual = {"imprint": imprint_of(), "coordinates": COORDINATES, "time_ms": TIME_MS}
    return Stamp(**{**usual, **fields})  # type: ignore[arg-type] # a field each


class OpenSsl:
    """`openssl ts`, in a folder of its own, with the document and the root at hand."""

    def __init__(self, folder: Path, *, document: bytes = DOCUMENT, root: bytes = ROOT) -> None:
        self._folder = folder
        (folder / "document").write_bytes(document)
        (folder / "root.pem").write_bytes(encode_pem(root))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `openssl ts`."""
        return self.command(self._folder, *arguments)

    @staticmethod
    def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `openssl ts` in any folder."""
        empty = folder / "empty.cnf"  # `openssl ts` does not start without a configuration file
        empty.write_bytes(b"")
        return subprocess.run(
            ["openssl", "ts", *arguments],
            cwd=folder,
            env={**os.environ, "OPENSSL_CONF": str(empty)},
            capture_output=True,
            text=True,
            check=False,
        )

    def query(self, *arguments: str) -> bytes:
        """Return a request that it makes for the document."""
        made = self.run("-query", "-data", "document", *arguments, "-out", "request.tsq")
        assert made.returncode == 0, made.stderr
        return (self._folder / "request.tsq").read_bytes()

    def accepts(
        self, token: bytes, *, request: TimeStampRequest | None = None, more: tuple[str, ...] = ()
    ) -> bool:
        """Tell whether it verifies a token in every way it can: as an answer and bare."""
        (self._folder / "answer.tsr").write_bytes(encode_granted(token))
        (self._folder / "token.der").write_bytes(token)
        ways = [("-data", "document"), ("-token_in", "-data", "document")]
        if request is not None:
            (self._folder / "request.tsq").write_bytes(request.encode())
            ways.append(("-queryfile", "request.tsq"))
        verdicts = set()
        for way in ways:
            file = "token.der" if "-token_in" in way else "answer.tsr"
            done = self.run("-verify", *way, "-in", file, "-CAfile", "root.pem", *more)
            verdicts.add("Verification: OK" in done.stdout and done.returncode == 0)
        assert len(verdicts) == 1, "it depends on the way"
        return verdicts.pop()

    def text_of(self, answer: bytes) -> str:
        """Return what it says an answer says."""
        (self._folder / "answer.tsr").write_bytes(answer)
        return self.run("-reply", "-in", "answer.tsr", "-text").stdout
