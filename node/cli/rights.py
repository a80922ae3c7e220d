"""Organisations, identities, their rights and the rules in force, as enough validators tell them.

What follows from these is computed as the chain computes it, by the functions that execution uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from gettext import gettext as _
from typing import TYPE_CHECKING, Final

from node.chain.encoding import decode
from node.chain.genesis import Genesis, Identity, Organisation
from node.chain.governance import Governance
from node.chain.identity import AcceptedCertificates, Status, StatusEntry, Subject
from node.chain.policy import APPROVER_ROLES, Rule
from node.chain.quota import Quota
from node.chain.transaction import Transaction
from node.cli.parameters_in_force import read_parameters
from node.cli.verb import CommandError
from node.errors import ClientError, DecodeError, InvariantViolation
from node.execution.identity import (
    authorities_of,
    find_certificates,
    find_roll,
    find_status,
    find_trail,
    status_of,
)
from node.execution.policy import (
    Founding,
    find_rule,
    is_approver_role,
    is_usable,
    missing_approval,
    names_of,
    rule_of,
)
from node.execution.registry import (
    StateKind,
    decode_organisation,
    genesis_state,
    prefix_of,
    read_identity,
    read_quota,
)
from node.limits import STATE_VALUE_BYTES_MAX

if TYPE_CHECKING:
    from node.chain.genesis import Parameters
    from node.cli.network import Network
    from node.cli.proposal import Proposal
    from node.rpc.client import LedgerClient

_ASK_MS: Final = 5_000
_NOT_HELD: Final = ("GC-2203", "GC-2210")
"""What a validator answers that pruned it, or never had it."""
_KINDS: Final = (
    StateKind.ORGANISATION,
    StateKind.IDENTITY,
    StateKind.STATUS,
    StateKind.TRAIL,
    StateKind.CERTIFICATES,
    StateKind.AUTHORITIES,
    StateKind.RULE,
    StateKind.ROLL,
    StateKind.QUOTA,
    StateKind.RETIRED_VALIDATOR,
    StateKind.RETIRED_KEY,
    StateKind.CARRIED_OUT,
)


@dataclass(frozen=True, slots=True)
class Rights:
    """Part of a state."""

    genesis: Genesis
    parameters: Parameters
    """In force; those of genesis where nobody was asked."""
    entries: Mapping[bytes, bytes]
    time_ms: int
    """T of the newest block, by the word of one validator: when certificates are judged here."""

    @property
    def founding(self) -> Founding:
        """Return what rules take from genesis."""
        return Founding.of(self.genesis)

    def read(self, key: bytes) -> bytes | None:
        """Return the state value under a key."""
        return self.entries.get(key)

    def organisations(self) -> list[Organisation]:
        """Return all organisations, in order of their ids."""
        found = [decode_organisation(value) for value in self._of(StateKind.ORGANISATION)]
        return sorted(found, key=lambda each: each.organisation_id)

    def organisation(self, name: str) -> Organisation:
        """Return an organisation; raises `CommandError` where there is none."""
        for each in self.organisations():
            if each.organisation_id == name:
                return each
        known = ", ".join(each.organisation_id for each in self.organisations())
        message = _("no organisation {name} on this chain; there are: {known}")
        raise CommandError("GC-2203", message.format(name=name, known=known))

    def identities(self) -> list[Identity]:
        """Return all identities, in order of organisation, role and id."""
        what = "identity of a validator's answer"
        found = [
            Identity.from_value(decode(value, what=what, size_max=STATE_VALUE_BYTES_MAX))
            for value in self._of(StateKind.IDENTITY)
        ]
        return sorted(found, key=lambda each: (each.organisation, each.role, each.identity_id))

    def identity(self, name: str) -> Identity | None:
        """Return an identity, or None; a validator need not be one."""
        return read_identity(self.read, name)

    def status(self, subject: Subject, name: str) -> Status:
        """Return whether somebody has its rights."""
        return status_of(self.read, subject, name)

    def last_change(self, subject: Subject, name: str) -> StatusEntry | None:
        """Return what happened to somebody last; None since genesis."""
        return find_status(self.read, subject, name)

    def trail(self, subject: Subject, name: str) -> Sequence[StatusEntry]:
        """Return all that happened to somebody since genesis."""
        return find_trail(self.read, subject, name)

    def certificates(self, identity_id: str) -> AcceptedCertificates | None:
        """Return what an identity may show; None where any of an authority of its own goes."""
        return find_certificates(self.read, identity_id)

    def authorities(self, organisation: Organisation) -> tuple[bytes, ...]:
        """Return who certifies an organisation's members, DER."""
        return authorities_of(self.read, organisation)

    def quota(self, organisation_id: str) -> Quota | None:
        """Return the quota of an organisation; None where none was set."""
        return read_quota(self.read, organisation_id)

    def rule_of(self, operation: str) -> Rule:
        """Return the rule in force for an operation."""
        return rule_of(self.read, operation)

    def rules_set(self) -> dict[str, Rule]:
        """Return the rules that are not the defaults, by operation."""
        keys = [key for key in self.entries if key.startswith(prefix_of(StateKind.RULE))]
        names = [decode(key, what="rule key", size_max=512)[1] for key in sorted(keys)]
        return {name: rule for name in names if (rule := find_rule(self.read, name)) is not None}

    def approvers(self, governance: Governance) -> list[Identity]:
        """Return whose approval could count now, founders first."""
        names = (*self.founding.approvers, *find_roll(self.read).approvers)
        found = [each for each in map(self.identity, names) if each is not None]
        asked = self.operations_of(governance)
        return [
            each
            for each in found
            if each.role in APPROVER_ROLES
            and is_usable(self.read, each, self.time_ms)
            and is_approver_role(self.read, each.role, asked)
        ]

    def operations_of(self, governance: Governance) -> list[str]:
        """Return the names, for rules, of all that a governed transaction does."""
        named = [names_of(each, self.parameters) for each in governance.operations]
        return [*dict.fromkeys(name for names in named for name in names)]

    def missing(self, proposal: Proposal) -> list[str]:
        """Return the operations that too few approve of, by their names."""
        given = [
            each
            for each in map(self.identity, proposal.approved_by)
            if each is not None and is_usable(self.read, each, self.time_ms)
        ]
        return [
            name
            for name in self.operations_of(proposal.governance)
            if missing_approval(self.read, name, given, self.founding)
        ]

    def approving_organisations(self, proposal: Proposal) -> list[str]:
        """Return the organisations of those who approve."""
        given = [each for each in map(self.identity, proposal.approved_by) if each is not None]
        return [*dict.fromkeys(each.organisation for each in given)]

    def _of(self, kind: StateKind) -> Iterator[bytes]:
        prefix = prefix_of(kind)
        return (value for key, value in self.entries.items() if key.startswith(prefix))


