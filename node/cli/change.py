"""Carrying out a change of the chain: approvals, evidence, the transaction, and what came of it.

Rules are the chain's: what is looked at here first is told earlier and in more words than a refusal
by the chain would be.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from gettext import gettext as _
from typing import Final

from node.chain.block import Header, ResultCode, checkpoint_of
from node.chain.genesis import Identity, Role
from node.chain.governance import (
    AddValidator,
    CheckpointStatement,
    Governance,
    Operation,
    ends_epoch,
    members_after,
)
from node.chain.membership import Validator, quorum_size
from node.cli.network import Network
from node.cli.outcomes import explain
from node.cli.proposal import Guest, Proposal
from node.cli.rights import Rights, read_rights
from node.cli.rules import tell_rule
from node.cli.screen import Screen
from node.cli.verb import CommandError
from node.client.signing import clock_ms, sign_payload
from node.crypto.suite import Suite
from node.errors import ClientError, CryptoError, DecodeError
from node.limits import TX_NONCE_BYTES
from node.rpc.client import LedgerClient
from node.rpc.port import Health, NodeStatus
from node.timestamp.receipt import iso_time

_SUBMIT_MS: Final = 30_000
_ASK_MS: Final = 2_000
_DAY_MS: Final = 86_400_000
_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Carried:
    """What came of a change."""

    tx_id: bytes
    height: int
    """Of its block; where the epoch ended, of the barrier."""
    epoch: int
    """In force from the next height on."""
    members: tuple[str, ...]
    """Who decides in it."""


def founding_admins(network: Network) -> list[Identity]:
    """Return the administrators that the genesis names, whose keys are here."""
    return [
        identity
        for identity in network.genesis.identities
        if identity.role is Role.ADMIN
        and network.profile.may_hold(identity.identity_id)
        and network.profile.credentials_of(identity.identity_id).is_dir()
    ]


def propose(
    network: Network,
    operations: tuple[Operation, ...],
    guests: tuple[Guest, ...] = (),
    *,
    valid_days: int,
) -> Proposal:
    """Return a proposal, for the epoch in force and so many days, that nobody approves yet."""
    governance = Governance(
        epoch=network.validators.epoch,
        not_after_ms=clock_ms() + valid_days * _DAY_MS,
        nonce=secrets.token_bytes(TX_NONCE_BYTES),
        operations=operations,
    )
    return Proposal(network.profile.chain_id, governance, guests)


def check_epoch(network: Network, proposal: Proposal) -> None:
    """Refuse a proposal of another chain, for another epoch than the one in force, or lapsed."""
    if proposal.chain_id != network.profile.chain_id:
        message = _("the proposal is for chain {got}, this is {expected}")
        got, expected = proposal.chain_id.hex(), network.profile.chain_id.hex()
        raise CommandError("GC-2322", message.format(got=got, expected=expected))
    epoch, wanted = network.validators.epoch, proposal.governance.epoch
    if wanted == epoch:
        _check_end(proposal.governance)
        return
    if wanted < epoch:
        message = _("the proposal was made for epoch {got}, which has ended: in force is {epoch}")
        fix = _(
            "make it again, for epoch {epoch}: the command that made it, with --propose; then have "
            "it approved again: --approve FILE"
        )
    else:
        message = _(
            "the proposal was made for epoch {got}; as far as the validators asked here lead, "
            "{epoch} is in force"
        )
        fix = _(
            "ask validators that have caught up: govchain node list tells how far each is; then "
            "hand in the same file again: --submit FILE"
        )
    found = message.format(got=wanted, epoch=epoch)
    raise CommandError("GC-2307", found, fix.format(epoch=epoch))


def _check_end(governance: Governance) -> None:
    """Refuse what lapsed by the clock here, before anybody approves of it."""
    if governance.not_after_ms < clock_ms():
        message = _("the proposal lapsed at {time}, before it was handed in")
        raise CommandError(
            "GC-2307",
            message.format(time=iso_time(governance.not_after_ms)),
            _(
                "make it again: the command that made it, with --propose (--valid-days for more "
                "time); then have it approved again: --approve FILE"
            ),
        )


def known_organisations(network: Network) -> list[str]:
    """Return organisations that the chain knows: founders, and those that ever had a node here.

    One that was admitted and whose node neither was a validator nor follows now is not seen.
    """
    sets = network.follow(network.validators.epoch).validator_sets
    told = network.ask(lambda client: client.membership(_ASK_MS))
    found = [each.organisation_id for each in network.genesis.organisations]
    found += [each.organisation for validators in sets for each in validators.validators]
    found += [each.organisation for each in told.followers]
    return [*dict.fromkeys(found)]


def approve_all(network: Network, proposal: Proposal) -> Proposal:
    """Have those whose keys are here approve, one of each organisation, until it is enough.

    Raises `CommandError` where it is not.
    """
    rights = read_rights(network)
    organisations: dict[str, None] = {}
    for approver in rights.approvers(proposal.governance):
        if not rights.missing(proposal):
            break
        if approver.organisation not in organisations and has_credentials(network, approver):
            signer = Network(network.profile, approver.identity_id).signer
            proposal = proposal.approve(approver.identity_id, signer)
            organisations[approver.organisation] = None
    refuse_unapproved(rights, proposal)
    return proposal


def has_credentials(network: Network, identity: Identity) -> bool:
    """Say whether the keys of an identity are here."""
    profile, name = network.profile, identity.identity_id
    return profile.may_hold(name) and profile.credentials_of(name).is_dir()


def check_approvals(network: Network, proposal: Proposal) -> None:
    """Refuse a proposal that fewer approve of than the rules in force ask for."""
    refuse_unapproved(read_rights(network), proposal)


def refuse_unapproved(rights: Rights, proposal: Proposal) -> None:
    """Refuse a proposal that fewer approve of than these rules ask for; say what that is."""
    missing = rights.missing(proposal)
    if missing:
        message = _("too few approve. It takes: {rules}. Approved so far by: {organisations}")
        rules = "; ".join(tell_rule(name, rights.rule_of(name)) for name in missing)
        approving = ", ".join(rights.approving_organisations(proposal)) or _("nobody")
        raise CommandError("GC-2321", message.format(rules=rules, organisations=approving))


def carry_out(
    screen: Screen, network: Network, proposal: Proposal, *, patience_s: float
) -> Carried:
    """Gather the evidence where it is needed, submit, and wait until the change is in force.

    The network's identity signs the transaction. Raises `CommandError` or `ClientError` saying what
    is missing, or why the chain refused.
    """
    check_epoch(network, proposal)
    check_approvals(network, proposal)
    governance = proposal.governance
    is_barrier = ends_epoch(governance.operations, network.validators.validators)
    if is_barrier:
        evidence = network.ask(
            lambda client: _gather(screen, network, client, governance, patience_s)
        )
        governance = replace(governance, evidence=tuple(evidence))
    tx_id, height = network.ask(lambda client: _submit(network, client, governance))
    if is_barrier:
        network.ask(lambda client: _await_members(screen, client, governance, patience_s))
    validators = Network(network.profile, network.identity).validators  # followed and checked anew
    members = tuple(each.validator_id for each in validators.validators)
    return Carried(tx_id, height, validators.epoch, members)


async def await_learner(
    screen: Screen, client: LedgerClient, node_id: str, patience_s: float
) -> None:
    """Wait until a node holds what the validators held when we began; say how far it is.

    Raises `CommandError` where it makes no progress for `patience_s`.
    """
    goal = max((each.height for each in await _answers(client)), default=0)
    seen, seen_s, reached = "", time.monotonic(), 0
    with screen.progress(_("{node} catches up").format(node=node_id), goal) as advance:
        while True:
            statuses = await client.statuses(_ASK_MS)
            status = statuses.get(node_id)
            height = 0
            said = str(status)
            if isinstance(status, NodeStatus):
                height, said = status.height, f"{status.health.name} {status.health_detail}"
                if status.health in (Health.FOLLOWING, Health.READY) and height >= goal:
                    return
            if height > reached or said != seen:
                advance(max(0, min(height, goal) - reached))
                seen, seen_s, reached = said, time.monotonic(), max(height, reached)
            elif time.monotonic() > seen_s + patience_s:
                message = _("{node} has not caught up: at {height} of {goal}, {said}")
                cause = message.format(node=node_id, height=height, goal=goal, said=seen)
                raise CommandError("GC-2323", cause)
            await asyncio.sleep(_POLL_S)


async def _answers(client: LedgerClient) -> list[NodeStatus]:
    return [
        each for each in (await client.statuses(_ASK_MS)).values() if isinstance(each, NodeStatus)
    ]


# ---------------------------------------------------------------------- evidence


async def _gather(
    screen: Screen,
    network: Network,
    client: LedgerClient,
    governance: Governance,
    patience_s: float,
) -> list[CheckpointStatement]:
    """Return sound statements of a quorum of the members to be, of all that join among them."""
    members = members_after(network.validators.validators, governance.operations)
    joining = [
        each.validator.validator_id
        for each in governance.operations
        if isinstance(each, AddValidator)
    ]
    needed = quorum_size(len(members)) if members else 1
    deadline_s = time.monotonic() + patience_s
    while True:
        found, missing = await _sound_statements(network, client, members)
        stated = [each.validator_id for each in found]
        if len(found) >= needed and all(name in stated for name in joining):
            said = _("{count} of {all} validators to be state that they hold the chain")
            screen.note(said.format(count=len(found), all=len(members)))
            return found
        if time.monotonic() > deadline_s:
            message = _(
                "{count} of {all} validators to be state that they hold the chain, {needed} are "
                "needed, and all that join; missing: {missing}"
            )
            reasons = "; ".join(f"{name} ({why})" for name, why in missing.items())
            cause = message.format(
                count=len(found), all=len(members), needed=needed, missing=reasons
            )
            raise CommandError("GC-2320", cause)
        await asyncio.sleep(_POLL_S)


async def _sound_statements(
    network: Network, client: LedgerClient, members: Sequence[Validator]
) -> tuple[list[CheckpointStatement], Mapping[str, str]]:
    """Return the statements that hold, and why others do not or are not there."""
    answers = await client.checkpoints(_ASK_MS)
    found, missing = [], {}
    for member in members:
        answer = answers.get(member.validator_id)
        if answer is None:
            missing[member.validator_id] = _("the profile does not say where it listens")
        elif isinstance(answer, ClientError):
            missing[member.validator_id] = str(answer)
        elif (fault := await _fault_in(client, answer, member, network.suite)) is not None:
            missing[member.validator_id] = fault
        else:
            found.append(answer)
    return found, missing


async def _fault_in(
    client: LedgerClient, statement: CheckpointStatement, member: Validator, suite: Suite
) -> str | None:
    """Return what is wrong with a statement: one that is would spoil the whole transaction."""
    try:
        header = Header.decode(statement.header)
        digest = header.digest(suite)
        key = suite.load_cosignature_key(member.cosignature_key)
        held = Header.decode((await client.certified_header(header.height, _ASK_MS)).header)
    except (DecodeError, CryptoError, ClientError) as error:
        return str(error)
    named = statement.validator_id == member.validator_id
    if not named or not key.verify(checkpoint_of(header, digest), statement.signature):
        return _("its statement does not verify")
    if held != header:
        return _("it holds another chain than the validator asked")
    return None


# ---------------------------------------------------------------------- the transaction


async def _submit(
    network: Network, client: LedgerClient, governance: Governance
) -> tuple[bytes, int]:
    """Submit a governed transaction; return its id and its block's height once it is final."""
    status = await client.status()
    transaction = sign_payload(network, governance, status.reckoned_ms(clock_ms()))
    (outcome,) = await client.submit([transaction.encoded], _SUBMIT_MS)
    result = outcome.final()
    if result.code is not ResultCode.OK:
        cause, fix = explain(result.code)
        raise ChangeRefused(result.code, f"{result.code.name}: {cause}", fix)
    return transaction.tx_id, result.height


