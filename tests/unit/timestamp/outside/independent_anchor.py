"""A second verifier of anchors, from proto/ANCHOR.md alone: its tokens are judged by OpenSSL.

It stands on the second verifier of receipts, and imports nothing of this product either.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cbor2
from asn1crypto import tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.timestamp import independent_verifier
from tests.unit.timestamp.independent_proofs import (
    Steps,
    UnrootedError,
    find_set,
    pairs_of,
    run,
)
from tests.unit.timestamp.independent_verifier import (
    CERTIFICATE,
    DIGEST,
    HANDOVER,
    HEADER,
    LEAF,
    Trust,
    Value,
    check_about,
    check_certified,
    check_handover,
    check_one_chain,
    check_voters,
    need,
    path_root,
    read,
    read_handover,
    tagged,
)

ANCHOR: Value = [("is", "govchain-anchor"), ("is", 1), ("bytes", 0, 4_194_304)]
ANCHOR += [("bytes", 0, 65_536), ("or", ("*", 0, 64, DIGEST), ("is", None))]
CHECKPOINT: Value = [("is", "govchain-anchored-checkpoint"), ("is", 1), ("is", 1)]
CHECKPOINT += [HEADER, CERTIFICATE, ("*", 0, 1024, HANDOVER)]
WITHDRAW = 2


class Token:
    """A token over some bytes, as OpenSSL judges it in a folder."""

    def __init__(self, folder: Path, token: bytes, stamped: bytes) -> None:
        (folder / "token").write_bytes(token)
        (folder / "stamped").write_bytes(stamped)
        self._folder = folder
        signed_data = tsp.ContentInfo.load(token)["content"]
        need(not signed_data["signer_infos"][0]["unsigned_attrs"].native, "unsigned attributes")
        info = signed_data["encap_content_info"]["content"].parsed
        self.time = round(info["gen_time"].native.timestamp() * 1_000)
        accuracy = info["accuracy"].native or {}
        seconds, millis, micros = (
            accuracy.get(unit) or 0 for unit in ("seconds", "millis", "micros")
        )
        self.certificates = [each.chosen.dump() for each in signed_data["certificates"]]
        self.latest = self.time + 1_000 * seconds + millis + (1 if micros else 0)

    def is_good(self, root: Path) -> bool:
        done = self._verify("-CAfile", str(root), "-attime", str(self.time // 1_000))
        return done.returncode == 0

    def misses_its_root(self, root: Path) -> bool:
        """Tell whether all that is wrong is that nothing leads to the root."""
        done = self._verify("-CAfile", str(root), "-attime", str(self.time // 1_000))
        return "unable to get local issuer certificate" in done.stdout + done.stderr

    def _verify(self, *options: str) -> subprocess.CompletedProcess[str]:
        (self._folder / "empty.cnf").touch()
        return subprocess.run(
            ["openssl", "ts", "-verify", "-token_in", "-in", "token", "-data", "stamped", *options],
            cwd=self._folder,
            env={**os.environ, "OPENSSL_CONF": "empty.cnf"},
            capture_output=True,
            text=True,
            check=False,
        )


def verify_anchor(  # noqa: PLR0917 - what the page names as input
    data: bytes,
    trust: Trust,
    root: Path,
    folder: Path,
    receipt: bytes | None = None,
    document: str = "",
) -> tuple[str, int | None]:
    """Verify an anchor; `root` is a PEM file, `folder` is scribbled in."""

    def steps() -> Steps:
        need(len(data) <= 4_194_304, "too long")
        _, _, stamped, token_bytes, path = read(data, ANCHOR)
        _, _, _, header, certificate, handovers = read(stamped, CHECKPOINT)
        check_voters(certificate)
        for handover in handovers:
            read_handover(handover)
        need(receipt is not None or path is None, "path")
        yield lambda: None
        yield lambda: check_about(certificate, header)
        epochs = [handover[0][2] for handover in handovers]
        yield lambda: need(epochs == list(range(header[2] - len(epochs), header[2])), "epochs")
        found: list[Value] = []
        yield lambda: found.append(stamp(token_bytes, stamped, root, folder))
        token = found[0]
        yield lambda: found.append(find(header, handovers, trust, token, root))
        yield lambda: check_certified(header, certificate, found[1], trust.chain_id)
        pairs = [*trust.pairs, *pairs_of(header, certificate, handovers)]
        yield lambda: check_one_chain(pairs, trust.created)
        yield lambda: need(token.latest + trust.genesis[5][4] >= header[5], "early")
        if receipt is not None:
            yield from joins(header, path, receipt, document, trust)

    return run(steps())


def stamp(token_bytes: bytes, stamped: bytes, root: Path, folder: Path) -> Token:
    try:
        token = Token(folder, token_bytes, stamped)
    except (ValueError, KeyError, TypeError) as error:
        raise independent_verifier.RefusedError(str(error)) from error
    if token.misses_its_root(root):
        raise UnrootedError
    need(token.is_good(root), "token")
    return token


def find(header: Value, handovers: Value, trust: Trust, token: Token, root: Path) -> Value:
    epoch = header[2]
    if header[1] == trust.chain_id and epoch < len(trust.sets) - 1:
        ends = trust.pairs[epoch][0][5]
        path = [x509.load_der_x509_certificate(each) for each in token.certificates]
        path += x509.load_pem_x509_certificates(root.read_bytes())
        if token.latest > ends or any(is_of_chain(each, trust) for each in path):
            raise UnrootedError
        validators = trust.sets[epoch - len(handovers)]
        for handover in handovers:
            validators = check_handover(handover, validators, trust.chain_id)
            need(trust.sets[validators[1]] == validators, "known set")
        return validators
    return find_set(header, handovers, trust)


def is_of_chain(certificate: x509.Certificate, trust: Trust) -> bool:
    authorities = [x509.load_der_x509_certificate(each[2]) for each in trust.genesis[6]]
    points = [each[3] for each in trust.genesis[8]]
    points += [each[2] for members in trust.sets for each in members[2]]
    keys: list[Value] = [each.public_key() for each in authorities]
    keys += [ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), at) for at in points]
    return certificate.public_key() in keys or any(is_issued(certificate, by) for by in authorities)


def is_issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def joins(
    header: Value, path: Value, receipt: bytes, document: str, trust: Trust
) -> Iterator[Value]:
    def check_receipt() -> None:
        outcome, step = independent_verifier.verify(receipt, document, trust)
        need(step is None or step > 5, f"{outcome} {step}")
        need(own()[1] == header[1] and own()[3] <= header[3], "another block")

    def own() -> Value:
        return cbor2.loads(receipt)[6]

    def check_join() -> None:
        if own()[3] == header[3]:
            need(own() == header and path is None, "another header")
            return
        need(path is not None, "path")
        leaf = cbor2.dumps([1, 0, own()[3], tagged("header", own())])
        need(path_root(leaf, own()[10], header[10], path) == header[11][0], "path")

    yield check_receipt
    yield check_join
    yield lambda: need(read(cbor2.loads(receipt)[3], LEAF)[7][4] != WITHDRAW, "withdrawal")
