"""`govchain withdraw --reason`: why, in a file that the chain dates and the receipt proves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli.exit_codes import ExitCode
from node.timestamp.trust import TrustFile
from tests.suites import digest_by_hand
from tests.unit.cli.command import Ran, run
from tests.unit.cli.instant import Office
from tests.unit.cli.served import served

REASON = "颁发有误：所载姓名不符 (issued in error)"  # noqa: RUF001


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Return one with a document in force under a reference."""
    found = Office(tmp_path)
    with served(found.node, found.home, found.node.chain.chain_id):
        found.write("a")
        assert found.notarize("--ref", "证照/2025-1").code == ExitCode.DONE
        yield found


def withdraw(office: Office, *options: str) -> Ran:
    words = ("withdraw", "证照/2025-1", *options)
    return run(*words, "--home", office.home, "--out", office.out, "--json")


def test_a_reason_is_proved_by_its_file_and_the_receipt(office: Office, tmp_path: Path) -> None:
    ran = withdraw(office, "--reason", REASON)
    assert ran.code == ExitCode.DONE, ran.out
    (item,) = ran.json["items"]
    said = json.loads(Path(item["path"]).read_bytes())
    recorded = run("receipt", "show", office.out / "a.receipt", "--json").json["receipt"]
    assert {name: said[name] for name in ("issuer", "type", "reference", "reason")} == {
        "issuer": recorded["sender"],
        "type": "document",
        "reference": "证照/2025-1",
        "reason": REASON,
    }
    assert said["withdrawn"] == digest_by_hand(b"content of a")
    trust, chain = tmp_path / "trust.json", office.node.chain
    trust.write_bytes(TrustFile(chain_id=chain.chain_id, genesis=chain).encode())
    verify = ("--receipt", item["receipt"], "--trust", trust, "--offline", "--json")
    proved = run("verify", item["path"], *verify)
    assert proved.json["steps"][-1]["name"] == "record"  # all before it passed
    assert (proved.code, proved.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2309")
    path = Path(item["path"])
    path.write_bytes(path.read_bytes().replace(b"issued", b"Issued"))
    assert run("verify", path, *verify).json["steps"][-1]["name"] == "document"


def test_the_same_reason_twice_has_two_digests(office: Office) -> None:
    digests = []
    for _ in range(2):
        digests.append(withdraw(office, "--reason", REASON).json["items"][0]["digest"])
        (office.documents / "a").write_text(f"content {len(digests)}")
        assert office.notarize("--ref", "证照/2025-1").code == ExitCode.DONE
    assert digests[0] != digests[1]


@pytest.mark.parametrize("options", [("--reason", ""), ("--reason", "x", "--decision", "y")])
def test_what_is_no_reason_is_wrong_usage(office: Office, options: tuple[str, ...]) -> None:
    assert withdraw(office, *options).code == ExitCode.USAGE
    assert not [*office.out.glob("*.reason.json")]
