"""The genesis tool: makes everything a network of one machine consists of, or nothing at all.

Organisations with one authority each, validators with their keys and TLS certificates, clients,
the genesis that binds them, and the files that tell each process what it needs. Private keys are
written encrypted and never leave the key store otherwise. Running the nodes is for supervisor.py.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from node.chain.genesis import Genesis, Identity, Organisation, Parameters, Role
from node.chain.membership import Validator
from node.config import Address, read_text
from node.crypto.certificate import Authority, encode_pem
from node.crypto.keystore import KeyFileSecret
from node.crypto.suite import Suite
from node.errors import ConfigError, invariant
from node.limits import VALIDATORS_MAX
from node.operations.equipment import FOLDER_MODE, Outfitter, timestamp_identity_id
from node.operations.founding import Founder, Terms, found
from node.operations.topology import (
    CA_BUNDLE_FILE,
    GENESIS_FILE,
    PORTS_PER_NODE,
    SECRET_FILE,
    TOPOLOGY_FILE,
    NodeEntry,
    NodePorts,
    Topology,
    advise_destroying,
    is_network,
    is_vacant,
    lock_folder,
    split_ports,
    sync_folder,
    write_file,
)
from node.service.home import WAL_FOLDER, log_identity
from node.storage.wal import WriteAheadLog

DEFAULT_IDENTITY: Final = "agency-1"
GATEWAY_IDENTITY: Final = "gateway-1"
"""An agency's, too: that of a gateway, which so can be frozen by itself."""

VIEW_TIMEOUT_MS_PER_SHARE: Final = 500
"""How long a view may go without a commit, for each validator that shares a processor core.

Sixteen validators on two hardware threads took 0.3 to 0.9 s for a block, and with a timeout of 1 s
gave up views faster than they made blocks: 50 transactions per second, and 320 with 4 s.
"""

_CLIENTS: Final = ((DEFAULT_IDENTITY, Role.AGENCY), ("auditor-1", Role.AUDITOR))
_GATEWAY: Final = ((GATEWAY_IDENTITY, Role.AGENCY),)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """What a network of one machine is to be."""

    name: str
    """Part of the genesis, at most 128 bytes."""
    suite: Suite
    created_ms: int
    node_count: int
    ports: Sequence[int]
    """The ports of each node as `NodePorts` has them, one node after the other."""
    host: str = "127.0.0.1"
    """IP address all nodes listen on."""
    with_aggregate_keys: bool = False
    """Give validators BLS keys, their possession proved; each takes about a second to make."""
    parameters: Parameters = field(default_factory=Parameters)
    with_gateway: bool = False
    """Found an identity for a gateway, of the first organisation."""
    hashing: str = "hashlib"
    """As `NodeConfig` has it. Kernels are loaded by each of the nodes, which share a machine."""


def shared_machine_parameters(node_count: int, cores: int) -> Parameters:
    """Return what a network begins with whose nodes share one machine of so many cores.

    The more of them there are for a core, the longer a view may take: what n validators say to each
    other grows with the square of n. Only the wait after a crash is longer by it.
    """
    founding = Parameters()
    share_ms = VIEW_TIMEOUT_MS_PER_SHARE * node_count // cores
    timeout_ms = min(max(founding.view_timeout_ms, share_ms), founding.view_timeout_max_ms)
    return replace(
        founding,
        view_timeout_ms=timeout_ms,
        fairness_ms=max(founding.fairness_ms, timeout_ms),
    )


def validator_ids(count: int) -> list[str]:
    """Return the ids of a network's validators, in the order of its genesis."""
    return [f"validator-{number}" for number in range(1, count + 1)]


def admin_id(number: int) -> str:
    """Return the id of the administrator of a network's n-th organisation."""
    return f"admin-{number}"


@dataclass(frozen=True, slots=True)
class _Organisation:
    """An organisation being founded."""

    organisation_id: str
    authority: Authority

    def to_genesis(self) -> Organisation:
        return Organisation(
            organisation_id=self.organisation_id,
            name=self.organisation_id,
            ca_certificate=self.authority.certificate,
        )


def provision(
    home: Path, plan: NetworkPlan, *, adapt: Callable[[Path, Topology], None] | None = None
) -> Topology:
    """Make the network's files in `home`, which must not exist or be empty.

    Everything is made in a folder beside it that takes its name at the very end: a network that is
    there is whole. `adapt` may change the files in that folder, which it is given, before they
    count. Raises `ConfigError` and leaves nothing behind when it cannot be made.
    """
    if not 1 <= plan.node_count <= VALIDATORS_MAX:
        raise ConfigError(
            f"expected 1..{VALIDATORS_MAX} nodes, got {plan.node_count}",
            fix="choose a number with -n; 4 tolerates one faulty validator",
        )
    invariant(len(plan.ports) == plan.node_count * PORTS_PER_NODE, "every port of each node")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with lock_folder(home.parent, wait=True):
            return _provision_alone(home, plan, adapt)
    except OSError as error:
        raise ConfigError(
            f"{home}: cannot be made: {error.strerror}",
            code="GC-2103",
            fix="check the folder above it: its rights and the space on its disk",
        ) from error


