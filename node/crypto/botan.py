"""SM2 by Botan (2.19 or 3), through ctypes: beside libcrypto, and free of what leaks in that.

Debian 12 has 2.19 (libbotan-2-19), with which the tests run. Points are given to it by both
coordinates and not checked there, so the y of a compressed one is found here, by which it lies on
the curve. Nonces are drawn from the operating system.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from typing import Any, Final

from node.crypto.sm2_library import (
    COMPRESSED,
    SIGNER_IDENTITY,
    SM2_POINT_BYTES,
    SM2_SCALAR_BYTES,
    SM2_SIGNATURE_BYTES,
    Sm2Key,
    check_scalar,
    no_plaintext,
    no_point,
)
from node.errors import CryptoError

_NAMES: Final = (*(f"libbotan-3.so.{minor}" for minor in range(15, -1, -1)), "libbotan-2.so.19")
_CURVE: Final = b"sm2p256v1"
_SIGNING: Final = SIGNER_IDENTITY + b",SM3"
_ENCRYPTING: Final = b"SM3"

_P: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
_A: Final = _P - 3
_B: Final = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93


class Botan:
    """The library, once it was found; raises `CryptoError` where it is not."""

    name = "botan"

    def __init__(self) -> None:
        self._functions = _declared(_open())

    def failure(self) -> CryptoError:
        """Return what is raised where it answers otherwise than the standard."""
        return _failure()

    def load_point(self, point: bytes) -> Sm2Key:
        """Load a compressed point, 33 bytes; raise `CryptoError` for what is none of the curve."""
        x, y = _decompress(point)
        key = c_void_p()
        with _Number(self._functions, x) as x_at, _Number(self._functions, y) as y_at:
            _expect_done(self._functions.botan_pubkey_load_sm2(byref(key), x_at, y_at, _CURVE))
        return _Key(self._functions, key, None, x + y)

    def load_secret(self, secret: bytes) -> Sm2Key:
        """Load a private scalar, 32 bytes in 1..n-2, or raise `CryptoError`."""
        check_scalar(secret)
        library, own, key = self._functions, c_void_p(), c_void_p()
        with _Number(library, secret) as scalar:
            _expect_done(library.botan_privkey_load_sm2(byref(own), scalar, _CURVE))
        _expect_done(library.botan_privkey_export_pubkey(byref(key), own))
        with _Number(library) as x, _Number(library) as y:
            _expect_done(library.botan_pubkey_get_field(x, key, b"public_x"))
            _expect_done(library.botan_pubkey_get_field(y, key, b"public_y"))
            coordinates = _to_bytes(library, x) + _to_bytes(library, y)
        return _Key(library, key, own, coordinates)


class _Key:
    """Handles of the library; see `Sm2Key`."""

    __slots__ = ("_coordinates", "_library", "_own", "_public")

    def __init__(
        self,
        library: Any,  # noqa: ANN401 - ctypes has no type for it
        public: c_void_p,
        own: c_void_p | None,
        coordinates: bytes,
    ) -> None:
        self._library, self._public, self._own = library, public, own
        self._coordinates = coordinates

    def __del__(self) -> None:
        self._library.botan_pubkey_destroy(self._public)
        if self._own is not None:
            self._library.botan_privkey_destroy(self._own)

    def coordinates(self) -> bytes:
        return self._coordinates

    def verify(self, message: bytes, signature: bytes) -> bool:
        library, work = self._library, c_void_p()
        _expect_done(library.botan_pk_op_verify_create(byref(work), self._public, _SIGNING, 0))
        try:
            _expect_done(library.botan_pk_op_verify_update(work, message, len(message)))
            return bool(library.botan_pk_op_verify_finish(work, signature, len(signature)) == 0)
        finally:
            library.botan_pk_op_verify_destroy(work)

    def sign(self, message: bytes) -> bytes:
        library, work = self._library, c_void_p()
        _expect_done(library.botan_pk_op_sign_create(byref(work), self._own, _SIGNING, 0))
        try:
            _expect_done(library.botan_pk_op_sign_update(work, message, len(message)))
            made = ctypes.create_string_buffer(SM2_SIGNATURE_BYTES)
            size = c_size_t(SM2_SIGNATURE_BYTES)
            with _Randomness(library) as drawn:
                _expect_done(library.botan_pk_op_sign_finish(work, drawn, made, byref(size)))
            return made.raw[: size.value]
        finally:
            library.botan_pk_op_sign_destroy(work)

    def encrypt(self, plaintext: bytes) -> bytes:
        library, work, size = self._library, c_void_p(), c_size_t()
        _expect_done(library.botan_pk_op_encrypt_create(byref(work), self._public, _ENCRYPTING, 0))
        try:
            length = len(plaintext)
            _expect_done(library.botan_pk_op_encrypt_output_length(work, length, byref(size)))
            made = ctypes.create_string_buffer(size.value)
            with _Randomness(library) as drawn:
                args = (work, drawn, made, byref(size), plaintext, length)
                _expect_done(library.botan_pk_op_encrypt(*args))
            return made.raw[: size.value]
        finally:
            library.botan_pk_op_encrypt_destroy(work)

    def decrypt(self, ciphertext: bytes) -> bytes:
        library, work, length = self._library, c_void_p(), len(ciphertext)
        made, size = ctypes.create_string_buffer(length), c_size_t(length)
        _expect_done(library.botan_pk_op_decrypt_create(byref(work), self._own, _ENCRYPTING, 0))
        try:
            done = library.botan_pk_op_decrypt(work, made, byref(size), ciphertext, length)
        finally:
            library.botan_pk_op_decrypt_destroy(work)
        if done != 0:
            raise no_plaintext()
        return made.raw[: size.value]


class _Number:
    """A number of the library, wiped when it is left."""

    __slots__ = ("_library", "_pointer")

    def __init__(self, library: Any, value: bytes | None = None) -> None:  # noqa: ANN401 - as above
        self._library, self._pointer = library, c_void_p()
        _expect_done(library.botan_mp_init(byref(self._pointer)))
        if value is not None:
            _expect_done(library.botan_mp_from_bin(self._pointer, value, len(value)))

    def __enter__(self) -> c_void_p:
        return self._pointer

    def __exit__(self, *_: object) -> None:
        self._library.botan_mp_destroy(self._pointer)


class _Randomness:
    """The operating system's generator, by the library."""

    __slots__ = ("_library", "_pointer")

    def __init__(self, library: Any) -> None:  # noqa: ANN401 - as above
        self._library, self._pointer = library, c_void_p()
        _expect_done(library.botan_rng_init(byref(self._pointer), b"system"))

    def __enter__(self) -> c_void_p:
        return self._pointer

    def __exit__(self, *_: object) -> None:
        self._library.botan_rng_destroy(self._pointer)


