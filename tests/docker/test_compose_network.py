"""Four validators in containers, on a real engine, and a gateway before them.

One validator stops, and comes back to sign; an application records through the gateway.

Whatever is made here bears a name of its own and is removed at the end, come what may.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import node
from node.cli.network import Network
from node.crypto.application_key import encode_public_pem
from node.crypto.signature import Ed25519Signer
from node.operations.topology import find_free_ports
from node.rpc.client import LedgerClient
from tests.unit.gateway.rig import App

ROOT = Path(__file__).parents[2]
VALIDATORS = ("validator-1", "validator-2", "validator-3", "validator-4")
TIME_LIMIT_S = 360.0
CLEANUP_LIMIT_S = 60.0


@cache
def deadline_s() -> float:
    """When everything has to be done, on the monotonic clock, counted from the first question."""
    return time.monotonic() + TIME_LIMIT_S


def attempt(*command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, or fail at the deadline."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=max(deadline_s() - time.monotonic(), 0.1),
    )


def run(*command: str | Path, **more: str) -> str:
    """Run a command that has to succeed; return what it printed."""
    done = attempt(*command, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def clean_up(*command: str | Path) -> None:
    subprocess.run(command, capture_output=True, check=False, timeout=CLEANUP_LIMIT_S)


def govchain(*arguments: str | Path) -> dict[str, Any]:
    """Run the command on this machine, outside all containers; return its JSON object."""
    answer: dict[str, Any] = json.loads(run(sys.executable, "-m", "node", *arguments, "--json"))
    return answer


@pytest.fixture(scope="module")
def compose() -> tuple[str, ...]:
    """Return the command that runs Compose, of either generation, on an engine that answers."""
    if shutil.which("docker") is None or attempt("docker", "info").returncode:
        pytest.skip("NOT TESTED: no Docker engine answers `docker info`")
    if shutil.which("docker-compose") is not None:
        return ("docker-compose",)
    if attempt("docker", "compose", "version").returncode == 0:
        return ("docker", "compose")
    pytest.skip("NOT TESTED: neither `docker-compose` nor `docker compose` is there")


@pytest.fixture(scope="module")
def image(compose: tuple[str, ...]) -> Iterator[str]:
    assert compose
    name = f"localhost/govchain-test-{secrets.token_hex(4)}"
    has_buildkit = attempt("docker", "buildx", "version").returncode == 0
    # On the host's network a build reaches the packages just as the host does. Without a name the
    # first stage would stay behind.
    build = ("docker", "build", "--network", "host", "--file", "docker/Dockerfile", ".")
    stages = {f"{name}-packages": ("--target", "packages"), name: ()}
    try:
        for tag, options in stages.items():
            run(*build, *options, "--tag", tag, DOCKER_BUILDKIT="1" if has_buildkit else "0")
        yield name
    finally:
        clean_up("docker", "image", "rm", *stages)


@dataclass
class ComposedNetwork:
    """A network exported to `folder` and run as Compose project `project`."""

    folder: Path
    project: str
    image: str
    command: tuple[str, ...]

    def compose(self, *arguments: str) -> str:
        return run(*self.in_project(*arguments), GOVCHAIN_IMAGE=self.image)

    def in_project(self, *arguments: str) -> tuple[str, ...]:
        documents = [self.folder / name for name in ("compose.yaml", "gateway.yaml")]
        files = [option for each in documents for option in ("--file", str(each))]
        return (*self.command, "--project-name", self.project, *files, *arguments)

    def bring_up(self, *validators: str) -> None:
        """Start services, then follow the engine's events until all of them are healthy."""
        started_s, left_s = time.time(), deadline_s() - time.monotonic()
        self.compose("up", "--detach", *validators)
        missing = set(validators)
        options = {
            "since": f"{started_s:.3f}",
            "until": f"{started_s + left_s:.3f}",  # the engine ends the stream then
            "filter=label": f"com.docker.compose.project={self.project}",
            "filter=event": "health_status",
            "format": '{{index .Actor.Attributes "com.docker.compose.service"}} {{.Status}}',
        }
        watch = ("docker", "events", *(f"--{name}={value}" for name, value in options.items()))
        with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as events:
            assert events.stdout is not None
            for line in events.stdout:
                service, _, status = line.strip().partition(" ")
                if status == "health_status: healthy":
                    missing.discard(service)
                if not missing:
                    events.terminate()
                    return
        pytest.fail(f"not healthy: {missing}\n{self.compose('logs', '--tail', '20')}")

    def container(self, validator_id: str) -> str:
        return self.compose("ps", "--quiet", validator_id).strip()

    def inside(self, validator_id: str, *command: str) -> subprocess.CompletedProcess[str]:
        return attempt("docker", "exec", self.container(validator_id), *command)

    def notarize(self, text: str) -> dict[str, Any]:
        """Notarize a document through the published ports; return what is said of it."""
        document = self.folder / f"{text}.txt"
        document.write_text(text)
        profile, receipts = self.folder / "network" / "profile.toml", self.folder / "receipts"
        answer = govchain("notarize", document, "--profile", profile, "--out", receipts)
        (item,) = answer["items"]
        found: dict[str, Any] = item
        return found

    def digest_at(self, validator_id: str, height: int) -> bytes:
        """Wait until one validator has committed a height; return the digest of its header."""

        async def follow(client: LedgerClient) -> bytes:
            left_ms = round((deadline_s() - time.monotonic()) * 1_000)
            async for block in client.blocks(height, left_ms):
                return block.header_digest
            raise AssertionError(f"{validator_id} did not reach height {height}")

        everyone = Network.open(self.folder / "network", None, None)
        endpoints = everyone.profile.endpoints
        only = tuple(each for each in endpoints if each.validator_id == validator_id)
        return Network(replace(everyone.profile, endpoints=only), everyone.identity).ask(follow)


