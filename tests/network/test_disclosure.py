"""Disclosures on real validators: a record committed to, some fields proved offline, one erased."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jwcrypto.common import base64url_encode
from jwcrypto.jwk import JWK
from PIL import Image
from sd_jwt.verifier import SDJWTVerifier

from node.cli.exit_codes import ExitCode
from node.cli.network import Network
from node.crypto.signature import P256PublicKey
from node.crypto.suite import NATIONAL
from node.disclosure.opening import Opening
from tests.network.test_vault import held, until
from tests.unit.cli.command import Ran, run
from tests.unit.cli.offline import forbid_connections

CARD = "11010519491231002X"
RECORD = {"name": "张三", "id": CARD, "address": {"city": "深圳"}, "married": True, "children": 2}
AGENCY, READER = "agency-1", "admin-2"
PDF = Path(__file__).parents[1] / "vectors/receipt/document.txt.pdf"


@pytest.fixture(scope="module", params=["international", "national"])
def home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("disclose") / "net"
    up = run("testnet", "up", "--home", folder, "--suite", request.param, "--json")
    assert up.code == 0, up.err
    run("vault", "key", "--home", folder, "--as", READER, "--json")
    yield folder
    run("testnet", "down", "--home", folder)


def ask(home: Path, *arguments: object, identity: str = AGENCY) -> Ran:
    return run("disclose", *arguments, "--home", home, "--as", identity, "--json")


def told(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.out + ran.err
    return ran.json


def without_connections(*arguments: object) -> Ran:
    with pytest.MonkeyPatch.context() as patch:
        forbid_connections(patch)
        return run(*arguments, "--json")


def offline(path: Path, trust: Path, *options: str) -> Ran:
    return without_connections("disclose", "verify", path, "--trust", trust, *options)


def committed(
    home: Path, folder: Path, *options: object, name: str = "record.json"
) -> dict[str, Any]:
    record = folder / name
    record.write_text(json.dumps(RECORD), encoding="utf-8")
    return told(ask(home, "commit", record, "--out", folder / "out", *options))


def exported_trust(home: Path, folder: Path) -> Path:
    trust = folder / "trust.json"
    run("trust", "export", "--home", home, "--out", trust)
    assert trust.exists()
    return trust


def test_a_field_is_proved_offline_and_the_others_are_not_there(home: Path, tmp_path: Path) -> None:
    made = committed(home, tmp_path, "--to", "org-2", "--ref", "2026-0001")
    (item,) = made["items"]
    assert not list((tmp_path / "out").glob("*.opening")), "it is in the vault alone"
    shown = told(ask(home, "show", made["document"]))
    assert {each["path"]: each["value"] for each in shown["fields"]} == {
        "name": "张三",
        "id": "110*************2X",
        "address/city": "深圳",
        "married": True,
        "children": 2,
    }
    proof = tmp_path / "some.disclosure"
    options = ("--field", "id", "--field", "married", "--receipt", item["receipt"])
    ask_proof = ask(home, "prove", made["document"], *options, "--out", proof, identity=READER)
    assert told(ask_proof)["fields"] == ["id", "married"]
    trust = exported_trust(home, tmp_path)
    verified = told(offline(proof, trust, "--clear"))
    assert verified["verdict"] == "verified"
    assert [(each["path"], each["value"]) for each in verified["fields"]] == [
        ("id", CARD),
        ("married", True),
    ]
    masked = told(run("verify", proof, "--trust", trust, "--offline", "--json"))
    assert masked["fields"][0] == {"path": "id", "value": "110*************2X", "masked": True}
    data = proof.read_bytes()
    assert "张三".encode() not in data
    assert "深圳".encode() not in data
    spoilt = tmp_path / "spoilt.disclosure"
    spoilt.write_bytes(data.replace(CARD.encode(), b"110105194912310021"))
    refused = offline(spoilt, trust)
    assert (refused.code, refused.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2610")
    assert "'id'" in refused.json["error"]["message"]


def test_an_erased_field_is_gone_from_every_node(home: Path, tmp_path: Path) -> None:
    made = committed(home, tmp_path, "--to", "org-2")
    receipt = made["items"][0]["receipt"]
    document = made["document"]
    until(lambda: bool(held(home, "validator-2", document).get("1")), "a copy at org-2")
    erased = told(ask(home, "erase", document, "--field", "id", "--yes"))
    assert (erased["fields"], erased["of"], erased["content_version"]) == (4, 5, 2)
    for node in ("validator-1", "validator-2"):
        until(lambda node=node: [*held(home, node, document)] == ["2"], f"gone at {node}")  # type: ignore[misc]
    lost = ask(
        home, "prove", document, "--field", "id", "--receipt", receipt, "--out", tmp_path / "no"
    )
    assert (lost.code, lost.json["error"]["code"]) == (ExitCode.USAGE, "GC-2611")
    proof = tmp_path / "name.disclosure"
    told(ask(home, "prove", document, "--field", "name", "--receipt", receipt, "--out", proof))
    assert told(offline(proof, exported_trust(home, tmp_path)))["fields"][0]["value"] == "张三"


def test_a_table_is_committed_to_by_row_and_column_and_again_goes_on(
    home: Path, tmp_path: Path
) -> None:
    table = tmp_path / "people.csv"
    table.write_text(f"name,id\n张三,{CARD}\n李四,440524188001010014\n", encoding="utf-8")
    out = tmp_path / "out"
    words = ("commit", table, "--out", out, "--keep-here")
    first = told(ask(home, *words))
    again = told(ask(home, *words))
    assert again["root"] == first["root"]
    assert again["recorded_before"] == 1
    opening = out / "people.csv.opening"
    assert opening.stat().st_mode & 0o777 == 0o600
    assert len(Opening.decode(opening.read_bytes()).fields) == 4
    proof = out / "row.disclosure"
    receipt = first["items"][0]["receipt"]
    wanted = ("--field", "1/id", "--receipt", receipt, "--out", proof)
    made = without_connections("disclose", "prove", opening, *wanted)
    assert made.code == 0, made.out
    verified = told(offline(proof, exported_trust(home, tmp_path), "--clear"))
    assert verified["fields"] == [{"path": "1/id", "value": "440524188001010014", "masked": False}]
    other = ask(home, "prove", opening, *wanted)
    assert other.json["error"]["code"] == "GC-2306", "nothing is written over"


def test_fields_go_out_as_an_sd_jwt_that_leads_back_to_the_chain(
    home: Path, tmp_path: Path
) -> None:
    """As an outside reader checks it: the signature, whose key it is, what the chain recorded."""
    made = committed(home, tmp_path, name="outside.json")
    receipt, out = made["items"][0]["receipt"], tmp_path / "some.sd-jwt"
    wanted = ("--field", "id", "--field", "address/city", "--receipt", receipt, "--out", out)
    ran = ask(home, "sd-jwt", made["document"], *wanted)
    if Network.open(home, None, AGENCY).suite is NATIONAL:
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.REFUSED, "GC-2340")
        assert "disclose prove" in ran.json["error"]["fix"]
        assert not out.exists()
        return
    assert told(ran)["disclosures"] == 2
    point = bytes.fromhex(
        told(run("identity", "show", AGENCY, "--home", home, "--json"))["public_key"]
    )
    x, y = map(base64url_encode, P256PublicKey.decode(point).coordinates)
    registered = JWK(kty="EC", crv="P-256", x=x, y=y)
    token = out.read_text("ascii").strip()
    shown_key = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))["jwk"]
    assert JWK(**shown_key).thumbprint() == registered.thumbprint()
    claims = SDJWTVerifier(token, lambda _issuer, _header: registered).get_verified_payload()
    assert claims["iss"].endswith(f":{AGENCY}")
    assert (claims["id"], claims["address/city"]) == (CARD, "深圳")
    assert not {"name", "married", "children"} & claims.keys()
    statement = tmp_path / "statement.fields"
    statement.write_bytes(bytes.fromhex(claims["govchain"]["statement"]))
    trust = exported_trust(home, tmp_path)
    words = ("verify", statement, "--receipt", receipt, "--trust", trust)
    verified = told(without_connections(*words))
    assert verified["verdict"] == "verified"
    assert verified["attestation"]["transaction"] == claims["govchain"]["transaction"]


@pytest.mark.parametrize("form", ["pdf", "png"])
def test_a_marked_copy_is_led_back_to_whom_it_was_made_for(
    home: Path, tmp_path: Path, form: str
) -> None:
    original = PDF if form == "pdf" else picture(tmp_path)
    out = tmp_path / "out"
    statements: dict[str, dict[str, Any]] = {}
    for recipient in ("org-2", "张三 13800138000"):
        copy = tmp_path / f"{len(statements)}.{form}"
        words = ("watermark", "mark", original, "--to", recipient, "--copy", copy, "--out", out)
        marked = told(run(*words, "--home", home, "--as", AGENCY, "--json"))
        assert (marked["copy"], marked["recipient"]) == (str(copy), recipient)
        statements[recipient] = marked
        assert copy.read_bytes() != original.read_bytes()
    trust = exported_trust(home, tmp_path)
    for recipient, marked in statements.items():
        found = told(without_connections("watermark", "find", marked["copy"], out))
        assert [(each["recipient"], each["code"]) for each in found["found"]] == [
            (recipient, marked["code"])
        ]
        (match,) = found["found"]
        receipt = marked["items"][0]["receipt"]
        asked = ("verify", match["statement"], "--receipt", receipt, "--trust", trust)
        assert told(without_connections(*asked))["verdict"] == "verified"
    clean = without_connections("watermark", "find", original, out)
    assert (clean.code, clean.json["error"]["code"]) == (ExitCode.NO_SUCH_RECORD, "GC-2616")


def picture(folder: Path) -> Path:
    """Make an image with structure, as a scan has."""
    noise = np.random.default_rng(5).normal(128, 30, size=(40, 60))
    small = Image.fromarray(noise.clip(0, 255).astype(np.uint8)).convert("RGB")
    out = io.BytesIO()
    small.resize((900, 600), Image.Resampling.BICUBIC).save(out, "PNG")
    path = folder / "scan.png"
    path.write_bytes(out.getvalue())
    return path


def test_bare_numbers_are_refused_before_anything_is_sent(home: Path, tmp_path: Path) -> None:
    number = tmp_path / "number.txt"
    for content in (CARD, f"{CARD}\n", "13800138000", "4111 1111 1111 1111"):
        number.write_text(content)
        ran = run("notarize", number, "--home", home, "--out", tmp_path / "out", "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2612"), content
    document = tmp_path / "document.txt"
    document.write_text("a decision")
    words = ("notarize", document, "--home", home, "--out", tmp_path / "out", "--json")
    ran = run(*words, "--ref", f"case-{CARD}")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2612")
    assert run(*words, "--ref", "case-1").code == 0
