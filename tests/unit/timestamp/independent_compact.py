"""A second verifier of QR codes' texts, written from proto/verify/qr.md and govchain.cddl alone.

It stands on the second verifier of receipts, and imports nothing of this product either.
"""

from __future__ import annotations

import base64
import binascii
import re

from tests.unit.timestamp.independent_verifier import (
    DIGEST,
    LEAF,
    UINT,
    RefusedError,
    Trust,
    Value,
    check_compact,
    need,
    path_root,
    read,
    tagged,
)

COMPACT: Value = [("is", 1), DIGEST, ("is", 1), ("bytes", 0, 1024), UINT, ("bytes", 0, 2048)]
COMPACT += [UINT, UINT, DIGEST, UINT, DIGEST, UINT, ("bytes", 96, 96)]


def decoded(text: bytes) -> bytes:
    """Return what the text encodes: base 32 without padding, spare bits zero."""
    need(len(text.strip()) <= 4_296, "too long")
    found = re.fullmatch(rb"\s*GOVCHAIN1:([A-Z2-7]*)\s*", text)
    if found is None:
        raise RefusedError("text")
    padded = found[1] + b"=" * (-len(found[1]) % 8)
    try:
        data = base64.b32decode(padded)
    except binascii.Error as error:
        raise RefusedError("base 32") from error
    need(base64.b32encode(data) == padded, "spare bits")
    return data


def check_beside(header: Value, certified: Value, record: Value) -> None:
    """Step 5, for one header of the trust file."""
    _, epoch, height, digest, size, root, state, _, _ = certified
    record_height, time, index = record
    h_epoch, h_height, h_time, h_size = header[2], header[3], header[5], header[10]
    if h_height == height:
        own = [tagged("header", header), h_size, header[11][0], header[12]]
        need(own == [digest, size, root, state], "fork")
    elif h_height < height:
        need(size - h_size >= height - h_height, "log size")
    else:
        need(h_epoch >= epoch and h_size - size >= h_height - height, "epoch, log size")
    need((index < h_size) == (record_height <= h_height), "place")
    up = h_height - record_height
    need(h_time == time if not up else (h_time - time) * (1 if up > 0 else -1) >= abs(up), "time")


def verify(text: bytes, document: str, trust: Trust) -> tuple[str, int | None]:
    """Return the outcome, and the step that failed."""
    step = 1
    try:
        fields = read(decoded(text), COMPACT)
        _, chain_id, _, leaf, index, joined, epoch, height, header, size, state, *signed = fields
        _, _, record_height, time, _, _, _, (algorithm, digest, _, _, action) = read(leaf, LEAF)
        need(len(joined) % 32 == 0, "path")
        hashes = [joined[start : start + 32] for start in range(0, len(joined), 32)]
        root = path_root(leaf, index, size, hashes)
        step = 2
        name = {1: "sha-256", 2: "sm3", 3: "sha-384", 4: "sha-512"}.get(algorithm)
        need(f"{name}:{digest.hex()}" == document, "document")
        step = 3
        if chain_id != trust.chain_id or epoch != len(trust.sets) - 1:
            return "not rooted", step
        step = 4
        certified = [1, epoch, height, header, size, root, state, *signed]
        check_compact(certified, chain_id, trust.sets[-1])
        step = 5
        need(record_height <= height and time >= trust.created + record_height, "height, time")
        for pinned, _ in trust.pairs:
            check_beside(pinned, certified, (record_height, time, index))
        step = 6
        need(action != 2, "withdrawn")
    except RefusedError:
        return "not verified", step
    return "verified", None
