"""What is no trust file: not such JSON, or a value that is not exactly its structure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from node.chain.block import CertifiedHeader
from node.chain.encoding import decode, encode
from node.crypto import domains
from node.timestamp.trust import TrustFile
from tests.vectors.receipt.case import TrustCase
from tests.vectors.receipt.chain import SUITE, Chain, certify
from tests.vectors.receipt.malformed import ID, MEMBERS, VOTE_KEY, VOTES, edited, put
from tests.vectors.receipt.story import (
    FIRST_OF_EPOCH_2,
    SET_0,
    SET_1,
    block_alone,
)

GENESIS_VALIDATORS = 7  # position in a genesis


def trust_forms(chain: Chain) -> Iterator[TrustCase]:
    """Yield trust files in unusual forms that must be accepted, and what is none."""
    yield from _usable(chain)
    yield from _texts(chain)
    yield from _fields(chain)
    yield from _structures(chain)


def form(name: str, about: str, data: bytes, reason: str) -> TrustCase:
    """Return a case that is no trust file."""
    return TrustCase(f"form-{name}", about, data, "form", reason)


def _usable(chain: Chain) -> Iterator[TrustCase]:
    data = chain.trust(7).encode()
    fields = json.loads(data)
    yield TrustCase("good-epoch-2", "two handovers", chain.trust(FIRST_OF_EPOCH_2).encode())
    dense = json.dumps(fields, separators=(",", ":")).encode()
    yield TrustCase("good-dense", "no white space, other order", dense)
    backwards = json.dumps(dict(reversed(fields.items())), indent="\t").replace("\n", "\r\n")
    yield TrustCase("good-backwards", "the last field first, CR LF and tabs", backwards.encode())
    escaped = data.replace(b"govchain-trust", b"\\u0067ovchain-trust").replace(b"/", b"\\/")
    escaped = escaped.replace(b'"version"', b'"\\u0076ersion"')
    yield TrustCase("good-escaped", "escapes in a name and in values", escaped)


def _texts(chain: Chain) -> Iterator[TrustCase]:
    """Yield what is no JSON object of the six fields."""
    data = chain.trust(7).encode()
    expected = "trust file: expected a JSON object"
    yield form("empty", "no bytes", b"", expected)
    yield form("truncated", "the last brace is missing", data.rstrip()[:-1], expected)
    yield form("more", "a second object follows", data + b"{}", expected)
    yield form("list", "in a list", b"[" + data + b"]", expected)
    yield form("mark", "after a byte order mark", b"\xef\xbb\xbf" + data, expected)
    yield form("utf-16", "in UTF-16", data.decode().encode("utf-16"), expected)
    yield form("comma", "a comma after the last field", data.replace(b"\n}", b",\n}"), expected)
    yield form("comment", "a comment", data.replace(b"{", b"{ // trust", 1), expected)
    version = b'"version": 1,'
    for name, about, text, reason in (
        ("field-twice", "a field twice", version * 2, "trust file: "),
        ("field-twice-escaped", "once escaped", version + b'"\\u0076ersion": 1,', "trust file: "),
        ("field-unknown", "a seventh field", version + b'"name": "x",', "trust file: unknown"),
        ("field-missing", "no version", b"", "trust file version: expected"),
        ("version-2", "an unknown version", b'"version": 2,', "trust file version: expected"),
        ("version-1.0", "1.0", b'"version": 1.0,', "trust file version: expected"),
        ("version-1e0", "1e0", b'"version": 1e0,', "trust file version: expected"),
        ("version-text", "the text 1", b'"version": "1",', "trust file version: expected"),
        ("version-true", "true", b'"version": true,', "trust file version: expected"),
        ("version-null", "null", b'"version": null,', "trust file version: expected"),
        ("version-capital", "another name", b'"Version": 1,', "trust file version: expected"),
    ):
        yield form(name, about, data.replace(version, text), reason)


def _fields(chain: Chain) -> Iterator[TrustCase]:
    """Yield fields that are not as in the table."""
    trust = chain.trust(7)
    usual = json.loads(trust.encode())
    genesis, pinned = usual["genesis"], usual["pinned"]
    for name, about, fields, reason in (
        ("format-other", "another format", {"format": "govchain"}, "trust file: expected format"),
        ("format-null", "no format", {"format": None}, "trust file: expected format"),
        ("chain-id-upper", "in capitals", {"chain_id": usual["chain_id"].upper()}, "trust file ch"),
        ("chain-id-short", "62 digits", {"chain_id": usual["chain_id"][:-2]}, "trust file chain_"),
        ("chain-id-spaced", "a space", {"chain_id": usual["chain_id"] + " "}, "trust file chain_"),
        ("genesis-null", "null", {"genesis": None}, "trust file genesis: expected base64"),
        ("genesis-empty", "no text", {"genesis": ""}, "trust file genesis: expected base64"),
        (
            "base64-break",
            "a line break",
            {"genesis": f"{genesis[:76]}\n{genesis[76:]}"},
            "trust file",
        ),
        ("base64-space", "a space", {"pinned": pinned + " "}, "trust file pinned: expected base64"),
        ("base64-url", "the URL alphabet", {"genesis": _url(genesis)}, "trust file genesis: expec"),
        (
            "handovers-null",
            "null",
            {"handovers": None, "pinned": None},
            "trust file handovers: expected a list",
        ),
        ("handovers-text", "one text", {"handovers": pinned}, "trust file handovers: expected a "),
        ("handovers-none", "null in it", {"handovers": [None]}, "trust file handovers: expected b"),
        (
            "handovers-unpinned",
            "null is pinned",
            {"pinned": None},
            "trust file pinned: expected a ",
        ),
        ("pinned-empty", "no text", {"pinned": ""}, "trust file pinned: expected base64"),
        ("pinned-list", "in a list", {"pinned": [pinned]}, "trust file pinned: expected base64"),
    ):
        yield form(name, about, json.dumps({**usual, **fields}, indent=2).encode(), reason)
    padded = _padded()
    usual, genesis = json.loads(padded.encode()), base64.b64encode(padded.genesis.encode()).decode()
    for name, about, text in (
        ("base64-unpadded", "no padding", genesis.rstrip("=")),
        ("base64-spare-bits", "a spare bit is set", f"{genesis[:-3]}{chr(ord(genesis[-3]) + 1)}=="),
    ):
        data = json.dumps({**usual, "genesis": text}, indent=2).encode()
        yield form(name, about, data, "trust file genesis: expected base64")


def _padded() -> TrustFile:
    """Return a trust file whose genesis is one byte past a multiple of three."""
    founded = (Chain.found("v" * length) for length in (1, 2, 3))
    return next(chain.trust() for chain in founded if len(chain.genesis.encode()) % 3 == 1)


def _url(text: str) -> str:
    return text.replace("+", "-").replace("/", "_")


def _structures(chain: Chain) -> Iterator[TrustCase]:
    """Yield values that are not exactly their structures; all that is signed or hashed fits."""
    genesis = chain.genesis.encode()

    def founded(name: str, about: str, data: bytes, reason: str) -> TrustCase:
        return form(f"genesis-{name}", about, with_genesis(chain, data), reason)

    yield founded("trailing-byte", "one byte follows", genesis + b"\0", "genesis: expected")
    longer = b"\x89\x18\x01" + genesis[2:]
    yield founded("long-integer", "1 in two bytes", longer, "genesis: not the canonical")
    members = decode(genesis, what="genesis", size_max=len(genesis))[GENESIS_VALIDATORS][MEMBERS]
    second = (GENESIS_VALIDATORS, MEMBERS, 1)
    for name, about, path, item, reason in (
        ("version-2", "an unknown version", (0,), 2, "genesis: expected version 1"),
        ("suite-3", "an unknown suite", (1,), 3, "genesis suite: suite: expected"),
        ("name-empty", "no text", (2,), "", "genesis name: expected"),
        ("accuracy-0", "no accuracy", (5, 4), 0, "parameter accuracy_ms: expected at least 1"),
        ("window-5", "five slots", (5, 5), 5, "parameter window_slots: expected"),
        ("certificate-long", "8193 bytes", (6, 0, 2), bytes(8_193), "organisation certificate: "),
        ("id-twice", "one id, two keys", (*second, ID), members[0][ID], "validator set: an id"),
        ("vote-key-twice", "one key", (*second, VOTE_KEY), members[0][VOTE_KEY], "validator set: "),
        ("role-6", "the last one is 5", (8, 0, 2), 6, "identity role: expected"),
    ):
        yield founded(name, about, edited(genesis, put(path, item)), reason)

    handover = chain.handovers[0].encode()
    for name, about, data, reason in (
        ("trailing-byte", "one byte follows", handover + b"\0", "handover: expected"),
        ("field-more", "a fourth field", edited(handover, _append), "handover: expected an array"),
        (
            "vote-key-twice",
            "one key, two ids",
            _to_a_set_with_one_key_twice(chain),
            "validator set",
        ),
    ):
        text = _with_field(chain, "handovers", [base64.b64encode(data).decode()])
        yield form(f"handover-{name}", about, text, reason)

    pinned = chain.blocks[2].encode()
    votes = decode(pinned, what="pinned", size_max=len(pinned))[1][VOTES]
    two_roots = replace(chain.blocks[2].header, log_roots=(bytes(32), bytes(32)))
    rooted_twice = CertifiedHeader(two_roots, certify(two_roots, SET_0)).encode()
    for name, about, data, reason in (
        ("trailing-byte", "one byte follows", pinned + b"\0", "certified header: expected"),
        ("field-more", "a third field", edited(pinned, _append), "certified header: expected an"),
        ("voter-twice", "two voters, three votes", _voted(pinned, [0, 1, 1], votes), "certificate"),
        (
            "voters-descending",
            "reversed",
            _voted(pinned, [2, 1, 0], votes),
            "certificate: expected",
        ),
        ("log-roots-2", "two roots", rooted_twice, "header log roots: expected"),
    ):
        text = _with_field(chain, "pinned", base64.b64encode(data).decode(), height=3)
        yield form(f"pinned-{name}", about, text, reason)


def _append(value: list[Any]) -> None:
    value.append(None)


def _voted(pinned: bytes, order: list[int], votes: list[Any]) -> bytes:
    return edited(pinned, put((1, VOTES), [votes[at] for at in order]))


def _with_field(chain: Chain, field: str, value: object, height: int = 7) -> bytes:
    fields = json.loads(chain.trust(height).encode())
    return json.dumps({**fields, field: value}, indent=2).encode()


def with_genesis(chain: Chain, genesis: bytes) -> bytes:
    """Return a trust file in another genesis, whose hash it names."""
    fields = json.loads(chain.trust().encode())
    fields["chain_id"] = SUITE.tagged_hash(domains.GENESIS, genesis).hex()
    fields["genesis"] = base64.b64encode(genesis).decode()
    return json.dumps(fields, indent=2).encode()


def _to_a_set_with_one_key_twice(chain: Chain) -> bytes:
    value = SET_1.to_value()
    value[MEMBERS][1][VOTE_KEY] = value[MEMBERS][0][VOTE_KEY]
    named = SUITE.tagged_hash(domains.VALIDATOR_SET, encode(value))
    return encode([*block_alone(chain, SET_0, {"next_set_digest": named}).to_value(), value])
