"""A node that joins a network of this machine, or leaves it: its files, and the network's about it.

What the chain has to say to that, and when, is for the caller: nothing here speaks to a node. A
newcomer is a node of the topology that is no member yet; a call that was interrupted is taken up.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from node.chain.genesis import Genesis, Identity, Organisation, Role
from node.chain.governance import (
    AddOrganisation,
    AddValidator,
    Endpoint,
    Operation,
    RegisterIdentity,
    SetEndpoint,
    possession_bytes,
)
from node.chain.membership import Validator
from node.crypto.certificate import encode_pem, read_identity
from node.crypto.keystore import KeyFileSecret, KeyPurpose, load_signer
from node.errors import ConfigError
from node.operations.equipment import AUTHORITY_FILE, FOLDER_MODE, Outfitter
from node.operations.provision import render_toml, write_addresses
from node.operations.topology import (
    CA_BUNDLE_FILE,
    GENESIS_FILE,
    PORTS_PER_NODE,
    SECRET_FILE,
    NodeEntry,
    Topology,
    find_free_ports,
    lock_folder,
    sync_folder,
    write_file,
)
from node.service.home import (
    COSIGNATURE_KEY_FILE,
    IDENTITY_KEY_FILE,
    TLS_FILE,
    VOTE_KEY_FILE,
    WAL_FOLDER,
    log_identity,
)
from node.storage.wal import WriteAheadLog

ORGANISATIONS_FOLDER: Final = "organisations"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What the chain has to be told of a node that joins."""

    organisation: Organisation
    identity: Identity
    endpoint: SetEndpoint
    joining: AddValidator

    def registration(self, known_organisations: Collection[str]) -> tuple[Operation, ...]:
        """Return the operations after which it may follow; its organisation is added if need be."""
        added = self.organisation.organisation_id not in known_organisations
        first = (AddOrganisation(self.organisation),) if added else ()
        return (*first, RegisterIdentity(self.identity), self.endpoint)


def settle(home: Path, node_id: str, organisation_id: str, now_ms: int) -> NodeEntry:
    """Make the files of a node that is to join, whole or not at all; return it.

    An organisation that is not there yet is founded. One that an earlier call made is returned as
    it is. Raises `ConfigError` where the name is taken.
    """
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
        peer_port, client_port, metrics_port = find_free_ports(host, PORTS_PER_NODE, spare=spare)
        entry = NodeEntry(
            id=node_id,
            organisation=organisation_id,
            host=host,
            peer_port=peer_port,
            client_port=client_port,
            metrics_port=metrics_port,
            home=folder,
            is_member=False,
        )
        _equip(home, entry, now_ms)
        _enter(home, topology, (*topology.nodes, entry))
        return entry


def describe(home: Path, entry: NodeEntry) -> Newcomer:
    """Return what the chain has to be told of a node that `settle` made, from its keys."""
    secret = KeyFileSecret.load(home / SECRET_FILE)
    genesis = Genesis.decode((home / GENESIS_FILE).read_bytes())
    node_home = home / entry.home
    vote_key = load_signer(node_home / VOTE_KEY_FILE, secret, KeyPurpose.VOTE)
    cosigner = load_signer(node_home / COSIGNATURE_KEY_FILE, secret, KeyPurpose.COSIGNATURE)
    identity_key = load_signer(node_home / IDENTITY_KEY_FILE, secret, KeyPurpose.IDENTITY)
    shown = read_identity((node_home / TLS_FILE).read_bytes())
    outfitter = Outfitter(genesis.suite, secret, shown.not_before_ms)
    authority = outfitter.load_authority(home / ORGANISATIONS_FOLDER / entry.organisation)
    validator = Validator(
        validator_id=entry.id,
        organisation=entry.organisation,
        vote_key=vote_key.public_key.encoded,
        cosignature_key=cosigner.public_key.encoded,
    )
    return Newcomer(
        organisation=Organisation(
            organisation_id=entry.organisation,
            name=entry.organisation,
            ca_certificate=authority.certificate,
        ),
        identity=Identity(
            identity_id=entry.id,
            organisation=entry.organisation,
            role=Role.VALIDATOR,
            public_key=identity_key.public_key.encoded,
            not_before_ms=shown.not_before_ms,
            not_after_ms=shown.not_after_ms,
        ),
        endpoint=SetEndpoint(entry.id, Endpoint(entry.host, entry.peer_port)),
        joining=AddValidator(
            validator, vote_key.sign(possession_bytes(genesis.chain_id, validator))
        ),
    )


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


def _equip(home: Path, entry: NodeEntry, now_ms: int) -> None:
    secret = KeyFileSecret.load(home / SECRET_FILE)
    encoded = (home / GENESIS_FILE).read_bytes()
    genesis = Genesis.decode(encoded)
    outfitter = Outfitter(genesis.suite, secret, now_ms)
    organisation = home / ORGANISATIONS_FOLDER / entry.organisation
    if not organisation.is_dir():
        with _workshop(organisation) as workshop:
            outfitter.found_authority(workshop, entry.organisation)
    authority = outfitter.load_authority(organisation)
    _spread_authorities(home)
    with _workshop(home / entry.home) as workshop:
        outfitter.equip_validator(
            workshop, entry.id, entry.organisation, authority, hosts=(entry.host,)
        )
        outfitter.make_node_identity(workshop)
        write_file(workshop / GENESIS_FILE, encoded)
        write_file(workshop / CA_BUNDLE_FILE, (home / CA_BUNDLE_FILE).read_bytes())
        WriteAheadLog.create(workshop / WAL_FOLDER, log_identity(genesis, entry.id))
        settings = {"version": 1, "validator_id": entry.id, "key_file": f"../../{SECRET_FILE}"}
        write_file(workshop / "node.toml", render_toml(settings))


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


@contextmanager
def _workshop(place: Path) -> Iterator[Path]:
    """Yield a place to make a folder at; it takes its name once all of it is made."""
    workshop = place.with_name(f".{place.name}.unfinished")
    shutil.rmtree(workshop, ignore_errors=True)  # left by a run that was killed
    try:
        yield workshop
        workshop.chmod(FOLDER_MODE)
        workshop.rename(place)
        sync_folder(place.parent)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