def _provision_alone(
    home: Path, plan: NetworkPlan, adapt: Callable[[Path, Topology], None] | None
) -> Topology:
    if not is_vacant(home):
        is_there = is_network(home)
        raise ConfigError(
            f"{home}: " + ("holds a network already" if is_there else "exists and is not empty"),
            code="GC-2102",
            fix="name another folder with --home" + (advise_destroying(home) if is_there else ""),
        )
    workshop = home.with_name(f".{home.name}.unfinished")
    if workshop.exists():  # left by a run that was killed: nothing ever depended on it
        shutil.rmtree(workshop)
    try:
        workshop.mkdir(mode=FOLDER_MODE)
        topology = _Provisioning(workshop, plan).run()
        if adapt is not None:
            adapt(workshop, topology)
        workshop.rename(home)
        sync_folder(home.parent)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return topology


def write_addresses(home: Path, topology: Topology) -> None:
    """Write where nodes listen into every `node.toml` and profile, then into the topology.

    Fields that do not concern addresses stay as they are; comments do not.
    """
    for node in topology.nodes:
        peers = [
            endpoint_table(peer.id, peer.host, peer.peer_port)
            for peer in topology.nodes
            if peer.id != node.id
        ]
        addresses = {
            "peer_address": join_address(node.host, node.peer_port),
            "client_address": join_address(node.host, node.client_port),
            "metrics_address": join_address(node.host, node.metrics_port),
            "http_address": join_address(node.host, node.http_port),
        }
        update_toml(home / node.home / "node.toml", {**addresses, "peers": peers})
    endpoints = [endpoint_table(node.id, node.host, node.client_port) for node in topology.nodes]
    for profile in (home / "profile.toml", *sorted(home.glob("clients/*/profile.toml"))):
        update_toml(profile, {"endpoints": endpoints})
    write_file(home / TOPOLOGY_FILE, topology.encode())


def endpoint_table(validator_id: str, host: str, port: int) -> dict[str, str]:
    """Return the table by which settings name a validator and where it listens."""
    return {"validator_id": validator_id, "address": join_address(host, port)}


def update_toml(path: Path, changes: Mapping[str, Any]) -> None:
    """Set fields of a settings file: texts, whole numbers, truth values, lists of tables of texts.

    Other fields stay as they are; comments do not.
    """
    table = tomllib.loads(read_text(path))
    write_file(path, render_toml({**table, **changes}))


