"""`node health` against real validators: a supervisor learns from its exit code alone."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from node.cli.exit_codes import ExitCode
from node.rpc.port import Health
from tests.network.local_network import LocalNetwork, running_network, until
from tests.unit.cli.command import Ran, run


def ask(network: LocalNetwork, validator_id: str) -> Ran:
    return run("node", "health", "--home", network.folder(validator_id), "--json")


async def until_alone(network: LocalNetwork, validator_id: str) -> None:
    """Wait until a validator has noticed that it has no peer left."""

    async def noticed() -> bool | None:
        async with network.client(validator_id) as client:
            return (await client.status()).health is Health.STARTING or None

    await until(noticed, f"{validator_id} alone")


def test_health_is_that_of_the_home_s_own_validator(tmp_path: Path) -> None:
    with running_network(tmp_path / "net", nodes=2) as network:
        asyncio.run(network.until_ready(network.ids))
        serving = ask(network, "validator-1")
        assert (serving.code, serving.json["health"]) == (ExitCode.DONE, "READY")
        assert (serving.json["validator"], serving.json["peers_connected"]) == ("validator-1", 1)
        assert run("node", "health", "--home", network.folder("validator-2")).out == (
            "validator-2: READY\n"
        )

        network.end("validator-2", signal.SIGTERM)
        asyncio.run(until_alone(network, "validator-1"))
        without_quorum = ask(network, "validator-1")
        assert (without_quorum.code, without_quorum.json["health"]) == (
            ExitCode.UNAVAILABLE,
            "STARTING",
        )
        assert without_quorum.json["error"]["code"] == "GC-2315"
        assert "connected to 0 of 1 peers" in without_quorum.json["error"]["message"]

        ended = ask(network, "validator-2")
        assert (ended.code, ended.json["error"]["code"]) == (ExitCode.UNAVAILABLE, "GC-2205")
