"""Rights lost and given back on a network of real processes: at TLS, at admission, among peers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.chain.block import ResultCode
from node.chain.record import Notarization, RecordAction
from node.cli.network import Network
from node.cli.rights import read_rights
from node.rpc.identity import AccessError
from tests.network.local_network import LocalNetwork, running_network, until
from tests.network.test_far_membership import City
from tests.unit.cli.command import Ran, run

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
ADMIN = ("--as", "admin-1")


async def govchain(home: Path, *arguments: object) -> Ran:
    """Run a command beside what this test does meanwhile."""
    return await asyncio.to_thread(run, *arguments, "--home", home, "--json")


async def refused_by_all(network: LocalNetwork) -> list[str]:
    """Return what each validator answers a new connection of the agency that may ask no more."""
    said = []
    for name in FOUNDERS:
        async with network.client(name) as client:
            with pytest.raises(AccessError) as refused:
                await client.genesis()
            said.append(str(refused.value))
    return said


async def test_who_is_frozen_is_refused_everywhere_and_works_again_once_unfrozen(
    tmp_path: Path,
) -> None:
    home = tmp_path / "network"
    with running_network(home) as network:
        await network.until_ready(network.ids)
        async with network.client("validator-1") as held_open, network.client("validator-2") as on:
            (before,) = await held_open.submit([network.transaction().encoded])
            assert before.final().code is ResultCode.OK
            blocks = on.blocks(0)
            assert (await anext(blocks)).height == 0

            frozen = await govchain(
                home, "identity", "freeze", "agency-1", "--reason", "seal lost", *ADMIN
            )
            assert frozen.code == 0, frozen.out
            reason = "identity 'agency-1' is frozen since block 2: seal lost"

            async def is_refused() -> bool | None:
                try:
                    await held_open.genesis()
                except AccessError as error:
                    return reason in str(error)
                return None

            await until(is_refused, "the connection that was open to be refused")
            with pytest.raises(AccessError, match="frozen since block 2"):
                async for _summary in blocks:
                    pass
            assert await refused_by_all(network) == [reason] * 4

            shown = await govchain(home, "identity", "history", "agency-1", *ADMIN)
            (entry,) = shown.json["history"]
            assert (entry["height"], entry["event"], entry["reason"]) == (2, "frozen", "seal lost")
            assert entry["transaction"] == frozen.json["transaction"]
            assert entry["approved_by"] == ["admin-1", "admin-2", "admin-3"]

            again = await govchain(home, "identity", "unfreeze", "agency-1", *ADMIN)
            assert again.code == 0, again.out

            async def is_served() -> bool | None:
                try:
                    (after,) = await held_open.submit([network.transaction().encoded])
                except AccessError:
                    return None
                return after.final().code is ResultCode.OK

            await until(is_served, "the same connection to be served again")


async def test_a_proposal_serves_once_whoever_hands_it_in_again(tmp_path: Path) -> None:
    home, step = tmp_path / "network", tmp_path / "step.json"
    with running_network(home) as network:
        await network.until_ready(network.ids)
        freeze = ("identity", "freeze", "agency-1", *ADMIN)
        unfreeze = ("identity", "unfreeze")
        for words in (
            freeze,
            (*unfreeze, "agency-1", "--propose", step, *ADMIN),
            *[(*unfreeze, "--approve", step, "--as", f"admin-{n}", "--yes") for n in (1, 2, 3)],
            (*unfreeze, "--submit", step, *ADMIN),
            freeze,
        ):
            ran = await govchain(home, *words)
            assert ran.code == 0, ran.out
        again = await govchain(home, *unfreeze, "--submit", step, "--as", "admin-4")
        assert again.code != 0
        assert "ALREADY_CARRIED_OUT" in again.out
        tried = await govchain(home, "policy", "test", step, *ADMIN)
        assert tried.json["outcome"] == "ALREADY_CARRIED_OUT"
        shown = await govchain(home, "identity", "history", "agency-1", *ADMIN)
        events = [entry["event"] for entry in shown.json["history"]]
        assert events == ["frozen", "unfrozen", "frozen"]


async def test_a_transaction_is_tried_before_it_is_handed_in(tmp_path: Path) -> None:
    home = tmp_path / "network"
    with running_network(home) as network:
        await network.until_ready(network.ids)
        named = ("in force", "free")
        first = network.transaction_of(records(*named[:1]))
        async with network.client() as client:
            (outcome,) = await client.submit([first.encoded])
            assert outcome.final().code is ResultCode.OK
        path = tmp_path / "asked"
        path.write_bytes(network.transaction_of(records(*named)).encoded)
        tried = await govchain(home, "policy", "test", path)
        assert tried.code == 0, tried.out
        expected = ["REFERENCE_IN_FORCE", "OK"]
        assert [each["outcome"] for each in tried.json["operations"]] == expected
        assert (tried.json["admission"], tried.json["outcome"]) == ("ACCEPTED", expected[0])
        before = await govchain(home, "policy", "test", path, "--at-height", 0)
        assert [each["outcome"] for each in before.json["operations"]] == ["OK", "OK"]
        path.write_bytes(replace_signature(network.transaction_of(records("free")).encoded))
        spoiled = await govchain(home, "policy", "test", path)
        assert (spoiled.json["admission"], spoiled.json["outcome"]) == ("BAD_SIGNATURE", "OK")
        frozen = await govchain(home, "identity", "freeze", "agency-1", *ADMIN)
        assert frozen.code == 0, frozen.out
        after = await govchain(home, "policy", "test", path, *ADMIN)
        assert after.json["outcome"] == "IDENTITY_FROZEN"


def records(*references: str) -> Notarization:
    return Notarization(
        digest_algorithm=1,
        type_code="test",
        action=RecordAction.RECORD,
        digests=bytes(32 * len(references)),
        references=references,
    )


def replace_signature(encoded: bytes) -> bytes:
    """Return a signed transaction with one bit of its signature, which is its end, turned."""
    return encoded[:-1] + bytes((encoded[-1] ^ 1,))


async def test_a_frozen_validator_follows_once_unfrozen_and_decides_no_more(tmp_path: Path) -> None:
    home = tmp_path / "network"
    with running_network(home) as network:
        await network.until_ready(network.ids)
        frozen = await govchain(home, "identity", "freeze", "validator-4", "--yes", *ADMIN)
        assert frozen.code == 0, frozen.out
        assert frozen.json["validators"] == [*FOUNDERS[:3]]
        async with network.client(*FOUNDERS[:3]) as client:
            (outcome,) = await client.submit([network.transaction().encoded])
            assert outcome.final().code is ResultCode.OK
        back = await govchain(home, "identity", "unfreeze", "validator-4", *ADMIN)
        assert back.code == 0, back.out
        folder = network.folder("validator-4")  # the verb stopped its process
        async with City(home, ()).running(folder):  # under the keys and the log that it had
            await City(home, ()).until_health(folder, "FOLLOWING")


async def test_a_frozen_validator_leaves_and_its_organisation_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "network"
    with running_network(home) as network:
        await network.until_ready(network.ids)
        frozen = await govchain(home, "org", "freeze", "org-4", "--reason", "audit", "--yes")
        assert frozen.code == 0, frozen.out
        assert frozen.json["left"] == ["validator-4"]
        assert frozen.json["validators"] == [*FOUNDERS[:3]]
        assert (frozen.json["epoch"], frozen.json["faults_tolerated_after"]) == (1, 0)
        too_many = await govchain(home, "org", "freeze", "org-3", "--yes", *ADMIN)
        refused = await govchain(home, "identity", "list", "--as", "admin-4")
        assert refused.code != 0
        assert "organisation 'org-4' is frozen" in refused.out
        assert too_many.code == 8, too_many.out
        assert "NOBODY_COULD_APPROVE" in too_many.out
        rights = await asyncio.to_thread(lambda: read_rights(Network.open(home, None, "admin-1")))
        assert rights.founding.organisations == ("org-1", "org-2", "org-3", "org-4")
        async with network.client(*FOUNDERS[:3]) as client:
            (outcome,) = await client.submit([network.transaction().encoded])
            assert outcome.final().code is ResultCode.OK
