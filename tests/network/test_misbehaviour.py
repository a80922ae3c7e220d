"""Proof that one validator holds reaches all real ones, survives restarts, and whoever asks."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from node.chain.certificate import Phase, Subject, Vote
from node.chain.evidence import Evidence
from node.config import NodeConfig
from node.crypto.keystore import KeyFileSecret, KeyPurpose, load_signer
from node.execution.apply import Executor
from node.operations.topology import SECRET_FILE
from node.service.home import VOTE_KEY_FILE
from node.storage.ledger import LedgerStore
from node.storage.leveldb import LevelDBStore
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
    with closing(LevelDBStore.open(config.data, create=True)) as store:
        ledger = LedgerStore.open(store, genesis.suite, Executor(genesis).genesis_block())
        ledger.keep_evidence(evidence)


async def test_proof_reaches_everybody_survives_a_restart_and_is_verified_from_a_file(
    tmp_path: Path,
) -> None:
    network = make_network(tmp_path / "net")
    evidence = sign_twice(network)
    keep(network, evidence)
    try:
        network.supervisor.up()
        await network.until_ready(network.ids)

        async def known_to_all() -> bool | None:
            async with network.client() as client:
                held = await client.evidence()
            return set(held.values()) == {(evidence.encode(),)} or None

        await until(known_to_all, "all hold the proof")
        assert network.metric("validator-1", "evidence") == 1
        assert any('"equivocation"' in line for line in network.log("validator-1"))
        network.supervisor.down()
        network.supervisor.up()
        await network.until_ready(network.ids)
        await until(known_to_all, "all still hold the proof")
    finally:
        network.supervisor.down()


def test_it_is_listed_shown_and_verified(tmp_path: Path) -> None:
    network = make_network(tmp_path / "net")
    evidence = sign_twice(network)
    keep(network, evidence)
    home = ("--home", network.home)
    name = f"0.commit.{GUILTY}"
    proof = tmp_path / "proof"
    try:
        assert run("testnet", "up", *home).code == 0
        listed = run("misbehaviour", "list", *home, "--json").json["evidence"]
        assert [(row["name"], row["validator"]) for row in listed] == [(name, GUILTY)]
        assert HOLDER in listed[0]["held_by"]
        assert name in run("misbehaviour", "list", *home).out
        findings = run("doctor", *home, "--json").json["findings"]
        (told,) = [each for each in findings if each["check"] == "misbehaviour"]
        assert GUILTY in told["detail"]
        assert run("misbehaviour", "show", name, "--out", proof, *home).code == 0
        assert run("misbehaviour", "show", "0.commit.nobody", *home).code == 3
    finally:
        network.supervisor.down()
    assert run("misbehaviour", "verify", proof, *home).code == 0
    forged = replace(evidence, first=replace(evidence.first, time_ms=6))
    proof.write_bytes(forged.encode())
    assert run("misbehaviour", "verify", proof, *home).code == 1
