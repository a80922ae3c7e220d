"""Checks by tables against checks one by one, which decide; and when a table is made, and used."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from node.crypto import key_tables
from node.crypto.key_tables import (
    TABLES_MAX,
    KeyTable,
    KeyTables,
    Signed,
    verify_many,
)
from node.crypto.signature import (
    P256_ORDER,
    Ed25519Signer,
    P256PublicKey,
    P256Signer,
)
from node.crypto.sm2 import Sm2PublicKey

SIGNER = P256Signer.from_secret(b"\x07" * 32)
GENERATOR = P256Signer.from_secret((1).to_bytes(32, "big"))
NEGATIVE = P256Signer.from_secret((P256_ORDER - 1).to_bytes(32, "big"))  # its key is -G
FEW = 3


@pytest.fixture(autouse=True)
def _none_made_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_tables, "_known", KeyTables())


@pytest.fixture
def asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> list[Signed]:
    """Note what the library that checks one by one is asked."""
    asked: list[Signed] = []
    verify = P256PublicKey.verify

    def noting(self: P256PublicKey, message: bytes, signature: bytes) -> bool:
        asked.append((message, signature))
        return verify(self, message, signature)

    monkeypatch.setattr(P256PublicKey, "verify", noting)
    return asked


@cache
def table_of(key: P256PublicKey) -> KeyTable:
    library = key_tables._tried_library()  # noqa: SLF001 - what is tested is beneath `verify_many`
    assert library is not None, "this machine has no libcrypto with tables: install libssl3"
    table = KeyTable.of(library, key.encoded)
    assert table is not None
    return table


def with_table(key: P256PublicKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a key found worth a table by its next good signature."""
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", 1)
    key_tables._known.note_good(key.encoded, 1)  # noqa: SLF001 - as above
    assert key.encoded in key_tables._known.points  # noqa: SLF001 - as above


def signed_by(signer: P256Signer, count: int) -> list[Signed]:
    messages = [b"message %d" % number for number in range(count)]
    return [(message, signer.sign(message)) for message in messages]


def many_signers(count: int) -> list[P256Signer]:
    return [P256Signer.from_secret(bytes((number,)) * 32) for number in range(11, 11 + count)]


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def spoilt(signed: Sequence[Signed]) -> Iterator[Signed]:
    """Yield what differs from good signatures in one respect each, malformed ones included."""
    for message, signature in signed:
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        yield message + b"!", signature
        yield message, signature[:-1] + bytes((signature[-1] ^ 1,))
        yield message, bytes((signature[0] ^ 1,)) + signature[1:]
        yield message, raw(r, P256_ORDER - s)
        yield message, raw(r, 0)
        yield message, raw(0, s)
        yield message, raw(P256_ORDER, s)
        yield message, raw(r, P256_ORDER)
        yield message, signature[:-1]
        yield message, signature + b"\x00"
        yield message, b""


@pytest.mark.parametrize("signer", [SIGNER, GENERATOR, NEGATIVE])
def test_a_table_sees_every_good_signature_and_no_other(signer: P256Signer) -> None:
    good = signed_by(signer, 20)
    table = table_of(signer.public_key)
    assert table.check(good) == [True] * 20
    bad = list(spoilt(good))
    assert table.check(bad) == [False] * len(bad)
    mixed = [each for pair in zip(good, bad[::11], strict=True) for each in pair]
    assert table.check(mixed) == [True, False] * 20
    assert table.check([]) == []


def test_sums_that_are_doublings_or_infinity_are_as_the_library_has_them() -> None:
    """With the key G the sum is (e + r)/s G: two equal summands, and opposite ones."""
    e = int.from_bytes(hashlib.sha256(b"m").digest(), "big")
    for key in (GENERATOR.public_key, NEGATIVE.public_key):
        table = table_of(key)
        for r in (e % P256_ORDER, -e % P256_ORDER):
            for s in (1, 2, P256_ORDER // 2):
                signature = raw(r, s)
                assert table.check([(b"m", signature)]) == [key.verify(b"m", signature)]


@given(message=st.binary(max_size=80), noise=st.binary(min_size=64, max_size=64))
@settings(max_examples=50)
def test_verdicts_are_those_of_the_library(message: bytes, noise: bytes) -> None:
    table = table_of(SIGNER.public_key)
    offered = [(message, SIGNER.sign(message)), (message, noise)]
    expected = [SIGNER.public_key.verify(*each) for each in offered]
    assert table.check(offered) == expected


def test_wycheproof_by_tables(read_vectors: Callable[[str], Any]) -> None:
    vectors = read_vectors("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json")
    seen = 0
    for group in vectors["testGroups"]:
        point = bytes.fromhex(group["publicKey"]["uncompressed"])
        key = P256PublicKey.wrap(
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        )
        offered = [
            (bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])) for case in group["tests"]
        ]
        expected = [key.verify(*each) for each in offered]
        assert table_of.__wrapped__(key).check(offered) == expected
        seen += sum(expected)
    assert seen > 0


