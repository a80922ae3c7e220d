"""Many buckets changed at once, compiled by numba; imported where that is there.

What it does with each bucket is what `Bucket.with_change`, `Bucket.hashed` and the parting of one
that has a key too many do: they are the reference. What is no usual case (deletions, marks that do
not tell keys apart, many keys below one place) is left to them.

Nothing is hashed here: what is to be hashed is told as references, see `hash_nodes` in
`node.crypto.hashing`. Compiled code does not check bounds, so what is stored is checked here
before it is followed, whatever its checksum says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final, TypeAlias
from zlib import crc32

import numpy as np
from numba import njit

Array: TypeAlias = Any
"""An array, as numba has it."""

Number: TypeAlias = Any
"""A whole number, as numba has it: of 64 bits where nothing else is said."""

UNCHANGED: Final = 0
CHANGED: Final = 1
BY_HAND: Final = 2
"""What became of a bucket; the last is one that is left to the reference."""

ROWS_MAX: Final = 32
"""Keys that a bucket may have before it is parted."""

_DIGEST_BYTES: Final = 32
_CRC_BYTES: Final = 4
_COUNT_AT: Final = _CRC_BYTES + _DIGEST_BYTES
_HEAD_BYTES: Final = _COUNT_AT + 2
_MARK_BYTES: Final = 4
_MARK_BITS: Final = 8 * _MARK_BYTES
_LAST_MARK_AT: Final = _DIGEST_BYTES - _MARK_BYTES
_NEVER: Final = 1 << 10
"""Above every bit of a path."""
_ROW_BYTES_MAX: Final = _HEAD_BYTES + _DIGEST_BYTES + 13 * _MARK_BYTES
"""Of a row, and of a bucket of its own for it, its key and value apart."""
_PAIRS_OF_ROW: Final = 2 * (_MARK_BITS + 2)
"""More references than a row can add to a trie."""
_WIDTHS: Final = (1, 2, 4)
_FIRST_SIZE: Final = 1 << 16

_CRC_TABLES: Final = np.array(
    [
        [crc32(bytes((byte,)) + bytes(zeros)) ^ crc32(bytes(1 + zeros)) for byte in range(256)]
        for zeros in range(8)
    ],
    np.uint32,
)
"""What a byte with so many after it adds to a checksum."""

_inlined: Final = njit(forceinline=True)
_kept: Final = njit(cache=True, error_model="numpy", nogil=True)


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of buckets: see each field. Of what is joined, `ends` tell where each ends."""

    statuses: list[int]
    """One of the three, for each bucket that there was."""
    part_ends: list[int]
    """Up to which part each of them goes, as one with keys too many is parted."""
    depths: list[int]
    """Of parts, from left to right; all of them and nothing else are below their old place."""
    roots: list[int]
    """What refers to the hash of a part."""
    known: bytes
    """What is known to `hash_nodes`: zeros, and leaf hashes."""
    pairs: bytes
    """What is to be hashed, as `hash_nodes` takes it."""
    _arrays: tuple[Array, Array, Array]
    """What is stored but for its hashes and checksums, where each part of it ends, and `roots`."""

    def finished(self, digests: bytes) -> list[bytes]:
        """Return each part as it is stored, given the digests of `pairs`; no bytes for no keys."""
        row, ends, roots = self._arrays
        _finish(
            row, ends, roots, np.frombuffer(self.known, np.uint8), np.frombuffer(digests, np.uint8)
        )
        stored = row.tobytes()
        return [stored[start:end] for start, end in pairwise([0, *ends.tolist()])]


@dataclass(frozen=True, slots=True)
class Changes:
    """New values by key, in the order of their paths: as columns."""

    paths: bytes
    keys: Sequence[bytes]
    values: Sequence[bytes]
    leaf_hashes: bytes


def change_buckets(
    buckets: Sequence[bytes],
    depths: Sequence[int],
    change_ends: Sequence[int],
    changes: Changes,
    keys_max: int,
) -> Changed:
    """Return what becomes of stored buckets, no bytes for none, by the changes up to each end."""
    numbers = _change(
        _joined(buckets),
        _ends(buckets),
        np.array(depths, np.int64),
        np.array(change_ends, np.int64),
        np.frombuffer(changes.paths, np.uint8),
        _joined(changes.keys),
        _ends(changes.keys),
        _joined(changes.values),
        _ends(changes.values),
        np.frombuffer(changes.leaf_hashes, np.uint8),
        keys_max,
    )
    statuses, part_ends, part_depths, stored_ends, roots, stored, known, pairs = numbers
    return Changed(
        statuses.tolist(),
        part_ends.tolist(),
        part_depths.tolist(),
        roots.tolist(),
        known.tobytes(),
        pairs.tobytes(),
        (stored, stored_ends, roots),
    )


