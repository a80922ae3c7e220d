"""A network for containers: the Compose document, and the homes that its services mount.

The document depends on the number of validators alone. What differs from one machine to the next,
who owns the homes and which ports are published, stands beside it in the file that Compose reads
its variables from. A gateway is a document of its own, for whoever asked for one. Everything holds
for Compose 1.29 and for the Compose Specification.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import Final, NamedTuple

from node.config import Address
from node.errors import ConfigError
from node.operations.provision import (
    NetworkPlan,
    endpoint_table,
    provision,
    update_toml,
    validator_ids,
)
from node.operations.topology import (
    GENESIS_FILE,
    SECRET_FILE,
    TOPOLOGY_FILE,
    NodePorts,
    Topology,
    write_file,
)

COMPOSE_FILE: Final = "compose.yaml"
GATEWAY_COMPOSE_FILE: Final = "gateway.yaml"
VARIABLES_FILE: Final = ".env"
NETWORK_FOLDER: Final = "network"
GATEWAY_FOLDER: Final = "gateway"
"""In the folder of the network: the home of the gateway."""
GATEWAY_SECRET_FILE: Final = "gateway.key"  # noqa: S105 - a file name
GATEWAY_SECRET_PATH: Final = "/run/secrets/gateway-key"  # noqa: S105 - in its container

PUBLISHED_HOST: Final = "127.0.0.1"
PEER_PORT: Final = 7_100
CLIENT_PORT: Final = 7_200
METRICS_PORT: Final = 7_300
HTTP_PORT: Final = 7_400
GATEWAY_PORT: Final = 8_443

_CLIENTS, _HTTP = "", "_HTTP"
"""Parts of the names of variables."""
_HOME: Final = "/var/lib/govchain"  # as docker/Dockerfile has it
_LISTEN_HOST: Final = "0.0.0.0"  # noqa: S104 - inside a container, on the network of the validators
_SECRET_NAME: Final = "key-file"  # noqa: S105 - a name
_GATEWAY_SECRET_NAME: Final = "gateway-key"  # noqa: S105 - a name
_SIGNATURE: Final = "# Written by: govchain testnet export compose"


class ContainerUser(NamedTuple):
    """Whom the containers run as, and whose the homes are. Compose takes numbers only."""

    user_id: int
    group_id: int

    @classmethod
    def choose(cls) -> ContainerUser:
        """Return the caller, who can own files; for root, who should run nothing, the image's."""
        if os.geteuid() == 0:
            return IMAGE_USER
        return cls(os.geteuid(), os.getegid())


IMAGE_USER: Final = ContainerUser(10_001, 10_001)
"""The user that docker/Dockerfile makes."""


def plan_ports(clients: Sequence[int], http: Sequence[int]) -> tuple[int, ...]:
    """Return the ports of a `NetworkPlan` that publishes these, one of each for each node."""
    return tuple(
        port
        for client_port, http_port in zip(clients, http, strict=True)
        for port in NodePorts(PEER_PORT, client_port, METRICS_PORT, http_port)
    )


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """That a gateway runs beside the validators, and where applications reach it."""

    published: Address
    """An IP address of this machine, and a port."""
    make: Callable[[Path, Topology], None]
    """Makes the home of it (`GATEWAY_FOLDER`) in the folder of the network it is given."""


def export_compose(
    folder: Path,
    plan: NetworkPlan,
    user: ContainerUser,
    *,
    gateway: GatewayPlan | None = None,
    force: bool = False,
) -> Topology:
    """Write a Compose document, its variables and a network for it into `folder`.

    The network is made as by `provision`, then bound to containers: validators listen inside theirs
    and find each other by name; clients find them at the plan's host and client ports. Raises
    `ConfigError` when a network is there already, and, unless with `force`, when one of the files
    is there with other content.
    """
    network = folder / NETWORK_FOLDER
    if network.exists():
        is_network = (network / GENESIS_FILE).is_file()
        removal = f", or remove this network, keys and chain included: rm -r {network}"
        raise ConfigError(
            f"{network}: exists already",
            code="GC-2102",
            fix="name another folder with --out" + (removal if is_network else ""),
        )
    documents = {COMPOSE_FILE: render_compose(validator_ids(plan.node_count))}
    if gateway is not None:
        documents[GATEWAY_COMPOSE_FILE] = render_gateway()
    if not force:
        for name, document in documents.items():
            _expect_absent_or(document, folder / name)
        _expect_absent_or(None, folder / VARIABLES_FILE)  # it names the chain, which is new
    plan = replace(plan, with_gateway=gateway is not None)
    bind = partial(_bind_to_containers, user=user, gateway=gateway)
    topology = provision(network, plan, adapt=bind)
    variables = render_variables(topology, user, gateway)
    try:
        write_file(folder / VARIABLES_FILE, variables.encode())
        for name, document in documents.items():
            write_file(folder / name, document.encode())
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written: {error.strerror}",
            code="GC-2103",
            fix=f"check its rights and the space on its disk, then remove {network}",
        ) from error
    return topology


def render_compose(validator_ids: Sequence[str]) -> str:
    """Return the Compose document of a network, one service for each validator."""
    return _HEAD + "\n".join(map(_render_service, validator_ids)) + _TAIL


def render_gateway() -> str:
    """Return the Compose document of the gateway, to be used together with that of a network."""
    return _GATEWAY