def test_a_key_has_a_table_after_many_good_signatures(
    asked_one_by_one: list[Signed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", FEW)
    good = signed_by(SIGNER, FEW)
    bad = list(spoilt(good))
    assert verify_many(SIGNER.public_key, bad) == [False] * len(bad)  # these do not count
    assert verify_many(SIGNER.public_key, good[:-1]) == [True] * (FEW - 1)
    assert asked_one_by_one == [*bad, *good[:-1]]
    assert verify_many(SIGNER.public_key, good[-1:]) == [True]
    asked_one_by_one.clear()
    assert verify_many(SIGNER.public_key, [*good, bad[0]]) == [True] * FEW + [False]
    assert asked_one_by_one == bad[:1]  # what a table does not see is not refused by it


def test_good_signatures_of_one_call_are_enough_for_a_table(
    asked_one_by_one: list[Signed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", FEW)
    good = signed_by(SIGNER, FEW)
    verify_many(SIGNER.public_key, good)
    asked_one_by_one.clear()
    assert verify_many(SIGNER.public_key, good) == [True] * FEW
    assert asked_one_by_one == []


def test_keys_that_are_counted_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_tables, "KEYS_COUNTED_MAX", FEW)
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", 2)
    known = KeyTables()
    monkeypatch.setattr(key_tables, "_known", known)
    assert verify_many(SIGNER.public_key, signed_by(SIGNER, 2)) == [True] * 2
    counted = []
    for signer in many_signers(9):
        assert verify_many(signer.public_key, signed_by(signer, 1)) == [True]
        counted.append(known.counted)
        assert known.points == [SIGNER.public_key.encoded]
    assert counted == [2, 3, 2, 3, 2, 3, 2, 3, 2], (
        "where they are too many, those with a table stay"
    )
    assert TABLES_MAX * 150_000 < 10_000_000


def test_a_table_gives_way_to_one_of_a_key_used_more_than_twice_as_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_tables, "TABLES_MAX", 2)
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", FEW)
    known = KeyTables()
    monkeypatch.setattr(key_tables, "_known", known)
    signers = many_signers(4)
    points = [signer.public_key.encoded for signer in signers]

    def use(number: int, times: int) -> None:
        signed = signed_by(signers[number], times)
        assert verify_many(signers[number].public_key, signed) == [True] * times

    use(0, FEW)
    use(1, FEW)
    assert known.points == points[:2]
    for _ in range(20):  # all four as often as each other: nobody has to go
        for number in range(4):
            use(number, 1)
            assert known.points == points[:2]
    for _ in range(20):  # the first one is used no more, the third more than ever
        use(1, 2)
        use(2, 2)
    assert known.points == [points[1], points[2]]


def test_uses_add_up_while_others_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", FEW)
    known = KeyTables()
    first, second = (signer.public_key.encoded for signer in many_signers(2))
    for point, count in ((first, FEW - 1), (second, 1), (first, 1)):
        assert known.points == []
        known.note_good(point, count)
    assert known.points == [first]


def test_who_finds_no_room_is_counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_tables, "TABLES_MAX", 1)
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", FEW)
    known = KeyTables()
    first, second = (signer.public_key.encoded for signer in many_signers(2))
    used(known, first, 100)
    used(known, second, FEW)
    assert (known.points, known.counted) == ([first], 1)


def used(known: KeyTables, point: bytes, count: int) -> None:
    """Have so many good signatures of a key checked."""
    known.find(point, count)
    known.note_good(point, count)


@pytest.mark.parametrize(("count", "is_first_kept"), [(FEW, True), (2 * FEW, False)])
def test_twice_as_often_is_not_enough_to_take_a_table_and_more_is(
    monkeypatch: pytest.MonkeyPatch, count: int, *, is_first_kept: bool
) -> None:
    monkeypatch.setattr(key_tables, "TABLES_MAX", 1)
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", FEW)
    known = KeyTables()
    first, second = (signer.public_key.encoded for signer in many_signers(2))
    used(known, first, FEW)
    used(known, second, count)  # by then FEW of (FEW + count) checks were under the first
    assert known.points == [first if is_first_kept else second]
    assert known.counted == 1, "who has a table"


@pytest.mark.parametrize(
    ("uses", "others"),
    [
        pytest.param(3, 2, id="3 of the 8 of a window, which count in full"),
        pytest.param(4, 3, id="4 of 10, which count as 2 of 5"),
    ],
)
def test_what_a_window_forgets_it_forgets_of_all_checks_alike(
    monkeypatch: pytest.MonkeyPatch, uses: int, others: int
) -> None:
    monkeypatch.setattr(key_tables, "TABLES_MAX", 1)
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", FEW)
    monkeypatch.setattr(key_tables, "WINDOW_CHECKS", 8)
    known = KeyTables()
    first, second, other = (signer.public_key.encoded for signer in many_signers(3))
    used(known, first, uses)
    used(known, second, 1)
    known.find(other, others)
    used(known, second, 2)  # 3 of 5, or of 6, checks since its first: less than twice the other
    assert known.points == [first]


def test_a_table_that_another_thread_has_made_is_not_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", FEW)
    known, point = KeyTables(), SIGNER.public_key.encoded
    known.note_good(point, FEW)
    table = known.find(point, 1)
    assert table is not None
    known.note_good(point, FEW)  # of one that found none when it asked
    assert known.find(point, 1) is table
    assert known.counted == 1


def test_what_is_long_ago_counts_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_tables, "TABLES_MAX", 1)
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", FEW)
    monkeypatch.setattr(key_tables, "WINDOW_CHECKS", 8)
    known = KeyTables()
    first, second = (signer.public_key.encoded for signer in many_signers(2))
    known.find(first, FEW)
    known.note_good(first, FEW)
    for _ in range(1_000):
        known.find(first, 1)
    for _ in range(30):
        known.find(second, 1)
        known.note_good(second, 1)
    assert known.points == [second]


