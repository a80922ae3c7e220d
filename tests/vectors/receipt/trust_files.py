"""Trust files: those the receipts are verified against, and those that must be refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase
from node.chain.encoding import decode, encode
from node.crypto import domains
from node.timestamp.history import Handover
from node.timestamp.trust import TrustFile
from tests.vectors.receipt.case import GENESIS, OTHER_CHAIN, PINNED_3, PINNED_7, TrustCase
from tests.vectors.receipt.chain import CREATED_MS, SUITE, Chain, certify, seed, validator_set
from tests.vectors.receipt.malformed import ID, MEMBERS, VOTE_KEY, VOTES, edited, put
from tests.vectors.receipt.story import (
    FIRST_OF_EPOCH_2,
    FORGED,
    NO_FIELDS,
    SET_0,
    SET_1,
    SET_2,
    Fields,
    block_alone,
    hand_over,
    posing,
    with_member,
    with_signature,
)

GENESIS_VALIDATORS = 7  # position in a genesis


def trust_files(chain: Chain) -> dict[str, TrustFile]:
    """Return the trust files by name: of the genesis, of two heights, of another chain."""
    return {
        GENESIS: chain.trust(),
        PINNED_3: chain.trust(3),
        PINNED_7: chain.trust(7),
        OTHER_CHAIN: Chain.found("another chain").trust(),
    }


def trust_cases(chain: Chain) -> Iterator[TrustCase]:
    """Yield trust files in unusual forms, and unusable ones, first by form, then by rule."""
    yield from _usable(chain)
    yield from _texts(chain)
    yield from _fields(chain)
    yield from _structures(chain)
    yield from _rule_a(chain)
    yield from _rule_b(chain)
    yield from _rule_c(chain)
    yield from _rule_d(chain)


def form(name: str, about: str, data: bytes, reason: str) -> TrustCase:
    """Return a case that is no trust file."""
    return TrustCase(f"form-{name}", about, data, "form", reason)


def breaks(rule: str, name: str, about: str, trust: TrustFile, reason: str) -> TrustCase:
    """Return a case that is a trust file, and breaks a rule."""
    return TrustCase(f"{rule.lower()}-{name}", about, trust.encode(), rule, reason)


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
        return form(f"genesis-{name}", about, _with_genesis(chain, data), reason)

    yield founded("trailing-byte", "one byte follows", genesis + b"\0", "genesis: expected")
    longer = b"\x89\x18\x01" + genesis[2:]
    yield founded("long-integer", "1 in two bytes", longer, "genesis: not the canonical")
    members = decode(genesis, what="genesis", size_max=len(genesis))[GENESIS_VALIDATORS][MEMBERS]
    second = (GENESIS_VALIDATORS, MEMBERS, 1)
    for name, about, path, item, reason in (
        ("version-2", "an unknown version", (0,), 2, "genesis: expected version 1"),
        ("suite-2", "an unknown suite", (1,), 2, "genesis suite: suite: expected"),
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


def _with_genesis(chain: Chain, genesis: bytes) -> bytes:
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


def _rule_a(chain: Chain) -> Iterator[TrustCase]:
    other = Chain.found("another chain").genesis
    yield breaks(
        "A",
        "chain-id",
        "the chain id of another genesis",
        replace(chain.trust(), chain_id=other.chain_id),
        "trust-chain-id",
    )
    yield breaks(
        "A",
        "genesis",
        "another genesis",
        replace(chain.trust(3), genesis=other),
        "trust-chain-id",
    )
    later = edited(chain.genesis.encode(), put((GENESIS_VALIDATORS, 1), 1))
    yield TrustCase(
        "a-epoch",
        "a genesis whose validators are of epoch 1",
        _with_genesis(chain, later),
        "A",
        "genesis validators: expected epoch 0",
    )


def _rule_b(chain: Chain) -> Iterator[TrustCase]:
    first, second = chain.handovers
    latest = chain.trust(FIRST_OF_EPOCH_2)
    last = chain.blocks[FIRST_OF_EPOCH_2 - 1]

    def handed(name: str, about: str, handovers: Sequence[Handover], reason: str) -> TrustCase:
        trust = replace(latest, handovers=tuple(handovers), pinned=last)
        return breaks("B", name, about, trust, reason)

    def lured(name: str, about: str, handover: Handover, reason: str) -> TrustCase:
        pinned = block_alone(chain, handover.next_set)
        trust = TrustFile(
            chain_id=chain.genesis.chain_id,
            genesis=chain.genesis,
            handovers=(handover,),
            pinned=pinned,
        )
        return breaks("B", name, about, trust, reason)

    foreign = Chain.found("another chain").genesis.chain_id
    yield handed("order", "the second handover first", [second, first], "trust-certificate")
    yield handed("first-missing", "from epoch 1 on", [second], "trust-certificate")
    yield handed("repeated", "the first handover twice", [first, first], "trust-certificate")
    few = hand_over(chain, SET_1, votes={"voters": (0, 1)})
    yield lured("quorum", "two of four signed", few, "trust-certificate: certificate-quorum")
    outsiders = CertifiedHeader(
        first.block.header, certify(first.block.header, validator_set(0, FORGED))
    )
    yield lured("set", "signed by another set", Handover(outsiders, SET_1), "trust-certificate")
    prepared = hand_over(chain, SET_1, votes={"phase": Phase.PREPARE})
    yield lured("prepared", "a quorum of PREPARE", prepared, "certificate-phase")
    named = hand_over(chain, SET_1, {"chain_id": foreign}, {"chain_id": chain.genesis.chain_id})
    yield lured("chain", "its header names another chain, its votes this", named, "header-chain")
    others = hand_over(chain, SET_1, {"chain_id": foreign})
    yield lured("other-chain", "of another chain with the same set", others, "header-chain")
    unlike = posing(SET_0, digest=seed("another set"))
    posed = block_alone(chain, unlike, {"height": 2, "next_set_digest": SET_1.digest})
    reason = "trust-certificate: certificate-set"
    yield lured("set-hash", "the votes sign another set hash", Handover(posed, SET_1), reason)
    skipping = hand_over(chain, SET_2)
    yield lured("next-epoch", "from epoch 0 to a set of epoch 2", skipping, "handover-epoch")
    unnamed = Handover(first.block, validator_set(1, FORGED))
    yield lured("next-set-hash", "to a set that it does not name", unnamed, "handover-set")
    keyless = with_member(SET_1, 4, vote_key=b"\x05" + bytes(32))
    after = replace(keyless, epoch=2)
    header = {"height": 4, "next_set_digest": after.digest}
    second = Handover(block_alone(chain, keyless, header), after)
    yield handed(
        "key",
        "a set in which a key is no point hands over",
        [hand_over(chain, keyless), second],
        "trust-certificate: public key",
    )


def _rule_c(chain: Chain) -> Iterator[TrustCase]:
    def pinning(name: str, about: str, pinned: CertifiedHeader, reason: str) -> TrustCase:
        return breaks("C", name, about, replace(chain.trust(3), pinned=pinned), reason)

    header, certificate = chain.blocks[2].header, chain.blocks[2].certificate
    foreign = Chain.found("another chain").genesis.chain_id
    few = CertifiedHeader(header, replace(certificate, votes=certificate.votes[:2]))
    yield pinning("quorum", "two of four signed", few, "trust-certificate: certificate-quorum")
    outsiders = CertifiedHeader(header, certify(header, validator_set(0, FORGED)))
    yield pinning("set", "signed by another set", outsiders, "trust-certificate: certificate-set")
    wrong = CertifiedHeader(header, with_signature(certificate, 2, certificate.votes[1].signature))
    yield pinning("signature", "one is wrong", wrong, "trust-certificate: certificate-signature")
    mixed = CertifiedHeader(header, chain.blocks[1].certificate)
    yield pinning("certificate", "of another header", mixed, "certificate-height")
    prepared = block_alone(chain, SET_0, votes={"phase": Phase.PREPARE})
    yield pinning("prepared", "a quorum of PREPARE", prepared, "certificate-phase")
    ids = {"chain_id": foreign}
    named = block_alone(chain, SET_0, ids, {"chain_id": chain.genesis.chain_id})
    yield pinning("chain", "it names another chain, its votes this", named, "header-chain")
    others = block_alone(chain, SET_0, ids)
    yield pinning("other-chain", "of another chain with the same set", others, "header-chain")
    reason = "trust-certificate: certificate-set"
    for name, about, poser in (
        ("posed-epoch", "it says epoch 5, signed by the set of epoch 0", posing(SET_0, epoch=5)),
        ("set-hash", "the votes sign another", posing(SET_0, digest=seed("another set"))),
    ):
        yield pinning(name, about, block_alone(chain, poser), reason)
    later = chain.trust(FIRST_OF_EPOCH_2)
    for name, count in (("handovers-missing", 0), ("handover-last-missing", 1)):
        short = replace(later, handovers=later.handovers[:count])
        about = f"epoch 2 is pinned, {count} handovers"
        yield breaks("C", name, about, short, reason)
    early = replace(later, pinned=chain.blocks[6])
    yield breaks("C", "epoch", "epoch 1 is pinned, 2 handovers", early, "trust-certificate: cert")


def _rule_d(chain: Chain) -> Iterator[TrustCase]:
    """Yield headers of height 2, where epoch 0 ends, and 5, or as told, that contradict."""

    def against(
        name: str, about: str, reason: str, handover: Fields = NO_FIELDS, pinned: Fields = NO_FIELDS
    ) -> TrustCase:
        trust = TrustFile(
            chain_id=chain.genesis.chain_id,
            genesis=chain.genesis,
            handovers=(hand_over(chain, SET_1, handover, {"delays_ms": (-3, -2, -1)}),),
            pinned=block_alone(chain, SET_1, pinned, {"delays_ms": (-4, -3, -2, -1)}),
        )
        return breaks("D", name, about, trust, reason)

    yield TrustCase(
        "good-alone",
        "as those of rule D, without a contradiction",
        replace(
            chain.trust(7),
            handovers=(hand_over(chain, SET_1),),
            pinned=block_alone(chain, SET_1),
        ).encode(),
    )
    t, size, top = CREATED_MS + 2_000, 8, 2**64 - 1
    for name, about, reason, pinned in (
        ("time-falls", "T falls", "history-time", {"time_ms": t - 1}),
        ("time-risen-by-2", "2 ms in three heights", "history-time", {"time_ms": t + 2}),
        ("log-falls", "the log shrinks", "history-log-size", {"log_size": size - 1}),
        ("log-risen-by-2", "by 2 leaves", "history-log-size", {"log_size": size + 2}),
        ("fork", "two headers at height 2", "history-fork", {"height": 2}),
        ("parent", "another parent at height 3", "history-parent", {"height": 3}),
        ("epoch", "epoch 1 below the end of epoch 0", "history-epoch", _AT_HEIGHT_1),
    ):
        yield against(name, about, reason, pinned=pinned)
    early = {"height": 2, "time_ms": CREATED_MS + 1}
    yield against("time-of-genesis", "1 ms after the genesis at height 2", "history-time", early)
    small = {"height": 2, "log_size": 1}
    yield against("log-of-genesis", "one leaf at height 2", "history-log-size", small)
    wraps = {"time_ms": top - 1}
    yield against("time-top", "1 ms to 2^64 - 1", "history-time", wraps, {"time_ms": top})


_AT_HEIGHT_1: Fields = {"height": 1, "log_size": 4, "next_set_digest": SET_0.digest}
