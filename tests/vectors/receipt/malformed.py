"""What is no receipt: step 1. Limits that take megabytes to pass are tried in the tests instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cbor2

from node.chain.encoding import decode
from node.limits import RECEIPT_BYTES_MAX
from node.timestamp.verify import Step
from tests.vectors.receipt.case import Case, fails
from tests.vectors.receipt.chain import AGENCY, Chain, seed
from tests.vectors.receipt.story import FIRST_OF_EPOCH_1, PLAIN

Edit = Callable[[list[Any]], object]

# Positions in the arrays of the CDDL.
CHAIN_ID, SUITE_ID, LEAF, LOG_INDEX, LOG_PATH, HEADER, CERTIFICATE, HANDOVERS = range(1, 9)
TOKEN, COSE = 9, 10
DEGRADED_FLAG, PARENT, PROPOSER, LOG_ROOTS = 6, 7, 8, 11  # of a header
PHASE, VOTES = 3, 7  # of a certificate
VOTER, VOTE_TIME, SIGNATURE = range(3)  # of a vote in it
MEMBERS = 2  # of a set
ID, ORGANISATION, VOTE_KEY, COSIGNATURE_KEY, BLS_KEY = range(5)  # of a member
KIND, OPERATION_INDEX, SENDER, RECORD = 1, 5, 6, 7  # of a leaf
ALGORITHM, DIGEST, TYPE, REFERENCE, ACTION = range(5)  # of a record


def edited(data: bytes, edit: Edit) -> bytes:
    """Return the encoding of the value that `edit` makes of an encoded one."""
    value = decode(data, what="value", size_max=RECEIPT_BYTES_MAX)
    edit(value)
    return cbor2.dumps(value)  # ours encodes nothing that no format has


def put(path: tuple[int, ...], item: object) -> Edit:
    """Return the edit that puts an item at a path of positions."""

    def edit(value: list[Any]) -> None:
        for position in path[:-1]:
            value = value[position]
        value[path[-1]] = item

    return edit


def malformed(name: str, about: str, data: bytes, reason: str) -> Case:
    """Return a case that is no receipt."""
    return fails(Step.RECEIPT, name, about, data, reason)


def malformed_cases(chain: Chain) -> Iterator[Case]:
    """Yield what is no receipt."""
    yield from _encodings(chain.receipt(PLAIN, 1).encode())
    yield from _fields(chain.receipt(PLAIN, 1).encode())
    yield from _leaves(chain)
    yield from _sets(chain.receipt(FIRST_OF_EPOCH_1, 1).encode())


def _encodings(data: bytes) -> Iterator[Case]:
    """Yield what is not the one encoding of anything."""
    yield malformed("empty", "no bytes", b"", "receipt: expected more bytes")
    yield malformed("truncated", "the last byte is missing", data[:-1], "receipt: expected ")
    yield malformed("trailing-byte", "one byte follows", data + b"\x00", "receipt: expected ")
    longer = b"\x8b\x18\x01" + data[2:]
    yield malformed("long-integer", "1 in two bytes", longer, "receipt: not the canonical")
    longer = data.replace(b"\x58\x20", b"\x59\x00\x20", 1)
    yield malformed("long-length", "32 in three bytes", longer, "receipt: not the canonical")
    longer = b"\x98\x0d" + data[1:]
    yield malformed("long-array", "13 items in two bytes", longer, "receipt: not the canonical")
    streamed = b"\x9f" + data[1:] + b"\xff"
    yield malformed("indefinite-array", "no length is given", streamed, "receipt: item head 0x9f")
    described = b"\xd9\xd9\xf7" + data
    yield malformed("self-described", "the tag for CBOR", described, "receipt: item head 0xd9")
    nested: list[Any] = []
    for _ in range(11):
        nested = [nested]
    for name, about, item, reason in (
        ("map", "a map", {}, "receipt: item head 0xa0"),
        ("tag", "1 with tag 1", cbor2.CBORTag(1, 1), "receipt: item head 0xc1"),
        ("float", "6.0 for 6", 6.0, "receipt: item head 0xfb"),
        (
            "small-big-integer",
            "6 as a bignum",
            cbor2.CBORTag(2, b"\x06"),
            "receipt: item head 0xc2",
        ),
        ("undefined", "undefined", cbor2.undefined, "receipt: item head 0xf7"),
        ("big-integer", "2^64", 2**64, "receipt: item head 0xc2"),
        ("nested", "arrays in arrays, 13 levels", nested, "receipt: nested deeper"),
    ):
        changed = edited(data, put((LOG_INDEX,), item))
        yield malformed(name, f"as the log index: {about}", changed, reason)


def _fields(data: bytes) -> Iterator[Case]:
    """Yield what is not of the receipt's fields, outside the leaf and the sets."""
    more = edited(data, lambda value: value.append(None))
    yield malformed("field-more", "a fourteenth field", more, "receipt: expected an array of 13")
    less = edited(data, lambda value: value.pop())
    yield malformed(
        "field-missing", "twelve fields", less, "receipt: expected an array of 13 items"
    )
    more = edited(data, lambda value: value[HEADER].append(0))
    yield malformed(
        "header-field-more",
        "a field after the last one of the header",
        more,
        "header: expected an array of 16",
    )
    swapped = edited(data, lambda value: value[CERTIFICATE][VOTES].reverse())
    yield malformed("voters-descending", "the order is reversed", swapped, "certificate: expected ")
    votes = decode(data, what="receipt", size_max=len(data))[CERTIFICATE][VOTES]
    root, vote = bytes(32), (CERTIFICATE, VOTES, 3)
    for name, about, path, item, reason in (
        ("version-2", "an unknown version", (0,), 2, "receipt: expected version 1"),
        ("version-true", "true for 1", (0,), True, "receipt: expected version 1"),
        ("chain-id-short", "31 bytes", (CHAIN_ID,), bytes(31), "receipt chain id"),
        ("chain-id-text", "text for bytes", (CHAIN_ID,), "x" * 32, "receipt chain id"),
        ("suite-unknown", "suite 99", (SUITE_ID,), 99, "receipt suite: suite: expected"),
        ("log-index-negative", "-1", (LOG_INDEX,), -1, "receipt log index: expected"),
        ("log-path-65", "more hashes than a log needs", (LOG_PATH,), [root] * 65, "receipt log pa"),
        ("log-path-short-hash", "31 bytes", (LOG_PATH, 0), bytes(31), "receipt log path: expected"),
        ("header-version-2", "an unknown version", (HEADER, 0), 2, "header: expected version 1"),
        ("header-flag-0", "0 for false", (HEADER, DEGRADED_FLAG), 0, "header degraded flag: ex"),
        ("header-parent-null", "null at height 2", (HEADER, PARENT), None, "header parent: expec"),
        ("proposer-64", "the last one is 63", (HEADER, PROPOSER), 64, "header proposer: expec"),
        ("log-roots-none", "no root", (HEADER, LOG_ROOTS), [], "header log roots: expected"),
        ("log-roots-2", "two roots", (HEADER, LOG_ROOTS), [root] * 2, "header log roots: expected"),
        ("log-roots-3", "three roots", (HEADER, LOG_ROOTS), [root] * 3, "header log roots: expec"),
        ("certificate-version-2", "an unknown version", (CERTIFICATE, 0), 2, "certificate: expect"),
        ("phase-0", "phase 0", (CERTIFICATE, PHASE), 0, "vote phase: expected"),
        ("phase-unknown", "phase 3", (CERTIFICATE, PHASE), 3, "vote phase: expected"),
        ("voter-twice", "one vote stands there twice", (*vote[:2], 1), votes[0], "certificate: ex"),
        ("voter-64", "the last one is 63", (*vote, VOTER), 64, "certificate voter: expected"),
        ("vote-time-null", "no time", (*vote, VOTE_TIME), None, "certificate vote time: expected"),
        ("signature-short", "63 bytes", (*vote, SIGNATURE), bytes(63), "certificate signature: ex"),
        ("signature-long", "65 bytes", (*vote, SIGNATURE), bytes(65), "certificate signature: ex"),
        ("handovers-null", "null for no handovers", (HANDOVERS,), None, "receipt handovers: expe"),
        ("token-text", "text for bytes", (TOKEN,), "token", "receipt token: expected"),
        ("token-long", "16,385 bytes", (TOKEN,), bytes(16_385), "receipt token: expected"),
        ("cose-bytes", "bytes for an array", (COSE,), bytes(97), "COSE signature: expected an arr"),
        ("cose-key-short", "32 bytes", (COSE, 0), bytes(32), "COSE key: expected 33 bytes"),
        ("cose-signature-long", "65 bytes", (COSE, 1), bytes(65), "COSE signature: expected 64"),
    ):
        yield malformed(name, about, edited(data, put(path, item)), reason)


