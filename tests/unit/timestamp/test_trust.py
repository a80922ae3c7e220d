"""The trust file: there and back, each way it can be malformed, each rule it can break."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from node.chain.block import CertifiedHeader
from node.crypto import domains
from node.errors import DecodeError, ProofError
from node.limits import TRUST_FILE_BYTES_MAX
from node.timestamp.history import Handover
from node.timestamp.trust import TrustFile, load_trust
from tests.vectors.receipt.chain import SUITE, Chain, certify, record_of, validator_set

FORGED = validator_set(1, (6, 7, 8, 9))


@pytest.fixture(scope="module")
def chain() -> Chain:
    chain = Chain.found()
    chain.append(record_of(b"1"))
    chain.append(record_of(b"2"), next_set=validator_set(1, (1, 2, 3, 4, 5)))
    chain.append(record_of(b"3"), next_set=validator_set(2, (2, 3, 4, 5)))
    chain.append(record_of(b"4"))
    return chain


@pytest.mark.parametrize("height", [None, 1, 2, 3, 4])
def test_a_trust_file_comes_back_from_its_bytes(chain: Chain, height: int | None) -> None:
    trust = chain.trust(height)
    assert TrustFile.decode(trust.encode()) == trust
    assert trust.encode().endswith(b"}\n")


def test_an_anchor_of_the_genesis_knows_the_first_set(chain: Chain) -> None:
    anchor = load_trust(chain.trust().encode())
    assert (anchor.chain_id, anchor.suite) == (chain.genesis.chain_id, SUITE)
    assert (anchor.epoch, anchor.pinned, anchor.blocks) == (0, None, ())
    assert anchor.validator_sets == (chain.genesis.validators,)
    assert anchor.chain_id == SUITE.tagged_hash(domains.GENESIS, chain.genesis.encode())


@pytest.mark.parametrize(("height", "epoch"), [(1, 0), (2, 0), (3, 1), (4, 2)])
def test_an_anchor_knows_every_set_up_to_the_pinned_header(
    chain: Chain, height: int, epoch: int
) -> None:
    anchor = load_trust(chain.trust(height).encode())
    assert anchor.epoch == epoch
    assert [known.epoch for known in anchor.validator_sets] == list(range(epoch + 1))
    assert anchor.pinned == chain.blocks[height - 1]
    assert [block.header.height for block in anchor.blocks] == [*[2, 3][:epoch], height]


# --- Malformed ---


def edited(chain: Chain, edit: Callable[[dict[str, Any]], object]) -> bytes:
    fields = json.loads(chain.trust(4).encode())
    edit(fields)
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a JSON object"),
        (b"\xff", "expected a JSON object"),
        (b"[]", "expected a JSON object, got list"),
        (b"[" * 100_000, "expected a JSON object"),
        (b'{"format": "other"}', "expected format"),
        (b'{"version": 1, "version": 1}', "occurs twice"),
        (b" " * (TRUST_FILE_BYTES_MAX + 1), "expected at most"),
    ],
    ids=["empty", "not-utf8", "list", "deep", "format", "twice", "long"],
)
def test_what_is_no_trust_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        load_trust(data)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", "govchain", "expected format"),
        ("version", 2, "version: expected 1, got 2"),
        ("version", True, "version: expected 1, got True"),
        ("version", "1", "version: expected 1"),
        ("comment", "x", "unknown field 'comment'"),
        ("chain_id", 5, "chain_id: expected 64 lower-case hex"),
        ("chain_id", "AB", "chain_id: expected 64 lower-case hex"),
        ("chain_id", "ab" * 31, "chain_id: expected 64 lower-case hex"),
        ("chain_id", "ab" * 33, "chain_id: expected 64 lower-case hex"),
        ("chain_id", "zz", "chain_id: expected 64 lower-case hex"),
        ("genesis", None, "genesis: expected base64"),
        ("genesis", "", "genesis: expected base64"),
        ("genesis", "é", "genesis: expected base64"),
        ("genesis", "AQ", "genesis: expected base64"),
        ("genesis", "AR==", "genesis: expected base64"),
        ("genesis", "A Q==", "genesis: expected base64"),
        ("genesis", "AQ==", "genesis: expected an array"),
        ("handovers", {}, "handovers: expected a list"),
        ("handovers", ["AQ=="] * 16_385, "handovers: expected a list of at most 16384"),
        ("handovers", [1], "handovers: expected base64"),
        ("handovers", ["AQ=="], "handover: expected an array"),
        ("pinned", "AQ==", "certified header: expected an array"),
        ("pinned", [], "pinned: expected base64"),
        ("pinned", None, "pinned: expected a header after the handovers"),
    ],
)
def test_a_malformed_field_is_named(chain: Chain, field: str, value: object, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        load_trust(edited(chain, lambda fields: fields.update({field: value})))


@pytest.mark.parametrize("field", ["chain_id", "genesis", "handovers", "pinned"])
def test_a_missing_field_is_named(chain: Chain, field: str) -> None:
    with pytest.raises(DecodeError, match=f"missing field '{field}'"):
        load_trust(edited(chain, lambda fields: fields.pop(field)))


def test_bytes_after_the_genesis_are_refused(chain: Chain) -> None:
    longer = base64.b64encode(chain.genesis.encode() + b"\0").decode()
    with pytest.raises(DecodeError, match="genesis"):
        load_trust(edited(chain, lambda fields: fields.update(genesis=longer)))


# --- Well formed, and wrong ---


def refused(trust: TrustFile, rule: str) -> None:
    with pytest.raises(ProofError) as caught:
        load_trust(trust.encode())
    assert caught.value.rule == rule


def test_the_chain_id_must_be_the_hash_of_the_genesis(chain: Chain) -> None:
    refused(replace(chain.trust(), chain_id=bytes(32)), "trust-chain-id")


def test_another_genesis_certifies_nothing_here(chain: Chain) -> None:
    other = Chain.found("another chain").genesis
    refused(replace(chain.trust(), genesis=other), "trust-chain-id")
    refused(replace(chain.trust(1), genesis=other, chain_id=other.chain_id), "header-chain")


def test_handovers_must_lead_to_the_pinned_header(chain: Chain) -> None:
    trust = chain.trust(4)
    refused(replace(trust, handovers=()), "trust-certificate")
    refused(replace(trust, handovers=trust.handovers[:1]), "trust-certificate")
    refused(replace(trust, handovers=trust.handovers[::-1]), "trust-certificate")


def test_a_handover_must_name_the_set_it_hands_over_to(chain: Chain) -> None:
    first, second = chain.handovers
    refused(
        replace(chain.trust(4), handovers=(Handover(first.block, FORGED), second)), "handover-set"
    )


def test_a_pinned_header_needs_a_quorum_of_valid_signatures(chain: Chain) -> None:
    pinned = chain.blocks[0]
    few = replace(pinned.certificate, votes=pinned.certificate.votes[:2])
    outsiders = certify(pinned.header, validator_set(0, (6, 7, 8, 9)))
    for certificate in (few, outsiders):
        refused(
            replace(chain.trust(1), pinned=CertifiedHeader(pinned.header, certificate)),
            "trust-certificate",
        )


def test_a_pinned_header_needs_its_own_certificate(chain: Chain) -> None:
    mixed = CertifiedHeader(chain.blocks[0].header, chain.blocks[1].certificate)
    refused(replace(chain.trust(1), pinned=mixed), "certificate-height")


def test_what_is_pinned_must_fit_on_one_chain(chain: Chain) -> None:
    below = Chain.found()
    height = below.append(record_of(b"fork"), after_ms=10_000, next_set=chain.handovers[0].next_set)
    above = chain.trust(3)
    refused(replace(above, handovers=tuple(below.handovers)), "history-time")
    early = Chain.found()
    early.append(record_of(b"early"), after_ms=0)
    refused(early.trust(height), "history-time")
