"""Disclosures and marked copies by the command line, on a chain that commits at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jwcrypto.common import base64url_encode
from jwcrypto.jwk import JWK
from sd_jwt.verifier import SDJWTVerifier

from node.cli.exit_codes import ExitCode
from node.crypto.signature import P256PublicKey
from node.crypto.suite import NATIONAL
from tests.unit.cli.command import CHINESE, Ran, run
from tests.unit.cli.instant import Office
from tests.unit.cli.served import served

CARD = "11010519491231002X"
RECORD = {"name": "张三", "id": CARD, "married": True}
VECTORS = Path(__file__).parents[2] / "vectors"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found = Office(tmp_path)
    with served(found.node, found.home, found.node.chain.chain_id):
        yield found


def told(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.out + ran.err
    return ran.json


def committed(office: Office) -> tuple[Path, str]:
    """Return the opening and the receipt of a record."""
    record = office.documents / "record.json"
    record.write_text(json.dumps(RECORD), encoding="utf-8")
    words = ("disclose", "commit", record, "--keep-here", "--out", office.out)
    made = told(run(*words, "--home", office.home, "--json"))
    assert made["fields"] == 3
    return Path(made["opening"]), made["items"][0]["receipt"]


def trusted(office: Office) -> Path:
    trust = office.documents / "trust.json"
    assert run("trust", "export", "--home", office.home, "--out", trust).code == 0
    return trust


def test_what_is_committed_to_is_proved_and_told_in_words(office: Office, tmp_path: Path) -> None:
    opening, receipt = committed(office)
    proof, trust = tmp_path / "some.disclosure", trusted(office)
    words = ("disclose", "prove", opening, "--receipt", receipt, "--field", "id", "--out", proof)
    assert told(run(*words, "--json"))["fields"] == ["id"]
    shown = run("disclose", "verify", proof, "--trust", trust)
    assert shown.code == 0
    assert "110*************2X" in shown.out
    assert CARD not in shown.out
    assert "of the 3 fields committed to" in shown.out
    clear = run("disclose", "verify", proof, "--trust", trust, "--clear", env=CHINESE)
    assert CARD in clear.out
    assert "所承诺的 3 个字段" in clear.out
    policy = tmp_path / "policy.toml"
    policy.write_text('[fields]\nid = "hide"\n')
    hidden = run("disclose", "verify", proof, "--trust", trust, "--masking", policy)
    assert "********" in hidden.out
    assert "110" not in hidden.out.split("id")[-1]


def test_a_receipt_of_something_else_proves_nothing(office: Office, tmp_path: Path) -> None:
    opening, _receipt = committed(office)
    office.write("other")
    assert office.notarize().code == ExitCode.DONE
    other = office.out / "other.receipt"
    words = ("disclose", "prove", opening, "--receipt", other, "--field", "id")
    ran = run(*words, "--out", tmp_path / "no", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2610")
    ran = run(*words[:4], *words[5:], "--out", tmp_path / "no", "--json")
    assert ran.code == ExitCode.USAGE


def test_a_disclosure_of_another_chain_is_not_rooted(office: Office) -> None:
    vector = json.loads((VECTORS / "disclosure/international.json").read_text("utf-8"))
    proof = office.documents / "theirs.disclosure"
    proof.write_bytes(bytes.fromhex(vector["disclosure"]))
    ran = run("disclose", "verify", proof, "--trust", trusted(office), "--json")
    assert ran.code == ExitCode.NOT_ROOTED
    assert ran.json["fields"] == [], "what is not proved is not shown"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": NaN}', "no number"),
        ("[" * 5_000, "record.json"),
        ("name,id\nx\n", "record.json"),
        ('{"a": 0.1}', "fraction"),
    ],
)
def test_a_record_without_one_meaning_is_refused_before_anything_is_written(
    office: Office, content: str, why: str
) -> None:
    record = office.documents / "record.json"
    record.write_text(content)
    words = ("disclose", "commit", record, "--keep-here", "--out", office.out)
    ran = run(*words, "--home", office.home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2301")
    assert why in ran.json["error"]["message"]
    assert not office.out.exists()


def test_fields_go_out_as_an_sd_jwt_that_others_verify(office: Office, tmp_path: Path) -> None:
    opening, receipt = committed(office)
    out = tmp_path / "some.sd-jwt"
    words = ("disclose", "sd-jwt", opening, "--field", "id", "--receipt", receipt, "--out", out)
    ran = run(*words, "--home", office.home, "--json")
    if office.node.chain.suite is NATIONAL:
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.REFUSED, "GC-2340")
        return
    assert told(ran)["disclosures"] == 1

    (agency,) = [each for each in office.node.chain.identities if each.identity_id == "agency-1"]
    x, y = P256PublicKey.decode(agency.public_key).coordinates
    registered = JWK(kty="EC", crv="P-256", x=base64url_encode(x), y=base64url_encode(y))

    def key_of(issuer: str, header: dict[str, Any]) -> JWK:
        assert issuer == f"urn:govchain:{office.node.chain.chain_id.hex()}:agency-1"
        assert JWK(**header["jwk"]).thumbprint() == registered.thumbprint()
        return registered  # by what the chain has, not by what the token says

    token = out.read_text(encoding="ascii").strip()
    claims = SDJWTVerifier(token, key_of).get_verified_payload()
    assert claims["id"] == CARD
    assert not {"name", "married"} & claims.keys()


def test_a_copy_is_marked_once_its_statement_is_notarized(office: Office, tmp_path: Path) -> None:
    document, copy = VECTORS / "receipt/document.txt.pdf", tmp_path / "copy.pdf"
    words = ("watermark", "mark", document, "--to", "org-2", "--copy", copy, "--out", office.out)
    marked = told(run(*words, "--home", office.home, "--json"))
    found = told(run("watermark", "find", copy, office.out, "--json"))
    assert [(each["recipient"], each["code"]) for each in found["found"]] == [
        ("org-2", marked["code"])
    ]
    statement, receipt = marked["statement"], marked["items"][0]["receipt"]
    checked = run("verify", statement, "--receipt", receipt, "--trust", trusted(office))
    assert checked.code == 0
    again = run(*words, "--home", office.home, "--json")
    assert again.json["error"]["code"] == "GC-2306"
    recorded = sum(office.node.documents.values())
    other = tmp_path / "letter.txt"
    other.write_text("no picture")
    refused = run(
        *words[:2], other, *words[3:6], tmp_path / "no", *words[7:], "--home", office.home
    )
    assert refused.code == ExitCode.USAGE
    assert sum(office.node.documents.values()) == recorded, "nothing is recorded of it"
