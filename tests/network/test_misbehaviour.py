"""Proof that one validator holds reaches all real ones, survives restarts, and whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from node.assembly.engines import open_database
from node.chain.certificate import Phase, Subject, Vote
from node.chain.evidence import Evidence
from node.config import NodeConfig
from node.crypto.keystore import KeyFileSecret, KeyPurpose, load_signer
from node.execution.apply import Executor
from node.operations.topology import SECRET_FILE
from node.rpc.client import LedgerClient
from node.service.home import VOTE_KEY_FILE
from node.storage.ledger import LedgerStore
from tests.network.local_network import LocalNetwork, make_network, until
from tests.unit.cli.command import run

GUILTY, HOLDER = "validator-2", "validator-3"


def sign_twice(network: LocalNetwork) -> Evidence:
    """Do what no correct validator does, with the key of one."""
    genesis = network.genesis
    index = genesis.validators.index_of(GUILTY)
    assert index is not None
    secret = KeyFileSecret.load(network.home / SECRET_FILE)
    signer = load_signer(network.folder(GUILTY) / VOTE_KEY_FILE, secret, KeyPurpose.VOTE)
    votes = []
    for digest in (bytes(32), bytes([1] * 32)):
        subject = Subject(Phase.COMMIT, 4, 9, digest)
        message = subject.sign_bytes(genesis.chain_id, genesis.validators, 5)
        votes.append(Vote(subject, index, 5, signer.sign(message), 0))
    one, other = votes
    return Evidence.of(one, other, genesis.validators)


def keep(network: LocalNetwork, evidence: Evidence) -> None:
    """Put proof into the ledger of a validator that does not run."""
    config, genesis = NodeConfig.load(network.folder(HOLDER)), network.genesis
    with closing(open_database(config.data, create=True)) as store:
        ledger = LedgerStore.open(store, genesis.suite, Executor(genesis).genesis_block())
        ledger.keep_evidence(evidence)


@pytest.fixture(scope="module")
def accused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalNetwork, Evidence]]:
    """Yield a network of which one validator began with proof against another, and the proof."""
    network = make_network(tmp_path_factory.mktemp("misbehaviour") / "net")
    evidence = sign_twice(network)
    keep(network, evidence)
    try:
        network.supervisor.up()
        asyncio.run(network.until_ready(network.ids))
        yield network, evidence
    finally:
        network.supervisor.down()


async def test_proof_reaches_everybody_and_survives_a_restart(
    accused: tuple[LocalNetwork, Evidence],
) -> None:
    network, evidence = accused

    async def known(client: LedgerClient) -> bool | None:
        held = await client.evidence()
        return set(held.values()) == {(evidence.encode(),)} or None

    async with network.client() as client:
        await until(lambda: known(client), "all hold the proof")
    assert network.metric("validator-1", "evidence") == 1
    assert any('"equivocation"' in line for line in network.log("validator-1"))
    network.supervisor.down()
    network.supervisor.up()
    await network.until_ready(network.ids)
    async with network.client() as client:
        await until(lambda: known(client), "all still hold the proof")


def test_it_is_listed_shown_and_verified_from_a_file(
    accused: tuple[LocalNetwork, Evidence], tmp_path: Path
) -> None:
    network, evidence = accused
    home = ("--home", network.home)
    name = f"0.commit.{GUILTY}"
    proof = tmp_path / "proof"
    listed = run("misbehaviour", "list", *home, "--json").json["evidence"]
    assert [(row["name"], row["validator"]) for row in listed] == [(name, GUILTY)]
    assert HOLDER in listed[0]["held_by"]
    assert name in run("misbehaviour", "list", *home).out
    findings = run("doctor", *home, "--json").json["findings"]
    (told,) = [each for each in findings if each["check"] == "misbehaviour"]
    assert GUILTY in told["detail"]
    assert run("misbehaviour", "show", name, "--out", proof, *home).code == 0
    assert run("misbehaviour", "show", "0.commit.nobody", *home).code == 3
    network.supervisor.down()
    assert run("misbehaviour", "verify", proof, *home).code == 0
    forged = replace(evidence, first=replace(evidence.first, time_ms=6))
    proof.write_bytes(forged.encode())
    assert run("misbehaviour", "verify", proof, *home).code == 1
