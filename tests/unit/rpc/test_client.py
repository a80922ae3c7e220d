"""The client library against real servers on loopback: submitting, asking, failing over."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import pytest

from node.chain.admission import Admission, AdmissionCode
from node.chain.governance import CheckpointStatement
from node.chain.reference import ReferenceName
from node.crypto.certificate import encode_pem
from node.errors import ClientError, InvariantViolation
from node.rpc import client as client_module
from node.rpc.client import (
    AccessError,
    HeardDiagnosis,
    LedgerClient,
    LedgerEndpoint,
    NetworkUnavailable,
    NotFinal,
    NotFound,
    Refused,
    WrongChainError,
)
from node.rpc.guard import ADMITTED
from node.rpc.identity import server_credentials
from node.rpc.pb import ledger_pb2 as pb
from node.rpc.port import (
    BATCH_TXS_MAX,
    PAGE_TOKEN_BYTES_MAX,
    REQUEST_BYTES_MAX,
    BlockSummary,
    RecordFilter,
)
from node.rpc.server import LEDGER_SERVICE
from node.timestamp.tokens.request import Failure
from tests.unit.rpc.fake_node import DEADLINE_S, HELD_KIND, FakeNetwork, running, tx_id
from tests.unit.rpc.pki import CHAIN_ID, shared_pki

NOWHERE = LedgerEndpoint("validator-9", "127.0.0.1:1")


def named(count: int, name: str = "tx") -> list[bytes]:
    return [f"{name} {number}".encode() for number in range(count)]


# --- Submitting ---


async def test_what_is_submitted_becomes_final() -> None:
    async with running(1) as network, network.client() as client:
        outcomes = await client.submit(named(3))
        assert [outcome.admission.code for outcome in outcomes] == [AdmissionCode.ACCEPTED] * 3
        assert [outcome.final().log_index for outcome in outcomes] == [0, 1, 2]
        assert network.nodes[0].submitters == ["agency-1"]
        assert network.ledger.tickets == []


async def test_the_same_bytes_have_the_same_result_wherever_they_go() -> None:
    async with running(2) as network:
        async with network.client(network.endpoints[:1]) as client:
            first = await client.submit(named(2))
        async with network.client(network.endpoints[1:]) as client:
            second = await client.submit(named(2))
        assert [outcome.final() for outcome in first] == [outcome.final() for outcome in second]
        assert [o.admission.code for o in second] == [AdmissionCode.ALREADY_FINAL] * 2


async def test_a_validator_that_is_away_is_passed_over() -> None:
    async with running(1) as network, network.client([NOWHERE, *network.endpoints]) as client:
        [outcome] = await client.submit([b"tx"])
        assert outcome.final().height == 1


async def test_a_validator_that_cannot_finish_is_passed_over_with_the_same_transaction() -> None:
    async with running(2) as network, network.client() as client:
        network.nodes[0].isolated = True
        outcomes = await client.submit(named(3), timeout_ms=3_000)
        assert [outcome.final().height for outcome in outcomes] == [1, 1, 1]
        assert network.ledger.blocks[1] == named(3)
        assert [len(node.submitters) for node in network.nodes] == [1, 1]


async def test_a_refusal_says_why() -> None:
    async with running(2) as network, network.client() as client:
        network.nodes[0].verdicts[b"forged"] = Admission(
            AdmissionCode.BAD_SIGNATURE, "it is forged"
        )
        good, forged = await client.submit([b"good", b"forged"])
        assert good.final().height == 1
        with pytest.raises(Refused, match="BAD_SIGNATURE: it is forged"):
            forged.final()
        assert network.nodes[1].submitters == [], (
            "what is wrong with a transaction is so everywhere"
        )


@pytest.mark.parametrize(
    "code",
    [
        AdmissionCode.POOL_FULL,
        AdmissionCode.NOT_READY,
        AdmissionCode.EXPIRED,
        AdmissionCode.TOO_FAR_AHEAD,
    ],
)
async def test_what_one_validator_lacks_or_its_clock_says_sends_the_client_elsewhere(
    code: AdmissionCode,
) -> None:
    async with running(2) as network, network.client() as client:
        network.nodes[0].verdicts[b"tx"] = Admission(code, "not here", 250)
        [outcome] = await client.submit([b"tx"])
        assert outcome.final().height == 1


async def test_a_network_without_room_says_when_to_come_back() -> None:
    async with running(2) as network, network.client() as client:
        for node, after_ms in zip(network.nodes, (250, 400), strict=True):
            node.verdicts[b"tx"] = Admission(AdmissionCode.POOL_FULL, "full", after_ms)
        [outcome] = await client.submit([b"tx"])
        with pytest.raises(Refused) as refused:
            outcome.final()
        assert refused.value.admission == Admission(AdmissionCode.POOL_FULL, "full", 400)


async def test_a_later_refusal_does_not_undo_an_admission() -> None:
    async with running(2) as network, network.client() as client:
        network.ledger.held = True
        network.nodes[1].verdicts[b"tx"] = Admission(AdmissionCode.NOT_READY, "behind")
        [outcome] = await client.submit([b"tx"], timeout_ms=2_000)
        assert network.nodes[1].submitters != []
        with pytest.raises(NotFinal):
            outcome.final()


async def test_what_is_not_final_in_time_is_said_to_be_so() -> None:
    async with running(1) as network, network.client() as client:
        network.ledger.held = True
        [outcome] = await client.submit([b"tx"], timeout_ms=1_000)
        with pytest.raises(NotFinal, match="not final in time"):
            outcome.final()
        network.ledger.commit()
        [outcome] = await client.submit([b"tx"])
        assert outcome.final().height == 1
        assert network.ledger.tickets == []


async def test_without_a_network_every_call_says_so() -> None:
    async with running(1) as network, network.client([NOWHERE]) as client:
        for call in (
            client.submit([b"tx"]),
            client.status(),
            client.genesis(),
            client.open_stream(),
            anext(client.blocks(0)),
            anext(client.receipts(tx_id(b"tx"))),
        ):
            with pytest.raises(NetworkUnavailable, match=r"validator-9 \(127\.0\.0\.1:1\)"):
                await call


@pytest.mark.parametrize(
    "transactions", [[], [b"tx"] * (BATCH_TXS_MAX + 1), [bytes(REQUEST_BYTES_MAX)]]
)
async def test_a_request_beyond_the_bounds_is_not_sent(transactions: list[bytes]) -> None:
    async with running(1) as network, network.client() as client:
        with pytest.raises(ClientError, match="batch: expected"):
            await client.submit(transactions)
        async with await client.open_stream() as stream:
            with pytest.raises(ClientError, match="batch: expected"):
                await stream.submit(transactions)


async def test_the_largest_request_is_taken() -> None:
    async with running(1) as network, network.client() as client:
        sizes = [REQUEST_BYTES_MAX // BATCH_TXS_MAX - 20] * BATCH_TXS_MAX
        transactions = [index.to_bytes(4, "big") + bytes(n) for index, n in enumerate(sizes)]
        outcomes = await client.submit(transactions)
        assert all(outcome.final().height == 1 for outcome in outcomes)


# --- Streams of batches ---


async def test_many_batches_over_one_stream() -> None:
    async with running(1) as network, network.client() as client:
        batches = [named(20, f"batch {number}") for number in range(60)]
        async with await client.open_stream(outstanding_max=5) as stream:
            outcomes = await asyncio.gather(*map(stream.submit, batches))
        for batch, batch_outcomes in zip(batches, outcomes, strict=True):
            finals = [network.ledger.final[transaction] for transaction in batch]
            assert [outcome.final() for outcome in batch_outcomes] == finals
        assert network.nodes[0].tickets_open_max <= 5
        assert network.ledger.tickets == []


async def test_batches_end_in_the_order_in_which_they_are_final() -> None:
    async with running(1) as network, network.client() as client:
        network.ledger.held = True
        async with await client.open_stream() as stream:
            late = asyncio.create_task(stream.submit([b"late"]))
            await network.ledger.until(lambda: b"late" in network.ledger.pending)
            network.nodes[0].verdicts[b"refused"] = Admission(AdmissionCode.EXPIRED, "too late")
            [refused] = await stream.submit([b"refused"])
            assert refused.admission.code is AdmissionCode.EXPIRED
            assert not late.done()
            network.ledger.commit()
            [outcome] = await late
            assert outcome.final().height == 1


async def test_a_batch_that_is_not_final_in_time_returns_what_is_known() -> None:
    async with running(1) as network, network.client() as client:
        network.ledger.held = True
        async with await client.open_stream(timeout_ms=1_000) as stream:
            [outcome] = await stream.submit([b"tx"])
            assert outcome.admission.code is AdmissionCode.ACCEPTED
            assert outcome.result is None


async def test_a_batch_that_finds_no_room_in_time_says_so() -> None:
    async with running(1) as network, network.client() as client:
        network.ledger.held = True
        async with await client.open_stream(outstanding_max=1, timeout_ms=1_000) as stream:
            first, second = await asyncio.gather(
                stream.submit([b"first"]), stream.submit([b"second"]), return_exceptions=True
            )
            assert isinstance(first, tuple)
            assert isinstance(second, NotFinal)
            network.ledger.commit()
            [again] = await stream.submit([b"first"])  # the place came back with the result
            assert again.final().height == 1


async def test_a_stream_that_breaks_fails_what_was_under_way() -> None:
    async with running(1) as network, network.client() as client:
        network.ledger.held = True
        async with await client.open_stream(outstanding_max=2) as stream:
            tasks = [asyncio.create_task(stream.submit([b"%d" % n])) for n in range(6)]
            await network.ledger.until(lambda: len(network.ledger.pending) == 2)
            await network.servers[0].stop(0)
            async with asyncio.timeout(DEADLINE_S):
                for ended in await asyncio.gather(*tasks, return_exceptions=True):
                    assert isinstance(ended, NetworkUnavailable)
                with pytest.raises(NetworkUnavailable):
                    await stream.submit([b"later"])


async def test_a_stream_opens_where_it_can() -> None:
    async with running(2) as network:
        await network.servers[0].stop(0)
        async with network.client([NOWHERE, *network.endpoints]) as client:
            async with await client.open_stream() as stream:
                assert stream.validator_id == "validator-2"
            with pytest.raises(InvariantViolation):
                await client.open_stream(outstanding_max=33)


# --- Asking ---


async def test_every_question_has_its_answer() -> None:
    async with running(1) as network, network.client() as client:
        await client.submit(named(3))
        wanted = tx_id(b"tx 1")
        status = await client.status()
        assert (status.validator_id, status.chain_id, status.height) == ("validator-1", CHAIN_ID, 1)
        assert await client.receipt_of_operation(wanted) == b"receipt of tx 1"
        assert await client.receipt_of_digest(wanted) == b"receipt of tx 1"
        block = await client.block(1)
        assert (block.block, block.results) == (b"tx 0|tx 1|tx 2", (b"ok",) * 3)
        transaction = await client.transaction(wanted)
        assert (transaction.height, transaction.index) == (1, 1)
        assert transaction.transaction == b"tx 1"
        assert (await client.certified_header()).header == b"header 1"
        assert (await client.certified_header(0)).certificate == b""
        assert await client.genesis() == b"genesis"
        assert await client.consistency_proof(3, 0) == b"3 to 0"
        assert await client.consistency_proof(3) == b"3 to None"
        assert b"req of agency-1 by validator-1" in await client.time_stamp(b"req")


async def test_what_is_not_there_is_said_to_be_so() -> None:
    async with running(2) as network, network.client() as client:
        for call in (
            client.receipt_of_operation(bytes(32)),
            client.receipt_of_digest(bytes(32)),
            client.block(9),
            client.transaction(bytes(32)),
            client.certified_header(9),
            anext(client.receipts(bytes(32))),
        ):
            with pytest.raises(NotFound):
                await call
        for node in network.nodes:
            node.behind = True
        with pytest.raises(NotFound):
            await client.consistency_proof(1)


async def test_absence_is_believed_only_when_all_say_so() -> None:
    async with running(3) as network, network.client() as client:
        await client.submit([b"tx"])
        network.nodes[0].behind = True
        await network.servers[1].stop(0)
        assert await client.receipt_of_operation(tx_id(b"tx")) == b"receipt of tx"
        with pytest.raises(NotFound):
            await client.receipt_of_operation(tx_id(b"another"))


async def test_receipts_of_a_batch_come_in_pages() -> None:
    async with running(1) as network, network.client() as client:
        await client.submit([b"600:0", b"7:1"])
        small = [receipt async for receipt in client.receipts(tx_id(b"600:0"))]
        assert small == [b"%d:" % n for n in range(600)]
        large = [receipt async for receipt in client.receipts(tx_id(b"7:1"), 2)]
        assert [receipt[:2] for receipt in large] == [b"%d:" % n for n in range(2, 7)]


async def test_handovers_come_in_pages_and_end_where_nothing_more_is_known() -> None:
    async with running(1) as network, network.client() as client:
        assert [each async for each in client.handovers()] == []
        network.nodes[0].handovers_mib = [0] * 300
        assert [each async for each in client.handovers(3)] == [b"%d:" % n for n in range(3, 300)]
        network.nodes[0].handovers_mib = [1] * 6
        large = [each async for each in client.handovers(1)]
        assert [each[:2] for each in large] == [b"%d:" % n for n in range(1, 6)]
        assert [each async for each in client.handovers(2**63)] == []


async def test_records_come_in_pages() -> None:
    async with running(1) as network, network.client() as client:
        await client.submit(named(5))
        first = await client.records(RecordFilter(), limit=3)
        rest = await client.records(RecordFilter(), limit=3, page_token=first.next_page_token)
        assert [entry.leaf for entry in (*first.records, *rest.records)] == named(5)
        assert rest.next_page_token == b""
        found = await client.records(RecordFilter(digest=tx_id(b"tx 2")))
        assert [entry.log_index for entry in found.records] == [2]


@pytest.mark.parametrize("limit", [0, 1_001])
async def test_a_page_beyond_the_bounds_is_refused(limit: int) -> None:
    async with running(1) as network, network.client() as client:
        with pytest.raises(ClientError, match=r"limit: expected 1\.\.1000") as refused:
            await client.records(RecordFilter(), limit=limit)
        assert refused.value.code == "GC-2001"


async def test_a_malformed_question_is_refused() -> None:
    async with running(1) as network, network.client() as client:
        for call in (
            client.transaction(b"short"),
            client.receipt_of_digest(b""),
            client.receipt_of_operation(bytes(33)),
            client.records(RecordFilter(digest=b"short")),
            client.records(RecordFilter(), page_token=bytes(PAGE_TOKEN_BYTES_MAX + 1)),
        ):
            with pytest.raises(ClientError, match="expected"):
                await call
        assert network.failures == []


async def test_every_validator_proves_what_stands_under_a_reference() -> None:
    async with running(3) as network, network.client() as client:
        network.nodes[1].behind = True
        await network.servers[2].stop(0)
        name = ReferenceName("agency-1", "证照", "粤A-1")
        found = await client.standing_proofs(name)
        assert found["validator-1"] == f"standing of {name}".encode()
        assert isinstance(found["validator-2"], NotFound)
        assert isinstance(found["validator-3"], NetworkUnavailable)
        for name in (
            ReferenceName("", "b", "c"),
            ReferenceName("a", "b" * 33, "c"),
            ReferenceName("a", "b", "c" * 129),
            ReferenceName("a", "b", "\n"),
        ):
            refused = (await client.standing_proofs(name))["validator-1"]
            assert isinstance(refused, ClientError)
            assert "expected" in str(refused)
        assert network.failures == []


async def test_how_every_validator_is() -> None:
    async with running(3) as network, network.client() as client:
        await network.servers[1].stop(0)
        statuses = await client.statuses()
        assert list(statuses) == ["validator-1", "validator-2", "validator-3"]
        assert isinstance(statuses["validator-2"], NetworkUnavailable)
        assert [type(status).__name__ for status in statuses.values()].count("NodeStatus") == 2


async def test_every_validator_is_asked_what_it_sees_and_the_way_is_timed() -> None:
    async with running(3) as network, network.client() as client:
        await network.servers[1].stop(0)
        answers = await client.diagnoses()
        assert list(answers) == ["validator-1", "validator-2", "validator-3"]
        assert isinstance(answers["validator-2"], NetworkUnavailable)
        heard = answers["validator-1"]
        assert isinstance(heard, HeardDiagnosis)
        assert heard.diagnosis.status.validator_id == "validator-1"
        assert heard.asked_ms <= heard.answered_ms


async def test_all_of_the_state_of_one_kind_comes_page_by_page() -> None:
    async with running(1) as network, network.client() as client:
        held = [(b"%08d" % number, b"v" * 4_096) for number in range(2_500)]  # more than a page
        network.nodes[0].held_entries += held
        assert await client.state_entries(HELD_KIND) == dict(held)
        with pytest.raises(ClientError, match="expected another"):
            await client.state_entries(HELD_KIND + 1)


async def test_entries_out_of_order_are_refused() -> None:
    async with running(1) as network, network.client() as client:
        network.nodes[0].held_entries += [(b"b", b""), (b"a", b"")]
        with pytest.raises(ClientError, match="out of order"):
            await client.state_entries(HELD_KIND)


async def test_who_decides_and_who_follows_is_told() -> None:
    async with running(1) as network, network.client() as client:
        found = await client.membership()
    assert found.epoch == 1
    assert [(each.validator_id, each.organisation, each.address) for each in found.members] == [
        ("validator-1", "org-1", "127.0.0.1:7100")
    ]
    assert [(each.node_id, each.organisation, each.height) for each in found.followers] == [
        ("learner-1", "org-1", 3),
        ("learner-2", "org-2", None),
    ]


async def test_every_node_states_what_it_holds() -> None:
    async with running(2) as network, network.client() as client:
        await network.servers[1].stop(0)
        stated = await client.checkpoints()
    assert stated["validator-1"] == CheckpointStatement("validator-1", b"header", b"signature")
    assert isinstance(stated["validator-2"], NetworkUnavailable)


async def test_every_validator_gives_the_evidence_it_holds() -> None:
    async with running(2) as network, network.client() as client:
        await network.servers[1].stop(0)
        held = await client.evidence()
        assert held["validator-1"] == (b"proof by validator-1",)
        assert isinstance(held["validator-2"], NetworkUnavailable)
        network.nodes[0].proofs_mib = [3, 3, 0, 3]
        said = (await client.evidence())["validator-1"]
        assert isinstance(said, tuple)
        assert [len(each) >> 20 for each in said] == [0, 3, 3, 0, 3]


async def test_a_validator_that_tells_nothing_of_what_others_have_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut off from its peers, say: whoever followed it heard of nothing any more, for ever."""
    monkeypatch.setattr(client_module, "QUIET_MS", 50)
    async with running(3) as network, network.client() as client:
        monkeypatch.setattr(network.nodes[0], "blocks", keep_back)
        async with aclosing(client.blocks(1)) as blocks, asyncio.timeout(DEADLINE_S):
            following = asyncio.ensure_future(anext(blocks))
            await asyncio.wait([following], timeout=0.2)  # quiet, and rightly so
            assert client.connections.endpoints[0].validator_id == "validator-1"
            network.ledger.commit()
            assert (await following).height == 1
        assert client.connections.endpoints[0].validator_id == "validator-2"


