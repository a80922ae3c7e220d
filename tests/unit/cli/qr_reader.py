"""Reads a PNG of a QR code as a phone would: its pixels, then zxing-cpp."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import zxingcpp

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """Grey pixels, a byte each, row by row."""

    width: int
    height: int
    pixels: bytes


def read_png(data: bytes) -> Picture:
    """Read a PNG of one bit per pixel, black and white, its rows unfiltered or of filter "up"."""
    assert data.startswith(_SIGNATURE)
    chunks: dict[bytes, bytes] = {}
    at = len(_SIGNATURE)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        chunks[kind] = chunks.get(kind, b"") + data[at + 8 : at + 8 + size]
        at += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (1, 0)
    rows, row_bytes = zlib.decompress(chunks[b"IDAT"]), (width + 7) // 8 + 1
    pixels, above = bytearray(), bytes(row_bytes - 1)
    for row in range(height):
        line = rows[row * row_bytes : (row + 1) * row_bytes]
        is_up = {0: False, 2: True}[line[0]]
        added = above if is_up else bytes(len(above))
        above = bytes((byte + up) & 0xFF for byte, up in zip(line[1:], added, strict=True))
        pixels += bytes(255 * (above[x // 8] >> (7 - x % 8) & 1) for x in range(width))
    return Picture(width, height, bytes(pixels))


def read_codes(picture: Picture) -> list[str]:
    """Return the text of every QR code in a picture."""
    image = memoryview(picture.pixels).cast("B", shape=[picture.height, picture.width])
    found = zxingcpp.read_barcodes(image)
    assert all(code.format == zxingcpp.BarcodeFormat.QRCode for code in found)
    return [code.text for code in found]
