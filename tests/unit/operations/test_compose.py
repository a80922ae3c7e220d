"""Networks for containers: the committed document is current, homes and settings fit it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from node.config import ClientProfile, NodeConfig
from node.errors import ConfigError
from node.operations.compose import (
    IMAGE_USER,
    NETWORK_FOLDER,
    ContainerUser,
    export_compose,
    plan_ports,
    render_compose,
    render_gateway,
)
from node.operations.provision import NetworkPlan
from node.operations.topology import Topology
from tests.suites import SUITE

DOCKER = Path(__file__).parents[3] / "docker"
PUBLISHED = (20_001, 20_002, 20_003, 20_004)
PUBLISHED_HTTP = (20_011, 20_012, 20_013, 20_014)
ME = ContainerUser(os.geteuid(), os.getegid())


def ids(count: int) -> list[str]:
    return [f"validator-{number}" for number in range(1, count + 1)]


def plan() -> NetworkPlan:
    return NetworkPlan(
        name="trial",
        suite=SUITE,
        created_ms=1_700_000_000_000,
        node_count=len(PUBLISHED),
        ports=plan_ports(PUBLISHED, PUBLISHED_HTTP),
    )


def breaches_of_the_specification(*documents: Path) -> str:
    """Return what the schema of the Compose Specification, which Compose 2 follows, objects to."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, *documents], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout if done.returncode else ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "new" / "folder"
    export_compose(folder, plan(), ME)
    return folder


def test_the_committed_document_is_what_the_command_writes_for_four() -> None:
    assert (DOCKER / "compose.yaml").read_text() == render_compose(ids(4)), (
        "run: govchain testnet export compose --out docker"
    )
    assert (DOCKER / "gateway.yaml").read_text() == render_gateway(), "likewise, with --gateway"


def test_every_size_keeps_to_the_specification(tmp_path: Path) -> None:
    documents = [tmp_path / f"{count}.yaml" for count in (1, 4, 64)]
    for document in documents:
        document.write_text(render_compose(ids(int(document.stem))))
    gateway = tmp_path / "gateway.yaml"
    gateway.write_text(render_gateway())
    assert breaches_of_the_specification(*documents, gateway) == ""


def test_a_breach_of_the_specification_is_found(tmp_path: Path) -> None:
    document = tmp_path / "broken.yaml"
    document.write_text(render_compose(ids(1)).replace("read_only: true", "read_only: 3"))
    assert "read_only: 3 is not of type" in breaches_of_the_specification(document)


def test_each_validator_has_a_service_a_home_and_ports_of_its_own() -> None:
    document = render_compose(ids(7))
    assert re.findall(r"^  (validator-\d+):$", document, re.MULTILINE) == ids(7)
    assert re.findall(r"source: \./network/nodes/([\w-]+),", document) == ids(7)
    for port, name in ((7200, "PORT"), (7400, "HTTP_PORT")):
        published = re.findall(rf'"127\.0\.0\.1:\$\{{(\w+):\?[^}}]*\}}:{port}"', document)
        assert published == [f"VALIDATOR_{number}_{name}" for number in range(1, 8)]


def test_every_variable_of_the_document_has_its_value(folder: Path) -> None:
    required = set(re.findall(r"\$\{(\w+):\?", (folder / "compose.yaml").read_text()))
    values = re.findall(r"^(\w+)=.", (folder / ".env").read_text(), re.MULTILINE)
    assert required == set(values) - {"COMPOSE_PROJECT_NAME"}


def test_the_image_has_the_user_and_the_home_that_the_document_counts_on() -> None:
    image = (DOCKER / "Dockerfile").read_text()
    assert f"USER {IMAGE_USER.user_id}:{IMAGE_USER.group_id}\n" in image
    assert 'CMD ["node", "run", "--home", "/var/lib/govchain"]\n' in image
    assert "target: /var/lib/govchain}" in render_compose(ids(1))