class ChangeRefused(CommandError):  # noqa: N818 - what the chain did, not a fault of ours
    """The chain recorded that a change has no effect, and why."""

    def __init__(self, result: ResultCode, message: str, fix: str) -> None:
        super().__init__("GC-2307", message, fix)
        self.result = result


async def _await_members(
    screen: Screen, client: LedgerClient, governance: Governance, patience_s: float
) -> None:
    """Wait until those that join take part."""
    joining = [
        each.validator.validator_id
        for each in governance.operations
        if isinstance(each, AddValidator)
    ]
    deadline_s = time.monotonic() + patience_s
    while True:
        statuses = await client.statuses(_ASK_MS)
        waiting = [
            name
            for name in joining
            if not isinstance(each := statuses.get(name), NodeStatus)
            or each.health is not Health.READY
        ]
        if not waiting:
            return
        if time.monotonic() > deadline_s:
            said = _("the change is in force, but {nodes} does not take part yet: govchain doctor")
            screen.note(said.format(nodes=", ".join(waiting)))
            return
        await asyncio.sleep(_POLL_S)


def joined_and_left(
    governance: Governance, members: Sequence[Validator]
) -> tuple[list[str], list[str]]:
    """Return who joins `members` by a change and who leaves them, removed, frozen or revoked."""
    before = [each.validator_id for each in members]
    after = [each.validator_id for each in members_after(members, governance.operations)]
    joined = [name for name in after if name not in before]
    return joined, [name for name in before if name not in after]
