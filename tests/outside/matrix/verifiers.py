"""The columns of the matrix: a format, and who verifies it. Each judges many samples at once.

Ours and two verifiers written from our pages alone run here; the others are programs and libraries
that know nothing of us, given what an auditor has: roots, keys, policy, document, a clock.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cbor2
import pypdf
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

from node.crypto.certificate import encode_pem
from node.crypto.suite import SHA_256
from node.timestamp.compact_verify import verify_compact
from node.timestamp.cose import CARRIED_LABEL
from node.timestamp.export import COSE, NATIVE, QR, TLOG, TSR
from node.timestamp.log.policy import policy_of
from node.timestamp.log.verify import verify_tlog_by_trust
from node.timestamp.opening import PDF
from node.timestamp.steps import Judgement, Outcome
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import NamedDigest, verify_receipt
from tests.outside.bouncycastle import verdicts
from tests.outside.environments import RUN_TIMEOUT_S, run_with
from tests.outside.matrix.rows import Sample
from tests.outside.matrix.story import NOW_MS, PINNED_HEIGHT, chain_of, good
from tests.unit.timestamp import (
    independent_compact,
    independent_proofs,
    independent_tlog,
    independent_verifier,
)
from tests.vectors.receipt.tokens import authority_of

ACCEPTS: Final = "accepts"
REFUSES: Final = "refuses"
NOT_ROOTED: Final = "not rooted"

_GEN_TIME: Final = re.compile(rb"\x18[\x0f-\x13](\d{14})(?:\.\d+)?Z")


_REFRESHED_START: Final = b"\x84\x72govchain-refreshed"
_OPENSSL: Final = (
    *("openssl", "ts", "-verify", "-data", "document", "-in", "answer.tsr"),
    *("-CAfile", "root.pem", "-attime"),
)
_MALFORMED: Final = (
    cbor2.CBORDecodeError,
    independent_verifier.RefusedError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Verifier:
    """A column."""

    format: str
    name: str
    judge: Callable[[Sequence[Sample]], list[str]]
    """Returns a verdict for each: one of those above, a failed step of numbered ones after it."""

    @property
    def title(self) -> str:
        """Return what the column is headed."""
        return f"{self.format}: {self.name}"


@cache
def _anchor() -> TrustAnchor:
    return chain_of().trust(PINNED_HEIGHT).establish()


@cache
def _root() -> bytes:
    return authority_of(chain_of()).certificate


# --- Ours ---


def _ours(verify: Callable[..., Judgement[Any]]) -> Callable[[Sequence[Sample]], list[str]]:
    def judge(samples: Sequence[Sample]) -> list[str]:
        found = []
        for sample in samples:
            digest = NamedDigest(SHA_256, hashlib.sha256(sample.document).digest())
            judged = verify(sample.data, _anchor(), digest, now_ms=NOW_MS)
            step = None if judged.failure is None else int(judged.failure.step)
            found.append(_verdict(judged.outcome.value, step))
        return found

    return judge


def _verdict(outcome: str, step: int | None) -> str:
    words = {
        Outcome.VERIFIED.value: ACCEPTS,
        Outcome.NOT_VERIFIED.value: REFUSES,
        Outcome.NOT_ROOTED.value: NOT_ROOTED,
    }
    return words[outcome] if step is None else f"{words[outcome]} {step}"


# --- Written from our pages alone ---


@cache  # a PDF holds what the native column has verified
def _second_verdict(data: bytes, document: bytes) -> str:
    digest = f"sha-256:{hashlib.sha256(document).hexdigest()}"
    is_refreshed = data.startswith(_REFRESHED_START)
    verify = independent_proofs.verify_refreshed if is_refreshed else independent_verifier.verify
    return _verdict(*verify(data, digest, _trust()))


@cache
def _trust() -> independent_verifier.Trust:
    return independent_verifier.Trust(chain_of().trust(PINNED_HEIGHT).encode())


def _second(samples: Sequence[Sample]) -> list[str]:
    return [_second_verdict(sample.data, sample.document) for sample in samples]


def _attached(samples: Sequence[Sample]) -> list[str]:
    """Take the attachment out with pypdf, as the page says, and verify that."""
    found = []
    for sample in samples:
        try:
            ((content,),) = pypdf.PdfReader(io.BytesIO(sample.data)).attachments.values()
        except pypdf.errors.PyPdfError:
            found.append(REFUSES)
            continue
        found.append(_second_verdict(content, sample.document))
    return found


def _second_qr(samples: Sequence[Sample]) -> list[str]:
    found = []
    for sample in samples:
        digest = f"sha-256:{hashlib.sha256(sample.document).hexdigest()}"
        found.append(_verdict(*independent_compact.verify(sample.data, digest, _trust())))
    return found


def _script_tlog(samples: Sequence[Sample]) -> list[str]:
    chain = chain_of()
    policy = policy_of(chain.genesis.chain_id, chain.validators)
    found = []
    for sample in samples:
        try:
            why = independent_tlog.verify(sample.data.decode(), policy, sample.document)
        except (cbor2.CBORDecodeError, LookupError, TypeError, ValueError) as error:
            why = str(error)
        found.append(REFUSES if why else ACCEPTS)
    return found


# --- Programs of others ---


def _openssl(*, at_gen_time: bool) -> Callable[[Sequence[Sample]], list[str]]:
    """Return `openssl ts -verify`, whose clock says `NOW_MS`, or what the token does."""

    def judge(samples: Sequence[Sample]) -> list[str]:
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "root.pem").write_bytes(encode_pem(_root()))
            (folder / "empty.cnf").touch()  # it does not start without a configuration file
            return [_openssl_verdict(folder, sample, at_gen_time) for sample in samples]

    return judge


def _openssl_verdict(folder: Path, sample: Sample, at_gen_time: bool) -> str:  # noqa: FBT001
    (folder / "answer.tsr").write_bytes(sample.data)
    (folder / "document").write_bytes(sample.document)
    time_s = _gen_time_s(sample.data) if at_gen_time else NOW_MS // 1_000
    done = subprocess.run(
        [
            *_OPENSSL,
            str(time_s),
        ],
        cwd=folder,
        env={**os.environ, "OPENSSL_CONF": "empty.cnf"},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    accepted = done.returncode == 0
    assert accepted == ("Verification: OK" in done.stdout), done
    return ACCEPTS if accepted else REFUSES


def _gen_time_s(data: bytes) -> int:
    """Return genTime as an auditor reads it from the token; 0 where there is none to read."""
    found = _GEN_TIME.search(data)
    if found is None:
        return 0
    return int(datetime.strptime(f"{found[1].decode()}Z", "%Y%m%d%H%M%S%z").timestamp())


def _rfc3161_client(samples: Sequence[Sample]) -> list[str]:
    verifier = VerifierBuilder().add_root_certificate(x509.load_der_x509_certificate(_root()))
    found = []
    for sample in samples:
        try:
            answer = decode_timestamp_response(sample.data)
            accepted = verifier.build().verify_message(answer, sample.document)
        except (VerificationError, ValueError):
            accepted = False
        found.append(ACCEPTS if accepted else REFUSES)
    return found


def _bouncycastle(samples: Sequence[Sample]) -> list[str]:
    with TemporaryDirectory() as name:
        root = Path(name) / "root.pem"
        root.write_bytes(encode_pem(_root()))
        cases = []
        for at, sample in enumerate(samples):
            answer, document = Path(name) / f"{at}.tsr", Path(name) / f"{at}.document"
            answer.write_bytes(sample.data)
            document.write_bytes(sample.document)
            cases.append((answer, "-", document, root, "-"))
        return [REFUSES if said else ACCEPTS for said in verdicts("TimeStamps", cases)]


def _cose_tool(tool: str) -> Callable[[Sequence[Sample]], list[str]]:
    """Return a COSE library, given the key that the file names and the root that it leads to.

    What the auditor computes before is as proto/verify/cose.md says, by the second verifier.
    """

    def judge(samples: Sequence[Sample]) -> list[str]:
        found = [REFUSES] * len(samples)
        with TemporaryDirectory() as name:
            arguments: dict[int, tuple[Path, str, str]] = {}
            for at, sample in enumerate(samples):
                path = Path(name) / f"{at}.cose"
                path.write_bytes(sample.data)
                with suppress(*_MALFORMED):
                    root, key = _root_and_key(sample)
                    arguments[at] = (path, root.hex(), key.hex())
            done = run_with(tool, *(each for triple in arguments.values() for each in triple))
            assert done.returncode == 0, done.stderr
            for at, said in zip(arguments, done.stdout.splitlines(), strict=True):
                assert said == "accepted" or said.startswith("refused: "), said
                found[at] = ACCEPTS if said == "accepted" else REFUSES
        return found

    return judge


def _root_and_key(sample: Sample) -> tuple[bytes, bytes]:
    """Return the root of the log, and x and y of the key; raises one of `_MALFORMED`."""
    protected, unprotected, _, _ = cbor2.loads(sample.data).value
    size, index, path = cbor2.loads(unprotected[396][-1][0])
    leaf = _leaf_of(sample, unprotected)
    root = independent_verifier.path_root(leaf, index, size, path)
    key = cbor2.loads(protected)[4]
    numbers = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key).public_numbers()
    return root, numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def _leaf_of(sample: Sample, unprotected: dict[int, Any]) -> bytes:
    """Return the leaf: of the receipt in the file, or what its owner has beside it."""
    if CARRIED_LABEL not in unprotected:
        return good().receipt.leaf.encode()
    leaf: bytes = cbor2.loads(unprotected[CARRIED_LABEL])[3]
    document = [SHA_256.digest_id, hashlib.sha256(sample.document).digest()]
    independent_verifier.need(cbor2.loads(leaf)[7][:2] == document, "another document")
    return leaf


VERIFIERS: Final = (
    Verifier(NATIVE, "ours", _ours(verify_receipt)),
    Verifier(NATIVE, "second", _second),
    Verifier(TSR, "ours", _ours(verify_receipt)),
    Verifier(TSR, "openssl", _openssl(at_gen_time=False)),
    Verifier(TSR, "openssl -attime", _openssl(at_gen_time=True)),
    Verifier(TSR, "rfc3161-client", _rfc3161_client),
    Verifier(TSR, "BouncyCastle", _bouncycastle),
    Verifier(TLOG, "ours", _ours(verify_tlog_by_trust)),
    Verifier(TLOG, "script", _script_tlog),
    Verifier(COSE, "ours", _ours(verify_receipt)),
    Verifier(COSE, "pycose", _cose_tool("pycose")),
    Verifier(COSE, "cwt", _cose_tool("cwt")),
    Verifier(QR, "ours", _ours(verify_compact)),
    Verifier(QR, "second", _second_qr),
    Verifier(PDF, "ours", _ours(verify_receipt)),
    Verifier(PDF, "pypdf, second", _attached),
)
