"""Which format a file is of, what it carries, and that it says nothing besides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.crypto.suite import SHA_256, SM3
from node.errors import DecodeError, ProofError
from node.limits import RECEIPT_BYTES_MAX
from node.timestamp.cose import CoseReceipt
from node.timestamp.export import COSE, EXPORTS, NATIVE, TSR, cose_receipt_of, export_cose
from node.timestamp.opening import digest_algorithm_of, open_receipt
from node.timestamp.receipt import Receipt
from node.timestamp.steps import NotRootedError
from node.timestamp.verify import NamedDigest, Outcome, Step, verify_receipt
from tests.unit.timestamp.pdf_files import sound
from tests.vectors.receipt.case import DIGEST
from tests.vectors.receipt.chain import Chain, with_digest_algorithm
from tests.vectors.receipt.story import FIRST_OF_EPOCH_2, PLAIN, build_chain
from tests.vectors.receipt.tokens import authority_of, issuer_of, with_token


@pytest.fixture(scope="module")
def chain() -> Chain:
    return build_chain()


@pytest.fixture(scope="module")
def receipt(chain: Chain) -> Receipt:
    return chain.receipt(PLAIN, 1)


def cose_of(receipt: Receipt) -> CoseReceipt:
    made = cose_receipt_of(receipt)
    assert made is not None
    return made


@pytest.mark.parametrize("name", [NATIVE, TSR, COSE])
@pytest.mark.parametrize("height", [PLAIN, FIRST_OF_EPOCH_2])
def test_an_export_opens_to_the_receipt_it_was_made_of(
    chain: Chain, name: str, height: int
) -> None:
    receipt = with_token(chain.receipt(height, 1), issuer_of(authority_of(chain)))
    make = EXPORTS[name].make
    data = make(receipt)
    assert data is not None
    assert data == make(Receipt.decode(receipt.encode()))
    opened = open_receipt(data)
    assert (opened.format, opened.receipt) == (name, receipt)
    assert opened.size_bytes == len(receipt.encode())
    verdict = verify_receipt(data, chain.trust().establish(), NamedDigest.parse(DIGEST))
    assert verdict.outcome is Outcome.VERIFIED


def test_a_receipt_without_a_signature_of_the_root_has_no_cose_form(receipt: Receipt) -> None:
    assert export_cose(replace(receipt, cose=None)) is None


def test_a_cose_receipt_without_the_chain_proof_is_one_validators_word(
    chain: Chain, receipt: Receipt
) -> None:
    bare = replace(cose_of(receipt), carried=None).encode()
    with pytest.raises(NotRootedError, match="one validator"):
        open_receipt(bare)
    verdict = verify_receipt(bare, chain.trust().establish(), NamedDigest.parse(DIGEST))
    assert verdict.outcome is Outcome.NOT_ROOTED
    assert verdict.failure is not None
    assert verdict.failure.step is Step.RECEIPT


def test_a_cose_receipt_says_nothing_but_what_it_carries(receipt: Receipt) -> None:
    good = cose_of(receipt)
    other = replace(receipt, cose=None)
    for changed, rule in (
        (replace(good, protected=good.protected[:-1] + b"\2"), "cose-header"),
        (replace(good, log_size=good.log_size + 1), "cose-log-size"),
        (replace(good, log_index=good.log_index - 1), "cose-log-index"),
        (replace(good, log_path=good.log_path[::-1]), "cose-log-path"),
        (replace(good, signature=bytes(64)), "cose-signature"),
        (replace(good, carried=other.encode()), "cose-carried"),
    ):
        with pytest.raises(ProofError) as caught:
            open_receipt(changed.encode())
        assert caught.value.rule == rule


def test_no_flipped_byte_of_a_cose_receipt_verifies(chain: Chain, receipt: Receipt) -> None:
    data = cose_of(receipt).encode()
    anchor, document = chain.trust().establish(), NamedDigest.parse(DIGEST)
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        verdict = verify_receipt(bytes(flipped), anchor, document)
        assert verdict.outcome is Outcome.NOT_VERIFIED, position
        assert verdict.failure is not None


def test_the_file_attached_to_a_pdf_is_what_is_opened(receipt: Receipt) -> None:
    for pdf in sound(receipt.encode()).values():
        opened = open_receipt(pdf)
        assert (opened.format, opened.receipt) == ("pdf", receipt)


def test_a_pdf_whose_attachment_is_no_receipt_is_refused(receipt: Receipt) -> None:
    for content in (b"", receipt.encode()[:40], bytes(RECEIPT_BYTES_MAX + 1)):
        for pdf in sound(content).values():
            with pytest.raises(DecodeError, match="receipt: "):
                open_receipt(pdf)


@pytest.mark.parametrize("data", [b"", b"\xd2", b"\xd2\x84", b"%PDF-", b"\x30\x82", b"c2sp.org"])
def test_what_is_no_receipt_in_any_format_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        open_receipt(data)


def test_a_document_is_hashed_as_its_record_was(receipt: Receipt) -> None:
    with_sm3 = with_digest_algorithm(receipt.leaf, 2)
    assert digest_algorithm_of(receipt.encode()) is SHA_256
    assert digest_algorithm_of(replace(receipt, leaf=with_sm3).encode()) is SM3


def test_a_document_is_hashed_somehow_where_the_receipt_does_not_say(receipt: Receipt) -> None:
    unknown = with_digest_algorithm(receipt.leaf, 9)
    assert digest_algorithm_of(replace(receipt, leaf=unknown).encode()) is SHA_256
    assert digest_algorithm_of(b"no receipt") is SHA_256
    assert digest_algorithm_of(replace(cose_of(receipt), carried=None).encode()) is SHA_256
    assert digest_algorithm_of(cose_of(receipt).encode()) is SHA_256