def _decompress(point: bytes) -> tuple[bytes, bytes]:
    """Return the coordinates of a point of the curve."""
    if len(point) != SM2_POINT_BYTES or point[0] not in COMPRESSED:
        raise no_point()
    x = int.from_bytes(point[1:], "big")
    y_square = (x * x * x + _A * x + _B) % _P
    y = pow(y_square, (_P + 1) // 4, _P)  # a root, if there is one: _P is 3 modulo 4
    if x >= _P or y * y % _P != y_square:
        raise no_point()
    if y & 1 != COMPRESSED.index(point[0]):
        y = _P - y
    return point[1:], y.to_bytes(SM2_SCALAR_BYTES, "big")


def _to_bytes(library: Any, number: c_void_p) -> bytes:  # noqa: ANN401 - as above
    size = c_size_t()
    _expect_done(library.botan_mp_num_bytes(number, byref(size)))
    made = ctypes.create_string_buffer(SM2_SCALAR_BYTES)
    _expect_done(library.botan_mp_to_bin(number, made))
    return made.raw[: size.value].rjust(SM2_SCALAR_BYTES, b"\0")


def _open() -> ctypes.CDLL:
    for name in _NAMES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise _failure()


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Tell ctypes what the functions take; all return 0 for done."""
    text, out, size_out = c_char_p, POINTER(c_void_p), POINTER(c_size_t)
    handle, flags = c_void_p, c_uint32
    signatures: dict[str, tuple[Any, ...]] = {
        "mp_init": (out,),
        "mp_destroy": (handle,),
        "mp_from_bin": (handle, text, c_size_t),
        "mp_to_bin": (handle, handle),
        "mp_num_bytes": (handle, size_out),
        "rng_init": (out, text),
        "rng_destroy": (handle,),
        "pubkey_load_sm2": (out, handle, handle, text),
        "pubkey_destroy": (handle,),
        "pubkey_get_field": (handle, handle, text),
        "privkey_load_sm2": (out, handle, text),
        "privkey_export_pubkey": (out, handle),
        "privkey_destroy": (handle,),
        "pk_op_verify_create": (out, handle, text, flags),
        "pk_op_verify_update": (handle, text, c_size_t),
        "pk_op_verify_finish": (handle, text, c_size_t),
        "pk_op_verify_destroy": (handle,),
        "pk_op_sign_create": (out, handle, text, flags),
        "pk_op_sign_update": (handle, text, c_size_t),
        "pk_op_sign_finish": (handle, handle, handle, size_out),
        "pk_op_sign_destroy": (handle,),
        "pk_op_encrypt_create": (out, handle, text, flags),
        "pk_op_encrypt_output_length": (handle, c_size_t, size_out),
        "pk_op_encrypt": (handle, handle, handle, size_out, text, c_size_t),
        "pk_op_encrypt_destroy": (handle,),
        "pk_op_decrypt_create": (out, handle, text, flags),
        "pk_op_decrypt": (handle, handle, size_out, text, c_size_t),
        "pk_op_decrypt_destroy": (handle,),
    }
    for name, arguments in signatures.items():
        try:
            function = getattr(library, f"botan_{name}")
        except AttributeError as error:
            raise _failure() from error
        function.restype, function.argtypes = c_int, arguments
    return library


def _expect_done(status: int) -> None:
    if status != 0:
        raise _failure()


def _failure() -> CryptoError:
    return CryptoError(
        "botan: expected Botan 2.19 or 3 that computes SM2 by the standard",
        fix="install it as the distribution has it (Debian 12: libbotan-2-19)",
    )
