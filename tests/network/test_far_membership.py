"""A city joins, renews its keys and leaves from a machine of its own: the steps of membership.md.

Each organisation has a folder of its own. Nothing passes between them but files that are sent, and
what the processes say to each other.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.config import Address
from node.operations.provision import update_toml
from node.operations.supervisor import NODE_COMMAND
from node.operations.topology import find_free_ports
from tests.network.local_network import LocalNetwork, running_network, until
from tests.unit.cli.command import Ran, run

FOUNDERS = ("validator-1", "validator-2")
CITY_HOST = "::1"


async def govchain(*arguments: object) -> Ran:
    return await asyncio.to_thread(run, *arguments, "--json")


@dataclass(frozen=True)
class Office:
    """The folder of an organisation's administrator, on a machine of its own."""

    folder: Path
    admin: str

    @classmethod
    def furnish(cls, folder: Path, network: LocalNetwork, admin: str) -> Office:
        shutil.copytree(network.home / "clients" / admin, folder)
        for name in ("ca-bundle.pem", "genesis.cbor", "secret.key"):
            shutil.copy(network.home / name, folder)
        files = {"ca_bundle": "ca-bundle.pem", "genesis": "genesis.cbor", "key_file": "secret.key"}
        update_toml(folder / "profile.toml", files)
        return cls(folder, admin)

    async def node(self, verb: str, *arguments: object) -> Ran:
        return await govchain(
            "node", verb, "--profile", self.folder / "profile.toml", "--as", self.admin, *arguments
        )

    def receive(self, file: Path) -> Path:
        return Path(shutil.copy(file, self.folder))


def expect(ran: Ran) -> Ran:
    assert ran.code == 0, ran.out
    return ran


async def decide(offices: Sequence[Office], verb: str, *arguments: object) -> Ran:
    """Have the first propose, each approve what it is sent, and the last hand it in."""
    step = offices[0].folder / "step.json"
    step.unlink(missing_ok=True)  # of the decision before: it is carried out
    expect(await offices[0].node(verb, *arguments, "--propose", step))
    for office in offices:
        step = step if step.parent == office.folder else office.receive(step)
        expect(await office.node(verb, "--approve", step, "--yes"))
    return expect(await offices[-1].node(verb, "--submit", step))


@dataclass(frozen=True)
class City:
    """The folder of the organisation that joins."""

    folder: Path
    peers: tuple[str, ...]

    async def make(self, name: str) -> Path:
        """Make a node, and return its home."""
        port, next_port = find_free_ports(CITY_HOST, 2)
        home = self.folder / name
        made = await govchain(
            *("node", "init", home, "--id", name, "--organisation", "city"),
            *("--genesis", self.folder / "genesis.cbor", "--authority", self.folder / "authority"),
            *("--listen", Address(CITY_HOST, port), "--clients", Address(CITY_HOST, next_port)),
            *(word for peer in self.peers for word in ("--peer", peer)),
        )
        assert expect(made).json["introduction"] == str(home / "introduction.json")
        return home

    @asynccontextmanager
    async def running(self, home: Path) -> AsyncIterator[None]:
        # Compiling kernels, where nobody did before, would take each node here half a minute.
        update_toml(home / "node.toml", {"hashing": "hashlib"})
        with (home / "node.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *NODE_COMMAND, "--home", home, stderr=log
            )
        try:
            yield
        finally:
            process.terminate()
            await process.wait()

    async def until_health(self, home: Path, health: str) -> Ran:
        """Wait until the node says so to its own operator."""

        async def told() -> Ran | None:
            ran = await govchain("node", "health", "--home", home)
            return ran if f'"health": "{health}"' in ran.out else None

        return await until(told, f"{home.name} says {health}")


async def test_a_city_joins_renews_its_keys_and_leaves_from_its_own_machine(tmp_path: Path) -> None:
    with running_network(tmp_path / "network", nodes=2) as network:
        await network.until_ready(network.ids)
        offices = [Office.furnish(tmp_path / f"office-{n}", network, f"admin-{n}") for n in (1, 2)]
        peers = tuple(
            f"{entry.id}={Address(entry.host, entry.peer_port)}" for entry in network.entries
        )
        city = City(tmp_path / "city", peers)
        city.folder.mkdir()
        shutil.copy(network.home / "genesis.cbor", city.folder)
        async with AsyncExitStack() as nodes:
            home = await city.make("city-a")
            await nodes.enter_async_context(city.running(home))
            await expect_a_reason_for_refusal(home)
            introduction = offices[0].receive(home / "introduction.json")

            await decide(offices, "join", "--introduction", introduction)
            await city.until_health(home, "FOLLOWING")
            joined = await decide(offices, "join", "--introduction", introduction)
            assert joined.json["validators"] == [*FOUNDERS, "city-a"]
            await city.until_health(home, "READY")
            await expect_to_be_met(offices[1], offices[1].receive(home / "introduction.json"))

            renewed = await city.make("city-a.2")
            await nodes.enter_async_context(city.running(renewed))
            introduction = offices[0].receive(renewed / "introduction.json")
            rotate = ("rotate", "city-a", "--introduction", introduction)
            await decide(offices, *rotate)
            await city.until_health(renewed, "FOLLOWING")
            rotated = await decide(offices, *rotate)
            assert rotated.json["validators"] == [*FOUNDERS, "city-a.2"]
            await city.until_health(renewed, "READY")
            await city.until_health(home, "FOLLOWING")

            left = await decide(offices, "leave", "city-a.2")
            assert left.json["validators"] == [*FOUNDERS]
            await city.until_health(renewed, "FOLLOWING")
            assert left.json["epoch"] == 3


async def expect_to_be_met(office: Office, introduction: Path) -> None:
    """Check that clients ask the new validator once their profile knows of it, not before."""

    async def health() -> str:
        listed = expect(await office.node("list"))
        (row,) = (each for each in listed.json["nodes"] if each["id"] == "city-a")
        return str(row["health"])

    assert await health() != "READY"
    expect(await office.node("meet", introduction))
    assert await health() == "READY"


async def expect_a_reason_for_refusal(home: Path) -> None:
    """Check that a node that nobody knows yet says what is likely, and what helps."""

    async def reason() -> str | None:
        log = await asyncio.to_thread((home / "node.log").read_text)
        return log if "peer-refused" in log else None

    log = await until(reason, "the log says who does not let it in")
    assert "does not know the authority of this node's organisation" in log

    async def told() -> bool | None:
        ran = await govchain("node", "health", "--home", home)
        return "govchain node join --introduction" in ran.out or None

    await until(told, "its own operator is told what helps")


@pytest.fixture(autouse=True)
def _in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "en")
