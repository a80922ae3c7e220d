"""Keys that stay in a device: what a device gives, and the file that stands for such a key.

Where a key file would lie, a reference lies: for what the key is, its algorithm and public key, and
by which name the device knows it. It holds no secret. A device is opened with its PIN once, and
signs for the whole life of the process; drivers are `pkcs11_driver.py` and `sdf_driver.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

from node.crypto.signature import Signer

if TYPE_CHECKING:
    from node.crypto.keystore import KeySecret
    from node.crypto.suite import Suite

REFERENCE_FORMAT: Final = "govchain-key-reference/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReference:
    """The content of a reference, field by field in the file's order."""

    purpose: str
    algorithm: str
    public_key: bytes
    key_id: bytes
    """Of the key in its device: CKA_ID of PKCS #11, the number of SDF in 4 bytes."""

    def encode(self) -> bytes:
        """Return the file."""
        fields = {
            "format": REFERENCE_FORMAT,
            "purpose": self.purpose,
            "algorithm": self.algorithm,
            "public_key": self.public_key.hex(),
            "key_id": self.key_id.hex(),
        }
        return (json.dumps(fields, indent=2) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode a file in exactly the layout `encode` gives.

        Raises `ValueError` for any other, or `RecursionError` where that is nested too deep.
        """
        values = json.loads(data)
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            raise ValueError("expected an object of texts")
        reference = cls(
            purpose=values.get("purpose", ""),
            algorithm=values.get("algorithm", ""),
            public_key=bytes.fromhex(values.get("public_key", "")),
            key_id=bytes.fromhex(values.get("key_id", "")),
        )
        if reference.encode() != data:
            raise ValueError("expected the layout of this version")
        return reference


def is_reference(data: bytes) -> bool:
    """Tell whether a file says that it is a reference, whatever else it holds."""
    return f'"format": "{REFERENCE_FORMAT}"'.encode() in data


class Device(Protocol):
    """A device whose PIN was given."""

    def open_signer(self, reference: KeyReference) -> Signer:
        """Return the signer of a key; raise `CryptoError` unless the device holds that very key."""

    def adopt(self, purpose: str, algorithm: str, secret: bytes) -> KeyReference:
        """Take in a private key, which nothing gets out again, or find it where it is held already.

        Raises `CryptoError` where neither can be.
        """


@dataclass(frozen=True, slots=True, eq=False)
class DeviceSecret:
    """What unlocks the keys of a node: some in a device, the others in files (a `KeySecret`)."""

    files: KeySecret
    device: Device

    def lock(self, suite: Suite) -> str:
        """Name how key files are unlocked."""
        return self.files.lock(suite)

    def derive_key(self, salt: bytes, suite: Suite, key: bytearray) -> None:
        """Write the key of a key file."""
        self.files.derive_key(salt, suite, key)
