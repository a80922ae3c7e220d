"""`node join|leave|rotate` as far as they go without a running network, or with one that lies."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from node.chain.block import checkpoint_of
from node.chain.governance import CheckpointStatement
from node.crypto.signature import Ed25519Signer
from tests.unit.cli.command import CHINESE, ENGLISH, Ran, run
from tests.unit.cli.served import ServedNode, prepare_home, served
from tests.unit.execution.governed_chain import ADMINS, GOVERNED, cosigner
from tests.unit.service.chatting import Chat

MEMBERS = ("validator-1", "validator-2", "validator-3", "validator-4")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a network of four that does not run."""
    home = tmp_path_factory.mktemp("change") / "network"
    assert run("testnet", "init", "--home", home, "--json").code == 0
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "network")
    return tmp_path / "network"


def code_of(ran: Ran) -> str:
    return str(ran.json["error"]["code"])


def test_a_proposal_goes_from_administrator_to_administrator(home: Path) -> None:
    step = home / "step.json"
    proposed = run("node", "leave", "validator-4", "--home", home, "--propose", step, "--json")
    assert proposed.code == 0
    assert proposed.json["operations"] == [
        {"operation": "remove-validator", "validator": "validator-4"}
    ]
    approve = ("node", "leave", "--home", home, "--approve", step, "--yes", "--json")
    submit = ("node", "leave", "--home", home, "--submit", step, "--json")
    assert code_of(run(*submit)) == "GC-2321"
    for number in (1, 2, 3):
        approved = run(*approve, "--as", f"admin-{number}")
        assert approved.code == 0
        assert len(approved.json["approved_by"]) == number
        if number == 2:
            few = run(*submit)
            assert (few.code, code_of(few)) == (8, "GC-2321")
            assert (
                "of more than half of the founding organisations. Approved so far by: org-"
                in few.out
            )
    again = run(*approve, "--as", "admin-3")
    assert (again.code, code_of(again)) == (2, "GC-2322")
    assert json.loads(step.read_bytes())["approved_by"] == ["admin-1", "admin-2", "admin-3"]
    nobody = run(*submit, "--wait", "1")
    assert nobody.code in (6, 8)  # nobody states anything, as nobody runs
    assert code_of(nobody) in ("GC-2205", "GC-2320")


def test_what_is_approved_is_shown_and_asked_about(home: Path) -> None:
    step = home / "step.json"
    run("node", "leave", "validator-4", "--home", home, "--propose", step)
    ran = run("node", "leave", "--home", home, "--approve", step, "--as", "admin-1")
    assert "remove validator validator-4" in ran.out
    assert (ran.code, "--yes" in ran.err) == (2, True)
    assert json.loads(step.read_bytes())["approved_by"] == []


def test_nobody_leaves_unasked_where_fewer_faults_are_tolerated_then(home: Path) -> None:
    leave = ("node", "leave", "validator-4", "--home", home)
    ran = run(*leave)
    assert "faulty validators tolerated: 1 before, 0 after" in ran.out
    assert (ran.code, "nobody can be asked, say --yes" in ran.err) == (2, True)
    as_json = run(*leave, "--json")
    assert (as_json.code, code_of(as_json)) == (2, "GC-2303")
    assert "1 faulty validators are tolerated, 0 would be" in as_json.json["error"]["message"]
    chinese = run(*leave, env=CHINESE)
    assert "此前 1 个" in chinese.out
    assert (chinese.code, "请加 --yes" in chinese.err) == (2, True)
    confirmed = run(*leave, "--yes", "--wait", "1", "--json")
    assert code_of(confirmed) in ("GC-2205", "GC-2320")  # it goes on, but nobody runs


@pytest.mark.parametrize(("answer", "goes_on"), [("n", False), ("y", True)])
def test_whoever_sits_at_a_terminal_is_asked(home: Path, answer: str, *, goes_on: bool) -> None:
    terminal, its_other_end = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    leave = ("node", "leave", "validator-4", "--home", str(home), "--wait", "1")
    try:
        ran = subprocess.run(
            (sys.executable, "-P", "-m", "node", *leave),
            env={**os.environ, **ENGLISH},
            stdin=its_other_end,
            capture_output=True,
            check=False,
            text=True,
        )
    finally:
        os.close(terminal)
        os.close(its_other_end)
    assert "faulty validators tolerated: 1 before, 0 after" in ran.stdout
    assert "Fewer faulty validators will be tolerated. Go on? [y/N]" in ran.stdout + ran.stderr
    assert ("GC-2205" in ran.stderr or "GC-2320" in ran.stderr) is goes_on
    assert ran.returncode != 0


def test_a_proposal_says_how_many_faults_are_tolerated_before_and_after(home: Path) -> None:
    step = home / "step.json"
    leave = ("node", "leave", "--home", home)
    told = run(*leave, "validator-4", "--propose", step)
    assert "faulty validators tolerated: 1 before, 0 after" in told.out
    approved = run(*leave, "--approve", step, "--as", "admin-1", "--yes", "--json")
    tolerated = [approved.json[f"faults_tolerated_{when}"] for when in ("before", "after")]
    assert tolerated == [1, 0]
    assert "tolerated: 1 before, 0 after" in run(*leave, "--submit", step).out