def _leaves(chain: Chain) -> Iterator[Case]:
    """Yield what is no leaf of a record."""
    receipt = chain.receipt(PLAIN, 1)
    data, leaf = receipt.encode(), receipt.leaf.encode()

    def with_leaf(name: str, about: str, item: object, reason: str) -> Case:
        return malformed(name, about, edited(data, put((LEAF,), item)), reason)

    as_array = decode(leaf, what="leaf", size_max=len(leaf))
    yield with_leaf("leaf-array", "not inside a byte string", as_array, "receipt leaf: expected")
    yield with_leaf("leaf-empty", "no bytes", b"", "record leaf: expected more bytes")
    yield with_leaf("header-leaf", "it proves no record", chain.leaves[0], "record leaf: ")
    yield with_leaf("leaf-trailing-byte", "one byte follows", leaf + b"\x00", "record leaf: expect")
    longer = leaf[:1] + b"\x18" + leaf[1:]
    yield with_leaf("leaf-long-integer", "1 in two bytes", longer, "record leaf: not the canonical")
    latin = leaf.replace(AGENCY.encode(), AGENCY.encode()[:-1] + b"\xe9", 1)
    yield with_leaf("sender-latin-1", "text that is not UTF-8", latin, "record leaf: not well-form")
    surrogate = leaf.replace(AGENCY.encode(), AGENCY.encode()[:-3] + b"\xed\xa0\x80", 1)
    yield with_leaf("sender-surrogate", "U+D800 in UTF-8", surrogate, "record leaf: not well-form")
    for name, about, path, item, reason in (
        ("leaf-version-2", "an unknown version", (0,), 2, "record leaf: expected version 1"),
        ("leaf-kind-2", "an unknown kind", (KIND,), 2, "record leaf: "),
        ("operation-10000", "the last one is 9999", (OPERATION_INDEX,), 10_000, "leaf operation"),
        ("sender-empty", "no text", (SENDER,), "", "leaf sender: expected"),
        ("sender-long", "65 bytes", (SENDER,), "x" * 65, "leaf sender: expected"),
        ("sender-bytes", "bytes for text", (SENDER,), b"agency-1", "leaf sender: expected"),
        ("algorithm-256", "the last one is 255", (RECORD, ALGORITHM), 256, "record digest algor"),
        ("digest-short", "31 bytes", (RECORD, DIGEST), bytes(31), "record digest: expected"),
        ("digest-of-sha-384", "32 bytes", (RECORD, ALGORITHM), 3, "record digest: expected 48"),
        ("digest-of-sha-512", "32 bytes", (RECORD, ALGORITHM), 4, "record digest: expected 64"),
        ("type-empty", "no text", (RECORD, TYPE), "", "record type: expected"),
        ("type-long", "33 bytes, 11 characters", (RECORD, TYPE), "证" * 11, "record type: expect"),
        ("type-null", "null", (RECORD, TYPE), None, "record type: expected"),
        ("reference-empty", "no text, not null", (RECORD, REFERENCE), "", "record reference: exp"),
        ("reference-long", "129 bytes", (RECORD, REFERENCE), "粤" * 43, "record reference: expect"),
        ("action-3", "the last one is 2", (RECORD, ACTION), 3, "record action: expected"),
        ("action-false", "false for 0", (RECORD, ACTION), False, "record action: expected"),
    ):
        yield with_leaf(name, about, edited(leaf, put(path, item)), reason)