def chain_pairs(  # noqa: PLR0917 - columns
    paths: bytes,
    depths: Sequence[int],
    firsts: Sequence[int],
    chain_ends: Sequence[int],
    references: Sequence[int],
    known_count: int,
    pair_count: int,
    unmoved: int,
) -> bytes:
    """Return what chains of forks hash, each from below upward, as `hash_nodes` takes it.

    A chain is of those above one end: it ends at a depth, on the way of a first path. What is
    beside them is known from `known_count` on, each chain from the top down, up to where it ends.
    An end that is `unmoved` in place of a reference is left out; so many pairs come before these.
    """
    pairs = _chain_pairs(
        np.frombuffer(paths, np.uint8),
        np.array(depths, np.int64),
        np.array(firsts, np.int64),
        np.array(chain_ends, np.int64),
        np.array(references, np.int64),
        np.array((known_count, pair_count, unmoved), np.int64),
    )
    return bytes(pairs.tobytes())


def _joined(items: Sequence[bytes]) -> Array:
    return np.frombuffer(b"".join(items), np.uint8)


def _ends(items: Sequence[bytes]) -> Array:
    return np.fromiter(accumulate(map(len, items), initial=0), np.int64, len(items) + 1)


@_inlined
def _grown(array: Array, size: Number) -> Array:
    """Return an array with room for so many: itself, or a larger one that begins as it does."""
    if size <= array.size:
        return array
    larger = np.empty(2 * size, array.dtype)
    larger[: array.size] = array
    return larger


@_inlined
def _copy(source: Array, target: Array, count: Number) -> None:
    for at in range(count):
        target[at] = source[at]


@_inlined
def _number(data: Array, at: Number, width: Number) -> Number:
    """Return a number as it is stored."""
    number = np.int64(0)
    for byte in data[at : at + width]:
        number = number << 8 | np.int64(byte)
    return number


@_inlined
def _put_number(data: Array, at: Number, width: Number, number: Number) -> None:
    for byte in range(width):
        data[at + byte] = number >> 8 * (width - 1 - byte) & 0xFF


@_inlined
def _shared(one: Array, other: Array, known: Number, size: Number) -> Number:
    """Return how many bytes two begin with alike, `size` at most, of which some are known."""
    while known < size and one[known] == other[known]:
        known += 1
    return known


@_inlined
def _bit_length(number: Number) -> Number:
    length = 0
    while number:
        number >>= 1
        length += 1
    return length


@_inlined
def _mark_at(depth: Number) -> Number:
    """Return the byte of a path that marks of a bucket at a depth begin with."""
    return min(depth >> 3, _LAST_MARK_AT)


@_inlined
def _column_ends(data: Array, start: Number, end: Number, sizes: Array) -> Number:
    """Set the sizes of a stored bucket; return where its blobs are, or -1 if that cannot be."""
    if end - start < _HEAD_BYTES:
        return -1
    count, width = np.int64(data[start + _COUNT_AT]), np.int64(data[start + _COUNT_AT + 1])
    if count == 0 or count > ROWS_MAX or width not in _WIDTHS:
        return -1
    at = start + _HEAD_BYTES + count * (_MARK_BYTES + _DIGEST_BYTES)
    blobs_at = at + (2 * count + 1) * width
    if blobs_at > end:
        return -1
    total = 0
    for column in range(2 * count + 1):
        sizes[column] = _number(data, at + column * width, width)
        total += sizes[column]
    return blobs_at if blobs_at + total == end else -1


@_inlined
def _trie(  # noqa: PLR0917 - columns
    marks: Array,
    first: Number,
    after: Number,
    leaf: Number,
    top: Number,
    pairs: Array,
    filled: Number,
    stack: Array,
) -> tuple[Number, Number]:
    """Add what a trie of leaves in order hashes; return what refers to its root, and the new end.

    As `node.chain.state_bucket.trie_hash` has it; `leaf` refers to the first leaf, and `top` is
    the parting of the last one.
    """
    waiting = 0
    stack[0], stack[1] = _NEVER, 0
    for row in range(first, after):
        parting = _bit_length(marks[row] ^ marks[row + 1]) if row + 1 < after else top
        node, height = leaf + row - first, _NEVER
        if stack[2 * waiting] <= parting:
            while height < parting - 1 or stack[2 * waiting] < parting:
                if height >= stack[2 * waiting] - 1:
                    height = stack[2 * waiting]
                    pairs[filled], pairs[filled + 1] = stack[2 * waiting + 1], node
                    waiting -= 1
                else:
                    is_right = marks[row] >> height & 1
                    pairs[filled] = 0 if is_right else node
                    pairs[filled + 1] = node if is_right else 0
                    height += 1
                node = ~(filled >> 1)
                filled += 2
        waiting += 1
        stack[2 * waiting], stack[2 * waiting + 1] = parting, node
    return stack[3], filled


