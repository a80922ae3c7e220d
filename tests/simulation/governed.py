"""Runs in which the validators change under load: `python -m tests.simulation.governed`.

The engines, logs, ledgers and links are those of the other simulation. Founders decide at first,
spares follow. Administrators ask, again and again and not always soundly, for validators to be
added, removed and replaced and for other parameters, while links lose and delay, and nodes crash.

The judge keeps its own account of who decides when: it replays the operations of each governed
transaction that had its effect, and knows nothing else of epochs.

- E1 one header per height, at all nodes, followers included; T and parents in order.
- E2 one set per height: a header is of the epoch, and names the next set, that the account says.
- E3 a certificate is signed by distinct members of the set of its height, a quorum of them.
- E4 a vote that leaves is of the member it says, of the epoch it says; nobody sends two for one
  (epoch, phase, view, height), across crashes.
- E5 no id is a member again once it was not.
- E6 after the faults all that was asked is final, at everybody, and one more change comes through.
- X no node halts or raises.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from node.chain.block import Header, ResultCode
from node.chain.certificate import Phase, Vote
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
from node.chain.membership import Validator, ValidatorSet
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import TransactionBody, TransactionKind, sign_transaction
from node.consensus.messages import Proposal
from node.crypto.domains import VOTE, tagged
from node.crypto.signature import Ed25519Signer
from node.execution.apply import Executor
from node.execution.governance import checkpoint_of
from node.service.engine import CommittedBlock, Output
from node.service.wire import decode_message
from tests.simulation.keys import KeyRing
from tests.simulation.network import CALM, LinkProfile, Network
from tests.simulation.node import LogRecords, Machine, SimulatedValidator
from tests.simulation.oracles import Violation
from tests.simulation.world import MS, SECOND, UTC_AT_START_MS, World

ORGANISATIONS = ("org-0", "org-1", "org-2")
YEAR_MS = 31_536_000_000
LIFETIME_MS = 590_000
SPARES = 4
CHANGES_LATE_US = 60 * SECOND
PROGRESS_US = 60 * SECOND
_VOTE = tagged(VOTE, b"")


@dataclass(frozen=True, slots=True)
class Account:
    """Who decides, as the judge has worked it out."""

    epoch: int
    members: tuple[str, ...]
    parameters: Parameters


@dataclass(slots=True)
class Judge:
    """The observer of every node of a run."""

    world: World
    genesis: Genesis
    headers: list[Header]
    accounts: list[Account]
    """By height: what is in force for it; one more than there are headers."""
    tips: dict[str, int] = field(default_factory=dict)
    executed: dict[bytes, ResultCode] = field(default_factory=dict)
    codes: dict[ResultCode, int] = field(default_factory=dict)
    _gone: dict[str, None] = field(default_factory=dict)
    _votes: dict[bytes, str] = field(default_factory=dict)
    """Who signed each vote."""
    _sent: dict[tuple[str, int, int, int, int], bytes] = field(default_factory=dict)

    # --- what nodes do ---

    def signed(self, name: str, message: bytes, signature: bytes) -> None:
        """Note whose signature it is, the moment it is made."""
        if message.startswith(_VOTE):
            self._votes[signature] = name

    def sending(self, node: SimulatedValidator, peer: int, frame: Sequence[bytes]) -> None:
        """E4, when it leaves."""
        del peer
        name = node.names[node.index]
        for data in frame:
            message = decode_message(data, self.genesis.suite.signature_size)
            vote = message.vote if isinstance(message, Proposal) else message
            if not isinstance(vote, Vote):
                continue
            members = next((a.members for a in self.accounts if a.epoch == vote.epoch), ())
            if vote.validator >= len(members):
                raise Violation(f"E4: {name} sends a vote of nobody in epoch {vote.epoch}")
            voter, subject = members[vote.validator], vote.subject
            place = (voter, vote.epoch, subject.phase.value, subject.view, subject.height)
            if self._votes.get(vote.signature, voter) != voter:
                raise Violation(f"E4: {name} sends a vote that another signed")
            if self._sent.setdefault(place, subject.header_digest) != subject.header_digest:
                raise Violation(f"E4: two votes for {place}")

    def turned(self, node: SimulatedValidator, output: Output) -> None:
        """Judge what became final."""
        for block in output.committed:
            self._judge_block(node.names[node.index], block)

    def halted(self, node: SimulatedValidator, reason: str) -> None:
        """X."""
        raise Violation(f"X: {node.names[node.index]} halted: {reason}")

    def started(self, node: SimulatedValidator) -> None:
        """E1 for what the disk kept."""
        tip = node.ledger.tip_height
        if tip >= len(self.headers) or node.ledger.header != self.headers[tip]:
            raise Violation(f"E1: {node.names[node.index]} starts on a foreign block {tip}")
        self.tips[node.names[node.index]] = tip

    def crashed(self, node: SimulatedValidator) -> None:
        """Nothing to note: what was not sent is forgotten."""

    def hearing(self, node: SimulatedValidator, frame: Sequence[bytes]) -> None:
        """Nothing to note."""

    def overlooked(self, node: SimulatedValidator) -> None:
        """Nothing to note."""

    def synced(self, node: SimulatedValidator, records: LogRecords) -> None:
        """Nothing to note."""

    def rotated(self, node: SimulatedValidator, records: LogRecords) -> None:
        """Nothing to note."""

    # --- blocks ---

    def _judge_block(self, name: str, block: CommittedBlock) -> None:
        header = block.executed.header
        height = header.height
        if height != self.tips[name] + 1:
            raise Violation(f"E1: {name} commits {height} on {self.tips[name]}")
        self.tips[name] = height
        self._judge_certificate(block)
        if height < len(self.headers):
            if header != self.headers[height]:
                raise Violation(f"E1: {name} has another block {height}")
            return
        parent, suite = self.headers[height - 1], self.genesis.suite
        if header.parent != parent.digest(suite) or header.time_ms <= parent.time_ms:
            raise Violation(f"E1: block {height} does not follow its parent")
        account = self.accounts[height]
        if header.epoch != account.epoch:
            raise Violation(f"E2: block {height} is of epoch {header.epoch}, not {account.epoch}")
        following = self._after(block, account)
        if (header.next_set_digest == self._set_of(account).digest) != (following == account):
            raise Violation(f"E2: block {height} is a barrier or not, against the account")
        if header.next_set_digest != self._set_of(following).digest:
            raise Violation(f"E2: block {height} names another set than the account")
        if header.parameters_digest != account.parameters.digest(suite):
            raise Violation(f"E2: block {height} is judged by other parameters")
        self.headers.append(header)
        self.accounts.append(following)
        self.world.note("block", height, header.digest(suite))

    def _after(self, block: CommittedBlock, account: Account) -> Account:
        """Replay what had its effect."""
        members, parameters = list(account.members), account.parameters
        executed = block.executed
        for verified, result in zip(executed.transactions, executed.results, strict=True):
            if self.executed.setdefault(result.tx_id, result.code) is not result.code:
                raise Violation("E1: one transaction, two outcomes")
            payload = verified.transaction.body.payload
            if not isinstance(payload, Governance):
                continue
            self.codes[result.code] = self.codes.get(result.code, 0) + 1
            if result.code is not ResultCode.OK:
                continue
            for operation in payload.operations:
                match operation:
                    case AddValidator():
                        members.append(operation.validator.validator_id)
                    case RemoveValidator():
                        members.remove(operation.validator_id)
                        self._gone[operation.validator_id] = None
                    case SetParameters():
                        parameters = operation.parameters
        if (tuple(members), parameters) == (account.members, account.parameters):
            return account
        if len(frozenset(members)) != len(members) or any(m in self._gone for m in members):
            raise Violation(f"E5: {members} after {list(self._gone)} were removed")
        return Account(account.epoch + 1, tuple(members), parameters)

    def _set_of(self, account: Account) -> ValidatorSet:
        members = tuple(member_of(name, KeyRing()) for name in account.members)
        return ValidatorSet(account.epoch, members, self.genesis.suite)

    def _judge_certificate(self, block: CommittedBlock) -> None:
        """E3, by the set of the height."""
        header, certificate = block.executed.header, block.certificate
        account = self.accounts[header.height]
        validators, subject = self._set_of(account), certificate.subject
        n = len(account.members)
        voters = {vote.validator: vote for vote in certificate.votes}
        if (
            subject.phase is not Phase.COMMIT
            or subject.header_digest != header.digest(self.genesis.suite)
            or 2 * len(voters) <= n + (n - 1) // 3
            or max(voters) >= n
        ):
            raise Violation(f"E3: the certificate of block {header.height} is of {subject}")
        for index, vote in voters.items():
            message = subject.sign_bytes(self.genesis.chain_id, validators, vote.time_ms)
            key = KEYS.signer(account.members[index]).public_key
            if not key.verify(message, vote.signature):
                raise Violation(f"E3: a false signature certifies block {header.height}")


KEYS = KeyRing()


def member_of(name: str, ring: KeyRing) -> Validator:
    """Return a validator with the keys of its name."""
    return Validator(
        validator_id=name,
        organisation=ORGANISATIONS[0],
        vote_key=ring.signer(name).public_key.encoded,
        cosignature_key=cosigner(name).public_key.encoded,
    )


def cosigner(name: str) -> Ed25519Signer:
    """Return the cosignature key of a node."""
    return Ed25519Signer.from_secret(hashlib.sha256(name.encode()).digest())


def found_chain(size: int, parameters: Parameters, ring: KeyRing) -> Genesis:
    """Return a genesis of three organisations, an administrator each, and one agency."""
    people = [("agency", ORGANISATIONS[0], Role.AGENCY)]
    people += [(f"admin-{each}", each, Role.ADMIN) for each in ORGANISATIONS]
    return Genesis(
        suite=ring.suite,
        name="governed simulation",
        created_ms=UTC_AT_START_MS - 1_000,
        testnet=True,
        parameters=parameters,
        organisations=tuple(
            Organisation(organisation_id=each, name=each, ca_certificate=b"\x30\x00")
            for each in ORGANISATIONS
        ),
        validators=ValidatorSet(
            0, tuple(member_of(f"validator-{n}", ring) for n in range(size)), ring.suite
        ),
        identities=tuple(
            Identity(
                identity_id=name,
                organisation=organisation,
                role=role,
                public_key=ring.signer(name).public_key.encoded,
                not_before_ms=UTC_AT_START_MS - YEAR_MS,
                not_after_ms=UTC_AT_START_MS + YEAR_MS,
            )
            for name, organisation, role in people
        ),
    )


class GovernedRun:
    """One run: what a seed stands for."""

    def __init__(self, seed: int) -> None:
        random = Random(seed)
        self.world = world = World(random)
        self.size = random.choice((4, 4, 5, 7))
        parameters = Parameters(
            window_slots=random.choice((1, 2, 2, 4)),
            view_timeout_ms=random.choice((200, 500, 1_000)),
            view_timeout_max_ms=4_000,
            block_txs_max=random.choice((1, 3, 2_000)),
            checkpoint_blocks=random.choice((2, 100)),
        )
        self.genesis = found_chain(self.size, parameters, KEYS)
        self.executor = Executor(self.genesis)
        first = self.executor.genesis_block().header
        founders = tuple(f"validator-{n}" for n in range(self.size))
        account = Account(0, founders, parameters)
        self.judge = Judge(world, self.genesis, [first], [account, account])
        self.links = random.choice(
            (
                CALM,
                LinkProfile(delay_max_us=50 * MS),
                LinkProfile(loss_permille=50, delay_max_us=20 * MS),
                LinkProfile(loss_permille=150, duplicate_permille=50, in_order=False),
                LinkProfile(slow_permille=50, slow_max_us=800 * MS),
            )
        )
        self.network = Network(world, self.links, holds_when_cut=False)
        self.names = (*founders, *(f"spare-{n}" for n in range(SPARES)))
        self.nodes = [self._make_node(index) for index in range(len(self.names))]
        self.chaos_us = random.randrange(4, 12) * SECOND
        self.crashes = random.choice((False, True, True))
        self._nonce = 0
        self.asked: dict[bytes, bytes] = {}
        """What must become final, by tx_id."""

    def _make_node(self, index: int) -> SimulatedValidator:
        name = self.names[index]
        node = SimulatedValidator(
            world=self.world,
            network=self.network,
            observer=self.judge,
            genesis=self.genesis,
            executor=self.executor,
            index=index,
            signer=KEYS.signer(name).watched_by(partial(self.judge.signed, name)),
            machine=Machine(rotate_permille=self.world.random.choice((0, 50))),
        )
        node.names = self.names
        return node

    @property
    def account(self) -> Account:
        """What is in force for the next block that nobody has yet."""
        return self.judge.accounts[-1]

    # --- the run ---

    def run(self) -> None:
        """Run to the end; raises `Violation`."""
        world, random = self.world, self.world.random
        for node in self.nodes:
            node.start()
        for _ in range(random.randrange(10, 40)):
            world.after(random.randrange(self.chaos_us), self._notarize)
        for _ in range(random.randrange(2, 7)):
            world.after(random.randrange(self.chaos_us), self._propose)
        if self.crashes:
            world.after(random.randrange(1, SECOND), self._crash)
        world.run_until(self.chaos_us)
        self.network.profile = CALM
        for node in self.nodes:
            node.start()
        self._demand(self._is_done, "requests are not final everywhere")
        epoch = self.account.epoch
        self._keep_proposing()
        self._demand(lambda: self.account.epoch > epoch, "no change comes through")
        self._notarize()
        self._demand(self._is_done, "the last epoch decides nothing")

    def _demand(self, is_done: Callable[[], bool], what: str) -> None:
        """E6."""
        world = self.world
        if not is_done() and not world.run_until(world.now_us + PROGRESS_US, is_done):
            where = [
                f"{self.names[n.index]}: h{n.engine.height} e{n.engine.term.epoch.number} "
                f"v{n.engine.core.view} pool {n.engine.mempool.pending_count}"
                for n in self.nodes
                if n.engine is not None
            ]
            raise Violation(f"E6: {what}: {self.account.members}; {'; '.join(where)}")

    def _is_done(self) -> bool:
        tip = len(self.judge.headers) - 1
        return all(node.ledger.tip_height == tip for node in self.nodes) and all(
            tx_id in self.judge.executed for tx_id in self.asked
        )

    def _crash(self) -> None:
        """Kill one node at a time, any of them: at most one is down."""
        if self.world.now_us >= self.chaos_us:
            return
        random = self.world.random
        if all(node.is_up for node in self.nodes):
            down_us = random.randrange(1 * MS, 2 * SECOND)
            node = random.choice(self.nodes)
            node.crash(
                power_loss=random.randrange(2) == 0,
                down_us=down_us,
                loses_state=random.randrange(10) == 0,
            )
        self.world.after(random.randrange(100 * MS, 2 * SECOND), self._crash)

    # --- clients ---

    def _notarize(self) -> None:
        payload = Notarization(
            digest_algorithm=1,
            type_code="licence",
            action=RecordAction.RECORD,
            digests=self.world.random.randbytes(32),
        )
        tx_id, encoded = self._sign("agency", TransactionKind.NOTARIZE, payload)
        self.asked[tx_id] = encoded
        self._try(tx_id, encoded)

    def _sign(
        self, sender: str, kind: TransactionKind, payload: Notarization | Governance
    ) -> tuple[bytes, bytes]:
        self._nonce += 1
        body = TransactionBody(
            chain_id=self.genesis.chain_id,
            sender=sender,
            nonce=self._nonce.to_bytes(16, "big"),
            not_after_ms=self.world.utc_ms + LIFETIME_MS,
            kind=kind,
            payload=payload,
        )
        transaction = sign_transaction(body, KEYS.signer(sender), self.genesis.suite)
        return transaction.tx_id, transaction.encoded

    def _try(self, tx_id: bytes, encoded: bytes) -> None:
        """Hand in at any member, again until it is final."""
        if tx_id in self.judge.executed:
            return
        members = [node for node in self.nodes if self.names[node.index] in self.account.members]
        self.world.random.choice(members).submit([encoded])
        self.world.after(1 * SECOND, partial(self._try, tx_id, encoded))

    # --- administrators ---

    def _keep_proposing(self) -> None:
        self._propose(is_sound=True)
        self.world.after(3 * SECOND, self._keep_proposing)

    def _propose(self, *, is_sound: bool = False) -> None:
        """Ask for a change of what is in force now, mostly a sound one."""
        random = self.world.random
        account = self.account
        operations = self._draw_operations(account)
        members = list(account.members)
        for operation in operations:
            if isinstance(operation, AddValidator):
                members.append(operation.validator.validator_id)
            elif isinstance(operation, RemoveValidator):
                members.remove(operation.validator_id)
        vouching = [node for node in self.nodes if node.is_up and self.names[node.index] in members]
        if not is_sound and random.randrange(5) == 0:
            vouching = vouching[: random.randrange(len(vouching) + 1)]
        payload = Governance(
            epoch=account.epoch if is_sound or random.randrange(8) else account.epoch + 1,
            operations=tuple(operations),
            evidence=tuple(self._statement(node) for node in vouching),
        )
        message = payload.approval_bytes(self.genesis.chain_id)
        approvers = [f"admin-{each}" for each in ORGANISATIONS]
        if not is_sound and random.randrange(8) == 0:
            approvers = approvers[:1]
        approvals = [Approval(each, KEYS.signer(each).sign(message)) for each in approvers]
        approved = replace(payload, approvals=tuple(approvals))
        sender = f"admin-{random.choice(ORGANISATIONS)}"
        self._try(*self._sign(sender, TransactionKind.GOVERN, approved))

    def _draw_operations(self, account: Account) -> list[Operation]:
        random = self.world.random
        used = {name for each in self.judge.accounts for name in each.members}
        spares = [name for name in self.names if name not in used]
        kinds = ["parameters"]
        kinds += ["add", "add"] if spares else []
        kinds += ["replace", "replace"] if spares else []
        kinds += ["remove"] if len(account.members) > 4 else []
        kind = random.choice(kinds)
        operations: list[Operation] = []
        if kind in ("remove", "replace"):
            operations.append(RemoveValidator(random.choice(account.members)))
        if kind in ("add", "replace"):
            joining = member_of(random.choice(spares), KEYS)
            message = possession_bytes(self.genesis.chain_id, joining)
            proof = KEYS.signer(joining.validator_id).sign(message)
            operations.append(AddValidator(joining, proof))
        if kind == "parameters":
            timeout_ms = 1_200 if account.parameters.view_timeout_ms != 1_200 else 700
            changed = replace(
                account.parameters,
                view_timeout_ms=timeout_ms,
                window_slots=random.choice((1, 2, 3, 4)),
            )
            operations.append(SetParameters(changed))
        return operations

    def _statement(self, node: SimulatedValidator) -> CheckpointStatement:
        name, header = self.names[node.index], node.ledger.header
        message = checkpoint_of(header, header.digest(self.genesis.suite))
        return CheckpointStatement(name, header.encode(), cosigner(name).sign(message))


def run_governed(seed: int) -> tuple[str, GovernedRun]:
    """Run a seed; return the violation, empty for none, and what was run."""
    run = GovernedRun(seed)
    try:
        run.run()
    except Violation as broken:
        return str(broken), run
    except Exception:  # noqa: BLE001 - whatever a node raises is a finding (oracle X)
        return f"X: {traceback.format_exc()}", run
    return "", run


def main() -> int:
    """Run the seeds asked for; 0 when all oracles were content, 1 otherwise."""
    parser = argparse.ArgumentParser("python -m tests.simulation.governed", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--start", type=int, default=0)
    options = parser.parse_args()
    failed = 0
    epochs = blocks = 0
    codes: dict[str, int] = {}
    for seed in range(options.start, options.start + options.seeds):
        violation, run = run_governed(seed)
        epochs += run.account.epoch
        blocks += len(run.judge.headers) - 1
        for code, count in run.judge.codes.items():
            codes[code.name] = codes.get(code.name, 0) + count
        if violation:
            failed += 1
            sys.stdout.write(f"seed {seed}: {violation}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{options.seeds} seeds, {failed} failed, {blocks} blocks, {epochs} epochs\n")
    sys.stdout.write(f"governed transactions: {dict(sorted(codes.items()))}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