@pytest.fixture(scope="module")
def network(
    compose: tuple[str, ...], image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ComposedNetwork]:
    folder = tmp_path_factory.mktemp("compose")
    project = f"govchain-test-{secrets.token_hex(4)}"
    (port,) = find_free_ports("127.0.0.1", 1)
    made = govchain(
        "testnet", "export", "compose", "--out", folder, "--gateway", f"127.0.0.1:{port}"
    )
    assert made["gateway"]["published"] == f"127.0.0.1:{port}"
    network = ComposedNetwork(folder, project, image, compose)
    try:
        network.bring_up(*VALIDATORS)
        yield network
    finally:
        clean_up(*network.in_project("down", "--volumes", "--timeout", "5"))
    label = f"label=com.docker.compose.project={project}"
    assert run("docker", "ps", "--all", "--quiet", "--filter", label) == ""
    assert run("docker", "network", "ls", "--quiet", "--filter", label) == ""


def test_the_image_is_the_command_and_says_what_it_misses(image: str) -> None:
    bare = ("docker", "run", "--rm", "--read-only", "--network", "none", image)
    assert run(*bare, "--version") == f"govchain, version {node.__version__}\n"
    homeless = attempt(*bare)
    assert homeless.returncode == 2
    assert "/var/lib/govchain/node.toml: no such file" in homeless.stderr


def test_a_container_holds_one_home_and_no_rights(network: ComposedNetwork) -> None:
    owner = (network.folder / "network" / "secret.key").stat()
    for validator_id in VALIDATORS:
        (facts,) = json.loads(run("docker", "inspect", network.container(validator_id)))
        assert facts["Config"]["User"] == f"{owner.st_uid}:{owner.st_gid}"
        mounted = {mount["Destination"]: mount["RW"] for mount in facts["Mounts"]}
        assert mounted == {"/var/lib/govchain": True, "/run/secrets/key-file": False}
        published = facts["NetworkSettings"]["Ports"]
        assert sorted(published) == ["7200/tcp", "7400/tcp"]  # clients; HTTP in clear text
        for hosts in published.values():
            assert [host["HostIp"] for host in hosts] == ["127.0.0.1"]
    status = network.inside(VALIDATORS[0], "cat", "/proc/1/status").stdout.split("\n")
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert network.inside(VALIDATORS[0], "touch", "/opt/probe").returncode != 0


