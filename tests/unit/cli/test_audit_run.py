"""`audit run` against a validator that serves a chain of two epochs, or another one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pypdf
import pytest

from node.chain.block import CertifiedBlock, ResultCode
from node.cli.exit_codes import ExitCode
from node.cli.network import Network
from node.errors import StorageError
from node.operations.anchor_home import AnchorHome
from node.service.audit.replay import Replay
from node.service.audit.report import sign_report
from node.storage.scratch import DATA_NAME, SCRATCH_PREFIX
from node.timestamp.trust import TrustFile
from tests.unit.cli.command import run
from tests.unit.cli.served import ServedNode, prepare_home, served
from tests.unit.execution.governed_chain import adding
from tests.unit.service.chatting import Chat, govern, notarize
from tests.vectors.anchor.generate import (
    ISSUERS,
    OTHER,
    OUTSIDE,
    anchor_of,
    build_chain,
    checkpoint_of,
)

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")


def grown(text: str) -> ServedNode:
    """Return a node whose chain has three blocks, the second of which ends epoch 0."""
    chat = Chat(*FOUNDERS, "validator-5")
    notarize(chat, text)
    chat.pass_time(2_000)
    members = (*FOUNDERS, "validator-5")
    assert govern(chat, adding("validator-5"), members=members) is ResultCode.OK
    notarize(chat, f"{text}, again")
    return ServedNode(chat.nodes["validator-1"])


@pytest.fixture(scope="module")
def node() -> ServedNode:
    return grown("first")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, node: ServedNode) -> Iterator[Path]:
    folder = prepare_home(tmp_path_factory.mktemp("served") / "net")
    with served(node, folder):
        yield folder


@pytest.fixture
def liar(node: ServedNode) -> Iterator[ServedNode]:
    yield node
    node.forged = {}


def test_a_chain_is_executed_over_its_handovers_and_reported(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    (tmp_path / f"{SCRATCH_PREFIX}ofakill_" / DATA_NAME).mkdir(parents=True)
    (tmp_path / f"{SCRATCH_PREFIX}ofakill_").chmod(0o700)
    ran = run("audit", "run", "--out", out, "--home", home, "--json")
    assert ran.code == ExitCode.DONE
    report = ran.json["report"]
    assert (report["from"], report["to"], report["blocks"], report["epoch"]) == (1, 3, 3, 1)
    assert (report["transactions"], report["records"], report["verdict"]) == (3, 2, "sound")
    assert (report["source"], report["compared_with"]) == ("validator-1", None)
    assert json.loads(out.read_bytes())["report"] == report
    assert [*tmp_path.iterdir()] == [out], "scratch ledgers are gone, one of a killed audit too"
    kept = run("audit", "run", "--out", out, "--home", home, "--json")
    assert kept.json["error"]["code"] == "GC-2306"
    out.unlink()
    part = run("audit", "run", "--from", 2, "--to", 2, "--out", out, "--home", home, "--json")
    assert (part.json["report"]["blocks"], part.json["report"]["height"]) == (2, 2)
    out.unlink()
    plain = run("audit", "run", "--out", out, "--home", home)
    assert "the chain is what its blocks make of genesis" in plain.out


def test_what_is_anchored_is_reported_and_has_to_be_in_the_chain(
    home: Path, tmp_path: Path
) -> None:
    """The anchors kept are of another chain, or damaged, or not there yet: each is told."""
    anchors = AnchorHome(tmp_path / "anchors")
    for name in (OUTSIDE, OTHER, "third"):
        anchors.add(name, "https://tsa.example/tsr", [ISSUERS[OUTSIDE].root])
    anchors.keep(OUTSIDE, "2025-10-09", anchor_of(checkpoint_of(build_chain(), 3)))
    (anchors.folder / "anchors" / "2025-10-09.3.other.anchor").write_bytes(b"damaged")
    out = tmp_path / "report.json"
    words = ("audit", "run", "--out", out, "--home", home, "--anchors")
    ran = run(*words, anchors.folder, "--json")
    assert ran.code == ExitCode.DONE
    told = {each["authority"]: each for each in ran.json["report"]["anchors"]}
    assert not any(each["verified"] for each in told.values())
    assert "chain" in told[OUTSIDE]["finding"]
    assert "move it away" not in told[OTHER]["finding"]
    assert "other.anchor" in told[OTHER]["finding"]
    assert told["third"]["height"] is None
    out.unlink()
    plain = run(*words, anchors.folder).out
    assert "NOT VERIFIED, block 3" in plain
    assert "anchored by third" in plain
    assert run("audit", "run", "--out", tmp_path / "no", "--anchors", tmp_path, "--home", home).code
    assert not (tmp_path / "no").exists()


def test_a_full_disk_leads_to_another_folder_not_to_a_node(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: object) -> None:
        raise StorageError("no space left", code="GC-3004")

    monkeypatch.setattr(Replay, "take", refuse)
    ran = run("audit", "run", "--out", tmp_path / "report.json", "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2306")
    assert "--scratch" in ran.json["error"]["fix"]
    assert list(tmp_path.iterdir()) == []


def test_heights_that_are_not_there_are_refused(home: Path, tmp_path: Path) -> None:
    words = ("audit", "run", "--out", tmp_path / "report.json", "--home", home)
    assert run(*words, "--to", 4).code == ExitCode.NO_SUCH_RECORD
    assert run(*words, "--from", 3, "--to", 2).code == ExitCode.USAGE
    assert not (tmp_path / "report.json").exists()


def test_a_block_of_another_chain_of_events_is_found_and_reported(
    home: Path, tmp_path: Path, liar: ServedNode
) -> None:
    out = tmp_path / "report.json"
    other = grown("second").queries.block(2)
    own = liar.queries.block(1)
    assert other is not None
    assert own is not None
    whole = own.certified()
    assert whole is not None
    emptied = CertifiedBlock(whole.header, (), whole.certificate)
    for height, block, rule in (
        (2, other.encode(), "audit-execution"),
        (1, emptied.encode(), "audit-execution"),
        (2, own.encode(), "audit-execution"),
    ):
        liar.forged = {height: block}
        out.unlink(missing_ok=True)
        ran = run("audit", "run", "--out", out, "--home", home, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2352")
        report = json.loads(out.read_bytes())["report"]
        assert (report["verdict"], report["rule"], report["blocks"]) == (
            "not sound",
            rule,
            height - 1,
        )


def test_a_report_signed_by_a_key_that_the_genesis_does_not_hold_is_not_believed(
    home: Path, tmp_path: Path
) -> None:
    """The keys of the folder are not those of the served chain."""
    out = tmp_path / "report.json"
    assert run("audit", "run", "--out", out, "--home", home).code == ExitCode.DONE
    assert run("trust", "export", "--home", home).code == ExitCode.DONE
    told = run("audit", "report", out, "--trust", home / "trust.json", "--json")
    assert (told.code, told.json["error"]["code"]) == (ExitCode.NOT_VERIFIED, "GC-2309")
    assert "report-signature" in told.json["error"]["message"]
    assert run("audit", "report", home / "trust.json", "--trust", home / "trust.json").code == 2


def test_a_verified_report_is_printed_and_no_other(tmp_path: Path) -> None:
    home = tmp_path / "network"
    assert run("testnet", "init", "--home", home, "-n", 1, "--json").code == ExitCode.DONE
    network = Network.open(home, None, None)
    found = {
        "chain_id": network.genesis.chain_id.hex(), "auditor": network.identity, "height": 7,
        "time": "2026-11-22T01:02:03Z", "verdict": "sound",
    }  # fmt: skip
    signed = sign_report(found, network.signer)
    path, trust, pdf = (tmp_path / name for name in ("report.json", "trust.json", "report.pdf"))
    path.write_bytes(signed)
    trust.write_bytes(
        TrustFile(chain_id=network.genesis.chain_id, genesis=network.genesis).encode()
    )
    words = ("audit", "report", path, "--trust", trust, "--pdf", pdf, "--json")
    pdf.write_bytes(b"evidence")
    assert run(*words).json["error"]["code"] == "GC-2306"
    assert pdf.read_bytes() == b"evidence"
    pdf.unlink()
    told = run(*words)
    assert told.code == ExitCode.DONE, told.out
    assert told.json["pdf"] == str(pdf)
    assert pypdf.PdfReader(pdf).attachments == {"audit-report.json": [signed]}
    pdf.unlink()
    path.write_bytes(signed.replace(b'"height": 7', b'"height": 8'))
    assert run(*words).code == ExitCode.NOT_VERIFIED
    assert not pdf.exists()
    path.write_bytes(sign_report(found | {"verdict": "not sound"}, network.signer))
    assert run(*words).code == ExitCode.NOT_VERIFIED
    assert "allagree" not in pypdf.PdfReader(pdf).pages[0].extract_text().replace(" ", "")
