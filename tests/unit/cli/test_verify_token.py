"""`verify` and `timestamp` with a request and with certificates beside a time-stamp token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.cli.timestamp import keep_answer
from node.cli.verb import CommandError
from node.crypto.certificate import Authority, build_authority_certificate, encode_pem
from node.crypto.revocation import RevokedSerial, build_revocation_list
from node.crypto.suite import SHA_256
from node.timestamp.tokens.issuing import Coordinates, Stamp, take_chain_proof
from node.timestamp.tokens.of_record import encode_tsr
from node.timestamp.tokens.reading import token_of_answer
from node.timestamp.tokens.request import Imprint, TimeStampRequest
from node.timestamp.trust import load_trust
from node.timestamp.verify import NamedDigest, verify_receipt
from tests.unit.cli.command import run
from tests.unit.cli.stamping import StampingServer
from tests.unit.timestamp.authority import ISSUANCE, TSA
from tests.vectors.evidence.authorities import Tsa
from tests.vectors.receipt.chain import signer
from tests.vectors.receipt.story import DOCUMENT, PLAIN, WITHDRAWN, build_chain
from tests.vectors.receipt.tokens import (
    FIVE_YEARS,
    authority_of,
    issuer_of,
    tsa_certificate_of,
    with_token,
)

CHAIN = build_chain()
COMPACT = Path(__file__).parents[2] / "vectors" / "receipt" / "compact.qr.txt"
REQUEST = TimeStampRequest(
    imprint=Imprint.of(SHA_256, SHA_256.new_hash(DOCUMENT).digest()), nonce=b"\x2a"
)

STRANGER = Tsa("stranger", 2020, 2039)
STOLEN = RevokedSerial(FIVE_YEARS.serial_number, 0, None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with an answer that holds no certificates, and all there is beside it."""
    monkeypatch.chdir(tmp_path)
    authority = authority_of(CHAIN)
    receipt = with_token(
        CHAIN.receipt(PLAIN, 1), issuer_of(authority), has_certificates=False, nonce=b"\x2a"
    )
    for name, content in (
        ("document", DOCUMENT),
        ("answer.tsr", encode_tsr(receipt) or b""),
        ("bare.tsr", take_chain_proof(token_of_answer(encode_tsr(receipt) or b""))[0]),
        ("native.receipt", replace(receipt, token=None).encode()),
        ("request.tsq", REQUEST.encode()),
        ("other.tsq", replace(REQUEST, nonce=b"\x2b").encode()),
        ("revoked.crl", build_revocation_list(authority, [STOLEN], made_ms=0, next_ms=0)),
        ("tsa.pem", encode_pem(tsa_certificate_of(authority))),
        ("other.pem", encode_pem(TSA)),
        ("trust.json", CHAIN.trust().encode()),
    ):
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("receipt", "options", "code", "detail"),
    [
        ("answer.tsr", ("--certificate", "tsa.pem"), 0, ""),
        ("answer.tsr", ("--certificate", "other.pem", "--certificate", "tsa.pem"), 0, ""),
        ("answer.tsr", ("--certificate", "tsa.pem", "--query", "request.tsq"), 0, ""),
        ("answer.tsr", ("--certificate", "tsa.pem", "--query", "other.tsq"), 1, "nonce: expected"),
        ("answer.tsr", ("--certificate", "other.pem"), 1, "certificate-missing"),
        ("answer.tsr", (), 1, "certificate-missing"),
        ("bare.tsr", ("--certificate", "tsa.pem", "--query", "request.tsq"), 5, "one key"),
        ("bare.tsr", ("--certificate", "tsa.pem", "--query", "other.tsq"), 1, "nonce: expected"),
        ("native.receipt", ("--query", "request.tsq"), 1, "token-missing"),
        ("bare.tsr", ("--certificate", "tsa.pem", "--crl", "revoked.crl"), 1, "revoked: "),
        ("answer.tsr", ("--certificate", "tsa.pem", "--crl", "revoked.crl"), 0, ""),
    ],
)
@pytest.mark.usefixtures("folder")
def test_the_verdict_is_by_what_is_beside_the_token(
    receipt: str, options: tuple[str, ...], code: int, detail: str
) -> None:
    ran = run(
        "verify", "document", "--receipt", receipt, "--trust", "trust.json", *options, "--json"
    )
    assert ran.code == code, ran.out
    assert detail in ran.json["steps"][-1]["detail"]


