"""Chains of the national suite in the HTML verifier: every verdict ours, SM3 and SM2 its own."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import pytest

from node.chain.record import RecordAction
from node.crypto.certificate import Authority, build_timestamp_certificate
from node.crypto.sm2 import Sm2PublicKey, Sm2Signer
from node.crypto.sm2_library import SM2_ORDER
from node.crypto.suite import INTERNATIONAL, NATIONAL
from node.errors import CryptoError
from node.timestamp.refreshed import RefreshedReceipt
from node.timestamp.tokens.of_record import encode_tsr
from node.timestamp.trust import load_trust
from node.timestamp.verify import Outcome
from tests.outside.html_verifier import (
    NO_DOCUMENT,
    Case,
    answers,
    change_value,
    compare,
    encoded,
    sentence_difference,
)
from tests.outside.test_html_primitives import call
from tests.unit.timestamp.national_authority import (
    SM2_ROOT,
    SM2_TSA,
    SM2_TSA_BY_SM2,
    SM2_TSA_KEY,
    sm2_issuer,
)
from tests.vectors.receipt.chain import Chain, record_of, signer_of, validator_set
from tests.vectors.receipt.story import DOCUMENT, sha_256_of
from tests.vectors.receipt.tokens import FIVE_YEARS, with_token
from tests.vectors.standing.chain import StandingChain, name_of, record_under

FIELD = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
MUTANTS = 60
SEED = 21
NAME = sha_256_of(DOCUMENT)


@cache
def story() -> StandingChain:
    """Return three blocks of two epochs: a record, one under a reference, and its withdrawal."""
    chain = StandingChain.found(suite=NATIONAL)
    chain.append(record_under("LIC-1", DOCUMENT))
    chain.append(
        record_under("LIC-2", DOCUMENT), next_set=validator_set(1, (1, 2, 3, 4, 5), NATIONAL)
    )
    chain.append(record_under("LIC-1", DOCUMENT, RecordAction.WITHDRAW))
    return chain


@cache
def cases() -> tuple[Case, ...]:
    """Return what is proved of that chain, in every form that it has."""
    chain = story()
    genesis, later = chain.trust().encode(), chain.trust(3).encode()
    refreshed = RefreshedReceipt(chain.receipt(1), chain.consistency(1, 3)).encode()
    standing = [chain.proof(name_of(each), 3).encode() for each in ("LIC-1", "LIC-2", "LIC-3")]
    return (
        Case("a record", genesis, chain.receipt(1).encode(), NAME),
        Case("of the last block of an epoch", genesis, chain.receipt(2).encode(), NAME),
        Case("after a handover", genesis, chain.receipt(3).encode(), NAME),
        Case("by a pinned header", later, chain.receipt(3).encode(), NAME),
        Case("of a retired epoch", later, chain.receipt(1).encode(), NAME),
        Case("joined to a later one", later, refreshed, NAME),
        Case("of another document", genesis, chain.receipt(1).encode(), sha_256_of(b"another")),
        Case("consistency", genesis, chain.consistency(1, 3).encode(), NO_DOCUMENT),
        *(Case(f"standing {at}", later, each, NO_DOCUMENT) for at, each in enumerate(standing)),
        Case("followed", genesis, chain.receipt(1).encode(), NAME, beside=(standing[0],)),
        *tokens(chain.chain),
    )


def tokens(chain: Chain) -> Iterator[Case]:
    """Yield receipts with a token by SM2, under roots of the genesis and another."""
    trust, organisations = chain.trust().encode(), chain.genesis.organisations
    authority = Authority(organisations[1].ca_certificate, signer_of(NATIONAL, "org-2 authority"))
    by_sm2 = build_timestamp_certificate(
        authority, "validator-1", SM2_TSA_KEY.public_key, FIVE_YEARS
    )
    for name, leaf in (("P-256", SM2_TSA), ("SM2", by_sm2), ("nobody", SM2_TSA_BY_SM2)):
        receipt = with_token(chain.receipt(1), sm2_issuer(leaf))
        bare = receipt.token or b""
        yield Case(f"token under {name}", trust, receipt.encode(), NAME)
        yield Case(f"in a token under {name}", trust, encode_tsr(receipt) or b"", NAME)
        yield Case(f"a token alone under {name}", trust, bare, NAME)
        yield Case(f"its root beside it, {name}", trust, bare, NAME, beside=(SM2_ROOT,))
    altered = with_token(chain.receipt(1), sm2_issuer())
    token = bytearray(altered.token or b"")
    token[-1] ^= 1
    yield Case("an altered signature", trust, replace(altered, token=bytes(token)).encode(), NAME)


def test_it_verifies_chains_of_the_national_suite_as_ours(tmp_path: Path) -> None:
    found = answers([encoded(case) for case in cases()], tmp_path)
    outcomes = {case.name: each["outcome"] for case, each in zip(cases(), found, strict=True)}
    verified = {name for name, outcome in outcomes.items() if outcome == Outcome.VERIFIED.value}
    assert verified >= {
        "a record",
        "of the last block of an epoch",
        "joined to a later one",
        "consistency",
        "standing 0",
        "standing 2",
        "followed",
        "token under P-256",
        "token under SM2",
        "in a token under SM2",
    }
    assert outcomes["token under nobody"] == Outcome.NOT_ROOTED.value
    assert outcomes["an altered signature"] == Outcome.NOT_VERIFIED.value
    assert outcomes["of a retired epoch"] == Outcome.NOT_ROOTED.value
    assert outcomes["after a handover"] == Outcome.NOT_VERIFIED.value  # it is a withdrawal
    assert found[0]["steps"][0]["detail"].endswith("suite national")
    assert compare(cases(), tmp_path) == []
    said = [sentence_difference(case, each) for case, each in zip(cases(), found, strict=True)]
    assert [each for each in said if each is not None] == []


def test_mutants_have_the_same_answer(tmp_path: Path) -> None:
    random = Random(SEED)
    made = []
    for number in range(MUTANTS):
        base, other = random.choice(cases()), random.choice(cases())
        receipt = change_value(random, base.receipt, other.receipt)
        made.append(replace(base, name=f"{number} of {base.name}", receipt=receipt))
    assert compare(made, tmp_path) == []


def test_the_suite_of_a_proof_is_that_of_its_chain(tmp_path: Path) -> None:
    """Nobody chooses the hash and the signatures of a chain but its genesis."""
    chain, other = story(), Chain.found()
    other.append(record_of(DOCUMENT))
    posing = [
        Case(
            "national",
            chain.trust().encode(),
            replace(chain.receipt(1), suite=INTERNATIONAL).encode(),
            NAME,
        ),
        Case(
            "international",
            other.trust().encode(),
            replace(other.receipt(1), suite=NATIONAL, cose=None).encode(),
            NAME,
        ),
    ]
    found = answers([encoded(case) for case in posing], tmp_path)
    assert "verified" not in {each["outcome"] for each in found}
    assert compare(posing, tmp_path) == []


def test_trust_files_of_either_suite_are_usable(tmp_path: Path) -> None:
    genuine = story().trust(3).encode()
    fields = json.loads(genuine)
    pinned = bytearray(base64.b64decode(fields["pinned"]))
    pinned[-1] ^= 1  # of the last vote's signature
    fields["pinned"] = base64.b64encode(pinned).decode()
    found = answers(
        [
            {"trust": base64.b64encode(each).decode()}
            for each in (genuine, json.dumps(fields).encode())
        ],
        tmp_path,
    )
    assert [each["refused"] is None for each in found] == [True, False]
    assert load_trust(genuine).suite is NATIONAL


# --- What is under it ---


def test_the_example_of_the_standard_holds(tmp_path: Path) -> None:
    folder = os.environ.get("GOVCHAIN_VECTORS")
    if folder is None:
        pytest.skip("NOT RUN: GOVCHAIN_VECTORS is not set: vectors made by others are not at hand")
    (example,) = json.loads((Path(folder) / "national" / "sm2.json").read_text())["sign_verify"]
    key = f"{2 + int(example['public_y'], 16) % 2:02x}{example['public_x']}"
    message = example["message_utf8"].encode().hex()
    signature = example["r"] + example["s"]
    calls = [[key, message, signature], [key, message + "00", signature]]
    assert call("isSm2Signature", calls, tmp_path) == [True, False]


def test_signatures_are_judged_as_by_the_library(tmp_path: Path) -> None:
    random = Random(1)
    calls: list[list[str]] = []
    ours = []
    for number in range(24):
        signer = Sm2Signer.from_secret(random.randbytes(32))
        message = random.randbytes(number * 7)
        made = signer.sign(message)
        r, s = int.from_bytes(made[:32], "big"), int.from_bytes(made[32:], "big")
        pairs = [(r, s), (s, r), (r, SM2_ORDER - s), (r, 0), (0, s), (SM2_ORDER - s, s)]
        pairs += [(r, s + SM2_ORDER), (r ^ 1 << random.randrange(250), s)]
        for first, second in pairs:
            if max(first, second) >= 1 << 256:
                continue
            signature = first.to_bytes(32, "big") + second.to_bytes(32, "big")
            calls.append([signer.public_key.encoded.hex(), message.hex(), signature.hex()])
            ours.append(signer.public_key.verify(message, signature))
        calls.append([signer.public_key.encoded.hex(), message.hex(), made[:-1].hex()])
        ours.append(signer.public_key.verify(message, made[:-1]))
    assert call("isSm2Signature", calls, tmp_path) == ours
    assert sum(ours) == 24


def test_keys_are_points_as_for_the_library(tmp_path: Path) -> None:
    random = Random(2)
    xs = [0, 1, 2, 3, FIELD - 1, FIELD, FIELD + 1, 2**256 - 1]
    xs += [random.randrange(FIELD) for _ in range(40)]
    keys = [bytes((head,)) + x.to_bytes(32, "big") for x in xs for head in (2, 3, 4)]
    keys += [b"", b"\x02", keys[0] + b"\0"]

    def is_key(key: bytes) -> bool:
        try:
            Sm2PublicKey.decode(key)
        except CryptoError:
            return False
        return True

    expected = [is_key(key) for key in keys]
    assert call("isSm2Key", [[key.hex()] for key in keys], tmp_path) == expected
    assert 20 < sum(expected) < len(keys) - 20


def test_only_points_with_both_coordinates_are_compressed(tmp_path: Path) -> None:
    key = Sm2Signer.from_secret(bytes(range(1, 33))).public_key
    point = key.uncompressed()
    other = point[:-1] + bytes((point[-1] ^ 2,))
    found = call("compressSm2", [[each.hex()] for each in (point, other, key.encoded)], tmp_path)
    assert found == [key.encoded.hex(), None, None]