class _Provisioning:
    """One run of the genesis tool over an empty folder."""

    def __init__(self, folder: Path, plan: NetworkPlan) -> None:
        self._folder = folder
        self._plan = plan
        self._suite = plan.suite
        secret = KeyFileSecret.generate(folder / SECRET_FILE)
        self._outfitter = Outfitter(plan.suite, secret, plan.created_ms)

    def run(self) -> Topology:
        numbers = range(1, self._plan.node_count + 1)
        organisations = [self._found_organisation(f"org-{number}") for number in numbers]
        validators = [
            self._equip_validator(validator_id, organisation)
            for validator_id, organisation in zip(
                validator_ids(self._plan.node_count), organisations, strict=True
            )
        ]
        people = (*_CLIENTS, *_GATEWAY) if self._plan.with_gateway else _CLIENTS
        clients = [
            self._equip_client(client_id, role, organisations[0]) for client_id, role in people
        ]
        clients += [
            self._equip_client(admin_id(number), Role.ADMIN, organisation)
            for number, organisation in zip(numbers, organisations, strict=True)
        ]
        stampers = [
            self._equip_time_stamping(validator, organisation.organisation_id)
            for validator, organisation in zip(validators, organisations, strict=True)
        ]
        terms = Terms(
            name=self._plan.name,
            suite=self._suite,
            created_ms=self._plan.created_ms,
            testnet=True,
            parameters=self._plan.parameters,
        )
        identities = (*clients, *stampers)
        genesis = found(
            terms,
            [
                self._introduce(organisation, validator, ports, identities)
                for organisation, validator, ports in zip(
                    organisations, validators, split_ports(self._plan.ports), strict=True
                )
            ],
        )
        topology = self._lay_out(genesis)
        self._distribute(genesis, organisations, topology, clients)
        write_addresses(self._folder, topology)
        return topology

    def _introduce(
        self,
        organisation: _Organisation,
        validator: Validator,
        ports: NodePorts,
        people: Sequence[Identity],
    ) -> Founder:
        name = organisation.organisation_id
        return Founder(
            suite=self._suite,
            organisation=organisation.to_genesis(),
            validator=validator,
            identities=tuple(each for each in people if each.organisation == name),
            peers_at=Address(self._plan.host, ports.peer_port),
            clients_at=Address(self._plan.host, ports.client_port),
        )

    def _found_organisation(self, organisation_id: str) -> _Organisation:
        folder = self._folder / "organisations" / organisation_id
        return _Organisation(
            organisation_id, self._outfitter.found_authority(folder, organisation_id)
        )

    def _equip_validator(self, validator_id: str, organisation: _Organisation) -> Validator:
        return self._outfitter.equip_validator(
            self._folder / "nodes" / validator_id,
            validator_id,
            organisation.organisation_id,
            organisation.authority,
            hosts=(self._plan.host,),
            with_aggregate_key=self._plan.with_aggregate_keys,
        )

    def _equip_client(self, client_id: str, role: Role, organisation: _Organisation) -> Identity:
        return self._outfitter.equip_client(
            self._folder / "clients" / client_id,
            client_id,
            role,
            organisation.organisation_id,
            organisation.authority,
        )

    def _equip_time_stamping(self, validator: Validator, organisation_id: str) -> Identity:
        home = self._folder / "nodes" / validator.validator_id
        identity_id = timestamp_identity_id(organisation_id)
        return self._outfitter.make_timestamp_identity(home, identity_id, organisation_id)

    def _lay_out(self, genesis: Genesis) -> Topology:
        return Topology(
            version=1,
            name=genesis.name,
            chain_id=genesis.chain_id.hex(),
            suite=genesis.suite.name,
            created_ms=genesis.created_ms,
            nodes=tuple(
                NodeEntry(
                    id=validator.validator_id,
                    organisation=validator.organisation,
                    host=self._plan.host,
                    home=f"nodes/{validator.validator_id}",
                    **ports._asdict(),
                )
                for validator, ports in zip(
                    genesis.validators.validators, split_ports(self._plan.ports), strict=True
                )
            ),
        )

    def _distribute(
        self,
        genesis: Genesis,
        organisations: Sequence[_Organisation],
        topology: Topology,
        clients: Sequence[Identity],
    ) -> None:
        """Give everyone genesis, authorities and settings, and each validator its empty log."""
        encoded = genesis.encode()
        invariant(Genesis.decode(encoded) == genesis, "a genesis reads back as written")
        bundle = b"".join(encode_pem(each.authority.certificate) for each in organisations)
        for holder in (".", *(node.home for node in topology.nodes)):
            write_file(self._folder / holder / GENESIS_FILE, encoded)
            write_file(self._folder / holder / CA_BUNDLE_FILE, bundle)
        for node in topology.nodes:
            WriteAheadLog.create(
                self._folder / node.home / WAL_FOLDER, log_identity(genesis, node.id)
            )
            settings = {
                "version": 1,
                "validator_id": node.id,
                "key_file": f"../../{SECRET_FILE}",
                "timestamp_identity": timestamp_identity_id(node.organisation),
                "hashing": self._plan.hashing,
            }
            write_file(self._folder / node.home / "node.toml", render_toml(settings))
        profile = {
            "version": 1,
            "chain_id": topology.chain_id,
            "suite": topology.suite,
        }
        shared = {
            **profile,
            "identity": DEFAULT_IDENTITY,
            "credentials": "clients/{identity}",
            "ca_bundle": CA_BUNDLE_FILE,
            "genesis": GENESIS_FILE,
            "key_file": SECRET_FILE,
        }
        write_file(self._folder / "profile.toml", render_toml(shared))
        for identity in clients:
            write_client_profile(self._folder, topology, identity.identity_id)


def write_client_profile(home: Path, topology: Topology, client_id: str) -> None:
    """Write the profile of a client into its folder in the folder of a network."""
    settings = {
        "version": 1,
        "chain_id": topology.chain_id,
        "suite": topology.suite,
        "identity": client_id,
        "credentials": ".",
        "ca_bundle": f"../../{CA_BUNDLE_FILE}",
        "genesis": f"../../{GENESIS_FILE}",
        "key_file": f"../../{SECRET_FILE}",
        "endpoints": [
            endpoint_table(node.id, node.host, node.client_port) for node in topology.nodes
        ],
    }
    write_file(home / "clients" / client_id / "profile.toml", render_toml(settings))


def join_address(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def render_toml(table: Mapping[str, Any]) -> bytes:
    """Render texts, whole numbers and truth values, then tables of such, then lists of tables.

    A JSON text is a TOML basic string, and so for numbers and truth values.
    """
    tables = {name: value for name, value in table.items() if isinstance(value, Mapping | list)}
    lines = _render_fields({name: table[name] for name in table if name not in tables})
    for name, value in tables.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", *_render_fields(value)]
        else:
            for each in value:
                lines += ["", f"[[{name}]]", *_render_fields(each)]
    return ("\n".join(lines) + "\n").encode()


def _render_fields(table: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in table.items()]