async def keep_back(_from_height: int) -> AsyncGenerator[BlockSummary]:
    told: list[BlockSummary] = []
    await asyncio.Event().wait()
    for each in told:
        yield each


async def test_blocks_are_followed_from_one_validator_to_the_next() -> None:
    async with running(2) as network, network.client() as client:
        heights = []
        async with asyncio.timeout(DEADLINE_S):
            async for summary in client.blocks(0):
                heights.append(summary.height)
                if summary.height == 2:
                    await network.servers[0].stop(0)
                if summary.height == 5:
                    break
                network.ledger.commit()
        assert heights == [0, 1, 2, 3, 4, 5]


async def test_following_ends_with_its_time() -> None:
    async with running(1) as network, network.client() as client:
        heights = [summary.height async for summary in client.blocks(0, timeout_ms=1_000)]
        assert heights == [0]


# --- Validators that lie or say nothing ---


async def claim_seven(_request: pb.SubmitRequest, _context: object) -> pb.SubmitReply:
    return pb.SubmitReply(admissions=pb.Admissions(codes=[pb.ACCEPTED] * 7))


async def say_nothing(_request: pb.GetStatusRequest, _context: object) -> pb.Status:
    return pb.Status()


async def skip_a_block(
    request: pb.SubscribeRequest, _context: object
) -> AsyncIterator[pb.BlockSummary]:
    yield pb.BlockSummary(height=request.from_height + 1)