def test_an_application_records_through_a_gateway_that_holds_no_key_but_its_own(
    network: ComposedNetwork,
) -> None:
    network.bring_up("gateway")
    home = network.folder / "network" / "gateway"
    (facts,) = json.loads(run("docker", "inspect", network.container("gateway")))
    owner = (network.folder / "network" / "gateway.key").stat()
    assert facts["Config"]["User"] == f"{owner.st_uid}:{owner.st_gid}"
    mounted = {mount["Destination"]: mount["RW"] for mount in facts["Mounts"]}
    assert mounted == {"/var/lib/govchain": True, "/run/secrets/gateway-key": False}
    assert facts["HostConfig"]["ReadonlyRootfs"] is True
    published = facts["NetworkSettings"]["Ports"]
    (at,) = published.pop("8443/tcp")
    assert (at["HostIp"], list(published.values())) == ("127.0.0.1", [])
    status = network.inside("gateway", "cat", "/proc/1/status").stdout.split("\n")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert network.inside("gateway", "touch", "/opt/probe").returncode != 0

    app = App("licences", Ed25519Signer.from_secret(bytes([1]) * 32), port=int(at["HostPort"]))
    app.tls = ssl.create_default_context(cafile=str(home / "ca.pem"))
    inside = ("docker", "exec", "--interactive", network.container("gateway"))
    add = ("govchain", "gateway", "app", "add", "/var/lib/govchain", app.name)
    admitted = subprocess.run(
        (*inside, *add, "--key", "/dev/stdin", "--may", "notarize"),
        input=encode_public_pem(app.signer),
        capture_output=True,
        check=False,
        timeout=max(deadline_s() - time.monotonic(), 0.1),
    )
    assert admitted.returncode == 0, admitted.stderr
    made = app.record("licence-1", 1)
    assert made.status == 201, made
    assert app.record("licence-1", 1).json == made.json
    network.compose("stop", "gateway")
    (facts,) = json.loads(run("docker", "inspect", network.container("gateway")))
    assert facts["State"]["ExitCode"] == 0


def test_a_validator_may_stop_and_comes_back_to_sign(network: ComposedNetwork) -> None:
    first = network.notarize("first")
    assert len(first["signers"]) >= 3

    network.compose("stop", "validator-1")  # the first primary: the others have to replace it
    second = network.notarize("second")
    assert set(second["signers"]) == {"validator-2", "validator-3", "validator-4"}
    assert second["height"] > first["height"]

    network.bring_up("validator-1")
    expected = network.digest_at("validator-2", second["height"])
    assert network.digest_at("validator-1", second["height"]) == expected

    network.compose("stop", "validator-2")  # now every one of those left has to sign
    third = network.notarize("third")
    assert set(third["signers"]) == {"validator-1", "validator-3", "validator-4"}
    assert network.digest_at("validator-1", third["height"]) == network.digest_at(
        "validator-3", third["height"]
    )


def test_receipts_of_every_stage_verify_without_the_network(network: ComposedNetwork) -> None:
    trust = network.folder / "trust.json"
    govchain("trust", "export", "--home", network.folder / "network", "--out", trust)
    network.compose("stop")
    for text in ("first", "second", "third"):
        document = network.folder / f"{text}.txt"
        receipt = network.folder / "receipts" / f"{text}.txt.receipt"
        checked = govchain("verify", document, "--receipt", receipt, "--trust", trust, "--offline")
        assert checked["ok"]
