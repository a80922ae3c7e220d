"""What a library of SM2 gives, and what it has to answer before it is used for anything.

Two do: the system's libcrypto (`libcrypto.py`) and Botan (`botan.py`), each called by ctypes in a
file of its own. Which one a process uses is said in `sm2_choice.py`.
"""

from __future__ import annotations

from typing import Final, Protocol

from node.errors import CryptoError

SM2_POINT_BYTES: Final = 33
SM2_SCALAR_BYTES: Final = 32
SM2_SIGNATURE_BYTES: Final = 2 * SM2_SCALAR_BYTES
SM2_ORDER: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
SIGNER_IDENTITY: Final = b"1234567812345678"
"""By GM/T 0009, where nothing else was agreed on."""
COMPRESSED: Final = (2, 3)
"""The first byte of a compressed point: by whether its y is even."""


class Sm2Key(Protocol):
    """A key in a library, public or with its secret. Calls release the interpreter lock."""

    def coordinates(self) -> bytes:
        """Return x || y of the public point, 64 bytes."""

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether r || s, 64 bytes, is this key's over `message`, hashed by SM3.

        No r or s outside 1..n-1 is.
        """

    def sign(self, message: bytes) -> bytes:
        """Return r || s over `message`; its nonce is drawn by the library."""

    def encrypt(self, plaintext: bytes) -> bytes:
        """Return the ciphertext of GB/T 32918.4, with SM3, in the ASN.1 of GM/T 0009."""

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Return the plaintext; raise `CryptoError` for what was not encrypted to this key."""


class Sm2Library(Protocol):
    """What loads keys."""

    name: str

    def failure(self) -> CryptoError:
        """Return what is raised where it answers otherwise than the standard."""

    def load_point(self, point: bytes) -> Sm2Key:
        """Load a compressed point, 33 bytes; raise `CryptoError` for what is none of the curve."""

    def load_secret(self, secret: bytes) -> Sm2Key:
        """Load a private scalar, 32 bytes in 1..n-2 (GB/T 32918.1), or raise `CryptoError`."""


def check_scalar(secret: bytes) -> None:
    """Raise `CryptoError` unless it is 32 bytes holding a scalar in 1..n-2."""
    scalar = int.from_bytes(secret, "big")
    if len(secret) != SM2_SCALAR_BYTES or not 0 < scalar < SM2_ORDER - 1:
        raise CryptoError("private key: expected 32 bytes holding a scalar in 1..n-2")


def compress(coordinates: bytes) -> bytes:
    """Return the compressed form, 33 bytes, of a point given as x || y."""
    return bytes((COMPRESSED[coordinates[-1] & 1],)) + coordinates[:SM2_SCALAR_BYTES]


def no_point() -> CryptoError:
    """Return what is raised for bytes that are no point."""
    return CryptoError("public key: expected a compressed point of SM2")


def no_plaintext() -> CryptoError:
    """Return what is raised for a ciphertext that does not open."""
    return CryptoError("ciphertext: does not open under this key")


# GB/T 32918.5-2017, the examples over the recommended curve.
_KNOWN_KEY: Final = bytes.fromhex(
    "0309f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
)
_KNOWN_SECRET: Final = bytes.fromhex(
    "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"
)
_KNOWN_MESSAGE: Final = b"message digest"
_KNOWN_SIGNATURE: Final = bytes.fromhex(
    "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)
_KNOWN_PLAINTEXT: Final = b"encryption standard"
_KNOWN_CIPHERTEXT: Final = bytes.fromhex(
    "307c"
    "022004ebfc718e8d1798620432268e77feb6415e2ede0e073c0f4f640ecd2e149a73"
    "022100e858f9d81e5430a57b36daab8f950a3c64e6ee6a63094d99283aff767e124df0"
    "042059983c18f809e262923c53aec295d30383b54e39d609d160afcb1908d0bd8766"
    "041321886ca989ca9c7d58087307ca93092d651efa"
)


def has_known_answers(library: Sm2Library) -> bool:
    """Tell whether a library answers the examples of the standard, and notices what is altered."""
    key, own = library.load_point(_KNOWN_KEY), library.load_secret(_KNOWN_SECRET)
    return (
        compress(own.coordinates()) == _KNOWN_KEY
        and key.coordinates() == own.coordinates()
        and key.verify(_KNOWN_MESSAGE, _KNOWN_SIGNATURE)
        and not key.verify(_KNOWN_MESSAGE + b"!", _KNOWN_SIGNATURE)
        and not key.verify(_KNOWN_MESSAGE, _KNOWN_SIGNATURE[:-1] + b"\xab")
        and own.decrypt(_KNOWN_CIPHERTEXT) == _KNOWN_PLAINTEXT
        and not _opens(own, _KNOWN_CIPHERTEXT[:-1] + b"\xfb")
    )


def _opens(key: Sm2Key, ciphertext: bytes) -> bool:
    try:
        key.decrypt(ciphertext)
    except CryptoError:
        return False
    return True