def _sets(data: bytes) -> Iterator[Case]:
    """Yield what is no validator set, in the handover of a receipt."""
    members = decode(data, what="receipt", size_max=len(data))[HANDOVERS][0][2][MEMBERS]
    at = (HANDOVERS, 0, 2)
    second = (*at, MEMBERS, 1)
    many = [[f"v{number}", "o", bytes([number]), bytes(32), None] for number in range(65)]
    for name, about, path, item, reason in (
        ("set-version-2", "an unknown version", (*at, 0), 2, "validator set: expected version 1"),
        ("set-empty", "no members", (*at, MEMBERS), [], "validator set: expected 1..64"),
        ("set-65", "65 members", (*at, MEMBERS), many, "validator set: expected"),
        ("member-twice", "one member stands there twice", second, members[0], "validator set: an"),
        ("id-twice", "one id, two keys", (*second, ID), members[0][ID], "validator set: an id"),
        (
            "vote-key-twice",
            "one key, two ids",
            (*second, VOTE_KEY),
            members[0][VOTE_KEY],
            "validat",
        ),
        ("id-empty", "no text", (*second, ID), "", "validator id: expected"),
        ("id-long", "65 bytes", (*second, ID), "x" * 65, "validator id: expected"),
        ("organisation-long", "65 bytes", (*second, ORGANISATION), "x" * 65, "validator organisat"),
        (
            "vote-key-129",
            "129 bytes",
            (*second, VOTE_KEY),
            bytes(129),
            "vote key: expected at most",
        ),
        ("cosignature-key-short", "31 bytes", (*second, COSIGNATURE_KEY), bytes(31), "cosignature"),
        ("bls-key-short", "47 bytes", (*second, BLS_KEY), [bytes(47), bytes(96)], "BLS key: expe"),
        ("bls-key-long", "49 bytes", (*second, BLS_KEY), [bytes(49), bytes(96)], "BLS key: expec"),
        ("bls-key-alone", "no proof", (*second, BLS_KEY), bytes(48), "BLS key: expected an array"),
        ("bls-proof-short", "95 bytes", (*second, BLS_KEY), [bytes(48), bytes(95)], "BLS proof of"),
        (
            "bls-key-of-one",
            "the others have none",
            (*second, BLS_KEY),
            [bytes(48), bytes(96)],
            "validator set: expected BLS keys of all members or of none",
        ),
    ):
        yield malformed(name, about, edited(data, put(path, item)), reason)
    yield malformed(
        "vote-keys-alike",
        "third and fourth member with one key that is no key",
        edited(
            edited(data, put((*at, MEMBERS, 2, VOTE_KEY), seed("no key"))),
            put((*at, MEMBERS, 3, VOTE_KEY), seed("no key")),
        ),
        "validator set: an id or a vote key",
    )
