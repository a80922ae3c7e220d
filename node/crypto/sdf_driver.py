"""Keys of SM2 in a device that speaks SDF (GM/T 0018), by its maker's library, called by ctypes.

The device holds signing keys by number, each under a password, and never gives one out. It signs a
digest, so what is hashed before (GB/T 32918.2: the default identity, the key, the message) is
hashed here. GM/T 0018 has no call that brings a signing key in: a key is made in the device, or
brought in with its maker's tool, and found here by its public key.

Structures are those of GM/T 0018: 64 bytes for each number, the high ones zero. Makers differ; one
that lays them out otherwise answers nonsense to the first signature, which is checked.
"""

from __future__ import annotations

import ctypes
import threading
from ctypes import POINTER, byref, c_char_p, c_int, c_ubyte, c_uint, c_void_p
from pathlib import Path
from typing import Any, Final

from node.crypto import domains
from node.crypto.device import KeyReference
from node.crypto.hashing import new_sm3
from node.crypto.libcrypto import declare
from node.crypto.signature import PublicKey, Signer
from node.crypto.sm2 import Sm2PublicKey, Sm2Signer
from node.crypto.sm2_library import SIGNER_IDENTITY, SM2_SCALAR_BYTES, compress
from node.errors import CryptoError

KEY_NUMBER_MAX: Final = 256
"""How far a device is looked through for a key."""
_NUMBER_BYTES: Final = 4
_FIELD_BYTES: Final = 64  # ECCref_MAX_LEN
_NOT_THERE: Final = 0x01000008
_ERRORS: Final = {
    0x01000002: "SDR_NOTSUPPORT",
    0x01000003: "SDR_COMMFAIL",
    0x01000004: "SDR_HARDFAIL",
    0x01000005: "SDR_OPENDEVICE",
    0x01000006: "SDR_OPENSESSION",
    0x01000007: "SDR_PARDENY",
    _NOT_THERE: "SDR_KEYNOTEXIST",
    0x01000009: "SDR_ALGNOTSUPPORT",
    0x0100000D: "SDR_SIGNERR",
    0x01000018: "SDR_PRKRERR",
}
# a, b and the base point of the recommended curve (GB/T 32918.5), as they are hashed.
_CURVE: Final = bytes.fromhex(
    "fffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffc"
    "28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93"
    "32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7"
    "bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0"
)


class _PublicKey(ctypes.Structure):
    """ECCrefPublicKey."""

    _fields_ = (
        ("bits", c_uint),
        ("x", c_ubyte * _FIELD_BYTES),
        ("y", c_ubyte * _FIELD_BYTES),
    )


class _Signature(ctypes.Structure):
    """ECCSignature."""

    _fields_ = (("r", c_ubyte * _FIELD_BYTES), ("s", c_ubyte * _FIELD_BYTES))