def render_variables(
    topology: Topology, user: ContainerUser, gateway: GatewayPlan | None = None
) -> str:
    """Return the values of the variables in the Compose document of a network."""
    settings = {
        "COMPOSE_PROJECT_NAME": f"govchain-{topology.chain_id[:8]}",
        "GOVCHAIN_USER": f"{user.user_id}:{user.group_id}",
        **{
            _port_variable(node.id, use): str(port)
            for node in topology.nodes
            for use, port in ((_CLIENTS, node.client_port), (_HTTP, node.http_port))
        },
    }
    if gateway is not None:
        at = gateway.published
        host = f"[{at.host}]" if ":" in at.host else at.host
        settings |= {"GATEWAY_HOST": host, "GATEWAY_PORT": str(at.port)}
    return "".join(f"{line}\n" for line in (_SIGNATURE, *map("=".join, settings.items())))


def _port_variable(validator_id: str, use: str) -> str:
    return f"{validator_id.upper().replace('-', '_')}{use}_PORT"


_UNSET: Final = f":?it is not set; see the top of {COMPOSE_FILE}"

_RIGHTS: Final = f"""\
  image: ${{GOVCHAIN_IMAGE:-localhost/govchain}}
  pull_policy: never
  user: "${{GOVCHAIN_USER{_UNSET}}}"
  init: true
  restart: unless-stopped
  stop_grace_period: 15s
  read_only: true
  tmpfs: [/tmp]
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
  networks: [validators]
"""

_HEAD: Final = f"""\
{_SIGNATURE}
# Beside this file the same command writes what it needs and no repository holds: the homes of the
# validators with fresh keys ({NETWORK_FOLDER}/), and who runs them and at which ports clients come
# ({VARIABLES_FILE}).

x-validator: &validator
{_RIGHTS}  secrets: [{_SECRET_NAME}]

services:
"""

_TAIL: Final = f"""
networks:
  validators: {{}}

# Opens the keys, which lie encrypted in the homes.
secrets:
  {_SECRET_NAME}:
    file: ./{NETWORK_FOLDER}/{SECRET_FILE}
"""


_GATEWAY: Final = f"""\
{_SIGNATURE} --gateway HOST:PORT
# REST for applications, before the validators of {COMPOSE_FILE}:
#   docker-compose -f {COMPOSE_FILE} -f {GATEWAY_COMPOSE_FILE} up -d
# It is published where that option said ({VARIABLES_FILE}), and has no key but its own.

services:
  gateway:
{indent(_RIGHTS, "  ")}    command: [gateway, run, {_HOME}]
    healthcheck:
      test: [CMD, govchain, gateway, health, {_HOME}]
      interval: 10s
      timeout: 20s
      start_period: 60s
      retries: 3
    ports:
      - "${{GATEWAY_HOST{_UNSET}}}:${{GATEWAY_PORT{_UNSET}}}:{GATEWAY_PORT}"
    volumes:
      - {{type: bind, source: ./{NETWORK_FOLDER}/{GATEWAY_FOLDER}, target: {_HOME}}}
    secrets: [{_GATEWAY_SECRET_NAME}]

networks:
  validators: {{}}

# Opens the keys of the gateway, which lie encrypted in its home.
secrets:
  {_GATEWAY_SECRET_NAME}:
    file: ./{NETWORK_FOLDER}/{GATEWAY_SECRET_FILE}
"""


def _render_service(validator_id: str) -> str:
    clients, http = (
        f"{PUBLISHED_HOST}:${{{_port_variable(validator_id, use)}{_UNSET}}}:{port}"
        for use, port in ((_CLIENTS, CLIENT_PORT), (_HTTP, HTTP_PORT))
    )
    return f"""\
  {validator_id}:
    <<: *validator
    ports:
      - "{clients}"
      - "{http}"
    volumes:
      - {{type: bind, source: ./{NETWORK_FOLDER}/nodes/{validator_id}, target: {_HOME}}}
"""


def container_endpoints(topology: Topology) -> list[dict[str, str]]:
    """Return the tables by which a client in another container names the validators."""
    return [endpoint_table(node.id, node.id, CLIENT_PORT) for node in topology.nodes]


def _bind_to_containers(
    folder: Path, topology: Topology, user: ContainerUser, gateway: GatewayPlan | None
) -> None:
    """Make homes of local processes those of containers, which others must not run any more."""
    if gateway is not None:
        gateway.make(folder, topology)
    for node in topology.nodes:
        settings = {
            "key_file": f"/run/secrets/{_SECRET_NAME}",
            "peer_address": f"{_LISTEN_HOST}:{PEER_PORT}",
            "client_address": f"{_LISTEN_HOST}:{CLIENT_PORT}",
            "metrics_address": f"{_LISTEN_HOST}:{METRICS_PORT}",
            "http_address": f"{_LISTEN_HOST}:{HTTP_PORT}",
            "peers": [
                endpoint_table(peer.id, peer.id, PEER_PORT)
                for peer in topology.nodes
                if peer.id != node.id
            ],
        }
        update_toml(folder / node.home / "node.toml", settings)
    (folder / TOPOLOGY_FILE).unlink()
    if user != (os.geteuid(), os.getegid()):
        for path in _used_in_containers(folder):
            os.chown(path, *user)


def _used_in_containers(folder: Path) -> Iterator[Path]:
    yield folder / SECRET_FILE
    yield from (folder / "nodes").rglob("*")
    if (folder / GATEWAY_FOLDER).exists():
        yield from (folder / GATEWAY_SECRET_FILE, folder / GATEWAY_FOLDER)
        yield from (folder / GATEWAY_FOLDER).rglob("*")


def _expect_absent_or(content: str | None, path: Path) -> None:
    """Check that writing a file loses nothing: it is not there, or has this very content."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", code="GC-2102") from error
    if content is None or found != content.encode():
        raise ConfigError(
            f"{path}: exists already, with other content",
            code="GC-2102",
            fix="name another folder with --out, or have it replaced with --force",
        )
