"""`witness` and `verify` of the public log's proofs: exit codes, words and names."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from node.cli.exit_codes import ExitCode
from node.operations.topology import find_free_ports
from node.timestamp.log.fork import compare
from tests.unit.cli.command import CHINESE, run
from tests.vectors.receipt.chain import Chain, record_of
from tests.vectors.receipt.cosigned import checkpoint_at, cosigned, tile_of

VECTORS = Path(__file__).parents[2] / "vectors" / "receipt"
DOCUMENT, PROOF = VECTORS / "document.txt", VECTORS / "document.txt.tlog-proof"
TRUST = VECTORS / "trust" / "genesis.json"


def test_a_tlog_proof_is_verified_by_a_trust_file() -> None:
    ran = run("verify", DOCUMENT, "--receipt", PROOF, "--trust", TRUST, "--offline", "--json")
    assert (ran.code, ran.json["verdict"], ran.json["format"]) == (0, "verified", "tlog")
    attestation = ran.json["attestation"]
    assert attestation["height"] == 2
    assert len(attestation["cosigners"]) == 3
    told = run("verify", DOCUMENT, "--receipt", PROOF, "--trust", TRUST)
    assert "was recorded in block 2" in told.out
    assert (
        "联署了日志"
        in run("verify", DOCUMENT, "--receipt", PROOF, "--trust", TRUST, env=CHINESE).out
    )


@pytest.mark.parametrize(
    ("document", "trust", "code"),
    [
        (TRUST, "genesis", ExitCode.NOT_VERIFIED),
        (DOCUMENT, "other-chain", ExitCode.NOT_ROOTED),
        (DOCUMENT, "pinned-7", ExitCode.NOT_ROOTED),
    ],
)
def test_what_does_not_verify_ends_with_its_code(
    document: Path, trust: str, code: ExitCode
) -> None:
    path = VECTORS / "trust" / f"{trust}.json"
    ran = run("verify", document, "--receipt", PROOF, "--trust", path, "--json")
    assert ran.code == code
    assert not ran.json["steps"][-1]["passed"]


@pytest.fixture
def fork(tmp_path: Path) -> tuple[Path, Path]:
    """Return a proof that two logs of one chain's keys contradict each other, and a trust file."""
    honest, forked = Chain.found(), Chain.found()
    for chain, content in ((honest, b"a"), (forked, b"b")):
        chain.append(record_of(b"common"))
        chain.append(record_of(content))
    first = cosigned(checkpoint_at(honest, 4), honest.validators, (0, 1, 2))
    second = cosigned(checkpoint_at(forked, 4), honest.validators, (1, 2, 3))
    proof = compare(first, second, lambda tile: tile_of(forked, tile))
    assert proof is not None
    paths = tmp_path / "a.fork-proof", tmp_path / "trust.json"
    paths[0].write_bytes(proof.encode())
    paths[1].write_bytes(honest.trust().encode())
    return paths


def test_a_fork_is_verified_and_names_the_guilty(fork: tuple[Path, Path]) -> None:
    proof, trust = fork
    ran = run("witness", "verify", proof, "--trust", trust, "--json")
    assert ran.code == 0
    assert ran.json["guilty"] == {"validator-2": "org-2", "validator-3": "org-3"}
    told = run("witness", "verify", proof, "--trust", trust)
    assert "validator-2 of org-2 cosigned both" in told.out
    broken = proof.with_name("broken")
    broken.write_bytes(proof.read_bytes()[:-9])
    assert run("witness", "verify", broken, "--trust", trust).code == ExitCode.NOT_VERIFIED
    other = VECTORS / "trust" / "other-chain.json"
    assert run("witness", "verify", proof, "--trust", other).code == ExitCode.NOT_VERIFIED


def test_a_witness_is_made_and_told_what_to_follow(tmp_path: Path) -> None:
    home = tmp_path / "w"
    made = run(
        "witness", "init", home, "--name", "w.example/1", "--listen", "127.0.0.1:9", "--json"
    )
    assert made.json["vkey"].startswith("w.example/1+")
    assert run("witness", "init", home, "--name", "w.example/1").code == ExitCode.USAGE
    assert run("witness", "init", tmp_path / "x", "--name", "a b").code == ExitCode.USAGE
    assert run("witness", "follow", home, TRUST, "ftp://x").code == ExitCode.USAGE
    assert run("witness", "follow", home, TRUST, "http://127.0.0.1:9").code == 0
    looked = run("witness", "run", home, "--once", "--json")
    assert (looked.code, looked.json["looks"][0]["seen"]) == (0, "unreadable")
    assert run("witness", "run", tmp_path / "none", "--once").code == ExitCode.USAGE


def test_a_witness_runs_answers_and_ends_in_order(tmp_path: Path) -> None:
    (port,) = find_free_ports("127.0.0.1", 1)
    chain, home = Chain.found(), tmp_path / "w"
    chain.append(record_of(b"a"))
    trust = tmp_path / "trust.json"
    trust.write_bytes(chain.trust().encode())
    run("witness", "init", home, "--name", "w.example/1", "--listen", f"127.0.0.1:{port}")
    run("witness", "follow", home, trust, "http://127.0.0.1:9")
    command = [sys.executable, "-m", "node", "witness", "run", str(home)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stderr is not None
        while str(port) not in (line := process.stderr.readline().decode()):
            assert line, "it ended"
        note = cosigned(checkpoint_at(chain, 2), chain.validators).encode()
        url = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{url}/add-checkpoint", b"old 0\n\n" + note, 10) as reply:
            line = reply.read().decode()
        assert line.startswith("\u2014 w.example/1 ")
        path = f"/logs/{chain.genesis.chain_id.hex()}/checkpoint"
        with urllib.request.urlopen(url + path, timeout=10) as reply:
            assert line.encode() in reply.read()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0