class SdfDevice:
    """A session with a device, and the password of the keys that are used in it."""

    def __init__(self, module: Path, pin: str) -> None:
        """Open the device by its maker's library at `module`; raises `CryptoError`.

        A device locks a key after a few wrong passwords, so nothing is tried twice.
        """
        self._module, self._pin = module, pin.encode(errors="surrogateescape")
        self._lock = threading.Lock()
        self._device, self._session = c_void_p(), c_void_p()
        try:
            self._library = _declared(ctypes.CDLL(str(module)))
        except (OSError, AttributeError):
            raise self._failure("cannot be opened: it is no library of SDF") from None
        self._call("SDF_OpenDevice", byref(self._device), what="cannot be opened")
        try:
            self._call(
                "SDF_OpenSession", self._device, byref(self._session), what="opens no session"
            )
        except CryptoError:
            self._library.SDF_CloseDevice(self._device)
            raise

    def close(self) -> None:
        """End the session; the device takes back what the password allowed."""
        self._library.SDF_CloseSession(self._session)
        self._library.SDF_CloseDevice(self._device)

    def open_signer(self, reference: KeyReference) -> Signer:
        """Return the signer of a key that the device holds; its first signature is checked."""
        number = _number_of(reference)
        expected = Sm2PublicKey.decode(reference.public_key)
        if self._public_key(number) != expected.encoded:
            raise self._failure(f"holds another key {number}, or none")
        self._call(
            "SDF_GetPrivateKeyAccessRight",
            self._session,
            number,
            self._pin,
            len(self._pin),
            what=f"does not allow to sign by key {number}",
        )
        signer = _DeviceSigner(self, number, expected)
        if not expected.verify(domains.KEY_PROBE, signer.sign(domains.KEY_PROBE)):
            raise self._failure(f"key {number} is not the one that is meant")
        return signer

    def adopt(self, purpose: str, algorithm: str, secret: bytes) -> KeyReference:
        """Find a private key, which the device has to hold already, and return its reference."""
        if algorithm != Sm2Signer.algorithm:
            raise CryptoError(
                f"device: expected a key of SM2, got one of {algorithm}",
                fix="keep this key in its file",
            )
        wanted = Sm2Signer.from_secret(secret).public_key.encoded
        for number in range(1, KEY_NUMBER_MAX + 1):
            if self._public_key(number) == wanted:
                reference = KeyReference(
                    purpose=purpose,
                    algorithm=algorithm,
                    public_key=wanted,
                    key_id=number.to_bytes(_NUMBER_BYTES, "big"),
                )
                self.open_signer(reference)
                return reference
        raise CryptoError(
            f"device: none of the keys 1 to {KEY_NUMBER_MAX} of {self._module} is this one",
            fix="bring the key in with the tool of the device's maker: SDF has no call for it",
        )

    def sign_digest(self, number: int, digest: bytes) -> bytes:
        """Have a key sign 32 bytes; return r || s. Raises `CryptoError` where the device fails."""
        made = _Signature()
        self._call(
            "SDF_InternalSign_ECC",
            self._session,
            number,
            digest,
            len(digest),
            byref(made),
            what=f"does not sign by key {number}",
        )
        return self._scalar(made.r) + self._scalar(made.s)

    def _public_key(self, number: int) -> bytes | None:
        """Return the compressed public key of this number, None where there is none."""
        key = _PublicKey()
        with self._lock:
            code = self._library.SDF_ExportSignPublicKey_ECC(self._session, number, byref(key))
        if code == _NOT_THERE:
            return None
        if code != 0:
            raise self._failure(f"gives no public key {number}: {_named(code)}")
        return compress(self._scalar(key.x) + self._scalar(key.y))

    def _scalar(self, field: Any) -> bytes:  # noqa: ANN401 - an array of ctypes
        """Return the low 32 bytes of a number; the others have to be zero."""
        data = bytes(field)
        if any(data[:-SM2_SCALAR_BYTES]):
            raise self._failure("lays out its numbers otherwise than GM/T 0018")
        return data[-SM2_SCALAR_BYTES:]

    def _call(self, name: str, *arguments: Any, what: str) -> None:  # noqa: ANN401 - of ctypes
        with self._lock:
            code = getattr(self._library, name)(*arguments)
        if code != 0:
            raise self._failure(f"{what}: {_named(code)}")

    def _failure(self, what: str) -> CryptoError:
        return CryptoError(
            f"device: {self._module} {what}",
            fix="check the library, the password of the key, and that the device is there",
        )


class _DeviceSigner:
    """Signs with a key in a device."""

    def __init__(self, device: SdfDevice, number: int, public_key: Sm2PublicKey) -> None:
        self._device, self._number, self._public_key = device, number, public_key
        identity = (8 * len(SIGNER_IDENTITY)).to_bytes(2, "big") + SIGNER_IDENTITY
        self._signer = new_sm3(identity + _CURVE + public_key.uncompressed()[1:]).digest()

    @property
    def public_key(self) -> PublicKey:
        """The key that checks what this signer signs."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Return r || s, 64 bytes; another one each time, for the device draws the nonces."""
        return self._device.sign_digest(self._number, new_sm3(self._signer + message).digest())


def _number_of(reference: KeyReference) -> int:
    number = int.from_bytes(reference.key_id, "big")
    is_number = len(reference.key_id) == _NUMBER_BYTES and 0 < number <= KEY_NUMBER_MAX
    if not is_number or reference.algorithm != Sm2Signer.algorithm:
        raise CryptoError(
            "device: expected the reference of a key in a device of SDF",
            fix="open it with the driver that it was moved in with",
        )
    return number


def _named(code: int) -> str:
    return _ERRORS.get(code & 0xFFFFFFFF, f"error 0x{code & 0xFFFFFFFF:08x}")


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Return the library as ctypes has to know it; `AttributeError` where a function is missing."""
    handle, handle_out = c_void_p, POINTER(c_void_p)
    declare(
        library,
        {
            "SDF_OpenDevice": (c_int, handle_out),
            "SDF_CloseDevice": (c_int, handle),
            "SDF_OpenSession": (c_int, handle, handle_out),
            "SDF_CloseSession": (c_int, handle),
            "SDF_GetPrivateKeyAccessRight": (c_int, handle, c_uint, c_char_p, c_uint),
            "SDF_ExportSignPublicKey_ECC": (c_int, handle, c_uint, POINTER(_PublicKey)),
            "SDF_InternalSign_ECC": (
                c_int, handle, c_uint, c_char_p, c_uint, POINTER(_Signature),
            ),
        },
    )  # fmt: skip
    return library
