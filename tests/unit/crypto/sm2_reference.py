"""SM2 signatures as GB/T 32918.2 writes them down, in plain integers: slow, and of its own mind."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes

Point = tuple[int, int] | None

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
IDENTITY = b"1234567812345678"


def sm3(data: bytes) -> bytes:
    """Return the SM3 digest."""
    state = hashes.Hash(hashes.SM3())
    state.update(data)
    return state.finalize()


def decompress(point: bytes) -> Point:
    """Return the point that 33 bytes name, which is on the curve."""
    x = int.from_bytes(point[1:], "big")
    y = pow(x**3 + A * x + B, (P + 1) // 4, P)
    assert (y * y - x**3 - A * x - B) % P == 0
    return x, y if y & 1 == point[0] & 1 else P - y


def add(one: Point, other: Point) -> Point:
    """Return the sum of two points."""
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = (
        (3 * x1 * x1 + A) * pow(2 * y1, -1, P) if one == other else (y2 - y1) * pow(x2 - x1, -1, P)
    )
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def times(scalar: int, point: Point) -> Point:
    """Return a multiple of a point."""
    total: Point = None
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total


def message_hash(key: Point, message: bytes, identity: bytes) -> int:
    """Return e: the digest of Z, which binds the identity and the key, and the message."""
    assert key is not None
    numbers = b"".join(number.to_bytes(32, "big") for number in (A, B, *G, *key))
    z = sm3((8 * len(identity)).to_bytes(2, "big") + identity + numbers)
    return int.from_bytes(sm3(z + message), "big")


def verifies(point: bytes, message: bytes, signature: bytes, identity: bytes = IDENTITY) -> bool:
    """Tell whether r || s is a signature over `message` (GB/T 32918.2 section 7.1)."""
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    if len(signature) != 64 or not 0 < r < N or not 0 < s < N or (r + s) % N == 0:
        return False
    key = decompress(point)
    found = add(times(s, G), times((r + s) % N, key))
    return found is not None and (message_hash(key, message, identity) + found[0]) % N == r


def mask(point: Point, size: int) -> bytes:
    """Return the bytes that hide a plaintext: the KDF of GB/T 32918.4 section 5.4.3."""
    assert point is not None
    shared = b"".join(number.to_bytes(32, "big") for number in point)
    blocks = [sm3(shared + number.to_bytes(4, "big")) for number in range(1, size // 32 + 2)]
    return b"".join(blocks)[:size]


def exclusive_or(one: bytes, other: bytes) -> bytes:
    """Return the bits in which two byte strings of one length differ."""
    return bytes(left ^ right for left, right in zip(one, other, strict=True))


def encrypt(key: Point, plaintext: bytes, nonce: int) -> bytes:
    """Return C1 || C3 || C2 (section 6.1), without the step that draws another nonce."""
    sent, shared = times(nonce, G), times(nonce, key)
    assert sent is not None
    assert shared is not None
    x, y = (number.to_bytes(32, "big") for number in shared)
    body = exclusive_or(plaintext, mask(shared, len(plaintext)))
    first = b"\x04" + b"".join(number.to_bytes(32, "big") for number in sent)
    return first + sm3(x + plaintext + y) + body


def decrypt(secret: int, ciphertext: bytes) -> bytes:
    """Return the plaintext of C1 || C3 || C2 (section 7.1), which is a true one."""
    sent = int.from_bytes(ciphertext[1:33], "big"), int.from_bytes(ciphertext[33:65], "big")
    shared = times(secret, sent)
    assert shared is not None
    body = ciphertext[97:]
    plaintext = exclusive_or(body, mask(shared, len(body)))
    x, y = (number.to_bytes(32, "big") for number in shared)
    assert sm3(x + plaintext + y) == ciphertext[65:97]
    return plaintext
