"""Batches of records: read back as they were written, and their leaves as one by one."""

from __future__ import annotations

from itertools import cycle, islice

from hypothesis import given
from hypothesis import strategies as st

from node.chain.block import ResultCode, TransactionResult
from node.chain.encoding import decode, encode
from node.chain.record import (
    Notarization,
    RecordAction,
    RecordLeaf,
    document_digest_bytes,
    encode_record_leaves,
)
from node.chain.reference import REFERENCE_KIND, ReferenceStatus, Standing, reference_key

TEXTS = st.text(alphabet="ab-9 照证", min_size=1, max_size=10).filter(str.strip)


@st.composite
def batches(draw: st.DrawFn) -> Notarization:
    """Draw a batch whose size needs heads of one, two or three bytes for its last index."""
    count = draw(st.sampled_from([1, 2, 23, 24, 25, 255, 256, 257, 300]))
    algorithm = draw(st.integers(0, 5))
    size = document_digest_bytes(algorithm)
    marks = draw(st.binary(min_size=1, max_size=size))
    digests = b"".join((marks + bytes((n % 256, n // 256)) * size)[:size] for n in range(count))
    pattern = draw(st.none() | st.lists(st.none() | TEXTS, min_size=1, max_size=5))
    references = None if pattern is None else tuple(islice(cycle(pattern), count))
    return Notarization(
        digest_algorithm=algorithm,
        type_code=draw(TEXTS),
        action=draw(st.sampled_from(RecordAction)),
        digests=digests,
        references=references if references and any(references) else None,
    )


@given(batch=batches())
def test_a_batch_is_read_as_it_was_written(batch: Notarization) -> None:
    written = encode(batch.to_value())
    read = Notarization.from_value(decode(written, what="batch", size_max=len(written)))
    assert read == batch
    assert read.split_digests() == [record.digest for record in read.records()]
    assert len(read.split_digests()) == read.count


@given(
    batch=batches(),
    height=st.integers(0, 2**40),
    time_ms=st.integers(0, 2**50),
    sender=TEXTS,
)
def test_leaves_of_a_batch_are_those_of_its_records(
    batch: Notarization, height: int, time_ms: int, sender: str
) -> None:
    tx_id = bytes(range(32))
    leaves = encode_record_leaves(batch, height=height, time_ms=time_ms, tx_id=tx_id, sender=sender)
    assert leaves == [
        RecordLeaf(
            height=height,
            time_ms=time_ms,
            tx_id=tx_id,
            operation_index=index,
            sender=sender,
            record=record,
        ).encode()
        for index, record in enumerate(batch.records())
    ]


NUMBERS = st.integers(0, 2**64 - 1) | st.sampled_from([23, 24, 255, 256])


@given(
    numbers=st.tuples(*[NUMBERS] * 4),
    standing=st.sampled_from(Standing),
    kind=st.integers(0, 5),
    data=st.data(),
)
def test_a_status_is_read_as_it_was_written(
    numbers: tuple[int, int, int, int], standing: Standing, kind: int, data: st.DataObject
) -> None:
    version, height, time_ms, log_index = numbers
    withdrawn_index = None
    if standing is Standing.RENEWED:
        log_index = max(log_index, 1)
        withdrawn_index = data.draw(st.integers(0, log_index - 1))
    status = ReferenceStatus(
        standing=standing,
        version=version,
        height=height,
        time_ms=time_ms,
        log_index=log_index,
        digest_algorithm=kind,
        digest=b"d" * document_digest_bytes(kind),
        withdrawn_index=withdrawn_index,
    )
    assert ReferenceStatus.decode(status.encode()) == status


@given(issuer=TEXTS, type_code=TEXTS, reference=TEXTS)
def test_a_reference_key_is_the_array_of_its_parts(
    issuer: str, type_code: str, reference: str
) -> None:
    key = reference_key(issuer, type_code, reference)
    assert key == encode([REFERENCE_KIND, issuer, type_code, reference])


@given(code=st.sampled_from(ResultCode), operation_index=NUMBERS, log_index=NUMBERS)
def test_a_result_is_the_array_of_its_parts(
    code: ResultCode, operation_index: int, log_index: int
) -> None:
    tx_id = bytes(range(32))
    result = TransactionResult(
        tx_id=tx_id, code=code, operation_index=operation_index, log_index=log_index
    )
    assert result.encode() == encode([1, tx_id, code.value, operation_index, log_index])
