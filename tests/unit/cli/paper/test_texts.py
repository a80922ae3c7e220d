"""What a PDF certificate says: every record's kind, time and characters, and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.chain.record import RecordAction
from node.cli.paper.texts import code_text, page_facts, visible
from node.timestamp.receipt import Receipt, iso_time
from tests.vectors.receipt.chain import Chain, record_of
from tests.vectors.receipt.keyed import (
    KEYED_HEIGHT,
    build_keyed_chain,
    certificate_at,
    with_compact,
)
from tests.vectors.receipt.story import (
    DEGRADED,
    DOCUMENT,
    FIRST_OF_EPOCH_1,
    PLAIN,
    WITHDRAWN,
    build_chain,
)

VECTORS = Path(__file__).parents[3] / "vectors" / "receipt"


@pytest.fixture(scope="module")
def chain() -> Chain:
    return build_chain()


def row(facts: dict[str, Any], label: str) -> dict[str, Any]:
    (found,) = (each for each in facts["rows"] if each["label"][1] == label)
    assert isinstance(found, dict)
    return found


def test_it_says_what_who_when_and_where(chain: Chain) -> None:
    receipt = chain.receipt(PLAIN, 1)
    facts = page_facts(receipt)
    digest = row(facts, "Document digest")
    assert digest["text"].replace(" ", "") == hashlib.sha256(DOCUMENT).hexdigest()
    assert digest["note"] == "SHA-256"
    assert row(facts, "Reference")["text"] == "2025-0001"
    assert row(facts, "Recorded by")["text"] == "agency-1"
    assert row(facts, "Agreed time T") == {
        "label": ("共识时间", "Agreed time T"),
        "text": "2025年10月9日 16:53:22.000（北京时间）",
        "kind": "text",
        "note": "2025-10-09T08:53:22.000Z",
    }
    assert row(facts, "Seal time S")["note"] == "2025-10-09T08:53:22.047Z"
    assert row(facts, "Signed by")["note"] == "4 validators"
    assert row(facts, "Place")["note"] == "block 2, item 6 of 8 in the log, counted from 0"
    assert row(facts, "Chain")["text"].replace(" ", "") == receipt.chain_id.hex()
    assert facts["date"] == [2025, 10, 9, 8, 53, 22]
    assert "no later than 2025-10-09T08:53:22.000Z, and agency-1" in facts["statement"][1]
    assert facts["heading"] == ("存证证书", "Certificate of Record")


def test_a_time_that_is_not_vouched_for_is_not_relied_upon(chain: Chain) -> None:
    facts = page_facts(chain.receipt(DEGRADED, 1))
    assert "not vouched for" in row(facts, "Agreed time T")["note"]
    sealed = row(facts, "Seal time S")["note"]
    assert f"no later than {sealed} (as sealed)" in facts["statement"][1]


def test_a_withdrawal_does_not_say_that_anything_existed(chain: Chain) -> None:
    facts = page_facts(chain.receipt(WITHDRAWN, 1))
    assert facts["heading"] == ("撤回记录", "Record of Withdrawal")
    assert "withdrew the record" in facts["statement"][1]
    assert "existed" not in facts["statement"][1]


def test_the_code_holds_coordinates_and_digest(chain: Chain) -> None:
    receipt = chain.receipt(PLAIN, 1)
    digest = hashlib.sha256(DOCUMENT).hexdigest()
    expected = f"govchain:record:{receipt.chain_id.hex()}:2:6:sha-256:{digest}"
    assert code_text(receipt) == expected


def test_the_code_is_a_receipt_of_its_own_where_there_is_a_compact_certificate() -> None:
    receipt = Receipt.decode((VECTORS / "compact.receipt").read_bytes())
    assert code_text(receipt) == (VECTORS / "compact.qr.txt").read_text().strip()
    assert page_facts(receipt)["code"][1] == "verifies by itself"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("粤2025-0001 (A)", "粤2025-0001 (A)"),
        ("Zürich·é", "Zürich·é"),
        ("e\u0301", "é"),
        ("㐀𠮷", "<U+3400><U+20BB7>"),
        ("شهادة"[:1], "<U+0634>"),
        ("a\u00adb\u200bc\n", "a<U+00AD>b<U+200B>c<U+000A>"),
    ],
)
def test_what_the_fonts_lack_is_told_by_its_number(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_what_makes_no_sense_is_printed_as_it_is(chain: Chain) -> None:
    receipt = chain.receipt(PLAIN, 1)
    late = replace(receipt.block.header, time_ms=2**64 - 1)
    unsigned = replace(receipt.block.certificate, votes=())
    facts = page_facts(
        replace(receipt, block=replace(receipt.block, header=late, certificate=unsigned))
    )
    assert row(facts, "Agreed time T")["text"] == "18446744073709551615 ms"
    assert facts["date"] == [9999, 12, 31, 23, 59, 59]
    assert not [each for each in facts["rows"] if each["label"][1] in {"Seal time S", "Signed by"}]


def test_a_superseding_record_says_so(chain: Chain) -> None:
    receipt: Receipt = chain.receipt(PLAIN, 1)
    superseding = Chain.found()
    superseding.append(record_of(DOCUMENT, action=RecordAction.SUPERSEDE))
    assert "first record" in row(page_facts(receipt), "Type")["note"]
    assert "supersedes" in row(page_facts(superseding.receipt(1)), "Type")["note"]


def test_a_page_of_a_joined_receipt_names_the_later_block_and_its_signers() -> None:
    chain = build_keyed_chain()
    receipt = with_compact(chain, chain.receipt(PLAIN, 1), certificate_at(chain, KEYED_HEIGHT))
    join = chain.consistency(PLAIN, KEYED_HEIGHT)
    alone, joined = page_facts(receipt), page_facts(receipt, join)
    assert row(joined, "Joined to")["text"] == f"区块 {KEYED_HEIGHT}，纪元 0"
    assert row(joined, "Seal time S")["note"] == iso_time(join.block.certificate.seal_time_ms())
    assert row(joined, "Seal time S") != row(alone, "Seal time S")
    assert (alone["file"], joined["file"]) == ("proof.receipt", "proof.refreshed")
    assert "proof.refreshed" in joined["guide"][0][0]
    assert alone["code"][1] == "verifies by itself"
    assert joined["code"][1] == "place and digest", "its code would be good in its own epoch alone"
    assert code_text(receipt, join).startswith("govchain:record:")
    assert not [each for each in alone["rows"] if each["label"][1] == "Joined to"]


def test_a_joined_time_that_is_not_vouched_for_is_that_of_the_later_block() -> None:
    chain = build_chain()
    join = chain.consistency(DEGRADED, FIRST_OF_EPOCH_1)
    statement = page_facts(chain.receipt(DEGRADED, 1), join)["statement"][1]
    assert (
        f"no later than {iso_time(join.block.certificate.seal_time_ms())} (as sealed)" in statement
    )
