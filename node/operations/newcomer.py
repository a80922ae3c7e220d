"""A node that joins a network of this machine, or leaves it: its files, and the network's about it.

What the chain has to say to that, and when, is for the caller: nothing here speaks to a node. A
newcomer is a node of the topology that is no member yet; a call that was interrupted is taken up.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from node.chain.genesis import Genesis
from node.chain.governance import Endpoint
from node.config import NodeConfig
from node.crypto.certificate import encode_pem, is_dns_name
from node.crypto.keystore import KeyFileSecret
from node.errors import ConfigError
from node.limits import IDENTITY_ID_BYTES_MAX
from node.operations.equipment import AUTHORITY_FILE, Outfitter, timestamp_identity_id
from node.operations.homes import furnish, make_known, making, read_newcomer
from node.operations.introduction import Newcomer
from node.operations.provision import write_addresses
from node.operations.topology import (
    CA_BUNDLE_FILE,
    GENESIS_FILE,
    PORTS_PER_NODE,
    SECRET_FILE,
    NodeEntry,
    NodePorts,
    Topology,
    find_free_ports,
    lock_folder,
    write_file,
)

ORGANISATIONS_FOLDER: Final = "organisations"


def settle(home: Path, node_id: str, organisation_id: str, now_ms: int) -> NodeEntry:
    """Make the files of a node that is to join, whole or not at all; return it.

    An organisation that is not there yet is founded. One that an earlier call made is returned as
    it is. Raises `ConfigError` where a name is none, or the node's is taken.
    """
    _check_names(node_id, organisation_id)
    with lock_folder(home, wait=True):
        topology = Topology.load(home)
        entry = topology.find(node_id)
        if entry is not None and not entry.is_member and entry.organisation == organisation_id:
            return entry
        folder = f"nodes/{node_id}"
        if entry is not None or (home / folder).exists():
            raise ConfigError(
                f"{home / folder}: exists already: no name is used twice",
                code="GC-2102",
                fix="name another validator",
            )
        host = topology.nodes[0].host
        spare = [port for each in topology.nodes for port in each.ports]
        ports = NodePorts(*find_free_ports(host, PORTS_PER_NODE, spare=spare))
        entry = NodeEntry(
            id=node_id,
            organisation=organisation_id,
            host=host,
            home=folder,
            is_member=False,
            **ports._asdict(),
        )
        # Each node loads kernels: whether those of one machine do was chosen for all of them.
        hashing = NodeConfig.load(home / topology.nodes[0].home).hashing
        _equip(home, entry, hashing, now_ms)
        _enter(home, topology, (*topology.nodes, entry))
        return entry


def _check_names(node_id: str, organisation_id: str) -> None:
    """Refuse what cannot be a name: both become folders' names, the node's a DNS name, too."""
    if not is_dns_name(node_id) or len(node_id) > IDENTITY_ID_BYTES_MAX:
        raise ConfigError(
            f"{node_id!r:.80}: expected a DNS name (letters, digits, '-', '_', '.') of at most "
            f"{IDENTITY_ID_BYTES_MAX} characters",
            code="GC-2303",
        )
    is_path = organisation_id in (".", "..") or "/" in organisation_id
    size = len(organisation_id.encode())
    if is_path or not organisation_id.isprintable() or not 0 < size <= IDENTITY_ID_BYTES_MAX:
        raise ConfigError(
            f"{organisation_id!r:.80}: expected the name of an organisation, which is no path, of "
            f"1 to {IDENTITY_ID_BYTES_MAX} bytes",
            code="GC-2303",
        )


def describe(home: Path, entry: NodeEntry) -> Newcomer:
    """Return what the chain has to be told of a node that `settle` made, from its keys."""
    secret = KeyFileSecret.load(home / SECRET_FILE)
    genesis = Genesis.decode((home / GENESIS_FILE).read_bytes())
    authority = (home / ORGANISATIONS_FOLDER / entry.organisation / AUTHORITY_FILE).read_bytes()
    endpoint = Endpoint(entry.host, entry.peer_port)
    return read_newcomer(home / entry.home, genesis, secret, authority, endpoint)


def record_change(home: Path, *, joined: Collection[str], left: Collection[str]) -> None:
    """Have the network's files say who is a validator now; those that left are no part of it.

    Their folders stay, with what they signed.
    """
    with lock_folder(home, wait=True):
        topology = Topology.load(home)
        kept = [
            msgspec.structs.replace(each, is_member=True) if each.id in joined else each
            for each in topology.nodes
            if each.id not in left
        ]
        _enter(home, topology, tuple(kept))


def _enter(home: Path, topology: Topology, nodes: tuple[NodeEntry, ...]) -> None:
    write_addresses(home, msgspec.structs.replace(topology, nodes=nodes))


def _equip(home: Path, entry: NodeEntry, hashing: str, now_ms: int) -> None:
    genesis = Genesis.decode((home / GENESIS_FILE).read_bytes())
    outfitter = Outfitter(genesis.suite, KeyFileSecret.load(home / SECRET_FILE), now_ms)
    organisation = home / ORGANISATIONS_FOLDER / entry.organisation
    if not organisation.is_dir():
        with making(organisation) as workshop:
            outfitter.found_authority(workshop, entry.organisation)
    authority = outfitter.load_authority(organisation)
    _spread_authorities(home)
    with making(home / entry.home) as workshop:
        furnish(
            workshop,
            genesis,
            outfitter,
            authority,
            {
                "version": 1,
                "validator_id": entry.id,
                "key_file": f"../../{SECRET_FILE}",
                "timestamp_identity": timestamp_identity_id(entry.id),
                "hashing": hashing,
            },
            organisation_id=entry.organisation,
            host=entry.host,
        )
        make_known(workshop, authority.certificate, (home / CA_BUNDLE_FILE).read_bytes())


def _spread_authorities(home: Path) -> None:
    """Have every bundle hold the authorities of all organisations: clients believe by it."""
    topology = Topology.load(home)
    known = (home / CA_BUNDLE_FILE).read_bytes()
    for path in sorted((home / ORGANISATIONS_FOLDER).glob(f"*/{AUTHORITY_FILE}")):
        certificate = encode_pem(path.read_bytes())
        if certificate not in known:
            known += certificate
    for holder in (".", *(node.home for node in topology.nodes)):
        write_file(home / holder / CA_BUNDLE_FILE, known)