@asynccontextmanager
async def lying(*replies: pb.SubmitBatchReply) -> AsyncIterator[LedgerEndpoint]:
    """Yield a validator with a true certificate and false answers, `replies` to any batch."""

    async def reply_at_random(
        batches: AsyncIterator[pb.SubmitBatch],
        context: grpc.aio.ServicerContext[pb.SubmitBatch, pb.SubmitBatchReply],
    ) -> None:
        await context.send_initial_metadata((ADMITTED,))
        await anext(aiter(batches))
        for reply in replies:
            await context.write(reply)

    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Submit": grpc.unary_unary_rpc_method_handler(
            claim_seven, pb.SubmitRequest.FromString, pb.SubmitReply.SerializeToString
        ),
        "GetStatus": grpc.unary_unary_rpc_method_handler(
            say_nothing, pb.GetStatusRequest.FromString, pb.Status.SerializeToString
        ),
        "Subscribe": grpc.unary_stream_rpc_method_handler(
            skip_a_block, pb.SubscribeRequest.FromString, pb.BlockSummary.SerializeToString
        ),
        "SubmitStream": grpc.stream_stream_rpc_method_handler(
            reply_at_random, pb.SubmitBatch.FromString, pb.SubmitBatchReply.SerializeToString
        ),
    }
    pki = shared_pki()
    server = grpc.aio.server()
    server.add_registered_method_handlers(LEDGER_SERVICE, methods)
    credentials = server_credentials(pki.validator(4), pki.gatekeeper())
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield LedgerEndpoint("validator-4", f"127.0.0.1:{port}")
    finally:
        await server.stop(None)


