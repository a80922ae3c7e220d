"""A time-stamping authority that is `openssl ts -reply`, with keys and certificates of its own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from node.crypto.certificate import encode_pem
from node.timestamp.tokens.request import TimeStampRequest
from tests.unit.timestamp.authority import imprint_of
from tests.unit.timestamp.reference_token import PrivateKey, certificate_of

POLICY: Final = "1.3.6.1.4.1.99999.1"
NAME: Final = "outside"
DAY: Final = timedelta(days=1)
REQUEST: Final = TimeStampRequest(imprint=imprint_of(), nonce=b"\x2a", wants_certificates=True)

_CONFIGURATION: Final = """
[tsa]
default_tsa = it
[it]
dir = {folder}
serial = $dir/serial
signer_cert = $dir/tsa.pem
{certificates}
signer_key = $dir/tsa.key
signer_digest = {digest}
default_policy = {policy}
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500
clock_precision_digits = {fraction_digits}
tsa_name = yes
ess_cert_id_chain = {names_path}
ess_cert_id_alg = {name_digest}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """In what authorities differ."""

    digest: str = "sha256"
    name_digest: str = "sha256"
    """Of the certificate named by what is signed; sha1 makes it ESSCertID of the first version."""
    names_path: bool = False
    has_intermediate: bool = False
    fraction_digits: int = 3


class OpenSslAuthority:
    """Answers requests. `root` is the certificate (DER) that its tokens lead to."""

    def __init__(
        self, folder: Path, key: PrivateKey | None = None, habits: Habits | None = None
    ) -> None:
        habits = habits or Habits()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        key = key or ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        top, middle = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        issue = partial(
            certificate_of,
            is_authority=True,
            not_before=now - 30 * DAY,
            not_after=now + 3_650 * DAY,
        )
        root = (f"{NAME} root", top)
        self.root = issue(top, name=root[0], issuer=root, path_length=1)
        chain = []
        issuer = root
        if habits.has_intermediate:
            issuer = (f"{NAME} intermediate", middle)
            chain.append(issue(middle, name=issuer[0], issuer=root))
        if habits.names_path:
            chain.append(self.root)
        self.certificate = certificate_of(
            key,
            name=f"{NAME} tsa",
            issuer=issuer,
            not_before=now - DAY,
            not_after=now + DAY,
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        configuration = _CONFIGURATION.format(
            folder=folder,
            policy=POLICY,
            certificates="certs = $dir/chain.pem" if chain else "",
            digest=habits.digest,
            name_digest=habits.name_digest,
            names_path="yes" if habits.names_path else "no",
            fraction_digits=habits.fraction_digits,
        )
        files = {
            "tsa.key": private,
            "tsa.pem": encode_pem(self.certificate),
            "chain.pem": b"".join(map(encode_pem, chain)),
            "root.pem": encode_pem(self.root),
            "openssl.cnf": configuration.encode(),
            "serial": b"01\n",
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)

    @property
    def root_file(self) -> Path:
        """Where the root is, as PEM."""
        return self._folder / "root.pem"

    def answer(self, request: bytes = REQUEST.encode()) -> bytes:
        """Return the answer to a request, whatever it is."""
        (self._folder / "request.tsq").write_bytes(request)
        made = subprocess.run(
            ["openssl", "ts", "-reply", "-config", "openssl.cnf", "-queryfile", "request.tsq",
             "-out", "answer.tsr"],
            cwd=self._folder,
            env={**os.environ, "OPENSSL_CONF": "openssl.cnf"},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        return (self._folder / "answer.tsr").read_bytes()