@_kept
def _change(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one pass over columns
    olds: Array,
    old_ends: Array,
    depths: Array,
    change_ends: Array,
    paths: Array,
    keys: Array,
    key_ends: Array,
    values: Array,
    value_ends: Array,
    leaf_hashes: Array,
    keys_max: Number,
) -> tuple[Array, Array, Array, Array, Array, Array, Array, Array]:
    groups = depths.size
    statuses, part_ends = np.zeros(groups, np.uint8), np.zeros(groups, np.int64)
    part_depths, stored_ends = np.empty(2 * groups, np.int64), np.empty(2 * groups, np.int64)
    roots = np.empty(2 * groups, np.int32)
    stored = np.empty(olds.size + keys.size + values.size + _FIRST_SIZE, np.uint8)
    known = np.empty(_DIGEST_BYTES * (8 * groups + 1), np.uint8)
    pairs = np.empty(16 * groups + 2 * _PAIRS_OF_ROW * ROWS_MAX, np.int32)
    known[:_DIGEST_BYTES] = 0
    known_count, paired, parts, stored_end = 1, 0, 0, 0
    # Rows of one bucket: mark, where its key is in `text`, and the change it is of, or its old row.
    marks, changed_by = np.empty(ROWS_MAX + 1, np.int64), np.empty(ROWS_MAX + 1, np.int64)
    old_row = np.empty(ROWS_MAX + 1, np.int64)
    key_at, key_size = np.empty(ROWS_MAX + 1, np.int64), np.empty(ROWS_MAX + 1, np.int64)
    text = np.empty(_FIRST_SIZE, np.uint8)
    sizes, value_at = np.empty(2 * ROWS_MAX + 1, np.int64), np.empty(ROWS_MAX + 1, np.int64)
    columns = np.empty(2 * ROWS_MAX + 3, np.int64)
    stack, waiting = np.empty(2 * ROWS_MAX + 6, np.int64), np.empty(3 * _MARK_BITS + 9, np.int64)
    for group in range(groups):
        part_ends[group] = parts
        old_at, old_end, depth = old_ends[group], old_ends[group + 1], depths[group]
        first = change_ends[group - 1] if group else 0
        after, mark_at = change_ends[group], _mark_at(depth)
        count: Number = 0
        statuses[group] = BY_HAND
        # --- The rows that there are ---
        if old_at < old_end:
            blobs_at = _column_ends(olds, old_at, old_end, sizes)
            if blobs_at < 0:
                continue
            count = np.int64(olds[old_at + _COUNT_AT])
        if count + after - first > ROWS_MAX:
            continue
        beginning = sizes[0] if count else 0
        room = (count + 1) * beginning + key_ends[after] - key_ends[first]
        for row in range(count):
            room += sizes[1 + row]
        text = _grown(text, room)
        in_order, texted = True, 0
        if count:
            tail_at = blobs_at + beginning
            next_value = tail_at
            for row in range(count):
                next_value += sizes[1 + row]
            for row in range(count):
                marks[row] = _number(olds, old_at + _HEAD_BYTES + row * _MARK_BYTES, _MARK_BYTES)
                if row and marks[row - 1] >= marks[row]:
                    in_order = False
                changed_by[row], old_row[row] = -1, row
                key_at[row], key_size[row] = texted, beginning + sizes[1 + row]
                _copy(olds[blobs_at:], text[texted:], beginning)
                _copy(olds[tail_at:], text[texted + beginning :], sizes[1 + row])
                texted += key_size[row]
                tail_at += sizes[1 + row]
                value_at[row] = next_value
                next_value += sizes[1 + count + row]
        # --- The changes among them ---
        old_count, row, is_changed = count, 0, False
        alike = beginning if count else key_ends[first + 1] - key_ends[first]
        for change in range(first, after):
            mark = _number(paths, change * _DIGEST_BYTES + mark_at, _MARK_BYTES)
            key, size = keys[key_ends[change] :], key_ends[change + 1] - key_ends[change]
            while row < count and marks[row] < mark:
                row += 1
            if row < count and marks[row] == mark:
                there = text[key_at[row] :]
                if size != key_size[row] or _shared(key, there, 0, size) < size:
                    in_order = False  # told apart by their paths alone
                    break
                value_size = value_ends[change + 1] - value_ends[change]
                value = values[value_ends[change] :]
                if value_size == sizes[1 + old_count + old_row[row]]:
                    there = olds[value_at[old_row[row]] :]
                    if _shared(value, there, 0, value_size) == value_size:
                        continue
                changed_by[row], is_changed = change, True
                continue
            for other in range(count, row, -1):
                marks[other], changed_by[other] = marks[other - 1], changed_by[other - 1]
                old_row[other] = old_row[other - 1]
                key_at[other], key_size[other] = key_at[other - 1], key_size[other - 1]
            count += 1
            marks[row], changed_by[row], old_row[row] = mark, change, -1
            key_at[row], key_size[row], is_changed = texted, size, True
            _copy(key, text[texted:], size)
            texted += size
            there = text[key_at[0] if row else key_at[count - 1] :]
            alike = _shared(key, there, 0, min(size, alike))
        if not in_order:
            continue
        if not is_changed:
            statuses[group] = UNCHANGED
            continue
        # --- The buckets that they are ---
        before = parts, stored_end, known_count, paired
        waiting[0], waiting[1], waiting[2] = 0, count, depth
        left = 1
        while left:
            left -= 1
            start, end, part_depth = waiting[3 * left], waiting[3 * left + 1], waiting[3 * left + 2]
            if _mark_at(part_depth) != mark_at:
                left = -1
                break
            if end - start > keys_max:
                bit = _MARK_BITS - 1 - (part_depth - 8 * mark_at)
                if bit < 0:
                    left = -1
                    break
                middle = start
                while middle < end and not marks[middle] >> bit & 1:
                    middle += 1
                waiting[3 * left], waiting[3 * left + 1] = middle, end
                waiting[3 * left + 3], waiting[3 * left + 4] = start, middle
                waiting[3 * left + 2] = waiting[3 * left + 5] = part_depth + 1
                left += 2
                continue
            rows = end - start
            part_depths = _grown(part_depths, parts + 1)
            stored_ends = _grown(stored_ends, parts + 1)
            roots = _grown(roots, parts + 1)
            part_depths[parts], roots[parts] = part_depth, 0
            if rows:
                begins = text[key_at[start] :]
                shared = key_size[start] if rows == 1 else alike
                if rows > 1 and (rows < count or not old_count):
                    shared = min(key_size[start], key_size[start + 1])
                    for row in range(start + 1, end):
                        shared = _shared(
                            begins, text[key_at[row] :], alike, min(shared, key_size[row])
                        )
                largest, total = shared, shared
                columns[0] = shared
                for row in range(start, end):
                    change = changed_by[row]
                    columns[1 + row - start] = key_size[row] - shared
                    columns[1 + rows + row - start] = (
                        sizes[1 + old_count + old_row[row]]
                        if change < 0
                        else value_ends[change + 1] - value_ends[change]
                    )
                for column in range(1, 2 * rows + 1):
                    largest = max(largest, columns[column])
                    total += columns[column]
                width = 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4
                stored = _grown(stored, stored_end + total + rows * _ROW_BYTES_MAX)
                known = _grown(known, _DIGEST_BYTES * (known_count + rows))
                pairs = _grown(pairs, paired + rows * _PAIRS_OF_ROW)
                stored[stored_end + _COUNT_AT] = rows
                stored[stored_end + _COUNT_AT + 1] = width
                at = stored_end + _HEAD_BYTES
                leaves_at = at + rows * _MARK_BYTES
                for row in range(start, end):
                    _put_number(stored, at, _MARK_BYTES, marks[row])
                    at += _MARK_BYTES
                for row in range(start, end):
                    change = changed_by[row]
                    if change < 0:
                        source = old_at + _HEAD_BYTES + old_count * _MARK_BYTES
                        source += old_row[row] * _DIGEST_BYTES
                        _copy(olds[source:], stored[at:], _DIGEST_BYTES)
                    else:
                        source = change * _DIGEST_BYTES
                        _copy(leaf_hashes[source:], stored[at:], _DIGEST_BYTES)
                    at += _DIGEST_BYTES
                for column in range(2 * rows + 1):
                    _put_number(stored, at, width, columns[column])
                    at += width
                _copy(begins, stored[at:], shared)
                at += shared
                for row in range(start, end):
                    size = key_size[row] - shared
                    _copy(text[key_at[row] + shared :], stored[at:], size)
                    at += size
                for row in range(start, end):
                    change, size = changed_by[row], columns[1 + rows + row - start]
                    if change < 0:
                        _copy(olds[value_at[old_row[row]] :], stored[at:], size)
                    else:
                        _copy(values[value_ends[change] :], stored[at:], size)
                    at += size
                stored_end = at
                _copy(
                    stored[leaves_at:],
                    known[known_count * _DIGEST_BYTES :],
                    rows * _DIGEST_BYTES,
                )
                top = _MARK_BITS - (part_depth - 8 * mark_at) + 1
                roots[parts], paired = _trie(
                    marks, start, end, known_count, top, pairs, paired, stack
                )
                known_count += rows
            stored_ends[parts] = stored_end
            parts += 1
        if left < 0:
            parts, stored_end, known_count, paired = before
            continue
        statuses[group], part_ends[group] = CHANGED, parts
    return (
        statuses,
        part_ends,
        part_depths[:parts],
        stored_ends[:parts],
        roots[:parts],
        stored[:stored_end],
        known[: known_count * _DIGEST_BYTES],
        pairs[:paired],
    )