async def test_an_answer_of_another_form_is_none() -> None:
    async with lying() as liar, running(1) as network:
        async with network.client([liar]) as client:
            for call in (client.submit([b"tx"]), client.status(), anext(client.blocks(0))):
                with pytest.raises(NetworkUnavailable, match=r"expected|is none"):
                    await call
            assert isinstance((await client.statuses())["validator-4"], NetworkUnavailable)
        async with network.client([liar, *network.endpoints]) as client:
            [outcome] = await client.submit([b"tx"])
            assert outcome.final().height == 1
        async with network.client([liar, *network.endpoints]) as client:
            assert (await client.status()).validator_id == "validator-1"
        async with network.client([liar, *network.endpoints]) as client:
            assert (await anext(client.blocks(1))).height == 1


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        ([pb.SubmitBatchReply(batch_id=9)], "none of this id"),
        ([pb.SubmitBatchReply(batch_id=1, final=pb.BatchResults())], "final before"),
        ([pb.SubmitBatchReply(batch_id=1, admissions=pb.Admissions())], "expected 1 codes"),
        ([], "ended the stream"),
    ],
)
async def test_a_stream_of_another_form_breaks(
    replies: list[pb.SubmitBatchReply], why: str
) -> None:
    async with lying(*replies) as liar, running(1) as network, network.client([liar]) as client:
        stream = await client.open_stream()
        with pytest.raises(NetworkUnavailable, match=why):
            await stream.submit([b"tx"])
        await stream.close()


