"""What became final, and what follows from it: who decides, by which parameters, how late it was.

- A1 agreement: one header per height at all correct validators.
- A3 validity: every transaction was signed by a client, under the key that the rotations in the
  blocks before give its sender, and of who is frozen by then nothing is carried out.
- A4 parents: blocks follow each other, T strictly increases.
- A5 once: no transaction is executed twice.
- E1 one set per height: a header is of the epoch, and names the next set, that the effects of the
  governed transactions so far say; nobody is a member again who once was not.
- T agreed time, while at most f clocks or their validators are wrong: T is at most PRECISION and
  the clock error ahead of when somebody correct received the block, and, unless it is degraded, not
  further behind that, or the signing of a transaction in it, than promised. The seal time S is at
  most the clock error before the signing of any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from node.chain.block import Header, ResultCode
from node.chain.genesis import Genesis, Parameters
from node.chain.governance import (
    AddValidator,
    Governance,
    Operation,
    RemoveValidator,
    SetParameters,
)
from node.chain.identity import ChangeStatus, RotateIdentity, Status
from node.chain.membership import Validator, ValidatorSet
from node.chain.transaction import Transaction
from node.service.engine import CommittedBlock
from tests.simulation.guard import Electorate
from tests.simulation.violation import Violation
from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Account:
    """Who decides, by which parameters, and who may ask, as the oracles have worked it out."""

    epoch: int
    members: tuple[int, ...]
    """By index, their numbers."""
    parameters: Parameters
    keys: Mapping[str, bytes]
    """By sender, the encoded key that what it asks for is signed under."""
    frozen: tuple[str, ...] = ()
    """Senders that have lost their rights for now, in the order in which they did."""


class History:
    """The one chain that there is, by the first correct validator to commit each block."""

    def __init__(
        self,
        world: World,
        genesis: Genesis,
        genesis_header: Header,
        spares: Sequence[Validator] = (),
    ) -> None:
        """`spares` may become validators; their numbers follow those of the founders."""
        self.world, self.genesis = world, genesis
        self.headers: list[Header] = [genesis_header]
        self.digests: list[bytes] = [genesis_header.digest(genesis.suite)]
        founders = genesis.validators.validators
        self._roster = (*founders, *spares)
        self.numbers = {each.validator_id: n for n, each in enumerate(self._roster)}
        keys = {each.identity_id: each.public_key for each in genesis.identities}
        first = Account(0, tuple(range(len(founders))), genesis.parameters, keys)
        self.accounts: list[Account] = [first, first]
        """By height: what is in force for it; one more than there are headers."""
        self._removed: dict[int, None] = {}
        self.sets: dict[int, ValidatorSet] = {}
        """By epoch."""
        self.electorates: dict[int, Electorate] = {}
        """By epoch too."""
        self._begin(first)
        self.correct: dict[int, None] = {}
        """Validators that follow the protocol."""
        self.codes: Counter[ResultCode] = Counter()
        """Outcomes of governed transactions."""
        self.executed: dict[bytes, int] = {}
        """tx_id to height."""
        self.submitted: dict[bytes, int] = {}
        """tx_ids that clients signed, and when first: true UTC, ms."""
        self._signed_under: dict[tuple[bytes, bytes], bytes] = {}
        """By tx_id and signature, the encoded key that made it."""
        self.misled: dict[int, None] = {}
        """Validators whose clocks were set wrong; with the liars among them, T is as good as ever
        while they are at most f."""
        self.arrivals: dict[bytes, list[int]] = {}
        """When (true UTC, ms) the proposal of a header was delivered to a validator whose clock is
        right."""
        self.on_final: Callable[[bytes], None] = lambda _: None
        """Told each tx_id when the first correct validator commits it."""
        self.on_rotated: Callable[[str, int], None] = lambda *_: None
        """Told whose key a block changes, and which correct validator is the first to commit it."""

    @property
    def account(self) -> Account:
        """What is in force for the next block, which nobody has yet."""
        return self.accounts[-1]

    def account_above(self, height: int) -> Account:
        """Return what is in force for the block after one."""
        return self.accounts[height + 1]

    def note_signed(self, transaction: Transaction, key: bytes) -> None:
        """Take note that a client signs a transaction now, under an encoded key of its own."""
        self.submitted.setdefault(transaction.tx_id, self.world.utc_ms)
        self._signed_under[transaction.tx_id, transaction.signature] = key

    def commit(self, validator: int, block: CommittedBlock, digest: bytes) -> None:
        """Judge a block that a correct validator commits, and add it if it is new."""
        header = block.executed.header
        height = header.height
        if height < len(self.digests):
            if digest != self.digests[height]:
                raise Violation(f"A1: validator {validator} has another block {height}")
            return
        parent = self.headers[height - 1]
        if header.parent != self.digests[height - 1] or header.time_ms <= parent.time_ms:
            raise Violation(f"A4: block {height} does not follow its parent")
        account = self.accounts[height]
        self.judge_time(block, digest)
        for verified in block.executed.transactions:
            tx_id = verified.transaction.tx_id
            if tx_id not in self.submitted:
                raise Violation(f"A3: block {height} holds a transaction nobody signed")
            self._judge_key(verified.transaction, account, height)
            if tx_id in self.executed:
                raise Violation(f"A5: {tx_id.hex()} in {self.executed[tx_id]} and {height}")
            self.executed[tx_id] = height
            self.on_final(tx_id)
        following = self._account_after(block, account)
        self._judge_epoch(header, account, following)
        self.headers.append(header)
        self.digests.append(digest)
        self.accounts.append(following)
        self.world.note("block", height, digest)
        if following.epoch != account.epoch:
            self._begin(following)
        for sender, key in following.keys.items():
            if key != account.keys[sender]:
                self.on_rotated(sender, validator)

    def _judge_key(self, transaction: Transaction, account: Account, height: int) -> None:
        """A3, by the state before the block."""
        sender = transaction.body.sender
        used = self._signed_under.get((transaction.tx_id, transaction.signature), b"")
        if used != account.keys[sender]:
            raise Violation(f"A3: block {height} holds what {sender} signed under another key")

    def judge_time(self, block: CommittedBlock, digest: bytes) -> None:
        """T and S."""
        header = block.executed.header
        account = self.accounts[header.height]
        electorate, parameters = self.electorates[account.epoch], account.parameters
        wrong = [m for m in electorate.members if m in self.misled or m not in self.correct]
        if len(wrong) > electorate.faults:
            return  # nothing is promised then
        error_ms, slack_ms = parameters.clock_error_ms, parameters.precision_ms
        signed_ms = [
            self.submitted.get(verified.transaction.tx_id, 0)
            for verified in block.executed.transactions
        ]
        sealed_ms = block.certificate.seal_time_ms()
        if sealed_ms + error_ms < max(signed_ms, default=0):
            raise Violation(
                f"T: block {header.height} was sealed at {sealed_ms}, before it existed"
            )
        if header.time_ms > self.world.utc_ms + slack_ms + error_ms:
            raise Violation(f"T: block {header.height} is stamped {header.time_ms}, ahead of time")
        if header.time_degraded:
            return
        if header.time_ms + parameters.accuracy_ms < max(signed_ms, default=0):
            raise Violation(f"T: block {header.height} is stamped {header.time_ms}, in the past")
        earliest_ms = header.time_ms - slack_ms - error_ms
        latest_ms = header.time_ms + parameters.accuracy_ms
        arrivals_ms = self.arrivals.get(digest, [])
        if not any(earliest_ms <= each <= latest_ms for each in arrivals_ms):
            raise Violation(
                f"T: block {header.height} is stamped {header.time_ms}, and came to who is "
                f"correct at {arrivals_ms}"
            )

    # ------------------------------------------------------------------ epochs

    def _begin(self, account: Account) -> None:
        members = tuple(self._roster[number] for number in account.members)
        self.sets[account.epoch] = ValidatorSet(account.epoch, members, self.genesis.suite)
        self.electorates[account.epoch] = Electorate(
            account.members, len(self.headers) - 1, self.digests[-1]
        )

    def _account_after(self, block: CommittedBlock, account: Account) -> Account:
        """Replay the governed operations that had their effect, and know nothing else of it."""
        deciders, clients = (account.members, account.parameters), (account.keys, account.frozen)
        executed = block.executed
        for verified, result in zip(executed.transactions, executed.results, strict=True):
            body = verified.transaction.body
            _, frozen = clients
            if body.sender in frozen and result.code is ResultCode.OK:
                raise Violation(f"A3: {body.sender} is frozen and has its way")
            payload = body.payload
            if not isinstance(payload, Governance):
                continue
            self.codes[result.code] += 1
            for operation in payload.operations if result.code is ResultCode.OK else ():
                deciders = self._deciders_after(operation, *deciders)
                clients = _clients_after(operation, *clients)
        members, parameters = deciders
        is_same = (members, parameters) == (account.members, account.parameters)
        if is_same and clients == (account.keys, account.frozen):
            return account
        if len(dict.fromkeys(members)) != len(members) or any(m in self._removed for m in members):
            raise Violation(f"E1: members {[*members]} after {list(self._removed)} were removed")
        return Account(account.epoch + (not is_same), members, parameters, *clients)

    def _deciders_after(
        self, operation: Operation, members: tuple[int, ...], parameters: Parameters
    ) -> tuple[tuple[int, ...], Parameters]:
        match operation:
            case AddValidator():
                members = (*members, self.numbers[operation.validator.validator_id])
            case RemoveValidator():
                leaving = self.numbers[operation.validator_id]
                members = tuple(each for each in members if each != leaving)
                self._removed[leaving] = None
            case SetParameters():
                parameters = operation.parameters
        return members, parameters

    def _judge_epoch(self, header: Header, account: Account, following: Account) -> None:
        """E1."""
        height, suite = header.height, self.genesis.suite
        if header.epoch != account.epoch:
            raise Violation(f"E1: block {height} is of epoch {header.epoch}, not {account.epoch}")
        validators = tuple(self._roster[number] for number in following.members)
        expected = ValidatorSet(following.epoch, validators, suite).digest
        if header.next_set_digest != expected:
            raise Violation(f"E1: block {height} names another set than {following.members}")
        if header.parameters_digest != account.parameters.digest(suite):
            raise Violation(f"E1: block {height} is judged by other parameters")


def _clients_after(
    operation: Operation, keys: Mapping[str, bytes], frozen: tuple[str, ...]
) -> tuple[Mapping[str, bytes], tuple[str, ...]]:
    match operation:
        case RotateIdentity(identity_id=name, public_key=bytes(key)):
            keys = {**keys, name: key}
        case ChangeStatus(name=name, status=Status.FROZEN):
            frozen = (*frozen, name)
        case ChangeStatus(name=name, status=Status.ACTIVE):
            frozen = tuple(each for each in frozen if each != name)
    return keys, frozen