def test_a_proposal_for_another_chain_or_epoch_is_refused(home: Path, tmp_path: Path) -> None:
    step = home / "step.json"
    run("node", "leave", "validator-4", "--home", home, "--propose", step)
    assert run("testnet", "init", "--home", tmp_path / "other", "-n", 1).code == 0
    approve = ("node", "leave", "--approve", step, "--yes", "--as", "admin-1", "--json")
    ran = run(*approve, "--home", tmp_path / "other")
    assert (ran.code, code_of(ran)) == (2, "GC-2322")
    assert "the proposal is for chain" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("leave",),
        ("rotate",),
        ("leave", "validator-1", "--propose", "a", "--submit", "b"),
        ("leave", "--approve", "step.json"),
        ("join", "--profile", "profile.toml"),
        ("join", "--wait", "0"),
    ],
)
def test_wrong_usage(home: Path, arguments: tuple[str, ...]) -> None:
    where = () if "--profile" in arguments else ("--home", home)
    ran = run("node", *arguments, *where, "--json")
    assert (ran.code, code_of(ran)) == (2, "GC-2303")


def test_nobody_leaves_who_is_not_there(home: Path) -> None:
    for verb in ("leave", "rotate"):
        ran = run("node", verb, "validator-9", "--home", home, "--json")
        assert (ran.code, code_of(ran)) == (2, "GC-2303")  # the chain was not asked
        assert "validator-1, validator-2, validator-3, validator-4" in ran.json["error"]["message"]
        assert "govchain node list" in ran.json["error"]["fix"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("join", "../../x"),
        ("join", "clients/../../../nodes"),
        ("join", ".."),
        ("join", ""),
        ("join", "x" * 65),
        ("join", "city", "--organisation", "../../x"),
        ("join", "city", "--organisation", ".."),
        ("rotate", "validator-1", "--to", "../x"),
    ],
)
def test_a_name_that_is_no_name_is_wrong_usage(home: Path, arguments: tuple[str, ...]) -> None:
    before = sorted(home.rglob("*"))
    ran = run("node", *arguments, "--home", home, "--json")
    assert (ran.code, code_of(ran)) == (2, "GC-2303")
    assert "expected" in ran.json["error"]["message"]
    assert f"govchain node {arguments[0]} --help" in ran.json["error"]["fix"]
    assert sorted(home.rglob("*")) == before


class StatingNode(ServedNode):
    """States what a test makes it state."""

    cosigner: Ed25519Signer

    async def checkpoint(self) -> CheckpointStatement:
        header = self.queries.header(self.engine.height)
        assert header is not None
        digest = header[0].digest(GOVERNED.suite)
        signature = self.cosigner.sign(checkpoint_of(header[0], digest))
        return CheckpointStatement(self.validator_id, header[0].encode(), signature)


@pytest.mark.parametrize(
    ("key_of", "missing"),
    [
        ("validator-1", "1 of 3 validators"),
        ("validator-2", "validator-1 (its statement does not verify)"),
    ],
)
def test_evidence_that_does_not_hold_is_found_before_the_chain_finds_it(
    tmp_path: Path, key_of: str, missing: str
) -> None:
    home = prepare_home(tmp_path / "network")
    for name in ADMINS[1:]:
        shutil.copytree(home / "clients/admin-1", home / "clients" / name)
    node = StatingNode(Chat(*MEMBERS).nodes["validator-1"])
    node.cosigner = cosigner(key_of)
    with served(node, home):
        ran = run("node", "leave", "validator-4", "--home", home, "--wait", "1", "--yes", "--json")
    assert (ran.code, code_of(ran)) == (8, "GC-2320")
    said = ran.json["error"]["message"]
    assert missing in said
    assert "validator-2 (the profile does not say where it listens)" in said


def test_an_organisation_is_admitted_unless_the_chain_knows_it(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "network")
    city, step = tmp_path / "city-a", tmp_path / "step.json"
    made = run(
        *("node", "init", city, "--genesis", home / "genesis.cbor", "--id", "city-a"),
        *("--organisation", "city", "--authority", tmp_path / "authority", "--json"),
        *("--listen", "[::1]:9", "--peer", "validator-1=[::1]:10"),
    )
    assert made.code == 0
    join = ("node", "join", "--home", home, "--introduction", city / "introduction.json")
    registered = ["register-identity", "register-identity", "set-endpoint"]
    with served(ServedNode(Chat(*MEMBERS).nodes["validator-1"]), home):
        for more, first in ((), ["add-organisation"]), (("--organisation-known",), []):
            step.unlink(missing_ok=True)
            ran = run(*join, "--propose", step, *more)
            assert ran.code == 0, ran.err
            assert "city-a does not follow yet" in ran.out + ran.err
            proposed = json.loads(step.read_bytes())
            assert [each["operation"] for each in proposed["operations"]] == first + registered
    (guest,) = proposed["guests"]
    assert (guest["node"], guest["clients_at"]) == ("city-a", "[::1]:10")