async def test_a_validator_that_says_nothing_takes_its_share_of_the_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        silent = LedgerEndpoint("validator-3", f"127.0.0.1:{mute.getsockname()[1]}")
        async with running(1) as network, network.client([silent, *network.endpoints]) as client:
            stream = await client.open_stream(timeout_ms=1_000)
            assert stream.validator_id == "validator-1"
            await stream.close()
        async with running(1) as network, network.client([silent, *network.endpoints]) as client:
            assert (await client.status(timeout_ms=1_000)).validator_id == "validator-1"


# --- Who may ask, and of which chain ---


async def test_a_client_of_another_organisation_is_refused() -> None:
    async with running(1) as network:
        outsider = network.pki.client(authority=network.pki.authority(99))
        async with network.client(tls=outsider) as client:
            with pytest.raises(NetworkUnavailable):
                await client.status()


async def test_a_client_of_a_member_may_ask_whatever_its_organisation() -> None:
    async with running(1) as network:
        auditor = network.pki.client("auditor-1", authority=network.pki.authorities["org-3"])
        async with network.client(tls=auditor) as client:
            await client.submit([b"tx"])
            assert network.nodes[0].submitters == ["auditor-1"]


async def test_a_client_knows_whom_to_ask() -> None:
    network = FakeNetwork(1)
    with pytest.raises(ClientError, match="at least one validator"):
        network.client()


