"""Data authorisation on real validators: reading under terms is traced, and refused when over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from node.cli.exit_codes import ExitCode
from node.cli.network import Network
from node.cli.vault.chain import VaultDesk
from node.cli.vault.moving import reading_of
from node.cli.verb import CommandError
from node.rpc.client import LedgerClient
from node.rpc.vault_client import VaultClient
from tests.network.test_vault import held, until
from tests.unit.cli.command import Ran, run

CARD = "11010519491231002X"
RECORD = {"name": "张三", "id": CARD, "income": 120_000}
AGENCY, READER, STRANGER = "agency-1", "admin-2", "admin-3"
OWN_NODE, READER_NODE = "validator-1", "validator-2"


@pytest.fixture(scope="module", params=["international", "national"])
def home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("authorise") / "net"
    up = run("testnet", "up", "--home", folder, "--suite", request.param, "--json")
    assert up.code == 0, up.err
    for name in (READER, STRANGER):
        assert ask(folder, "vault", "key", identity=name).code == 0
    yield folder
    run("testnet", "down", "--home", folder)


def ask(home: Path, *arguments: object, identity: str = AGENCY) -> Ran:
    return run(*arguments, "--home", home, "--as", identity, "--json")


def told(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.out + ran.err
    return ran.json


def code_of(ran: Ran) -> str:
    assert ran.code == ExitCode.REFUSED, ran.out
    return str(ran.json["error"]["code"])


def ahead(**amount: int) -> str:
    return (datetime.now(tz=UTC) + timedelta(**amount)).isoformat()


def put(home: Path, folder: Path) -> str:
    path = folder / "decision.txt"
    path.write_text("content")
    known = told(ask(home, "vault", "put", path, "--to", AGENCY))
    return str(known["document"])


def authorise(home: Path, document: str, until_time: str, name: str = READER) -> dict[str, Any]:
    terms = ("--purpose", "年检", "--until", until_time)
    return told(ask(home, "vault", "authorise", document, "--to", name, *terms))


def get(home: Path, document: str, out: Path, identity: str = READER) -> Ran:
    return ask(home, "vault", "get", document, "--out", out, identity=identity)


def test_fields_are_read_for_a_purpose_and_every_reading_is_on_chain(
    home: Path, tmp_path: Path
) -> None:
    record, consent = tmp_path / "record.json", tmp_path / "consent.txt"
    record.write_text(json.dumps(RECORD), encoding="utf-8")
    consent.write_text("I agree")
    made = told(ask(home, "disclose", "commit", record, "--out", tmp_path / "out"))
    words = ("--field", "income", "--receipt", made["items"][0]["receipt"], "--to", READER)
    terms = ("--purpose", "住房补贴审核", "--until", ahead(hours=1), "--basis", consent)
    known = told(ask(home, "disclose", "authorise", made["document"], *words, *terms))
    document = known["document"]
    shown = {each["identity"]: each["terms"] for each in known["recipients"]}
    assert shown[AGENCY] is None
    assert (shown[READER]["purpose"], shown[READER]["fields"]) == ("住房补贴审核", ["income"])
    assert len(shown[READER]["basis"]) == 64
    assert told(ask(home, "vault", "uses", document))["uses"] == []
    for number in (1, 2, 3):
        out = tmp_path / f"{number}.disclosure"
        read = told(get(home, document, out))
        assert [each["terms"]["uses"] for each in read["recipients"] if each["terms"]] == [number]
    trust = tmp_path / "trust.json"
    run("trust", "export", "--home", home, "--out", trust)
    verified = told(run("disclose", "verify", out, "--trust", trust, "--json"))
    assert verified["fields"] == [{"path": "income", "value": 120_000, "masked": False}]
    uses = told(ask(home, "vault", "uses", document, identity=STRANGER))["uses"]
    assert [each["identity"] for each in uses] == [READER] * 3
    assert [each["height"] for each in uses] == sorted(each["height"] for each in uses)
    looked_up = told(ask(home, "tx", "show", uses[0]["transaction"]))["transaction"]
    assert (looked_up["operations"], looked_up["document"]) == (["Use"], document)
    assert held(home, READER_NODE, document) == {}, "no copy that could be read without a trace"
    assert code_of(get(home, document, tmp_path / "no", STRANGER)) == "GC-2605"


def test_nodes_give_nothing_without_a_use_and_nothing_after_a_revocation(
    home: Path, tmp_path: Path
) -> None:
    document = put(home, tmp_path)
    authorise(home, document, ahead(hours=1))
    desk = VaultDesk(Network.open(home, None, READER))
    reading = reading_of(desk, desk.find_kept(bytes.fromhex(document)))
    with pytest.raises(CommandError, match="no use of it by 'admin-2' is on chain"):
        desk.network.ask(reading.secret)
    assert told(get(home, document, tmp_path / "read"))["content_version"] == 1
    told(ask(home, "vault", "revoke", document, "--from", READER))
    assert code_of(get(home, document, tmp_path / "no")) == "GC-2605"
    until(lambda: "not granted" in refusal(desk, document), "refused by the owner's node")


def refusal(desk: VaultDesk, document: str) -> str:
    """Return why the owner's node gives nothing to who asks it without more ado."""

    async def question(client: LedgerClient) -> str:
        try:
            ids = [bytes(32)]
            vault = VaultClient(client)
            async for _object in vault.objects(OWN_NODE, bytes.fromhex(document), 1, ids):
                pass
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            return str(error)
        return ""

    return desk.network.ask(question)


