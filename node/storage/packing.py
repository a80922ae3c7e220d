"""Values packed for the disk: DEFLATE where it pays, else as they are. No IO.

What transactions of a block share, the chain, senders, kinds, is most of what is not a digest or a
signature. A packed value is one byte that says how, and the rest. Only this node reads it: the
same value may be packed otherwise by another library, so it is hashed and sent unpacked.
"""

from __future__ import annotations

import zlib
from typing import Final

from node.errors import DecodeError

_AS_IS: Final = b"\x00"
_DEFLATED: Final = b"\x01"
_LEVEL: Final = 1  # higher ones take twice the time here, and give nothing
_SAMPLE_BYTES: Final = 4_096
_SAMPLE_PAYS: Final = 7 / 8
_RAW: Final = -zlib.MAX_WBITS  # no header, no checksum: the database has its own


def pack(value: bytes) -> bytes:
    """Return the packed form, at most a byte longer.

    The end of a long value tells whether to try: a batch of digests does not shrink, and trying
    costs more than all else that is done with it.
    """
    sample = value[-_SAMPLE_BYTES:]
    deflated = _deflate(sample)
    if len(sample) < len(value) and len(deflated) < _SAMPLE_PAYS * len(sample):
        deflated = _deflate(value)
    elif len(sample) < len(value):
        return _AS_IS + value
    return _DEFLATED + deflated if len(deflated) < len(value) else _AS_IS + value


def unpack(packed: bytes, size_max: int) -> bytes:
    """Return what `pack` was given; raises `DecodeError`, also above `size_max` bytes."""
    how, content = packed[:1], packed[1:]
    if how == _AS_IS and len(content) <= size_max:
        return content
    if how != _DEFLATED:
        raise DecodeError(f"packed value: expected at most {size_max} bytes, or another form")
    inflater = zlib.decompressobj(_RAW)
    try:
        value = inflater.decompress(content, size_max)
    except zlib.error as error:
        raise DecodeError(f"packed value: {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise DecodeError(f"packed value: it does not end within {size_max} bytes, or not with it")
    return value


def _deflate(value: bytes) -> bytes:
    return zlib.compress(value, _LEVEL, _RAW)
