"""Runs in which validators and clients change under load.

A run like every other, with its faults, its liars and its oracles, but that more nodes than the
founders take part, and that administrators ask, again and again and not always soundly, for
validators to be added, removed and replaced, and for other parameters. At the end one more change
has to come through (oracle L). Sets never shrink so far that the faulty were too many for them.

In most of these runs they also rotate the keys of clients that ask meanwhile, by themselves or with
a change of the validators in one transaction, and freeze some for a while (registrar.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from random import Random

from node.chain.block import checkpoint_of
from node.chain.genesis import Genesis, Identity, Organisation, Parameters, Role
from node.chain.governance import (
    AddValidator,
    Approval,
    CheckpointStatement,
    Governance,
    Operation,
    RemoveValidator,
    SetParameters,
    possession_bytes,
)
from node.chain.identity import Status
from node.chain.membership import Validator, ValidatorSet
from node.chain.transaction import TransactionBody, TransactionKind, sign_transaction
from node.crypto.signature import Ed25519Signer
from node.limits import TX_NONCE_BYTES
from tests.simulation import plan as ordinary
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.at_rest import judge_evidence, judge_stores
from tests.simulation.cluster import AGENCIES, YEAR_MS, Cluster, found_chain
from tests.simulation.history import Account
from tests.simulation.keys import KeyRing
from tests.simulation.node import SimulatedValidator
from tests.simulation.plan import Plan
from tests.simulation.registrar import authority_of, draw_key, rotation, standing
from tests.simulation.violation import Violation
from tests.simulation.world import MS, SECOND, UTC_AT_START_MS

SPARES = 4
LIFETIME_MS = 590_000
CHANGE_US = 60 * SECOND
"""How long a sound change may take, asked for again and again, when nothing goes wrong."""
ORGANISATIONS = ("org-1", "org-2", "org-3")
FROZEN_MAX_US = 2 * SECOND
"""How long a client is frozen before it is to have its rights back."""


def draw_plan(random: Random, size: int) -> Plan:
    """Draw a run for `size` founders: one as others, with fewer requests."""
    plan = ordinary.draw_plan(random, size)
    parameters = replace(
        plan.parameters,
        block_txs_max=random.choice((2, 5, 2_000)),
        checkpoint_blocks=random.choice((2, 100)),
    )
    byzantine = {
        validator: (*tricks, Trick.OUTDATE)[-4:] for validator, tricks in plan.byzantine.items()
    }
    workload = replace(plan.workload, requests=min(plan.workload.requests, 40))
    return replace(
        plan,
        parameters=parameters,
        byzantine=byzantine,
        workload=workload,
        client_changes=random.choice((0, 2, 5, 10)),
    )


def cosigner(name: str) -> Ed25519Signer:
    """Return the cosignature key of a node."""
    return Ed25519Signer.from_secret(hashlib.sha256(name.encode()).digest())


def member_of(name: str, ring: KeyRing) -> Validator:
    """Return a validator with the keys of its name."""
    return Validator(
        validator_id=name,
        organisation=ORGANISATIONS[0],
        vote_key=ring.signer(name).public_key.encoded,
        cosignature_key=cosigner(name).public_key.encoded,
    )


def other_parameters(held: Parameters, random: Random) -> Parameters:
    """Return parameters, others than those in force, that a chain can have."""
    timeout_ms = 700 if held.view_timeout_ms == 1_200 else 1_200
    return replace(
        held,
        view_timeout_ms=timeout_ms,
        window_slots=random.choice((1, 2, 3, 4)),
        fairness_ms=max(held.fairness_ms, timeout_ms),  # no chain has less of it than of the other
    )


def admin_of(organisation: str) -> str:
    """Return who decides for an organisation."""
    return f"admin-{organisation}"


class GovernedCluster(Cluster):
    """A cluster with spares, and with administrators who make validators of them."""

    def __init__(self, plan: Plan, random: Random) -> None:
        self._nonce = 0
        super().__init__(plan, random)

    def _found(self) -> Genesis:
        """Return a genesis of three organisations with an administrator each; name the spares."""
        genesis, ring = found_chain(self.plan, self.ring), self.ring
        names = [each.validator_id for each in genesis.validators.validators]
        founders = tuple(member_of(name, ring) for name in names)
        self.spares = tuple(member_of(f"spare-{n}", ring) for n in range(SPARES))
        admins = tuple(
            Identity(
                identity_id=admin_of(each),
                organisation=each,
                role=Role.ADMIN,
                public_key=ring.signer(admin_of(each)).public_key.encoded,
                not_before_ms=UTC_AT_START_MS - YEAR_MS,
                not_after_ms=UTC_AT_START_MS + YEAR_MS,
            )
            for each in ORGANISATIONS
        )
        return replace(
            genesis,
            organisations=tuple(
                Organisation(
                    organisation_id=each,
                    name=each,
                    ca_certificate=authority_of(each).certificate,
                )
                for each in ORGANISATIONS
            ),
            validators=ValidatorSet(0, founders, ring.suite),
            identities=(*genesis.identities, *admins),
        )

    @property
    def account(self) -> Account:
        """What is in force for the next block that nobody has yet."""
        return self.history.account

    def run(self) -> None:
        """Run the plan to its end, and see one more change come through; raises `Violation`."""
        world, random = self.world, self.world.random
        asking_us = self.plan.chaos_us * self.plan.workload.asking_permille // 1_000
        for _ in range(random.randrange(2, 7)):
            world.after(random.randrange(asking_us), self._propose)
        for _ in range(self.plan.client_changes):
            world.after(random.randrange(asking_us), self._change_client)
        super().run()
        epoch = self.account.epoch
        self._keep_proposing(epoch)
        if not world.run_until(world.now_us + CHANGE_US, lambda: self.account.epoch > epoch):
            raise Violation(f"L: no change comes through: {self._describe_stall()}")
        self.clients.schedule(world.now_us, world.now_us + SECOND, 1)
        world.run_until(world.now_us + SECOND)
        self._demand_progress()
        judge_evidence(self.correct, self.history)
        judge_stores(self.correct)

    # ------------------------------------------------------------------ administrators

    def _keep_proposing(self, epoch: int) -> None:
        if self.account.epoch == epoch:
            self._propose(is_sound=True)
            self.world.after(3 * SECOND, partial(self._keep_proposing, epoch))

    def _change_client(self) -> None:
        """Ask for a change of one client: mostly another key, at times with other validators."""
        random = self.world.random
        name = random.choice(AGENCIES)
        if random.randrange(4) == 0:
            self._unfreeze(name, self._propose_operations([standing(name, Status.FROZEN)]))
            return
        signer = draw_key(random, self.ring, name)
        self.clients.hand_over(name, signer)
        operations = [rotation(name, ORGANISATIONS[0], signer)]
        if random.randrange(4) == 0:
            operations += self._draw_operations(self.account)
        self._propose_operations(operations)

    def _unfreeze(self, name: str, frozen_by: bytes) -> None:
        """Give a client its rights back, once a transaction has taken them."""
        delay_us = self.world.random.randrange(100 * MS, FROZEN_MAX_US)
        if name in self.account.frozen:
            self._propose_operations([standing(name, Status.ACTIVE)], is_sound=True)
        elif frozen_by in self.history.executed:
            return
        self.world.after(delay_us, partial(self._unfreeze, name, frozen_by))

    def _propose(self, *, is_sound: bool = False) -> None:
        """Ask for a change of what decides now."""
        self._propose_operations(self._draw_operations(self.account), is_sound=is_sound)

    def _propose_operations(
        self, operations: Sequence[Operation], *, is_sound: bool = False
    ) -> bytes:
        """Ask for changes of what is in force now, mostly soundly; return the tx_id."""
        random, account = self.world.random, self.account
        members = [self._name(number) for number in account.members]
        for operation in operations:
            if isinstance(operation, AddValidator):
                members.append(operation.validator.validator_id)
            elif isinstance(operation, RemoveValidator):
                members.remove(operation.validator_id)
        vouching = [
            node for node in self.correct if node.is_up and self._name(node.index) in members
        ]
        if not is_sound and random.randrange(5) == 0:
            vouching = vouching[: random.randrange(len(vouching) + 1)]
        payload = Governance(
            epoch=account.epoch if is_sound or random.randrange(8) else account.epoch + 1,
            not_after_ms=self.world.utc_ms + LIFETIME_MS,
            nonce=self._nonce.to_bytes(TX_NONCE_BYTES, "big"),
            operations=tuple(operations),
            evidence=tuple(self._statement(node) for node in vouching),
        )
        message = payload.approval_bytes(self.genesis.chain_id)
        approvers = [admin_of(each) for each in ORGANISATIONS]
        if not is_sound and random.randrange(8) == 0:
            approvers = approvers[:1]
        approvals = [Approval(each, self.ring.signer(each).sign(message)) for each in approvers]
        return self._ask(replace(payload, approvals=tuple(approvals)))

    def _ask(self, payload: Governance) -> bytes:
        self._nonce += 1
        sender = admin_of(self.world.random.choice(ORGANISATIONS))
        body = TransactionBody(
            chain_id=self.genesis.chain_id,
            sender=sender,
            nonce=self._nonce.to_bytes(TX_NONCE_BYTES, "big"),
            not_after_ms=self.world.utc_ms + LIFETIME_MS,
            kind=TransactionKind.GOVERN,
            payload=payload,
        )
        signer = self.ring.signer(sender)
        transaction = sign_transaction(body, signer, self.genesis.suite)
        self.history.note_signed(transaction, signer.public_key.encoded)
        self._try(transaction.tx_id, transaction.encoded)
        return transaction.tx_id

    def _try(self, tx_id: bytes, encoded: bytes) -> None:
        """Hand in at any member, again until it is final."""
        if tx_id in self.history.executed:
            return
        number = self.world.random.choice(self.account.members)
        self.places[number].submit([encoded])
        self.world.after(1 * SECOND, partial(self._try, tx_id, encoded))

    def _draw_operations(self, account: Account) -> list[Operation]:
        random = self.world.random
        used = {number for each in self.history.accounts for number in each.members}
        spares = [number for number in range(len(self.roster)) if number not in used]
        kinds = ["parameters"]
        kinds += ["add", "add"] if spares else []
        kinds += ["replace", "replace"] if spares else []
        kinds += ["remove"] if len(account.members) > self._least else []
        kind = random.choice(kinds)
        operations: list[Operation] = []
        if kind in ("remove", "replace"):
            operations.append(RemoveValidator(self._name(random.choice(account.members))))
        if kind in ("add", "replace"):
            joining = self.roster[random.choice(spares)]
            message = possession_bytes(self.genesis.chain_id, joining)
            proof = self.ring.signer(joining.validator_id).sign(message)
            operations.append(AddValidator(joining, proof))
        if kind == "parameters":
            changed = other_parameters(account.parameters, random)
            operations.append(SetParameters(changed))
        return operations

    def _statement(self, node: SimulatedValidator) -> CheckpointStatement:
        name, header = self._name(node.index), node.ledger.header
        message = checkpoint_of(header, header.digest(self.genesis.suite))
        return CheckpointStatement(name, header.encode(), cosigner(name).sign(message))

    @property
    def _least(self) -> int:
        """As many as tolerate the faulty among the founders, of whom nobody need have gone."""
        return 3 * ((self.plan.size - 1) // 3) + 1

    def _name(self, number: int) -> str:
        return self.roster[number].validator_id