@_kept
def _chain_pairs(  # noqa: PLR0917 - columns
    paths: Array,
    depths: Array,
    firsts: Array,
    chain_ends: Array,
    references: Array,
    numbers: Array,
) -> Array:
    known_count, pair_count, unmoved = numbers[0], numbers[1], numbers[2]
    pairs = np.empty(2 * chain_ends[-1], np.int32)
    filled, start = 0, 0
    for chain in range(chain_ends.size):
        reference, depth, end = references[chain], depths[chain], chain_ends[chain]
        path = paths[firsts[chain] * _DIGEST_BYTES :]
        if reference != unmoved:
            for at in range(end - 1, start - 1, -1):
                depth -= 1
                is_right = path[depth >> 3] >> (7 - (depth & 7)) & 1
                pairs[filled] = known_count + at if is_right else reference
                pairs[filled + 1] = reference if is_right else known_count + at
                reference = -1 - pair_count - (filled >> 1)
                filled += 2
        start = end
    return pairs[:filled]


@_kept
def _finish(stored: Array, ends: Array, roots: Array, known: Array, digests: Array) -> None:
    """Put its hash and its checksum into each stored bucket."""
    start = 0
    for part in range(ends.size):
        end, root = ends[part], roots[part]
        if start < end:
            if root < 0:
                _copy(digests[~root * _DIGEST_BYTES :], stored[start + _CRC_BYTES :], _DIGEST_BYTES)
            else:
                _copy(known[root * _DIGEST_BYTES :], stored[start + _CRC_BYTES :], _DIGEST_BYTES)
            _put_number(stored, start, _CRC_BYTES, np.int64(_crc(stored, start + _CRC_BYTES, end)))
        start = end


