"""Keys in a device that speaks PKCS #11, by its maker's library. Needs the extra `[pkcs11]`.

P-256 and Ed25519: what devices of the world have. (Those with SM2 speak SDF: `sdf_driver.py`.) The
device draws the nonces of P-256, so one message is signed differently each time. One session signs
for all threads, one at a time.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from pathlib import Path
from typing import Any, Final, TypeAlias

from node.crypto import der, domains
from node.crypto.device import KeyReference
from node.crypto.signature import (
    P256_ORDER,
    Ed25519PublicKey,
    Ed25519Signer,
    P256PublicKey,
    P256Signer,
    PublicKey,
    Signer,
)
from node.errors import CryptoError

_KEY_ID_BYTES: Final = 16
_SCALAR_BYTES: Final = 32
_P256: Final = der.encode_oid("1.2.840.10045.3.1.7")
_ED25519: Final = der.encode_oid("1.3.101.112")
_Library: TypeAlias = Any  # the binding ships no types of its constants' values


class Pkcs11Device:
    """A session with one token, logged in."""

    def __init__(self, module: Path, token: str, pin: str) -> None:
        """Log in to the token with this label, by the maker's library at `module`.

        Raises `CryptoError` naming what is missing or wrong. A token locks itself after a few wrong
        PINs, so nothing is tried twice.
        """
        self._pkcs11 = _binding()
        self._module, self._token = module, token
        self._lock = threading.Lock()
        try:
            opened = self._pkcs11.lib(str(module)).get_token(token_label=token)
            self._session = opened.open(rw=True, user_pin=pin)
        except (self._pkcs11.PKCS11Error, RuntimeError) as error:
            raise self._failure("cannot be opened", error) from None

    def close(self) -> None:
        """Log out."""
        self._session.close()

    def open_signer(self, reference: KeyReference) -> Signer:
        """Return the signer of a key that the token holds; its first signature is checked."""
        private = self._pkcs11.ObjectClass.PRIVATE_KEY
        try:
            key = self._session.get_key(object_class=private, id=reference.key_id)
        except self._pkcs11.PKCS11Error as error:
            raise self._failure(f"has no key {reference.key_id.hex()}", error) from None
        signer = _DeviceSigner(self, key, _decode(reference))
        if not signer.public_key.verify(domains.KEY_PROBE, signer.sign(domains.KEY_PROBE)):
            raise self._failure(f"key {reference.key_id.hex()} is not the one that is meant", None)
        return signer

    def adopt(self, purpose: str, algorithm: str, secret: bytes) -> KeyReference:
        """Take in a private key, never to be given out again, and return what stands for it."""
        attribute, kinds = self._pkcs11.Attribute, self._pkcs11.KeyType
        signer: P256Signer | Ed25519Signer
        if algorithm == P256Signer.algorithm:
            signer, kind, curve = P256Signer.from_secret(secret), kinds.EC, _P256
        elif algorithm == Ed25519Signer.algorithm:
            signer, kind, curve = Ed25519Signer.from_secret(secret), kinds.EC_EDWARDS, _ED25519
        else:
            raise CryptoError(
                f"device: expected a key of P-256 or Ed25519, got one of {algorithm}",
                fix="keep this key in its file",
            )
        key_id = secrets.token_bytes(_KEY_ID_BYTES)
        template = {
            attribute.CLASS: self._pkcs11.ObjectClass.PRIVATE_KEY,
            attribute.KEY_TYPE: kind,
            attribute.EC_PARAMS: curve,
            attribute.VALUE: secret,
            attribute.ID: key_id,
            attribute.LABEL: f"govchain {purpose}",
            attribute.TOKEN: True,
            attribute.PRIVATE: True,
            attribute.SENSITIVE: True,
            attribute.EXTRACTABLE: False,
            attribute.SIGN: True,
        }
        try:
            with self._lock:
                self._session.create_object(template)
        except self._pkcs11.PKCS11Error as error:
            raise self._failure("takes no such key", error) from None
        reference = KeyReference(
            purpose=purpose,
            algorithm=algorithm,
            public_key=signer.public_key.encoded,
            key_id=key_id,
        )
        self.open_signer(reference)
        return reference

    def sign(self, key: _Library, data: bytes, mechanism: str) -> bytes:
        """Have a key sign; raises `CryptoError` where the device fails."""
        try:
            with self._lock:
                made = key.sign(data, mechanism=self._pkcs11.Mechanism[mechanism])
        except self._pkcs11.PKCS11Error as error:
            raise self._failure("does not sign", error) from None
        return bytes(made)

    def _failure(self, what: str, error: Exception | None) -> CryptoError:
        why = "" if error is None else f": {type(error).__name__}"
        return CryptoError(
            f"device: token {self._token!r:.80} of {self._module} {what}{why}",
            fix="check the module, the token's label, its PIN, and that the device is there",
        )


class _DeviceSigner:
    """Signs with a key in a device."""

    def __init__(self, device: Pkcs11Device, key: _Library, public_key: PublicKey) -> None:
        self._device, self._key, self._public_key = device, key, public_key

    @property
    def public_key(self) -> PublicKey:
        """The key that checks what this signer signs."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Return 64 bytes: r || s with the low s, or RFC 8032's."""
        if isinstance(self._public_key, Ed25519PublicKey):
            return self._device.sign(self._key, message, "EDDSA")
        made = self._device.sign(self._key, hashlib.sha256(message).digest(), "ECDSA")
        s = int.from_bytes(made[_SCALAR_BYTES:], "big")
        return made[:_SCALAR_BYTES] + min(s, P256_ORDER - s).to_bytes(_SCALAR_BYTES, "big")


def _decode(reference: KeyReference) -> PublicKey:
    if reference.algorithm == P256Signer.algorithm:
        return P256PublicKey.decode(reference.public_key)
    if reference.algorithm == Ed25519Signer.algorithm:
        return Ed25519PublicKey.decode(reference.public_key)
    raise CryptoError(
        f"device: expected a key of P-256 or Ed25519, got one of {reference.algorithm!r:.40}",
        fix="open it with the version of the program that wrote it",
    )


def _binding() -> _Library:
    try:
        import pkcs11  # noqa: PLC0415 - an extra, and only for nodes with a device
    except ImportError:
        raise CryptoError(
            "device: the binding of PKCS #11 is not installed",
            fix="install the extra: .venv/bin/pip install -e '.[pkcs11]'",
        ) from None
    return pkcs11