@pytest.mark.usefixtures("folder")
def test_where_the_record_of_a_token_alone_stands_is_told() -> None:
    """By its serial number: so that its receipt can be asked for, from the token alone."""
    words = ("verify", "document", "--receipt", "bare.tsr", "--trust", "trust.json")
    beside = ("--certificate", "tsa.pem")
    receipt, told = CHAIN.receipt(PLAIN, 1), run(*words, *beside, "--json").json
    height, index = receipt.block.header.height, receipt.log_index
    assert told["coordinates"] == {"height": height, "log_index": index}
    assert f"of block {height}, entry {index} of the log" in run(*words, *beside).out
    assert "coordinates" not in run(*words, *beside, "--crl", "revoked.crl", "--json").json
    assert "coordinates" not in run(*words, "--json").json
    elsewhere = Coordinates(bytes(7), height, index)
    stamp = Stamp(imprint=REQUEST.imprint, coordinates=elsewhere, time_ms=receipt.leaf.time_ms)
    Path("bare.tsr").write_bytes(issuer_of(authority_of(CHAIN)).issue(stamp))
    ran = run(*words, "--json")
    assert (ran.code, "coordinates" in ran.json) == (5, False)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ("--query", "tsa.pem", "--receipt", "answer.tsr"),
            2,
            "tsa.pem is a certificate, not a request",
        ),
        (
            ("--certificate", "document", "--receipt", "answer.tsr"),
            2,
            "document is a text, not a certificate",
        ),
        (("--certificate", "none.pem", "--receipt", "answer.tsr"), 2, "none.pem: No such file"),
        (("--query", "request.tsq"), 2, "is answered by a time-stamp token"),
        (("--crl", "tsa.pem", "--receipt", "answer.tsr"), 2, "not a revocation list"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_read_or_used_is_told(
    options: tuple[str, ...], code: int, message: str
) -> None:
    ran = run("verify", "document", "--trust", "trust.json", *options)
    assert ran.code == code, ran.out + ran.err
    assert message in ran.out + ran.err


@pytest.mark.parametrize(
    ("receipt", "crl", "concerns"),
    [
        ("answer.tsr", "revoked.crl", True),
        ("answer.tsr", "other.crl", False),
        ("bare.tsr", "revoked.crl", True),
        ("bare.tsr", "other.crl", False),
        ("native.receipt", "revoked.crl", False),
        ("code.txt", "revoked.crl", False),
    ],
)
def test_a_revocation_list_that_says_nothing_of_it_is_told_of(
    folder: Path, receipt: str, crl: str, *, concerns: bool
) -> None:
    """By another issuer, or of a receipt that rests on no certificate."""
    stranger = Authority(build_authority_certificate(signer("x"), "x", ISSUANCE), signer("x"))
    other = build_revocation_list(stranger, [], made_ms=0, next_ms=0)
    (folder / "other.crl").write_bytes(other)
    (folder / "code.txt").write_bytes(COMPACT.read_bytes())
    words = ("verify", "document", "--trust", "trust.json", "--certificate", "tsa.pem")
    command = (*words, "--receipt", receipt, "--crl", crl)
    ran = run(*command, "--json")
    (told,) = ran.json["revocation_lists"]
    assert (told["path"], told["concerns"]) == (crl, concerns)
    assert told["issuer"].startswith("CN=")
    said = run(*command)
    assert crl not in said.out.splitlines()[0], "the verdict comes first"
    warning = f"{crl} says nothing of this: it is by {told['issuer']}"
    assert (warning in said.out) is not concerns
    assert "revocation_lists" not in run(*words, "--receipt", receipt, "--json").json


@pytest.mark.usefixtures("folder")
def test_nothing_is_asked_for_that_could_not_be_checked() -> None:
    ran = run("timestamp", "-q", "request.tsq", "--out", "new.tsr", "--home", "nowhere")
    assert ran.code == 2
    assert "--certificate" in ran.out + ran.err


@pytest.mark.usefixtures("folder")
def test_a_sound_token_that_the_trust_file_does_not_lead_to_is_not_rooted_nor_kept() -> None:
    words = ("timestamp", "document", "--trust", "trust.json", "--json", "--url")
    with StampingServer(STRANGER).serving() as url:
        ran = run(*words, url)
    assert (ran.code, ran.json["error"]["code"]) == (5, "GC-2310"), ran.out
    assert "leads to no authority of the trust file" in ran.json["error"]["message"]
    assert "an organisation that joined later" in ran.json["error"]["fix"]
    own = StampingServer(STRANGER, lambda: CHAIN.receipt(PLAIN, 1).leaf.time_ms)
    own.issue = issuer_of(authority_of(CHAIN)).issue
    with own.serving() as url:
        ran = run(*words, url)
    assert (ran.code, ran.json["error"]["code"]) == (5, "GC-2310"), ran.out
    assert "word of one key" in ran.json["error"]["message"]
    assert not Path("document.tsr").exists()


def test_a_document_that_is_not_there_is_told_as_that() -> None:
    ran = run("timestamp", "nowhere.pdf", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "GC-2301")
    assert "nowhere.pdf: no such file" in ran.json["error"]["message"]
    assert "--out" in run("timestamp", "00" * 32).err


@pytest.mark.parametrize(
    ("receipt", "options", "fix"),
    [
        ("answer.tsr", ("--certificate", "tsa.pem", "--query", "other.tsq"), "(--query), or none"),
        ("bare.tsr", ("--certificate", "tsa.pem", "--query", "other.tsq"), "(--query), or none"),
        ("native.receipt", ("--query", "request.tsq"), "(--query), or none"),
        ("bare.tsr", (), "that signed it: --certificate"),
        ("bare.tsr", ("--certificate", "tsa.pem"), "no trust file makes it more than that"),
        (
            "bare.tsr",
            ("--certificate", "tsa.pem", "--crl", "revoked.crl"),
            "rests on no such key: govchain receipt fetch FILE",
        ),
        ("stranger.tsr", (), "none of an organisation that joined later"),
        ("withdrawal.receipt", (), "ask the issuer which record is in force"),
    ],
)
def test_what_helps_fits_what_failed(
    folder: Path, receipt: str, options: tuple[str, ...], fix: str
) -> None:
    token = STRANGER.stamp(REQUEST.imprint, CHAIN.receipt(PLAIN, 1).leaf.time_ms)
    (folder / "stranger.tsr").write_bytes(token)
    (folder / "withdrawal.receipt").write_bytes(CHAIN.receipt(WITHDRAWN, 1).encode())
    ran = run(
        "verify", "document", "--receipt", receipt, "--trust", "trust.json", *options, "--json"
    )
    assert fix in ran.json["error"]["fix"]


def test_an_answer_that_cannot_be_kept_is_found_again_by_its_transaction(folder: Path) -> None:
    receipt = (folder / "native.receipt").read_bytes()
    anchor = load_trust((folder / "trust.json").read_bytes())
    verdict = verify_receipt(receipt, anchor, NamedDigest(SHA_256, REQUEST.imprint.digest))
    assert verdict.attestation is not None
    with pytest.raises(CommandError) as caught:
        keep_answer(folder / "document" / "below a file", receipt, verdict)
    assert caught.value.code == "GC-2306"
    assert verdict.attestation.tx_id.hex() in caught.value.fix