def test_without_that_library_signatures_are_checked_one_by_one(
    asked_one_by_one: list[Signed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_tables, "USES_WORTH_A_TABLE", FEW)
    monkeypatch.setattr(key_tables, "LIBCRYPTO", "libcrypto.so.none")
    without = key_tables._tried_library.__wrapped__  # noqa: SLF001 - past its cache
    monkeypatch.setattr(key_tables, "_tried_library", without)
    assert without() is None
    good = signed_by(SIGNER, FEW)
    for _ in range(2):
        assert verify_many(SIGNER.public_key, good) == [True] * FEW
    assert asked_one_by_one == [*good, *good]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_KNOWN_MESSAGE", b"samplE"),
        ("_KNOWN_KEY", SIGNER.public_key.encoded),
        ("_KNOWN_KEY", b"\x02" + b"\xff" * 32),  # no point of the curve
    ],
)
def test_a_library_that_gives_another_answer_is_not_used(
    monkeypatch: pytest.MonkeyPatch, name: str, value: bytes
) -> None:
    monkeypatch.setattr(key_tables, name, value)
    assert key_tables._tried_library.__wrapped__() is None  # noqa: SLF001 - as above


class Watched:
    """The library, whose calls are counted; the one with this name and number answers 0."""

    def __init__(self, failing: str = "", number: int = 1) -> None:
        self._library = key_tables._tried_library()  # noqa: SLF001 - as above
        self._failing = (failing, number)
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as ctypes has them
        found = getattr(self._library, name)
        if name == "curve":
            return found

        def call(*arguments: object) -> object:
            self.calls[name] += 1
            return 0 if (name, self.calls[name]) == self._failing else found(*arguments)

        return call

    def is_clean(self) -> bool:
        """Tell whether all that the library has made was given back."""
        made = {
            "EC_GROUP_dup": "EC_GROUP_free",
            "EC_POINT_new": "EC_POINT_free",
            "BN_new": "BN_free",
            "BN_CTX_new": "BN_CTX_free",
        }
        return all(self.calls[new] == self.calls[free] > 0 for new, free in made.items())


