"""The client that applications use: every verb against a chain of real signatures and blocks."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.admission import Admission, AdmissionCode
from node.chain.block import ResultCode
from node.chain.record import RecordAction
from node.chain.reference import ReferenceName
from node.chain.transaction import Transaction
from node.client import (
    BlockCommitted,
    Client,
    Failed,
    InDoubt,
    NotFound,
    Refused,
    TransactionFinal,
    WrongReceipt,
)
from node.client.events import EventId
from node.crypto.keystore import PassphraseSecret
from node.crypto.suite import SHA_256
from node.errors import ClientError, ConfigError, CryptoError, DecodeError
from node.rpc.port import Block, CommittedTransaction, RecordFilter
from node.timestamp.standing import Fate, verify_standing
from node.timestamp.verify import NamedDigest, Outcome
from tests.unit.cli.instant import InstantNode
from tests.unit.cli.served import served

README = Path("node/client/README.md")
DIGESTS = [hashlib.sha256(b"%d" % number).digest() for number in range(5)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "net"


async def test_every_verb_of_a_client(home: Path) -> None:
    node = InstantNode(home)
    with served(node, home, node.chain.chain_id):
        async with Client.open(home / "profile.toml") as client:
            recorded = await client.notarize(DIGESTS[0], "licence", reference="A-1")
            document = NamedDigest(SHA_256, DIGESTS[0])
            assert client.verify(recorded.receipt, document).outcome is Outcome.VERIFIED
            assert await client.receipt(recorded.tx_id) == recorded.receipt
            assert await client.receipt_of(DIGESTS[0]) == recorded.receipt
            batch = await client.batch(DIGESTS[1:])
            assert [each.operation_index for each in batch] == [0, 1, 2, 3]
            assert len({each.tx_id for each in batch}) == 1
            assert (await client.status()).height == 2
            page = await client.records(RecordFilter(), limit=2)
            assert len(page.records) == 2
            assert page.next_page_token
            with pytest.raises(NotFound):
                await client.receipt(bytes(32))
            wrong = client.verify(recorded.receipt, NamedDigest(SHA_256, DIGESTS[1]))
            assert wrong.outcome is Outcome.NOT_VERIFIED


async def test_what_is_looked_up_is_proved(home: Path) -> None:
    node = InstantNode(home)
    with served(node, home, node.chain.chain_id):
        async with Client.open(home / "profile.toml") as client:
            first = await client.notarize(DIGESTS[0], "licence", reference="A-1")
            failing = await client.sign([DIGESTS[1]], "licence", references=["A-2"],
                action=RecordAction.WITHDRAW)  # fmt: skip
            await client.submit(failing[0].encoded)
            newest, block = await client.block(), await client.block(1)
            assert (newest.certified.header.height, block.certified.header.height) == (2, 1)
            assert newest.certified.header.parent == block.header_digest
            found = await client.transaction(first.tx_id)
            assert (found.block, found.index, found.result.code) == (block, 0, ResultCode.OK)
            assert found.transaction.body.payload.count == 1
            failed = await client.transaction(failing[0].tx_id)
            assert failed.result.code is ResultCode.REFERENCE_NOT_IN_FORCE
            proof, verdict = await client.standing("A-1", "licence")
            assert verdict.attestation is not None
            assert (verdict.attestation.fate, verdict.attestation.height) == (Fate.IN_FORCE, 2)
            name = ReferenceName("agency-1", "licence", "A-1")
            assert verify_standing(proof, client.chain.anchor, name).attestation is not None
            _proof, none = await client.standing("A-1", "licence", issuer="agency-2")
            assert none.attestation is not None
            assert none.attestation.status is None, "absence is proved too"
            for missing in (client.transaction(bytes(32)), client.block(99)):
                with pytest.raises(NotFound):
                    await missing
            with pytest.raises(DecodeError):
                await client.standing("", "licence")


async def test_what_a_validator_does_not_prove_is_not_passed_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = InstantNode(home)
    with served(node, home, node.chain.chain_id):
        async with Client.open(home / "profile.toml") as client:
            first = await client.notarize(DIGESTS[0], reference="A-1")
            await client.notarize(DIGESTS[1])
            told = await node.transaction(first.tx_id)
            assert told is not None

            async def elsewhere(_wanted: bytes) -> CommittedTransaction:
                return replace(told, height=2)

            monkeypatch.setattr(node, "transaction", elsewhere)
            with pytest.raises(ClientError, match="does not hold") as refused:
                await client.transaction(first.tx_id)
            assert refused.value.code == "GC-2305"

            async def damaged(_name: ReferenceName) -> bytes:
                return b"no proof"

            monkeypatch.setattr(node, "standing_proof", damaged)
            with pytest.raises(ClientError) as refused:
                await client.standing("A-1")
            assert refused.value.code == "GC-2305"


async def test_what_was_signed_is_sent_any_number_of_times_and_recorded_once(home: Path) -> None:
    node = InstantNode(home)
    with served(node, home, node.chain.chain_id):
        async with Client.open(home / "profile.toml") as client:
            signed = await client.sign(DIGESTS)
            first = await client.send(signed)
            again = await client.send(signed)
            assert [each.receipt for each in first] == [each.receipt for each in again]
            assert set(node.documents.values()) == {1}
            result = await client.submit(signed[0].encoded)
            assert result.height == 1


async def test_why_a_record_is_not_made_is_told_by_type(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = InstantNode(home)
    with served(node, home, node.chain.chain_id):
        async with Client.open(home / "profile.toml") as client:
            withdraw = client.notarize(DIGESTS[0], reference="none", action=RecordAction.WITHDRAW)
            with pytest.raises(Failed, match="REFERENCE_NOT_IN_FORCE") as failed:
                await withdraw
            assert failed.value.code == "GC-2307"
            refusal = Admission(AdmissionCode.BAD_SIGNATURE, "does not verify")
            monkeypatch.setattr(node, "_judge", lambda _transaction: refusal)
            with pytest.raises(InDoubt) as doubt:  # one validator's word, not past its time
                await client.notarize(DIGESTS[0])
            assert isinstance(doubt.value.refusal, Refused)


async def test_events_are_proved_and_go_on_from_any_of_them(home: Path) -> None:
    node = InstantNode(home)
    with served(node, home, node.chain.chain_id):
        async with Client.open(home / "profile.toml") as client:
            names = [(await client.notarize(digest)).name for digest in DIGESTS[:3]]
            seen = []
            async with aclosing(client.events(after="0.0")) as events:
                async for event in events:
                    seen.append(event)
                    if len(seen) == 6:
                        break
            assert [str(event.id) for event in seen] == ["1.0", "1.1", "2.0", "2.1", "3.0", "3.1"]
            assert isinstance(seen[0], BlockCommitted)
            finals = [event for event in seen if isinstance(event, TransactionFinal)]
            assert [f"{event.tx_id.hex()}:0" for event in finals] == names
            async with aclosing(client.events(after="2.0")) as events:
                assert await anext(events) == seen[3]


async def test_no_event_of_a_block_that_is_not_proved(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = InstantNode(home)
    with served(node, home, node.chain.chain_id):
        async with Client.open(home / "profile.toml") as client:
            await client.batch(DIGESTS)
            await client.notarize(DIGESTS[0])
            first, second = await node.block(1), await node.block(2)
            assert first is not None
            assert second is not None
            lies = [
                Block(second.block, second.results),  # another height
                Block(first.block, second.results),  # results of another block
                Block(first.block[:-1] + bytes([first.block[-1] ^ 1]), first.results),
                Block(b"", ()),
            ]
            for lie in lies:

                async def tell(_height: int, lie: Block = lie) -> Block:
                    return lie

                monkeypatch.setattr(node, "block", tell)
                async with aclosing(client.events(after="0.0")) as events:
                    with pytest.raises(ClientError) as error:
                        await anext(events)
                assert error.value.code == "GC-2305"


async def test_the_receipt_of_another_record_is_no_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = InstantNode(home)
    with served(node, home, node.chain.chain_id):
        async with Client.open(home / "profile.toml") as client:
            mine, other = await client.batch(DIGESTS[:2])

            async def mix_up(_tx_id: bytes, _operation: int) -> bytes:
                return other.receipt

            monkeypatch.setattr(node, "receipt_of_operation", mix_up)
            with pytest.raises(WrongReceipt, match="of another record"):
                await client.receipt(mine.tx_id)


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "01.0", "1.0.0", "-1.0", "1.²", "9" * 40])
def test_ids_of_events_are_read_strictly(text: str) -> None:
    with pytest.raises(DecodeError, match=r"HEIGHT\.INDEX"):
        EventId.parse(text)


def test_keys_open_by_what_the_profile_or_the_caller_names(home: Path) -> None:
    InstantNode(home)
    client = Client.open(home / "profile.toml", secret=PassphraseSecret("certainly not the one"))
    with pytest.raises(CryptoError, match="key"):
        client.chain.signer  # noqa: B018 - it is opened when it is first used
    closed = replace(
        client.chain, profile=replace(client.chain.profile, key_file=None), secret=None
    )
    with pytest.raises(ConfigError, match="no key_file"):
        closed.signer  # noqa: B018 - as above
    assert "certainly not" not in repr(client.chain)


def test_the_example_of_the_page_runs(home: Path, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    script, document = tmp_path / "example.py", tmp_path / "licence.pdf"
    script.write_text(example)
    document.write_bytes(b"a licence")
    node = InstantNode(home)
    sent: list[Transaction] = []
    node.after_commit = sent.append
    with served(node, home, node.chain.chain_id):
        command = [sys.executable, str(script), str(home / "profile.toml"), str(document)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "the newest block is 0",
        f"recorded as {sent[0].tx_id.hex()}:0",
        "event 1.1 TransactionFinal",
    ]
    assert (tmp_path / "licence.receipt").stat().st_size > 0
