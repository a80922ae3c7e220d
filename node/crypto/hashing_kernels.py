"""SHA-256 and SM3 of many messages of one length, compiled by numba; imported where that is there.

Each compression is written down as its standard has it, for one message. What makes it wide is the
loop around: of its `LANES` messages the compiler makes vectors of 4, 8 or 16 words, as wide as the
processor has them, and no step of a message waits for another message. All words are of 32 bits.

Compiled code is kept where numba keeps it: with this file's bytecode, or in the user's own cache
folder where that is not writable. Importing this where neither is writable raises `RuntimeError`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
from numba import njit, uint32

from node.errors import invariant

LANES: Final = 16
"""Messages hashed side by side: as many as the widest vectors have words."""

ROWS: Final = 4 * LANES
"""Messages laid out at a time: few enough for the nearest cache, many enough to rest there."""

DIGEST_BYTES: Final = 32

_BLOCK_BYTES: Final = 64
_LENGTH_BYTES: Final = 8

Word: TypeAlias = Any
"""An unsigned number of 32 bits, as numba has it."""

Words: TypeAlias = Any
"""A tuple or an array of such words, or an array of bytes."""

Compiled: TypeAlias = Any
"""A function that numba has compiled."""

_inlined: Final = njit(forceinline=True)
_kept: Final = njit(cache=True, error_model="numpy", nogil=True)


@_inlined
def _words(wide: Words, lane: int) -> Words:
    """Return 8 words of a lane."""
    return (
        wide[lane],
        wide[lane + LANES],
        wide[lane + 2 * LANES],
        wide[lane + 3 * LANES],
        wide[lane + 4 * LANES],
        wide[lane + 5 * LANES],
        wide[lane + 6 * LANES],
        wide[lane + 7 * LANES],
    )


@_inlined
def _put_words(wide: Words, lane: int, words: Words) -> None:
    """Set 8 words of a lane."""
    wide[lane] = words[0]
    wide[lane + LANES] = words[1]
    wide[lane + 2 * LANES] = words[2]
    wide[lane + 3 * LANES] = words[3]
    wide[lane + 4 * LANES] = words[4]
    wide[lane + 5 * LANES] = words[5]
    wide[lane + 6 * LANES] = words[6]
    wide[lane + 7 * LANES] = words[7]


@_inlined
def _left(word: Word, by: int) -> Word:
    """Return a word rotated to the left."""
    return uint32(word << uint32(by) | word >> uint32(32 - by))


@_inlined
def _swapped(word: Word) -> Word:
    """Return a word in the other order of bytes."""
    return uint32(_left(word, 8) & uint32(0x00FF00FF) | _left(word, 24) & uint32(0xFF00FF00))


@_inlined
def _copy(source: Words, target: Words, count: int) -> None:
    for at in range(count):
        target[at] = source[at]


@_inlined
def _transpose(rows: Words, row_words: int, wide: Words) -> None:
    """Set the block of each lane from a block of each row."""
    for lane in range(LANES):
        source = rows[lane * row_words :]
        for word in range(16):
            wide[(8 + word) * LANES + lane] = _swapped(source[word])


@_inlined
def _compress_rows(
    compress: Compiled, start: Words, rows: Words, row_bytes: int, wide: Words
) -> None:
    """Set the state of each lane from the blocks of each row."""
    for lane in range(LANES):
        _put_words(wide, lane, start)
    for block in range(0, row_bytes, _BLOCK_BYTES):
        _transpose(rows[block:].view(np.uint32), row_bytes // 4, wide)
        for lane in range(LANES):  # this loop becomes one pass of vectors
            words = _words(wide, lane + 8 * LANES) + _words(wide, lane + 16 * LANES)
            _put_words(wide, lane, compress(_words(wide, lane), words))


@_inlined
def _put_digest(wide: Words, lane: int, target: Words) -> None:
    """Set the digest of a lane's state, whose words are in the order of bytes of the standards."""
    for word in range(8):
        target[word] = _swapped(wide[word * LANES + lane])