async def test_a_server_under_another_name_is_not_believed() -> None:
    async with running(1) as network:
        renamed = [LedgerEndpoint("validator-2", network.endpoints[0].address)]
        async with network.client(renamed) as client:
            with pytest.raises(NetworkUnavailable, match="its certificate bears another name"):
                await client.status()


async def test_a_server_of_other_authorities_is_told_by_its_certificate() -> None:
    async with running(1) as network:
        client = LedgerClient(
            network.endpoints,
            tls=network.pki.client(),
            roots_pem=encode_pem(network.pki.authority(99).certificate),
            chain_id=CHAIN_ID,
        )
        async with client:
            with pytest.raises(NetworkUnavailable, match="none of the authorities") as caught:
                await client.status()
    assert "SSL" not in str(caught.value)
    assert "ca_bundle" in caught.value.fix


async def test_a_client_of_another_chain_is_told_so() -> None:
    async with running(1) as network, network.client(chain_id=bytes(32)) as client:
        with pytest.raises(WrongChainError, match=f"expected chain {CHAIN_ID.hex()}"):
            await client.status()
        with pytest.raises(WrongChainError):
            await client.open_stream()


async def test_a_node_that_fails_is_no_answer_and_learns_of_it() -> None:
    async with running(2) as network, network.client() as client:
        network.nodes[0].broken = KeyError("a bug")
        assert (await client.status()).validator_id == "validator-2"
        assert network.failures == [network.nodes[0].broken]
        network.nodes[1].broken = AccessError("this caller may not know")
        with pytest.raises(AccessError, match="may not know") as refused:
            await client.status()
        assert refused.value.code == "GC-2201"


async def test_a_validator_that_cannot_stamp_time_now_is_passed_over() -> None:
    async with running(3) as network, network.client() as client:
        first, second, third = network.nodes
        first.stamping, second.stamping = Failure.TIME_NOT_AVAILABLE, Failure.SYSTEM_FAILURE
        assert b"req of agency-1 by validator-3" in await client.time_stamp(b"req")
        third.stamping = Failure.BAD_DATA_FORMAT  # as every other would say
        assert b"says validator-3" in await client.time_stamp(b"req")
        third.stamping = Failure.TIME_NOT_AVAILABLE
        assert b"says validator-3" in await client.time_stamp(b"req")