def test_validators_listen_in_their_containers_and_find_each_other_by_name(folder: Path) -> None:
    for validator_id in ids(4):
        config = NodeConfig.load(folder / "network" / "nodes" / validator_id)
        assert config.validator_id == validator_id
        assert str(config.peer_address) == "0.0.0.0:7100"
        assert str(config.client_address) == "0.0.0.0:7200"
        assert str(config.metrics_address) == "0.0.0.0:7300"
        assert str(config.http_address) == "0.0.0.0:7400"
        assert config.key_file == Path("/run/secrets/key-file")
        assert {peer.validator_id: str(peer.address) for peer in config.peers} == {
            other: f"{other}:7100" for other in ids(4) if other != validator_id
        }


def test_clients_come_by_the_published_ports(folder: Path) -> None:
    home = folder / "network"
    for path in (home / "profile.toml", home / "clients" / "agency-1" / "profile.toml"):
        endpoints = ClientProfile.load(path).endpoints
        assert [str(endpoint.address) for endpoint in endpoints] == [
            f"127.0.0.1:{port}" for port in PUBLISHED
        ]
    chain_id = ClientProfile.load(home / "profile.toml").chain_id.hex()
    values = (folder / ".env").read_text().splitlines()
    assert values[1:] == [
        f"COMPOSE_PROJECT_NAME=govchain-{chain_id[:8]}",
        f"GOVCHAIN_USER={os.geteuid()}:{os.getegid()}",
        *(
            line
            for number, (port, http) in enumerate(zip(PUBLISHED, PUBLISHED_HTTP, strict=True), 1)
            for line in (f"VALIDATOR_{number}_PORT={port}", f"VALIDATOR_{number}_HTTP_PORT={http}")
        ),
    ]


def test_secrets_are_their_owner_s_alone(folder: Path) -> None:
    home = folder / "network"
    private = [home / "secret.key", *home.rglob("*.key")]
    assert len(private) > 4 * 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_the_homes_are_no_network_of_local_processes(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no whole network"):
        Topology.load(folder / "network")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_gives_homes_and_key_file_to_the_user_of_the_image(tmp_path: Path) -> None:
    assert ContainerUser.choose() == IMAGE_USER
    export_compose(tmp_path, plan(), IMAGE_USER)
    home = tmp_path / "network"
    given = [home / "secret.key", *(home / "nodes").glob("*"), *(home / "nodes").rglob("*/*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in given} == {IMAGE_USER}
    kept = [home, home / "clients" / "agency-1" / "client.key", home / "organisations"]
    assert {path.stat().st_uid for path in kept} == {0}


def test_anybody_else_is_the_user_of_the_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1_234)
    monkeypatch.setattr(os, "getegid", lambda: 567)
    assert ContainerUser.choose() == (1_234, 567)


def test_a_network_that_is_there_is_not_touched(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(ConfigError, match="exists already") as caught:
        export_compose(folder, plan(), ME)
    assert caught.value.code == "GC-2102"
    assert f"rm -r {folder / NETWORK_FOLDER}" in caught.value.fix
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_what_is_no_network_is_not_to_be_removed(tmp_path: Path) -> None:
    (tmp_path / NETWORK_FOLDER).mkdir()
    with pytest.raises(ConfigError, match="exists already") as caught:
        export_compose(tmp_path, plan(), ME)
    assert caught.value.fix == "name another folder with --out"


@pytest.mark.parametrize("name", ["compose.yaml", ".env"])
@pytest.mark.parametrize("content", ["mine\n", render_compose(ids(7))], ids=["mine", "ours"])
def test_a_file_with_other_content_is_replaced_only_by_force(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match="with other content"):
        export_compose(tmp_path, plan(), ME)
    assert [path.read_text() for path in tmp_path.iterdir()] == [content]
    export_compose(tmp_path, plan(), ME, force=True)
    assert (tmp_path / name).read_text() != content


def test_a_document_that_is_as_it_would_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(render_compose(ids(4)))
    export_compose(tmp_path, plan(), ME)
    assert (tmp_path / "compose.yaml").read_text() == render_compose(ids(4))


def test_by_force_or_not_a_network_that_is_there_is_not_touched(folder: Path) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        export_compose(folder, plan(), ME, force=True)