@_inlined
def _hash_all(
    compress: Compiled, start: Words, items: Words, size: int, frame: tuple[Words, int]
) -> Words:
    """Return the digests of all items, joined; `frame` is what `_frame` gives for them."""
    padded, offset = frame
    count, row_bytes = items.size // size, padded.size
    rows = np.empty(min(count + -count % LANES, ROWS) * row_bytes, np.uint8)
    for at in range(0, rows.size, row_bytes):
        _copy(padded, rows[at:], row_bytes)
    wide = np.empty(24 * LANES, np.uint32)  # a state, then a block, of each lane
    digests = np.empty(8 * count, np.uint32)
    for first in range(0, count, ROWS):
        some = min(ROWS, count - first)
        for row in range(some):
            _copy(items[(first + row) * size :], rows[row * row_bytes + offset :], size)
        for top in range(0, some, LANES):
            _compress_rows(compress, start, rows[top * row_bytes :], row_bytes, wide)
            for lane in range(min(LANES, some - top)):
                _put_digest(wide, lane, digests[8 * (first + top + lane) :])
    return digests


@_inlined
def _levels(pairs: Words, known_count: int) -> tuple[Words, Words]:
    """Return the numbers of all pairs by level, and where each level begins and ends among them.

    No numbers if a pair is of what is not before it.
    """
    count, level_count = pairs.size // 2, 1
    levels = np.zeros(count, np.int32)
    for at in range(count):
        for reference in pairs[2 * at : 2 * at + 2]:
            if reference >= known_count or ~reference >= at:
                return np.empty(0, np.int64), np.zeros(1, np.int64)
            if reference < 0:
                levels[at] = max(levels[at], levels[~reference] + 1)
        level_count = max(level_count, levels[at] + 1)
    ends = np.zeros(level_count + 1, np.int64)
    for at in range(count):
        ends[levels[at] + 1] += 1
    for level in range(level_count):
        ends[level + 1] += ends[level]
    order, filled = np.empty(count, np.int64), ends.copy()
    for at in range(count):
        order[filled[levels[at]]] = at
        filled[levels[at]] += 1
    return order, ends


@_inlined
def _hash_nodes(
    compress: Compiled, start: Words, known: Words, pairs: Words, frame: tuple[Words, int]
) -> Words:
    """Return the digests of all pairs, joined, or none if a pair is of what is not before it.

    Pairs of one level, of which none waits for another, are hashed side by side.
    """
    padded, offset = frame
    known_count, count, row_bytes = known.size // DIGEST_BYTES, pairs.size // 2, padded.size
    order, ends = _levels(pairs, known_count)
    if order.size < count:
        return np.empty(0, np.uint8)
    rows = np.empty(LANES * row_bytes, np.uint8)
    for row in range(LANES):
        _copy(padded, rows[row * row_bytes :], row_bytes)
    wide = np.empty(24 * LANES, np.uint32)  # a state, then a block, of each lane
    digests = np.empty(DIGEST_BYTES * count, np.uint8)
    words = digests.view(np.uint32)
    for level in range(ends.size - 1):
        for first in range(ends[level], ends[level + 1], LANES):
            some = min(LANES, ends[level + 1] - first)
            for row in range(some):
                pair = 2 * order[first + row]
                target = rows[row * row_bytes + offset :]
                for side in range(2):
                    reference = pairs[pair + side]
                    half = target[side * DIGEST_BYTES :]
                    if reference < 0:
                        _copy(digests[~reference * DIGEST_BYTES :], half, DIGEST_BYTES)
                    else:
                        _copy(known[reference * DIGEST_BYTES :], half, DIGEST_BYTES)
            _compress_rows(compress, start, rows, row_bytes, wide)
            for lane in range(some):
                _put_digest(wide, lane, words[8 * order[first + lane] :])
    return digests


@lru_cache
def _frame(prefix: bytes, size: int) -> tuple[Words, int]:
    """Return a message of `size` zeros after `prefix`, padded as both standards say, and where."""
    message = prefix + bytes(size)
    zeros = -(len(message) + 1 + _LENGTH_BYTES) % _BLOCK_BYTES
    length = (8 * len(message)).to_bytes(_LENGTH_BYTES, "big")
    return np.frombuffer(message + b"\x80" + bytes(zeros) + length, np.uint8), len(prefix)