def read_rights(network: Network) -> Rights:
    """Return what f + 1 validators say alike, of which one at least is correct.

    Where none answers, what genesis says: the chain judges in the end. Raises `CommandError` where
    some answer, and not enough say the same.
    """
    from node.rpc.client import NetworkUnavailable

    validators = network.validators
    needed = validators.faults + 1
    heard: list[dict[bytes, bytes]] = []
    for each in validators.validators:
        try:
            said = network.ask(_ask_all, only=each.validator_id)
        except (NetworkUnavailable, ClientError):
            continue
        heard.append(said)
        if heard.count(said) >= needed:
            time_ms = network.ask(lambda client: client.status()).time_ms
            return _checked(Rights(network.genesis, read_parameters(network), said, time_ms))
    if not heard:
        genesis = network.genesis
        return Rights(genesis, genesis.parameters, genesis_state(genesis), genesis.created_ms)
    message = _("{needed} validators have to say the same of who has which rights, {count} answer")
    raise CommandError("GC-2211", message.format(needed=needed, count=len(heard)))


def read_approvers(
    network: Network, trail: Sequence[StatusEntry]
) -> dict[bytes, tuple[str, ...] | None]:
    """Return who approved each entry of a trail, by the transactions that it names.

    The state names those by a hash over all that was approved, so one validator's word is enough.
    """
    found: dict[bytes, tuple[str, ...] | None] = {}
    for tx_id in dict.fromkeys(each.tx_id for each in trail):
        found[tx_id] = _approvers_of(network, tx_id)
    return found


def _approvers_of(network: Network, tx_id: bytes) -> tuple[str, ...] | None:
    from node.cli.network import decode_answer

    try:
        answer = network.ask(lambda client: client.transaction(tx_id))
    except ClientError as error:
        if error.code in _NOT_HELD:
            return None
        raise
    committed = decode_answer(
        lambda data: Transaction.decode(data, network.suite), answer.transaction
    )
    payload = committed.body.payload
    if committed.tx_id != tx_id or not isinstance(payload, Governance):
        message = f"expected governed transaction {tx_id.hex()}, got {committed.tx_id.hex()}"
        raise CommandError("GC-2305", message)
    return tuple(each.identity_id for each in payload.approvals)


async def _ask_all(client: LedgerClient) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for kind in _KINDS:
        found |= await client.state_entries(kind, _ASK_MS)
    return found


def _checked(rights: Rights) -> Rights:
    """Read all of it once, so that what is malformed is told as a validator's fault."""
    try:
        rights.identities()
        rights.organisations()
        rights.rules_set()
        find_roll(rights.read)
        for each in rights.organisations():
            rights.quota(each.organisation_id)
    except (DecodeError, InvariantViolation, IndexError, TypeError) as error:
        raise CommandError("GC-2305", str(error)) from error
    return rights
