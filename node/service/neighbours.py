"""Whom this node deals with, by the state at its tip: who decides, and who may follow. No links.

Members of the set in force are dialled and heard. Whoever else the chain knows may follow it: ask
for what is final, and get answers. Who that is: identities of nodes, and validators that left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from node.chain.genesis import Genesis, Role
from node.chain.membership import Validator
from node.crypto.certificate_profile import CertificateIdentity
from node.errors import PeerError
from node.execution.identity import authorities_of, find_certificates, why_barred
from node.execution.registry import (
    StateKind,
    decode_organisation,
    epoch_in_force,
    find_endpoint,
    find_epoch_start,
    find_identity,
    find_last_epoch,
    prefix_of,
)
from node.execution.state import StateReader

ANY_ORGANISATION: Final = ""

_NODE_ROLES: Final = (Role.VALIDATOR, Role.OBSERVER)


class ListedState(StateReader, Protocol):
    """A state whose values of one kind can be listed."""

    def state_under(self, prefix: bytes) -> Iterator[bytes]:
        """Yield the values whose keys begin with `prefix`."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another node: who it must prove to be, and where it may listen."""

    node_id: str
    organisation: str
    """Whose authority has to certify it; `ANY_ORGANISATION` where the state does not say."""
    addresses: tuple[str, ...]
    """`host:port` to try in turn, an IPv6 host in brackets."""


class Neighbourhood:
    """Reads the state anew at every question."""

    def __init__(
        self, genesis: Genesis, node_id: str, hints: Mapping[str, str], state: ListedState
    ) -> None:
        """`hints` are addresses that the operator of this node knows, by node id."""
        self._genesis, self._node_id = genesis, node_id
        self._hints, self._state = hints, state

    def authorities(self) -> dict[str, tuple[bytes, ...]]:
        """Return the authorities of each organisation (DER), by its id."""
        values = self._state.state_under(prefix_of(StateKind.ORGANISATION))
        organisations = [decode_organisation(value) for value in values]
        read = self._state.get
        return {each.organisation_id: authorities_of(read, each) for each in organisations}

    def why_barred(self, shown: CertificateIdentity, now_ms: int) -> str | None:
        """Return why whoever shows a certificate is let in no more; `now_ms` is UTC.

        An authority certifies for its own organisation alone: nobody is by its word who the state
        knows as another's. For what is granted, and counted, goes by the identity. Of a client that
        ends when the state says, however long its certificate goes on. Nodes have rules of theirs.
        """
        name, known = shown.identity_id, self._organisations_of(shown.identity_id)
        if known and shown.organisation not in known:
            others = " and ".join(map(repr, known))
            return f"{name!r} is of {others}: {shown.organisation!r} cannot certify it"
        identity = find_identity(self._state, name)
        is_client = identity is not None and identity.role not in _NODE_ROLES
        if identity is not None and is_client and now_ms > identity.not_after_ms:
            return f"identity {name!r}: its validity is over; renew it: govchain identity rotate"
        return self._why_lost(shown, now_ms)

    def _why_lost(self, shown: CertificateIdentity, now_ms: int) -> str | None:
        """Return what took whoever shows a certificate its rights, or the certificate its own."""
        barred = why_barred(self._state.get, shown.identity_id, shown.organisation)
        if barred is not None:
            return barred
        accepted = find_certificates(self._state.get, shown.identity_id)
        if accepted is None or accepted.accepts(shown.fingerprint, now_ms):
            return None
        return f"{shown.identity_id!r}: shows another certificate than the one registered for it"

    def _organisations_of(self, name: str) -> list[str]:
        """Return whose an identity, a validator, or one that left, of this name is; mostly one."""
        validators = epoch_in_force(self._state, self._genesis.suite).validators
        index = validators.index_of(name)
        member = self._find_former(name) if index is None else validators.validators[index]
        found = (find_identity(self._state, name), member)
        return [*dict.fromkeys(each.organisation for each in found if each is not None)]

    def members(self) -> list[Neighbour]:
        """Return the other members of the set in force."""
        return [
            self._neighbour(each.validator_id, each.organisation)
            for each in epoch_in_force(self._state, self._genesis.suite).validators.validators
            if each.validator_id != self._node_id
        ]

    def unknown(self) -> list[Neighbour]:
        """Return whom the operator knows and the state does not.

        They may be members of an epoch that this node has not come to, and so be who it needs.
        """
        members = [each.node_id for each in self.members()]
        return [
            self._neighbour(node_id, ANY_ORGANISATION)
            for node_id in self._hints
            if node_id not in (self._node_id, *members)
            and find_identity(self._state, node_id) is None
            and find_last_epoch(self._state, node_id) is None
        ]

    def follower(self, shown: CertificateIdentity, now_ms: int) -> Neighbour:
        """Return who follows, by the certificate shown; `now_ms` is UTC.

        Raises `PeerError` naming the reason why it may not.
        """
        who = f"{shown.role} {shown.identity_id!r}"
        barred = self._why_lost(shown, now_ms)
        if barred is not None:
            raise PeerError("barred", barred)
        identity = find_identity(self._state, shown.identity_id)
        left = self._find_former(shown.identity_id)
        if identity is not None and identity.role in _NODE_ROLES:
            organisation, role = identity.organisation, identity.role.name.lower()
            if not identity.not_before_ms <= now_ms <= identity.not_after_ms:
                raise PeerError("identity-not-valid", f"{who}: its identity is not valid now")
        elif left is not None:
            organisation, role = left.organisation, Role.VALIDATOR.name.lower()
        else:
            raise PeerError(
                "stranger", f"{who} is no other validator now, and not registered to follow"
            )
        if (shown.organisation, shown.role) != (organisation, role):
            raise PeerError(
                "wrong-certificate",
                f"{who}: expected a certificate of {organisation!r} for a {role}, got one of "
                f"{shown.organisation!r} for a {shown.role}",
            )
        found = self._neighbour(shown.identity_id, organisation)
        if not found.addresses:
            raise PeerError("no-endpoint", f"{who}: no endpoint is registered to answer it at")
        return found

    def _neighbour(self, node_id: str, organisation: str) -> Neighbour:
        endpoint = find_endpoint(self._state, node_id)
        known = [] if endpoint is None else [str(endpoint)]
        if node_id in self._hints:
            known.append(self._hints[node_id])
        return Neighbour(node_id, organisation, tuple(dict.fromkeys(known)))

    def _find_former(self, node_id: str) -> Validator | None:
        """Return a validator that was removed, as its last set named it."""
        epoch = find_last_epoch(self._state, node_id)
        if epoch is None:
            return None
        start = find_epoch_start(self._state, epoch, self._genesis.suite)
        validators = self._genesis.validators if start is None else start.validators
        index = validators.index_of(node_id)
        return None if index is None else validators.validators[index]
