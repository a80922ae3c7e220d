"""Images marked: text that is seen, and a pattern of the code that is not, found by correlation.

The pattern is a tile of 64 x 64 chips of 4 x 4 pixels, each lighter or darker by the bits of the
code, laid over the whole image again and again. To find one, what tiles have in common is added up
and compared with the pattern of a code that is known, at every offset: so it survives cropping, and
compression that leaves the middle frequencies. It does not survive scaling, rotation or printing.
"""

from __future__ import annotations

import io
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from node.disclosure.watermark import pattern_bits
from node.errors import ClientError

CHIPS: Final = 64
CHIP_PIXELS: Final = 4
TILE_PIXELS: Final = CHIPS * CHIP_PIXELS
STRENGTH: Final = 3.0
"""Levels of 255, up or down."""
SCORE_LEAST: Final = 8.0
"""Standard deviations above other offsets. At 65,536 offsets chance reaches 4.3."""
PIXELS_MAX: Final = 100_000_000
_SMOOTHING: Final = 9
_CLIP: Final = 24.0

_Plane = NDArray[np.float32]


def mark_image(data: bytes, code: bytes, overlay: bytes) -> bytes:
    """Return an image with the pattern of a code and the picture `overlay` (PNG) over it.

    The format stays (PNG or JPEG). Raises `ClientError` for what cannot be marked.
    """
    image = _open(data)
    if min(image.size) < TILE_PIXELS:
        raise ClientError(
            f"image: expected {TILE_PIXELS} x {TILE_PIXELS} pixels at least, got "
            f"{image.width} x {image.height}",
            code="GC-2615",
        )
    form = image.format
    colours = np.asarray(image.convert("RGB"), dtype=np.float32)
    pattern = _pattern(code)
    rows, columns = -(-image.height // TILE_PIXELS), -(-image.width // TILE_PIXELS)
    plane = np.tile(pattern, (rows, columns))[: image.height, : image.width, None]
    marked = np.clip(colours + STRENGTH * plane, 0, 255).round().astype(np.uint8)
    picture = Image.fromarray(marked, "RGB")
    layer = Image.open(io.BytesIO(overlay)).convert("RGBA")
    picture.paste(layer.resize(picture.size), (0, 0), layer.resize(picture.size))
    out = io.BytesIO()
    if form == "JPEG":
        picture.save(out, "JPEG", quality=92, subsampling=0)
    else:
        picture.save(out, "PNG")
    return out.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    """Return width and height of an image in pixels; raises `ClientError` for none."""
    return _open(data).size


def score_image(data: bytes, codes: list[bytes]) -> list[float]:
    """Return for each code how far its pattern stands out, in standard deviations.

    From `SCORE_LEAST` on it is there. Raises `ClientError` for what is no image.
    """
    plane = np.asarray(_open(data).convert("L"), dtype=np.float32)
    spectrum = np.fft.rfft2(_folded(plane))
    scores = []
    for code in codes:
        other = np.fft.rfft2(_high_pass(np.tile(_pattern(code), (3, 3)))[_MIDDLE, _MIDDLE])
        match = np.fft.irfft2(spectrum * np.conj(other), s=(TILE_PIXELS, TILE_PIXELS))
        scores.append(_peak(match))
    return scores


def _peak(match: NDArray[np.float64]) -> float:
    """Return how far the best offset stands out among those that lie alike within a chip.

    An image that bears another code matches any code more where chips meet chips than between, so
    offsets are compared with their like: else the code of somebody else would stand out.
    """
    alike = match.reshape(CHIPS, CHIP_PIXELS, CHIPS, CHIP_PIXELS)
    spread = alike.std(axis=(0, 2), keepdims=True)
    above = alike - alike.mean(axis=(0, 2), keepdims=True)
    return float(np.divide(above, spread, out=np.zeros_like(alike), where=spread > 0).max())


_MIDDLE: Final = slice(TILE_PIXELS, 2 * TILE_PIXELS)


def _pattern(code: bytes) -> _Plane:
    """Return a tile: +1 or -1 for each pixel."""
    bits = np.frombuffer(pattern_bits(code, CHIPS * CHIPS), dtype=np.uint8)
    chips = (2.0 * bits - 1.0).reshape(CHIPS, CHIPS)
    return np.kron(chips, np.ones((CHIP_PIXELS, CHIP_PIXELS))).astype(np.float32)


def _folded(plane: _Plane) -> _Plane:
    """Return what the tiles of a picture have in common: their mean, without its coarse parts."""
    fine = np.clip(_high_pass(plane), -_CLIP, _CLIP)
    rows, columns = -(-plane.shape[0] // TILE_PIXELS), -(-plane.shape[1] // TILE_PIXELS)
    room = np.zeros((rows * TILE_PIXELS, columns * TILE_PIXELS), dtype=np.float32)
    room[: plane.shape[0], : plane.shape[1]] = fine
    tiles = room.reshape(rows, TILE_PIXELS, columns, TILE_PIXELS)
    folded: _Plane = tiles.sum(axis=(0, 2), dtype=np.float32)
    return folded


def _high_pass(plane: _Plane) -> _Plane:
    """Return a plane less its mean over squares of nine pixels."""
    half = _SMOOTHING // 2
    padded = np.pad(plane, ((half + 1, half), (half + 1, half)), mode="reflect")
    sums = padded.astype(np.float64).cumsum(0).cumsum(1)
    size = _SMOOTHING
    total = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    fine: _Plane = (plane - total / (size * size)).astype(np.float32)
    return fine


def _open(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
            if image.width * image.height > PIXELS_MAX:
                raise ClientError(
                    f"image: expected at most {PIXELS_MAX} pixels, got {image.width} x "
                    f"{image.height}",
                    code="GC-2615",
                )
            image.load()
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise ClientError(f"image: expected PNG or JPEG: {error}", code="GC-2615") from error
    return image