def _nodes_by(nodes: Compiled, prefix: bytes, known: bytes, pairs: bytes) -> bytes:
    """Return the digests of pairs by a kernel."""
    references = np.frombuffer(pairs, np.int32)
    frame = _frame(prefix, 2 * DIGEST_BYTES)
    digests = nodes(np.frombuffer(known, np.uint8), references, frame)
    invariant(
        digests.size == DIGEST_BYTES * (references.size // 2),
        "a pair is of what is known or comes before it",
    )
    return bytes(digests.tobytes())


# --- SHA-256 (FIPS 180-4) ------------------------------------------------------------------------


def _fraction_bits(prime: int, root: int) -> Word:
    """Return the first 32 bits of the fraction of this root of a prime."""
    bits = 0
    for bit in reversed(range(36)):  # no root of these is above 18
        if (bits | 1 << bit) ** root <= prime << 32 * root:
            bits |= 1 << bit
    return np.uint32(bits % (1 << 32))


_PRIMES: Final = [n for n in range(2, 312) if all(n % divisor for divisor in range(2, n))]
_SHA256_START: Final = tuple(_fraction_bits(prime, 2) for prime in _PRIMES[:8])
_SHA256_CONSTANTS: Final = tuple(_fraction_bits(prime, 3) for prime in _PRIMES)
_SHA256_FIRST: Final = _SHA256_CONSTANTS[:16]
_SHA256_SECOND: Final = _SHA256_CONSTANTS[16:32]
_SHA256_THIRD: Final = _SHA256_CONSTANTS[32:48]
_SHA256_FOURTH: Final = _SHA256_CONSTANTS[48:]


@_inlined
def _sha256_round(state: Words, addend: Word) -> Words:
    a, b, c, d, e, f, g, h = state
    sum0 = _left(a, 30) ^ _left(a, 19) ^ _left(a, 10)
    sum1 = _left(e, 26) ^ _left(e, 21) ^ _left(e, 7)
    choice, majority = e & f ^ ~e & g, a & b ^ a & c ^ b & c
    t = uint32(h + sum1 + choice + addend)
    return uint32(t + sum0 + majority), a, b, c, uint32(d + t), e, f, g


@_inlined
def _sha256_rounds(s: Words, w: Words, k: Words) -> Words:
    s = _sha256_round(s, uint32(w[0] + k[0]))
    s = _sha256_round(s, uint32(w[1] + k[1]))
    s = _sha256_round(s, uint32(w[2] + k[2]))
    s = _sha256_round(s, uint32(w[3] + k[3]))
    s = _sha256_round(s, uint32(w[4] + k[4]))
    s = _sha256_round(s, uint32(w[5] + k[5]))
    s = _sha256_round(s, uint32(w[6] + k[6]))
    s = _sha256_round(s, uint32(w[7] + k[7]))
    s = _sha256_round(s, uint32(w[8] + k[8]))
    s = _sha256_round(s, uint32(w[9] + k[9]))
    s = _sha256_round(s, uint32(w[10] + k[10]))
    s = _sha256_round(s, uint32(w[11] + k[11]))
    s = _sha256_round(s, uint32(w[12] + k[12]))
    s = _sha256_round(s, uint32(w[13] + k[13]))
    s = _sha256_round(s, uint32(w[14] + k[14]))
    return _sha256_round(s, uint32(w[15] + k[15]))


@_inlined
def _sha256_word(w16: Word, w15: Word, w7: Word, w2: Word) -> Word:
    """Return the next word of a message, from those as many places before it."""
    sigma0 = _left(w15, 25) ^ _left(w15, 14) ^ w15 >> uint32(3)
    sigma1 = _left(w2, 15) ^ _left(w2, 13) ^ w2 >> uint32(10)
    return uint32(w16 + sigma0 + w7 + sigma1)


@_inlined
def _sha256_next(words: Words) -> Words:
    """Return the next 16 words of a message."""
    a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q = words
    a = _sha256_word(a, b, j, p)
    b = _sha256_word(b, c, k, q)
    c = _sha256_word(c, d, m, a)
    d = _sha256_word(d, e, n, b)
    e = _sha256_word(e, f, o, c)
    f = _sha256_word(f, g, p, d)
    g = _sha256_word(g, h, q, e)
    h = _sha256_word(h, i, a, f)
    i = _sha256_word(i, j, b, g)
    j = _sha256_word(j, k, c, h)
    k = _sha256_word(k, m, d, i)
    m = _sha256_word(m, n, e, j)
    n = _sha256_word(n, o, f, k)
    o = _sha256_word(o, p, g, m)
    p = _sha256_word(p, q, h, n)
    q = _sha256_word(q, a, i, o)
    return a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q


@_inlined
def _sha256_compress(state: Words, words: Words) -> Words:
    """Return the state after a block."""
    s, w = _sha256_rounds(state, words, _SHA256_FIRST), _sha256_next(words)
    s, w = _sha256_rounds(s, w, _SHA256_SECOND), _sha256_next(w)
    s, w = _sha256_rounds(s, w, _SHA256_THIRD), _sha256_next(w)
    s = _sha256_rounds(s, w, _SHA256_FOURTH)
    return (
        uint32(s[0] + state[0]),
        uint32(s[1] + state[1]),
        uint32(s[2] + state[2]),
        uint32(s[3] + state[3]),
        uint32(s[4] + state[4]),
        uint32(s[5] + state[5]),
        uint32(s[6] + state[6]),
        uint32(s[7] + state[7]),
    )


@_kept
def _sha256_all(items: Words, size: int, frame: tuple[Words, int]) -> Words:
    return _hash_all(_sha256_compress, _SHA256_START, items, size, frame)


@_kept
def _sha256_nodes(known: Words, pairs: Words, frame: tuple[Words, int]) -> Words:
    return _hash_nodes(_sha256_compress, _SHA256_START, known, pairs, frame)


def sha256_many(prefix: bytes, items: bytes, size: int) -> bytes:
    """Do what `node.crypto.hashing.hash_many` does, for at least one item."""
    digests = _sha256_all(np.frombuffer(items, np.uint8), size, _frame(prefix, size))
    return bytes(digests.tobytes())


def sha256_nodes(prefix: bytes, known: bytes, pairs: bytes) -> bytes:
    """Do what `node.crypto.hashing.hash_nodes` does."""
    return _nodes_by(_sha256_nodes, prefix, known, pairs)


# --- SM3 (GB/T 32905) ----------------------------------------------------------------------------


def _turned(constant: int, first: int) -> Words:
    """Return the constant of 16 rounds from `first` on, rotated by each one's number."""
    return tuple(
        np.uint32((constant << number % 32 | constant >> 32 - number % 32) % (1 << 32))
        for number in range(first, first + 16)
    )


_SM3_START: Final = tuple(
    np.uint32(word)
    for word in (
        0x7380166F,
        0x4914B2B9,
        0x172442D7,
        0xDA8A0600,
        0xA96F30BC,
        0x163138AA,
        0xE38DEE4D,
        0xB0FB0E4E,
    )
)
_SM3_FIRST: Final = _turned(0x79CC4519, 0)
_SM3_SECOND: Final = _turned(0x7A879D8A, 16)
_SM3_THIRD: Final = _turned(0x7A879D8A, 32)
_SM3_FOURTH: Final = _turned(0x7A879D8A, 48)


@_inlined
def _sm3_round(state: Words, word: Word, later: Word, constant: Word, mixed: Words) -> Words:
    """Return the state after a round; `later` is the message word four places after `word`."""
    a, b, c, d, e, f, g, h = state
    a12 = _left(a, 12)
    ss1 = _left(uint32(a12 + e + constant), 7)
    tt1 = uint32(mixed[0] + d + (ss1 ^ a12) + (word ^ later))
    tt2 = uint32(mixed[1] + h + ss1 + word)
    return tt1, a, _left(b, 9), c, uint32(tt2 ^ _left(tt2, 9) ^ _left(tt2, 17)), e, _left(f, 19), g


@_inlined
def _sm3_early(state: Words, word: Word, later: Word, constant: Word) -> Words:
    """Return the state after one of the first 16 rounds."""
    a, b, c, _, e, f, g, _ = state
    return _sm3_round(state, word, later, constant, (a ^ b ^ c, e ^ f ^ g))


@_inlined
def _sm3_late(state: Words, word: Word, later: Word, constant: Word) -> Words:
    """Return the state after one of the last 48 rounds."""
    a, b, c, _, e, f, g, _ = state
    majority_choice = a & b | a & c | b & c, e & f | ~e & g
    return _sm3_round(state, word, later, constant, majority_choice)


@_inlined
def _sm3_rounds(turn: Compiled, s: Words, w: Words, after: Words, k: Words) -> Words:
    """Return the state after 16 rounds `turn`, over these words and those `after` them."""
    s = turn(s, w[0], w[4], k[0])
    s = turn(s, w[1], w[5], k[1])
    s = turn(s, w[2], w[6], k[2])
    s = turn(s, w[3], w[7], k[3])
    s = turn(s, w[4], w[8], k[4])
    s = turn(s, w[5], w[9], k[5])
    s = turn(s, w[6], w[10], k[6])
    s = turn(s, w[7], w[11], k[7])
    s = turn(s, w[8], w[12], k[8])
    s = turn(s, w[9], w[13], k[9])
    s = turn(s, w[10], w[14], k[10])
    s = turn(s, w[11], w[15], k[11])
    s = turn(s, w[12], after[0], k[12])
    s = turn(s, w[13], after[1], k[13])
    s = turn(s, w[14], after[2], k[14])
    return turn(s, w[15], after[3], k[15])


@_inlined
def _sm3_word(w16: Word, w13: Word, w9: Word, w6: Word, w3: Word) -> Word:
    """Return the next word of a message, from those as many places before it."""
    mixed = w16 ^ w9 ^ _left(w3, 15)
    return uint32(mixed ^ _left(uint32(mixed), 15) ^ _left(uint32(mixed), 23) ^ _left(w13, 7) ^ w6)


@_inlined
def _sm3_next(words: Words) -> Words:
    """Return the next 16 words of a message."""
    a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q = words
    a = _sm3_word(a, d, h, k, o)
    b = _sm3_word(b, e, i, m, p)
    c = _sm3_word(c, f, j, n, q)
    d = _sm3_word(d, g, k, o, a)
    e = _sm3_word(e, h, m, p, b)
    f = _sm3_word(f, i, n, q, c)
    g = _sm3_word(g, j, o, a, d)
    h = _sm3_word(h, k, p, b, e)
    i = _sm3_word(i, m, q, c, f)
    j = _sm3_word(j, n, a, d, g)
    k = _sm3_word(k, o, b, e, h)
    m = _sm3_word(m, p, c, f, i)
    n = _sm3_word(n, q, d, g, j)
    o = _sm3_word(o, a, e, h, k)
    p = _sm3_word(p, b, f, i, m)
    q = _sm3_word(q, c, g, j, n)
    return a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q


@_inlined
def _sm3_compress(state: Words, words: Words) -> Words:
    """Return the state after a block."""
    second = _sm3_next(words)
    third = _sm3_next(second)
    fourth = _sm3_next(third)
    s = _sm3_rounds(_sm3_early, state, words, second, _SM3_FIRST)
    s = _sm3_rounds(_sm3_late, s, second, third, _SM3_SECOND)
    s = _sm3_rounds(_sm3_late, s, third, fourth, _SM3_THIRD)
    s = _sm3_rounds(_sm3_late, s, fourth, _sm3_next(fourth), _SM3_FOURTH)
    return (
        uint32(s[0] ^ state[0]),
        uint32(s[1] ^ state[1]),
        uint32(s[2] ^ state[2]),
        uint32(s[3] ^ state[3]),
        uint32(s[4] ^ state[4]),
        uint32(s[5] ^ state[5]),
        uint32(s[6] ^ state[6]),
        uint32(s[7] ^ state[7]),
    )


@_kept
def _sm3_all(items: Words, size: int, frame: tuple[Words, int]) -> Words:
    return _hash_all(_sm3_compress, _SM3_START, items, size, frame)


@_kept
def _sm3_nodes(known: Words, pairs: Words, frame: tuple[Words, int]) -> Words:
    return _hash_nodes(_sm3_compress, _SM3_START, known, pairs, frame)


def sm3_many(prefix: bytes, items: bytes, size: int) -> bytes:
    """Do what `node.crypto.hashing.hash_many` does, for at least one item."""
    digests = _sm3_all(np.frombuffer(items, np.uint8), size, _frame(prefix, size))
    return bytes(digests.tobytes())


def sm3_nodes(prefix: bytes, known: bytes, pairs: bytes) -> bytes:
    """Do what `node.crypto.hashing.hash_nodes` does."""
    return _nodes_by(_sm3_nodes, prefix, known, pairs)