def test_all_that_the_library_makes_is_given_back() -> None:
    watched = Watched()
    table = KeyTable.of(watched, SIGNER.public_key.encoded)
    assert table is not None
    good = signed_by(SIGNER, 2)
    assert table.check([*good, *spoilt(good)])[:3] == [True, True, False]
    assert not watched.is_clean(), "the table is there still"
    del table
    assert watched.is_clean()


@pytest.mark.parametrize(
    "failing", ["EC_POINT_oct2point", "EC_GROUP_set_generator", "EC_GROUP_precompute_mult"]
)
def test_where_the_library_can_make_no_table_there_is_none(failing: str) -> None:
    watched = Watched(failing)
    assert KeyTable.of(watched, SIGNER.public_key.encoded) is None
    assert watched.is_clean()
    assert watched.calls["ERR_clear_error"] == 1, "the next to ask it is not told of this"


@pytest.mark.parametrize(
    ("failing", "number"),
    [
        ("EC_POINT_mul", 1),
        ("EC_POINT_mul", 2),
        ("EC_POINT_add", 1),
        ("EC_POINT_get_Jprojective_coordinates_GFp", 1),
        ("BN_bn2binpad", 1),
        ("BN_bn2binpad", 2),
    ],
)
def test_where_the_library_fails_nothing_is_seen_to_hold(failing: str, number: int) -> None:
    watched = Watched(failing, number)
    table = KeyTable.of(watched, SIGNER.public_key.encoded)
    assert table is not None
    assert table.check(signed_by(SIGNER, 2)) == [False, True]
    assert watched.calls["ERR_clear_error"] == 1, "the next to ask it is not told of this"


def test_of_what_is_no_signature_the_library_is_asked_nothing() -> None:
    watched = Watched()
    table = KeyTable.of(watched, SIGNER.public_key.encoded)
    assert table is not None
    offered = [(b"message", raw(r, s)) for r, s in ((0, 1), (P256_ORDER, 1), (1, 0))]
    assert table.check([*offered, (b"message", b"")]) == [False] * 4
    assert watched.calls["EC_POINT_mul"] == 0


class Clearing(Watched):
    """One whose points are all infinity, written with no coordinate but zeros."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        if name != "BN_bn2binpad":
            return super().__getattr__(name)

        def clear(_number: object, out: Any, size: int) -> int:  # noqa: ANN401 - as above
            out.raw = bytes(size)
            return size

        return clear


def test_a_sum_that_is_infinity_has_no_x_however_it_is_written() -> None:
    table = KeyTable.of(Clearing(), SIGNER.public_key.encoded)
    assert table is not None
    assert table.check(signed_by(SIGNER, 1)) == [False]


@pytest.mark.parametrize(
    ("r", "s", "is_one"),
    [
        (1, 1, True),
        (P256_ORDER - 1, P256_ORDER // 2, True),
        (0, 2, False),
        (P256_ORDER, 2, False),
        (1, 0, False),
        (1, P256_ORDER // 2 + 1, False),
    ],
)
def test_the_numbers_of_a_signature_lie_between_0_and_the_order(
    r: int, s: int, *, is_one: bool
) -> None:
    read = key_tables._read  # noqa: SLF001 - no r that is the order can be made to meet a sum
    assert read(raw(r, s)) == ((r, s) if is_one else (0, 1))
    assert read(raw(r, s) + b"\x00") == read(raw(r, s)[:-1]) == (0, 1)


def test_threads_share_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    good = signed_by(SIGNER, 50)
    offered = [*good, *list(spoilt(good))[:50]]
    with_table(SIGNER.public_key, monkeypatch)
    with ThreadPoolExecutor(4) as workers:
        answers = workers.map(lambda _: verify_many(SIGNER.public_key, offered), range(12))
    assert [*answers] == [[True] * 50 + [False] * 50] * 12


def test_keys_of_other_algorithms_are_asked_themselves() -> None:
    cosigner = Ed25519Signer.from_secret(b"\x05" * 32)
    good = (b"message", cosigner.sign(b"message"))
    bad = (b"another", good[1])
    assert verify_many(cosigner.public_key, [good, bad]) == [True, False]
    national = Sm2PublicKey.decode(
        bytes.fromhex("0309f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020")
    )
    assert verify_many(national, [bad, (b"", b"")]) == [False, False]
    assert key_tables._known.counted == 0, "tables are of P-256 alone"  # noqa: SLF001 - as above
