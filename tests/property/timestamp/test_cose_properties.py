"""COSE Receipts of any content against a general library, and whatever bytes pose as one."""

from __future__ import annotations

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from node.errors import DecodeError
from node.timestamp.cose import CARRIED_LABEL, CoseReceipt

UINT64 = st.integers(0, 2**64 - 1)
BLOBS = st.binary(max_size=300)
RECEIPTS = st.builds(
    CoseReceipt,
    protected=BLOBS,
    log_size=UINT64,
    log_index=UINT64,
    log_path=st.lists(st.binary(min_size=32, max_size=32), max_size=6).map(tuple),
    signature=st.binary(min_size=64, max_size=64),
    token=st.none() | BLOBS,
    carried=st.none() | BLOBS,
)


@given(RECEIPTS)
def test_the_bytes_are_those_of_a_general_library(receipt: CoseReceipt) -> None:
    proof = cbor2.dumps([receipt.log_size, receipt.log_index, list(receipt.log_path)])
    headers = {270: receipt.token, 396: {-1: [proof]}, CARRIED_LABEL: receipt.carried}
    unprotected = {label: value for label, value in headers.items() if value is not None}
    message = [receipt.protected, unprotected, None, receipt.signature]
    assert receipt.encode() == cbor2.dumps(cbor2.CBORTag(18, message), canonical=True)
    assert CoseReceipt.decode(receipt.encode()) == receipt


@given(RECEIPTS, st.data())
def test_what_decodes_encodes_to_itself(receipt: CoseReceipt, data: st.DataObject) -> None:
    encoded = bytearray(receipt.encode())
    start = data.draw(st.integers(0, len(encoded)))
    end = data.draw(st.integers(start, min(start + 6, len(encoded))))
    encoded[start:end] = data.draw(st.binary(max_size=6))
    changed = bytes(encoded)
    try:
        assert CoseReceipt.decode(changed).encode() == changed
    except DecodeError:
        assert changed != receipt.encode()
