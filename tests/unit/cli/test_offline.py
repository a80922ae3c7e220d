"""Offline means offline: all that verifies does so where nothing can be connected to.

Once with everything of Python and gRPC that opens connections made to raise, once as processes of a
network namespace without interfaces, where the operating system sees to it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from node.cli.exit_codes import ExitCode
from node.crypto.certificate import encode_pem
from node.service.audit.report import sign_report
from node.timestamp.log.fork import compare
from node.timestamp.trust import TrustFile
from tests.unit.cli.command import run
from tests.unit.cli.offline import (
    ConnectedError,
    forbid_connections,
    run_with_network,
    run_without_network,
)
from tests.unit.consensus.signing import evidence_against
from tests.unit.execution.small_chain import GENESIS, signer
from tests.vectors.receipt.chain import Chain, record_of
from tests.vectors.receipt.cosigned import checkpoint_at, cosigned, tile_of

VECTORS = Path(__file__).parents[2] / "vectors"
RECEIPTS, STANDING = VECTORS / "receipt", VECTORS / "standing"
DOCUMENT, TRUST = RECEIPTS / "document.txt", RECEIPTS / "trust" / "genesis.json"

Command = list[str]


def of_receipt(name: str, trust: Path = TRUST, document: Path = DOCUMENT) -> Command:
    return ["verify", str(document), "--receipt", str(RECEIPTS / name), "--trust", str(trust)]


def of_proof(kind: str, name: str, folder: Path) -> Command:
    vector = json.loads((STANDING / kind / f"{name}.json").read_bytes())
    path = folder / f"{kind}-{name}"
    path.write_bytes(base64.b64decode(vector["proof"]))
    return ["verify", str(path), "--trust", str(STANDING / "trust" / vector["trust"])]


def of_fork(folder: Path) -> Command:
    honest, forked = Chain.found(), Chain.found()
    for chain, content in ((honest, b"a"), (forked, b"b")):
        chain.append(record_of(content))
    first, second = (cosigned(checkpoint_at(each, 2), each.validators) for each in (honest, forked))
    proof = compare(first, second, lambda tile: tile_of(forked, tile))
    assert proof is not None
    (folder / "fork-proof").write_bytes(proof.encode())
    (folder / "fork-trust").write_bytes(honest.trust().encode())
    return ["witness", "verify", str(folder / "fork-proof"), "--trust", str(folder / "fork-trust")]


def of_small_chain(folder: Path) -> list[Command]:
    trust, proof, report = folder / "trust", folder / "misbehaviour", folder / "report"
    trust.write_bytes(TrustFile(chain_id=GENESIS.chain_id, genesis=GENESIS).encode())
    proof.write_bytes(evidence_against(1).encode())
    found = {"chain_id": GENESIS.chain_id.hex(), "auditor": "auditor-1", "verdict": "sound"}
    report.write_bytes(sign_report(found, signer("auditor-1")))
    return [
        ["misbehaviour", "verify", str(proof), "--trust", str(trust)],
        ["audit", "report", str(report), "--trust", str(trust)],
    ]


def of_refreshed(folder: Path) -> Command:
    vector = json.loads((RECEIPTS / "refreshed-cases" / "good-barrier.json").read_bytes())
    path = folder / "it.refreshed"
    path.write_bytes(base64.b64decode(vector["receipt"]))
    trust = RECEIPTS / "trust" / vector["trust"]
    return ["verify", vector["digest"], "--receipt", str(path), "--trust", str(trust)]


def of_anchor(folder: Path) -> Command:
    vector = json.loads((VECTORS / "anchor" / "anchor" / "good-alone.json").read_bytes())
    path = folder / "it.anchor"
    path.write_bytes(base64.b64decode(vector["anchor"]))
    found = (VECTORS / "anchor" / kind / vector[kind] for kind in ("trust", "authority"))
    trust, authority = map(str, found)
    return ["anchor", "verify", str(path), "--trust", trust, "--authority", authority]


def of_evidence(folder: Path) -> Command:
    roots = folder / "roots.pem"
    found = (VECTORS / "evidence" / "roots").glob("*.der")
    roots.write_bytes(b"".join(encode_pem(path.read_bytes()) for path in found))
    document = str(VECTORS / "evidence" / "document.txt")
    return ["evidence", "verify", document, "--ca", str(roots), "--at", "2034-01-01"]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[ExitCode, list[Command]]:
    """Return everything that verifies, by the exit code that it is to end with."""
    folder = tmp_path_factory.mktemp("offline")
    compact = RECEIPTS / "trust" / "compact.json"
    other = RECEIPTS / "trust" / "other-chain.json"
    return {
        ExitCode.DONE: [
            *(
                of_receipt(f"document.txt{suffix}")
                for suffix in (".receipt", ".tsr", ".tlog-proof", ".cose", ".stamped.cose", ".pdf")
            ),
            [*of_receipt("document.txt.receipt"), "--offline"],
            of_receipt("compact.qr.txt", compact),
            of_receipt("compact.receipt", compact),
            of_proof("standing", "good-1", folder),
            of_proof("consistency", "good-1-8", folder),
            of_refreshed(folder),
            of_anchor(folder),
            of_evidence(folder),
            of_fork(folder),
            *of_small_chain(folder),
            ["trust", "show", str(TRUST)],
            ["receipt", "show", str(RECEIPTS / "document.txt.receipt")],
        ],
        ExitCode.NOT_VERIFIED: [of_receipt("document.txt.receipt", document=TRUST)],
        ExitCode.NOT_ROOTED: [of_receipt("document.txt.tsr", other)],
    }


def test_every_verdict_is_given_without_a_connection(
    commands: dict[ExitCode, list[Command]], monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_connections(monkeypatch)
    for code, each in commands.items():
        for command in each:
            ran = run(*command)
            assert ran.code == code, (command, ran)


@pytest.mark.parametrize(
    "connect",
    [
        lambda: socket.socket(socket.AF_INET),
        lambda: socket.getaddrinfo("localhost", 80),
        lambda: asyncio.open_connection("127.0.0.1", 9),
        lambda: grpc.insecure_channel("127.0.0.1:9"),
        lambda: grpc.aio.insecure_channel("127.0.0.1:9"),
    ],
)
def test_what_opens_a_connection_is_noticed(
    connect: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_connections(monkeypatch)
    with pytest.raises(ConnectedError):
        connect()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_command_that_asks_the_network_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run("testnet", "init", "--home", tmp_path / "net", "--nodes", 4)
    assert ran.code == ExitCode.DONE, ran.err
    forbid_connections(monkeypatch)
    ran = run("record", "list", "--home", tmp_path / "net")
    assert ran.code == ExitCode.DEFECT
    assert "ConnectedError" in ran.err


def test_every_verdict_is_given_in_a_process_without_a_network(
    commands: dict[ExitCode, list[Command]],
) -> None:
    told = [(code, command) for code, each in commands.items() for command in each]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sealed = run_without_network([command for _, command in told], port)
        assert not sealed["connected"]
        assert run_with_network([], port)["connected"]
    for (code, command), (ran_code, *said) in zip(told, sealed["ran"], strict=True):
        assert ran_code == code, (command, said)
