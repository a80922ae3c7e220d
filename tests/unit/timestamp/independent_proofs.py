"""A second verifier of standing and consistency, from proto/STANDING.md and CONSISTENCY.md alone.

It stands on the second verifier of receipts, and imports nothing of this product either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import cbor2

from tests.unit.timestamp.independent_verifier import (
    CERTIFICATE,
    DIGEST,
    HANDOVER,
    HEADER,
    ID,
    LEAF,
    UINT,
    RefusedError,
    Trust,
    Value,
    attested,
    check_about,
    check_certified,
    check_one_chain,
    check_voters,
    follow_sets,
    need,
    path_root,
    read,
    read_handover,
    tagged,
    verify,
)

NAME: Value = [ID, ("text", 1, 32), ("text", 1, 128)]
STATUS: Value = [("is", 1), ("in", 1, 2), UINT, UINT, UINT, UINT, ("uint", 0, 255)]
STATUS += [("bytes", 32, 64)]
RENEWED: Value = [("is", 1), ("is", 3), *STATUS[2:], UINT]
STATE_PROOF: Value = [("*", 0, 256, DIGEST), ("or", [DIGEST, DIGEST], ("is", None))]
STANDING: Value = [("is", "govchain-standing"), ("is", 1), ("is", 1), NAME]
STANDING += [("or", ("bytes", 0, 65_536), ("is", None)), STATE_PROOF, HEADER, CERTIFICATE]
STANDING += [("*", 0, 1024, HANDOVER)]
PATH: Value = ("*", 0, 65, DIGEST)
CONSISTENCY: Value = [("is", "govchain-consistency"), ("is", 1), ("is", 1), HEADER, PATH, PATH]
CONSISTENCY += [HEADER, CERTIFICATE, ("*", 0, 1024, HANDOVER)]
REFRESHED: Value = [("is", "govchain-refreshed"), ("is", 1), ("bytes", 0, 4_194_304)]
REFRESHED += [("bytes", 0, 4_194_304)]
DIGEST_BYTES = {3: 48, 4: 64}  # of the numbers of record digests; all others 32


class UnrootedError(Exception):
    """Verification ends here: not rooted."""


Steps = Iterator[Callable[[], None]]


def run(steps: Steps) -> tuple[str, int | None]:
    step = 0
    try:
        for step, check in enumerate(steps, start=1):  # noqa: B007 - told below
            check()
    except RefusedError:
        return "not verified", max(step, 1)
    except UnrootedError:
        return "not rooted", step
    return "verified", None


def tagged_bytes(tag: str, data: bytes) -> bytes:
    return hashlib.sha256(b"govchain/v1/" + tag.encode() + b"\x00" + data).digest()


def read_status(data: bytes) -> Value:
    is_renewed = data[:1] == b"\x89"
    value = read(data, RENEWED if is_renewed else STATUS)
    need(len(value[7]) == DIGEST_BYTES.get(value[6], 32), "status digest")
    need(not is_renewed or value[8] < value[5], "withdrawal before the latest record")
    return value


def check_state(proof: Value) -> None:
    _, _, _, name, encoded, (siblings, other), header, _, _ = proof
    path = tagged("state-key", [5, *name])
    bits = int.from_bytes(path, "big")
    depth = len(siblings)
    need(not siblings or siblings[-1] != bytes(32), "superfluous")
    if encoded is not None:
        need(other is None, "other leaf")
        node = tagged_bytes("state-leaf", path + hashlib.sha256(encoded).digest())
    elif other is None:
        node = bytes(32)
    else:
        theirs = int.from_bytes(other[0], "big")
        need(theirs != bits and theirs >> (256 - depth) == bits >> (256 - depth), "other path")
        node = tagged_bytes("state-leaf", other[0] + other[1])
    for at in reversed(range(depth)):
        right = bits >> (255 - at) & 1
        pair = siblings[at] + node if right else node + siblings[at]
        node = tagged_bytes("state-node", pair)
    need(node == header[12], "state root")


def find_set(header: Value, handovers: Value, trust: Trust) -> Value:
    epoch, anchor_epoch = header[2], len(trust.sets) - 1
    first = handovers[0][0][2] if handovers else epoch
    if header[1] != trust.chain_id or epoch < anchor_epoch or first > anchor_epoch:
        raise UnrootedError
    validators = follow_sets(handovers, first, trust)
    need(validators[1] == epoch, "epoch reached")
    return validators


def pairs_of(header: Value, certificate: Value, handovers: Value) -> Value:
    return [*((handover[0], handover[1]) for handover in handovers), (header, certificate)]


def verify_standing(
    data: bytes, trust: Trust, name: list[str] | None = None, receipt: bytes | None = None
) -> tuple[str, int | None]:
    """Verify a proof of standing; a receipt, if given, is taken as verified."""

    def steps() -> Steps:
        need(len(data) <= 4_194_304, "too long")
        proof = read(data, STANDING)
        *_, header, certificate, handovers = proof
        check_voters(certificate)
        for handover in handovers:
            read_handover(handover)
        status = None if proof[4] is None else read_status(proof[4])
        yield lambda: None
        yield lambda: need(name in (None, proof[3]), "name")
        yield lambda: check_state(proof)
        yield lambda: check_about(certificate, header)
        found: list[Value] = []
        yield lambda: found.append(find_set(header, handovers, trust))
        yield lambda: check_certified(header, certificate, found[0], trust.chain_id)
        pairs = [*trust.pairs, *pairs_of(header, certificate, handovers)]
        yield lambda: check_one_chain(pairs, trust.created)
        if receipt is not None:
            yield lambda: check_record(proof, status, receipt, pairs, trust)

    return run(steps())


def check_record(
    proof: Value, status: Value, receipt: bytes, pairs: list[Value], trust: Trust
) -> None:
    _, _, _, leaf, index, _, header, certificate, handovers, *_ = cbor2.loads(receipt)
    _, _, height, time, _, _, sender, (algorithm, digest, kind, reference, _) = read(leaf, LEAF)
    need(reference is not None and proof[3] == [sender, kind, reference], "name of the record")
    need(proof[6][3] >= height, "older")
    check_one_chain([*pairs, *pairs_of(header, certificate, handovers)], trust.created)
    need(status is not None and status[5] >= index, "earlier record")
    need(status[5] > index or [*status[3:5], *status[6:8]] == [height, time, algorithm, digest], "")


def consistency_roots(old: int, new: int, root: bytes, path: list[bytes]) -> tuple[bytes, bytes]:
    """Follow RFC 9162 section 2.1.4.2 to the letter."""
    need(0 < old <= new, "sizes")
    if old == new:
        need(not path, "path")
        return root, root
    need(path, "path")
    rest = [root, *path] if old & (old - 1) == 0 else list(path)
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = rest[0]
    for c in rest[1:]:
        need(sn, "path too long")
        if fn & 1 or fn == sn:
            fr = hashlib.sha256(b"\x01" + c + fr).digest()
            sr = hashlib.sha256(b"\x01" + c + sr).digest()
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = hashlib.sha256(b"\x01" + sr + c).digest()
        fn, sn = fn >> 1, sn >> 1
    need(not sn, "path too short")
    return fr, sr


def verify_consistency(data: bytes, trust: Trust) -> tuple[str, int | None]:
    """Verify a proof of consistency."""

    def steps() -> Steps:
        need(len(data) <= 4_194_304, "too long")
        _, _, _, old, log_path, header_path, new, certificate, handovers = read(data, CONSISTENCY)
        check_voters(certificate)
        for handover in handovers:
            read_handover(handover)
        yield lambda: None
        up = new[3] - old[3]
        risen = new[5] - old[5] >= up and new[10] - old[10] >= up and new[2] >= old[2]
        yield lambda: need(old[1] == new[1] and up > 0 and risen, "order")
        roots = (old[11][0], new[11][0])
        yield lambda: need(consistency_roots(old[10], new[10], roots[0], log_path) == roots, "log")
        leaf = cbor2.dumps([1, 0, old[3], tagged("header", old)])
        yield lambda: need(path_root(leaf, old[10], new[10], header_path) == roots[1], "header")
        yield lambda: check_about(certificate, new)
        found: list[Value] = []
        yield lambda: found.append(find_set(new, handovers, trust))
        yield lambda: check_certified(new, certificate, found[0], trust.chain_id)
        pairs = [*trust.pairs, *pairs_of(new, certificate, handovers)]

        def history() -> None:
            check_one_chain(pairs, trust.created)
            same = [header for header, _ in pairs if header[3] == old[3]]
            need(all(tagged("header", header) == tagged("header", old) for header in same), "fork")

        yield history

    return run(steps())


def verify_refreshed(data: bytes, document: str, trust: Trust) -> tuple[str, int | None]:
    """Verify a refreshed receipt."""
    try:
        need(len(data) <= 6_291_456, "too long")
        _, _, receipt, proof = read(data, REFRESHED)
        _, _, _, old, _, _, new, certificate, handovers = read(proof, CONSISTENCY)
        check_voters(certificate)
        for handover in handovers:
            read_handover(handover)
    except RefusedError:
        return "not verified", 1

    def join(header: Value) -> tuple[str, Value]:
        outcome, _ = verify_consistency(proof, trust)
        if outcome == "verified" and old != header:
            outcome = "not verified"
        return outcome, pairs_of(new, certificate, handovers)

    return verify(receipt, document, trust, join)


def refreshed_attested(data: bytes, trust: Trust) -> dict[str, Value]:
    """Say what a verified refreshed receipt attests."""
    _, _, receipt, proof = cbor2.loads(data)
    certificate = cbor2.loads(proof)[7]
    times = sorted(vote[1] for vote in certificate[7])
    said = attested(receipt, trust)
    is_retired = cbor2.loads(receipt)[6][2] < len(trust.sets) - 1
    return said | ({"seal_time_ms": times[(len(times) - 1) // 2]} if is_retired else {})
