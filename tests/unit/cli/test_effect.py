"""No validator alone can say that what was sent has no effect: nothing is recorded twice for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from node.chain.admission import ACCEPTED, Admission, AdmissionCode, FinalResult
from node.chain.block import ResultCode, TransactionResult
from node.chain.transaction import Transaction
from node.cli.exit_codes import ExitCode
from node.client import signing
from node.errors import ClientError
from node.rpc.port import CommittedTransaction, NodeStatus
from tests.unit.cli.instant import InstantNode, Office
from tests.unit.cli.served import served
from tests.unit.rpc.fake_node import FakeLedger, FakeNode, FakeTicket

SIX_MINUTES_MS = 360_000


@dataclass
class Lie:
    """What a validator says of every transaction."""

    admission: Admission
    result: FinalResult | None = None


LIES = {
    "lapsed": Lie(ACCEPTED, FinalResult.expired()),
    "refused": Lie(Admission(AdmissionCode.BAD_SIGNATURE, "does not verify")),
    "too late": Lie(Admission(AdmissionCode.EXPIRED, "too late")),
    "failed": Lie(ACCEPTED, FinalResult(ResultCode.NOT_PERMITTED, 1, 1, 0, 1)),
}


class LyingNode(FakeNode):
    """Says that nothing it was given has any effect, and hands it on or not."""

    def __init__(self, others: InstantNode, lie: Lie) -> None:
        super().__init__("validator-1", FakeLedger())
        self._others, self.lie = others, lie
        self.hands_on = False

    async def submit_batch(self, transactions: Sequence[bytes], submitter: str) -> FakeTicket:
        if self.hands_on:
            await self._others.submit_batch(transactions, submitter)
        ticket = await super().submit_batch((), submitter)
        ticket.admissions = [self.lie.admission] * len(transactions)
        ticket.results = [self.lie.result] * len(transactions)
        return ticket

    async def status(self) -> NodeStatus:
        status = await self._others.status()
        return replace(status, time_ms=status.time_ms + SIX_MINUTES_MS)

    async def transaction(self, wanted: bytes) -> CommittedTransaction | None:
        result = self.lie.result
        if result is None or not result.height:
            return None
        told = TransactionResult(tx_id=wanted, code=result.code, operation_index=0, log_index=0)
        return CommittedTransaction(
            height=1, index=0, time_ms=1, transaction=b"", result=told.encode()
        )


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Return one whose chain has one validator."""
    found = Office(tmp_path)
    with served(found.node, found.home, found.node.chain.chain_id):
        yield found


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Office, LyingNode]]:
    """Return one whose chain has four validators, and the first of them, who lies."""
    office = Office(tmp_path_factory.mktemp("four"), 4)
    liar = LyingNode(office.node, LIES["lapsed"])
    with ExitStack() as stack:
        for number, node in enumerate((liar, office.node, office.node, office.node), start=1):
            chain_id = office.node.chain.chain_id
            stack.enter_context(served(node, office.home, chain_id, f"validator-{number}"))
        yield office, liar


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what sets the clock of the command ahead."""

    def ahead(by_ms: int) -> None:
        clock = SimpleNamespace(time_ns=lambda: time.time_ns() + by_ms * 1_000_000)
        monkeypatch.setattr(signing, "time", clock)

    return ahead


def lose(_transaction: Transaction) -> None:
    """Give the client no answer."""
    raise ClientError("lost")


@pytest.mark.parametrize("hands_on", [True, False], ids=["recorded", "held back"])
@pytest.mark.parametrize("lie", LIES)
def test_nothing_is_recorded_twice_for_a_lie(
    four: tuple[Office, LyingNode],
    tmp_path: Path,
    pass_time: Callable[[int], None],
    lie: str,
    *,
    hands_on: bool,
) -> None:
    office, liar = four
    office.documents, office.out = tmp_path / "documents", tmp_path / "receipts"
    office.documents.mkdir()
    name = f"{lie}, {hands_on}"
    office.write(name)
    liar.lie, liar.hands_on = LIES[lie], hands_on
    before = sum(office.node.documents.values())
    ran = office.notarize()
    if ran.code == ExitCode.DONE:
        assert not office.under_way
    else:
        assert not hands_on  # else its receipts are to be had
        assert lie in ("refused", "failed")  # the others are asked whether it is too late
        assert len(office.under_way) == 1
        assert "--resume" in ran.json["error"]["fix"]
        assert office.notarize("--resume").code == ran.code  # it may yet be recorded
        assert sum(office.node.documents.values()) == before
        pass_time(SIX_MINUTES_MS)
        office.node.time_ms = signing.clock_ms()
        liar.lie = LIES["lapsed"]
        assert office.notarize("--resume").code == ExitCode.DONE
        office.node.time_ms = 0
    assert sum(office.node.documents.values()) == before + 1
    assert not office.under_way


def test_what_lapsed_is_recorded_anew_once_a_block_says_so(
    office: Office, pass_time: Callable[[int], None]
) -> None:
    office.write("a")
    office.node.before_commit = lose
    assert office.notarize().code != ExitCode.DONE
    pass_time(SIX_MINUTES_MS)
    office.node.time_ms = signing.clock_ms()
    refused = office.notarize("--resume")
    assert refused.code == ExitCode.REFUSED
    assert "items" not in refused.json  # no block could be made, so nobody can tell
    assert len(office.under_way) == 1
    office.node.before_commit = lambda _transaction: None
    assert office.notarize("--resume").code == ExitCode.DONE
    office.expect_all_once()
    assert office.node.height == 2  # of the block that was asked for, and of the record


def test_what_failed_in_a_block_has_no_effect(office: Office) -> None:
    office.write("a")
    assert office.notarize("--ref", "No. 1").code == ExitCode.DONE
    (office.documents / "a").write_text("another content")
    ran = office.notarize("--ref", "No. 1")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.REFUSED, "GC-2307")
    assert not office.under_way