@_inlined
def _crc(data: Array, at: Number, end: Number) -> Number:
    """Return the checksum (crc32, as zlib has it) of data from a place on."""
    crc = np.uint32(0xFFFFFFFF)
    while at + 8 <= end:
        low = crc ^ np.uint32(
            np.uint32(data[at])
            | np.uint32(data[at + 1]) << np.uint32(8)
            | np.uint32(data[at + 2]) << np.uint32(16)
            | np.uint32(data[at + 3]) << np.uint32(24)
        )
        crc = (
            _CRC_TABLES[7, low & np.uint32(0xFF)]
            ^ _CRC_TABLES[6, low >> np.uint32(8) & np.uint32(0xFF)]
            ^ _CRC_TABLES[5, low >> np.uint32(16) & np.uint32(0xFF)]
            ^ _CRC_TABLES[4, low >> np.uint32(24)]
            ^ _CRC_TABLES[3, data[at + 4]]
            ^ _CRC_TABLES[2, data[at + 5]]
            ^ _CRC_TABLES[1, data[at + 6]]
            ^ _CRC_TABLES[0, data[at + 7]]
        )
        at += 8
    while at < end:
        low = (crc ^ np.uint32(data[at])) & np.uint32(0xFF)
        crc = np.uint32(crc >> np.uint32(8)) ^ _CRC_TABLES[0, low]
        at += 1
    return crc ^ np.uint32(0xFFFFFFFF)