def read_in_time(home: Path, folder: Path) -> tuple[str, list[str]]:
    """Read a document under terms that are over as soon as this machine lets it be read in time.

    Returns it, and what the owner's node kept of it before it was authorised.
    """
    for seconds in (5, 10, 20, 40):
        document = put(home, folder)
        before = held(home, OWN_NODE, document)["1"]
        authorise(home, document, ahead(seconds=seconds))
        authorised = held(home, OWN_NODE, document)["1"]
        ran = get(home, document, folder / f"{seconds}")
        if ran.code == 0:
            assert len(authorised) == len(before) + 1
            return document, before
        assert code_of(ran) == "GC-2613"
    raise AssertionError("over each time before it was read")


def test_what_is_over_is_refused_by_client_chain_and_node_and_its_key_destroyed(
    home: Path, tmp_path: Path
) -> None:
    document, before = read_in_time(home, tmp_path)
    desk = VaultDesk(Network.open(home, None, READER))
    until(lambda: "that is over" in refusal(desk, document), "refused by the owner's node")
    assert code_of(get(home, document, tmp_path / "no")) == "GC-2613"
    until(lambda: held(home, OWN_NODE, document)["1"] == before, "the wrapped key destroyed")
    known = desk.find_kept(bytes.fromhex(document))
    grant = known.document.grant_of(READER)
    assert grant is not None
    assert grant.authorised is not None
    told(ask(home, "notarize", tmp_path / "decision.txt", "--out", tmp_path / "out"))  # T moves on
    with pytest.raises(CommandError, match="VAULT_TERMS_OVER"):
        desk.record_use(known, grant.authorised)


def test_a_rotation_leaves_who_is_authorised_bound_and_over_terms_out(
    home: Path, tmp_path: Path
) -> None:
    document = put(home, tmp_path)
    authorise(home, document, ahead(hours=1))
    told(get(home, document, tmp_path / "first"))
    rotated = told(ask(home, "vault", "rotate", document))
    terms = [each["terms"] for each in rotated["recipients"] if each["identity"] == READER]
    assert [each["uses"] for each in terms] == [1]
    assert told(get(home, document, tmp_path / "second"))["content_version"] == 2
    assert held(home, READER_NODE, document) == {}


def test_terms_that_cannot_be_are_refused_before_anything_is_ordered(
    home: Path, tmp_path: Path
) -> None:
    document = put(home, tmp_path)
    for words, code in (
        (("--to", READER, "--purpose", "x", "--until", "2020-01-01"), "GC-2303"),
        (("--to", READER, "--purpose", f"of {CARD}", "--until", ahead(hours=1)), "GC-2612"),
        (("--to", "nobody", "--purpose", "x", "--until", ahead(hours=1)), "GC-2606"),
    ):
        ran = ask(home, "vault", "authorise", document, *words)
        assert ran.json["error"]["code"] == code, ran.out
    assert told(ask(home, "vault", "show", document))["changes"] == 1
