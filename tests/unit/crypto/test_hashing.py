"""Many hashes at once, one by one and by kernels, against each by itself and published digests."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

from node.crypto import hashing
from node.crypto.hashing import (
    KERNEL_BYTES_MAX,
    KERNEL_ITEMS_MIN,
    REFERENCE,
    HashMany,
    NewHash,
    Sm3,
    hash_each,
    hash_many,
    hash_nodes,
    load_kernel,
    new_sm3,
)
from node.crypto.hashing_kernels import LANES, ROWS, sha256_many, sm3_many, sm3_nodes
from node.errors import InvariantViolation

HASHES = pytest.mark.parametrize("new_hash", [hashlib.sha256, new_sm3])
KERNELS = pytest.mark.parametrize(
    ("kernel", "new_hash"), [(sha256_many, hashlib.sha256), (sm3_many, new_sm3)]
)

# FIPS 180-4 and GB/T 32905: the examples "abc" and of 56 and 64 bytes, which take two blocks.
PUBLISHED = [
    (sha256_many, b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
        sha256_many,
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ),
    (sm3_many, b"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
    (sm3_many, b"abcd" * 16, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
]


def each_by_itself(new_hash: NewHash, prefix: bytes, items: list[bytes]) -> bytes:
    return b"".join(new_hash(prefix + item).digest() for item in items)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[NewHash, HashMany]:
    """Return the kernels of this process: none as yet, and none of them after the test."""
    kernels: dict[NewHash, HashMany] = {}
    monkeypatch.setattr(hashing, "_kernels", kernels)
    monkeypatch.setattr(hashing, "_node_kernels", {})
    return kernels


@pytest.mark.parametrize("new", [None, hashlib.sha256], ids=["has none", "is wrong"])
def test_where_hashlib_has_no_sm3_to_rely_on_another_library_hashes(
    monkeypatch: pytest.MonkeyPatch, new: object
) -> None:
    def started(_name: str, data: bytes = b"") -> object:
        if new is None:
            raise ValueError("unsupported hash type sm3")
        return hashlib.sha256(data)

    monkeypatch.setattr(hashlib, "new", started)
    blank = hashing._blank_sm3()  # noqa: SLF001 - what this process started with is the other
    assert isinstance(blank, Sm3)
    for message in (b"", b"abc", b"x" * 200):
        copied = blank.copy()
        copied.update(message)
        assert copied.digest() == new_sm3(message).digest() == Sm3(message).digest()
    assert blank.digest() == new_sm3().digest(), "a copy leaves the blank one as it is"


@HASHES
@pytest.mark.parametrize("count", [0, 1, 2, 3, 15, 16, 17])
def test_many_hashes_are_each_in_turn(new_hash: NewHash, count: int) -> None:
    items = [index.to_bytes(64, "big") for index in range(count)]
    expected = each_by_itself(new_hash, b"\x01", items)
    assert hash_many(new_hash, b"\x01", b"".join(items), 64) == expected


@HASHES
@pytest.mark.parametrize("size", [0, -1, 63])
def test_what_is_no_whole_number_of_items_is_a_mistake(new_hash: NewHash, size: int) -> None:
    with pytest.raises(InvariantViolation, match="are no items of"):
        hash_many(new_hash, b"", bytes(64), size)


@pytest.mark.parametrize(("kernel", "message", "digest"), PUBLISHED)
def test_kernels_give_published_digests(kernel: HashMany, message: bytes, digest: str) -> None:
    assert kernel(b"", message * 3, len(message)).hex() == digest * 3
    assert kernel(message[:2], message[2:], len(message) - 2).hex() == digest


@KERNELS
@pytest.mark.parametrize(
    "count", [1, 2, LANES - 1, LANES, LANES + 1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS, 3 * ROWS + 1]
)
def test_kernels_take_any_count(kernel: HashMany, new_hash: NewHash, count: int) -> None:
    items = [index.to_bytes(64, "big") for index in range(count)]
    assert kernel(b"\x01", b"".join(items), 64) == each_by_itself(new_hash, b"\x01", items)


@KERNELS
@pytest.mark.parametrize("prefix", [b"", b"\x00", bytes(range(23)), bytes(64), bytes(70)])
def test_kernels_take_any_length(kernel: HashMany, new_hash: NewHash, prefix: bytes) -> None:
    for size in range(1, 140):  # the padding fills a block of its own, or not, in every way
        items = [bytes([index]) * size for index in range(3)]
        assert kernel(prefix, b"".join(items), size) == each_by_itself(new_hash, prefix, items)


@HASHES
def test_a_loaded_kernel_takes_what_is_many_and_short(
    new_hash: NewHash, loaded: dict[NewHash, HashMany]
) -> None:
    assert load_kernel(new_hash)
    kernel, taken = loaded[new_hash], list[int]()

    def noted(prefix: bytes, items: bytes, size: int) -> bytes:
        taken.append(len(items) // size)
        return kernel(prefix, items, size)

    loaded[new_hash] = noted
    for count in (KERNEL_ITEMS_MIN - 1, KERNEL_ITEMS_MIN):
        for size in (1, KERNEL_BYTES_MAX, KERNEL_BYTES_MAX + 1):
            items = [index.to_bytes(size, "big") for index in range(count)]
            expected = each_by_itself(new_hash, b"\x00", items)
            assert hash_many(new_hash, b"\x00", b"".join(items), size) == expected
    assert taken == [KERNEL_ITEMS_MIN] * 2


@HASHES
@pytest.mark.parametrize("is_loaded", [False, True], ids=["one by one", "kernels"])
def test_items_of_any_length_are_hashed_each(
    new_hash: NewHash, loaded: dict[NewHash, HashMany], *, is_loaded: bool
) -> None:
    assert not is_loaded or load_kernel(new_hash)
    assert bool(loaded) == is_loaded
    for count in (0, 1, KERNEL_ITEMS_MIN - 1, 3 * KERNEL_ITEMS_MIN):
        items = [bytes([index]) * (index * 7 % 5) for index in range(count)]
        items += [bytes([index]) * 40 for index in range(count)]
        expected = [new_hash(b"prefix" + item).digest() for item in items]
        assert hash_each(new_hash, b"prefix", items) == expected


@HASHES
@pytest.mark.parametrize("is_loaded", [False, True], ids=["one by one", "kernels"])
@pytest.mark.parametrize("known", [1, 2, LANES, 2 * LANES + 1])
def test_nodes_are_hashed_from_what_they_are_made_of(
    new_hash: NewHash, loaded: dict[NewHash, HashMany], known: int, *, is_loaded: bool
) -> None:
    """Side by side, each alone above the last one, and in between: by a shape drawn at random."""
    assert not is_loaded or load_kernel(new_hash)
    assert bool(loaded) == is_loaded
    rng = random.Random(known)
    digests = [rng.randbytes(32) for _ in range(known)]
    for lowest in (0, -1, -300):
        pairs = list[int]()
        expected = list[bytes]()
        for number in range(100):
            pair = [rng.randrange(max(lowest, -number), known) for _ in range(2)]
            if lowest == -1 and number:
                pair[number % 2] = -number
            pairs += pair
            one, other = (digests[at] if at >= 0 else expected[~at] for at in pair)
            expected.append(new_hash(b"\x01" + one + other).digest())
        row = array(REFERENCE, pairs).tobytes()
        assert hash_nodes(new_hash, b"\x01", b"".join(digests), row) == b"".join(expected)
    assert hash_nodes(new_hash, b"\x01", b"".join(digests), b"") == b""


@HASHES
@pytest.mark.parametrize("is_loaded", [False, True], ids=["one by one", "kernels"])
@pytest.mark.parametrize("pairs", [[0, 2], [2, 0], [-1, 0], [0, -1], [0, 1, -2, 0]])
def test_a_node_of_what_is_not_there_is_a_mistake(
    new_hash: NewHash, loaded: dict[NewHash, HashMany], pairs: list[int], *, is_loaded: bool
) -> None:
    assert not is_loaded or load_kernel(new_hash)
    assert bool(loaded) == is_loaded
    with pytest.raises(InvariantViolation, match="a pair is of what"):
        hash_nodes(new_hash, b"\x01", bytes(64), array(REFERENCE, pairs).tobytes())


@pytest.mark.parametrize(("known", "pairs"), [(63, 8), (64, 7), (64, 4)])
def test_halves_of_nodes_are_a_mistake(known: int, pairs: int) -> None:
    with pytest.raises(InvariantViolation, match="are whole"):
        hash_nodes(hashlib.sha256, b"", bytes(known), bytes(pairs))


def test_other_hashes_have_no_kernel(loaded: dict[NewHash, HashMany]) -> None:
    assert not load_kernel(hashlib.sha384)
    assert not loaded
    assert hash_many(hashlib.sha384, b"", bytes(64), 2)[:48] == hashlib.sha384(bytes(2)).digest()


def test_a_kernel_that_hashes_otherwise_is_not_used(
    loaded: dict[NewHash, HashMany], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.crypto.hashing_kernels.sha256_many", sm3_many)
    with pytest.raises(InvariantViolation, match="hashes otherwise"):
        load_kernel(hashlib.sha256)
    assert not loaded


def test_a_kernel_of_nodes_that_hashes_otherwise_is_not_used(
    loaded: dict[NewHash, HashMany], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.crypto.hashing_kernels.sha256_nodes", sm3_nodes)
    with pytest.raises(InvariantViolation, match="hashes nodes otherwise"):
        load_kernel(hashlib.sha256)
    assert not loaded


@pytest.mark.parametrize(
    ("preparation", "environment"),
    [
        ("import sys; sys.modules['numba'] = None", {}),
        ("", {"NUMBA_CACHE_LOCATOR_CLASSES": "_UserProvidedCacheLocator"}),
    ],
    ids=["not installed", "nowhere to keep what is compiled"],
)
def test_without_numba_each_is_hashed_by_itself(
    preparation: str, environment: dict[str, str], tmp_path: Path
) -> None:
    program = f"""
{preparation}
import hashlib
from node.crypto.hashing import hash_many, load_kernel
assert not load_kernel(hashlib.sha256)
assert hash_many(hashlib.sha256, b"", bytes(64), 2) == hashlib.sha256(bytes(2)).digest() * 32
"""
    where = {"PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=where | environment, check=True)


def test_what_one_process_compiled_the_next_one_loads() -> None:
    program = """
import sys
from node.crypto import hashing_kernels as kernels
kernels.sha256_many(b"", bytes(2), 1), kernels.sm3_many(b"", bytes(2), 1)
sys.exit(any(each.stats.cache_misses for each in (kernels._sha256_all, kernels._sm3_all)))
"""
    assert sha256_many(b"", bytes(2), 1)
    assert sm3_many(b"", bytes(2), 1)
    subprocess.run([sys.executable, "-c", program], env=os.environ, check=True)


def test_nothing_imports_numba_unasked() -> None:
    program = "import sys, node.cli.main, node.assembly.run; sys.exit('numba' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": os.pathsep.join(sys.path)}, check=True
    )
