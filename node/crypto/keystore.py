"""Private keys on disk, encrypted at rest. The only IO and the only randomness of this room.

One key per file, mode 0600, a JSON object in one fixed layout: what the key is for, its algorithm
and public key, in the clear, then the 32 secret bytes, encrypted. The clear fields are the
associated data, so a file altered anywhere does not open, and no key opens as one of another
purpose. The lock is a passphrase (scrypt), two of two people, or a key file of random bytes (HKDF).

The number of a file's format is that of the suite whose algorithms encrypt it, and derive the key
for that from a key file: 1 has AES-256-GCM and SHA-256, 2 has SM4-GCM and SM3.

Secrets are never logged and never part of a `repr` or an error. What opens a file is
overwritten after use (`wiping.py`); a key that signs stays in memory, so whoever can read this
process's memory has it. A device behind `Signer` is the answer to that.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal, Protocol, Self, overload

from cryptography import x509
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from node.crypto import domains
from node.crypto.aead import AEAD_NONCE_BYTES, AEAD_TAG_BYTES
from node.crypto.bls import BlsSigner
from node.crypto.device import DeviceSecret, KeyReference, is_reference
from node.crypto.envelope import Opener, opener_of
from node.crypto.signature import SECRET_BYTES, Ed25519Signer, P256Signer, Signer, SoftwareSigner
from node.crypto.sm2 import Sm2Signer
from node.crypto.sm2_choice import prepare_to_sign
from node.crypto.suite import INTERNATIONAL, SUITES, Suite
from node.crypto.wiping import secret_buffer
from node.errors import CryptoError

PASSPHRASE_CHARACTERS_MIN: Final = 12
KEY_FILE_BYTES_MIN: Final = 32
PRIVATE_FILE_BYTES_MAX: Final = 4_096

_SUITE_BY_FORMAT: Final = {f"govchain-key/{suite.suite_id}": suite for suite in SUITES}
_SALT_BYTES: Final = 16
_SIZES: Final = (_SALT_BYTES, AEAD_NONCE_BYTES, SECRET_BYTES + AEAD_TAG_BYTES)
_FIX_RESTORE: Final = "restore the file from a backup: it was altered"
_SCRYPT_BYTES: Final = 32
_TWO_PEOPLE: Final = "two-scrypt-131072-8-1"
_MODE_PRIVATE: Final = 0o600
_MODE_OTHERS: Final = 0o077


class KeyPurpose(StrEnum):
    """What a key is for. It opens for no other purpose."""

    VOTE = "vote"  # a validator's proposals, votes and view changes
    COSIGNATURE = "cosignature"  # a validator's checkpoints
    AGGREGATE = "aggregate"  # a validator's share of an aggregated checkpoint
    IDENTITY = "identity"  # the transactions of an agency, auditor or operator
    TLS = "tls"  # connections
    AUTHORITY = "authority"  # the certificates of an organisation
    TIMESTAMP = "timestamp"  # a node's time-stamp tokens
    ENCRYPTION = "encryption"  # what others wrap for an identity
    WITNESS = "witness"  # what somebody outside cosigns of a chain's log
    WEBHOOK = "webhook"  # what a gateway tells the applications of others


# Purposes whose algorithm an outside format dictates; the others follow the chain's suite.
_SIGNER_BY_PURPOSE: Final[Mapping[KeyPurpose, type[SoftwareSigner]]] = {
    KeyPurpose.COSIGNATURE: Ed25519Signer,
    KeyPurpose.AGGREGATE: BlsSigner,
    KeyPurpose.TLS: P256Signer,
    KeyPurpose.AUTHORITY: P256Signer,
    KeyPurpose.WITNESS: Ed25519Signer,
    KeyPurpose.WEBHOOK: Ed25519Signer,
}
_SIGNER_BY_ALGORITHM: Final = {
    signer_type.algorithm: signer_type
    for signer_type in (*_SIGNER_BY_PURPOSE.values(), *(suite.signer_type for suite in SUITES))
}


class KeySecret(Protocol):
    """What unlocks key files."""

    def lock(self, suite: Suite) -> str:
        """Name, for the file, how it is turned into a key."""

    def derive_key(self, salt: bytes, suite: Suite, key: bytearray) -> None:
        """Write the key that locks the one file bearing this salt, for the suite's cipher.

        `key` has the size of that cipher's keys; who gave it overwrites it.
        """


@dataclass(frozen=True, slots=True, eq=False)
class PassphraseSecret:
    """A passphrase a person remembers. Each file takes a third of a second and 128 MiB to open."""

    _passphrase: str = field(repr=False)

    def __post_init__(self) -> None:
        if len(self._passphrase) < PASSPHRASE_CHARACTERS_MIN:
            raise CryptoError(
                f"passphrase: expected at least {PASSPHRASE_CHARACTERS_MIN} characters",
                fix="choose several unrelated words",
            )

    def lock(self, suite: Suite) -> str:  # noqa: ARG002 - RFC 7914 fixes the hash
        """Name the function and its cost."""
        return "scrypt-131072-8-1"

    def derive_key(self, salt: bytes, suite: Suite, key: bytearray) -> None:  # noqa: ARG002 - as above
        """Write the file's key. The same text typed on another system gives the same key."""
        _scrypt(self._passphrase, salt, key)


@dataclass(frozen=True, slots=True, eq=False)
class TwoPeopleSecret:
    """Two passphrases, each of which one person knows; neither opens anything without the other.

    In whichever order they are given. Each takes as long to try as one alone, and both have to be
    right at once: with one of them known, the other has to be guessed whole.
    """

    _first: str = field(repr=False)
    _second: str = field(repr=False)

    def __post_init__(self) -> None:
        for each in (self._first, self._second):
            PassphraseSecret(each)  # which refuses one that is too short
        if _normal(self._first) == _normal(self._second):
            raise CryptoError(
                "passphrases: expected two, got one twice",
                fix="have each of the two people choose a passphrase of their own",
            )

    def lock(self, suite: Suite) -> str:
        """Name the functions and their cost."""
        return f"{_TWO_PEOPLE}-hkdf-{suite.keyed_hash.name}"

    def derive_key(self, salt: bytes, suite: Suite, key: bytearray) -> None:
        """Write the file's key: HKDF of what scrypt makes of each, the lesser first."""
        with secret_buffer(_SCRYPT_BYTES) as one, secret_buffer(_SCRYPT_BYTES) as other:
            _scrypt(self._first, salt, one)
            _scrypt(self._second, salt, other)
            with secret_buffer(2 * _SCRYPT_BYTES) as both:
                lesser, greater = (one, other) if one < other else (other, one)
                both[:_SCRYPT_BYTES], both[_SCRYPT_BYTES:] = lesser, greater
                _expand(both, salt, suite, key)


def _scrypt(passphrase: str, salt: bytes, key: bytearray) -> None:
    """Write what RFC 7914 makes of a passphrase: a third of a second, 128 MiB."""
    function = Scrypt(salt=salt, length=len(key), n=2**17, r=8, p=1)
    function.derive_into(_normal(passphrase), key)


def _expand(random_bytes: bytes | bytearray, salt: bytes, suite: Suite, key: bytearray) -> None:
    """Write what HKDF makes of bytes that nobody can guess."""
    suite.keyed_hash.derive_into(random_bytes, salt=salt, info=domains.KEY_FILE, key=key)


def _normal(passphrase: str) -> bytes:
    """Return the bytes of a passphrase, however the system that it was typed on writes them."""
    return unicodedata.normalize("NFKC", passphrase).encode()


@dataclass(frozen=True, slots=True, eq=False)
class KeyFileSecret:
    """A file of random bytes, for nodes that start unattended; keep it apart from the keys."""

    _random_bytes: bytes = field(repr=False)

    @classmethod
    def generate(cls, path: Path) -> Self:
        """Create the file with fresh random bytes. Refuses to replace one."""
        random_bytes = secrets.token_bytes(KEY_FILE_BYTES_MIN)
        _create_private_file(path, random_bytes)
        return cls(random_bytes)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file, which only its owner may be able to read."""
        random_bytes = _read_private_file(path)
        if len(random_bytes) < KEY_FILE_BYTES_MIN:
            got = f"at least {KEY_FILE_BYTES_MIN} random bytes, got {len(random_bytes)}"
            raise CryptoError(f"{path}: expected {got}", fix="restore the key file from a backup")
        return cls(random_bytes)

    def lock(self, suite: Suite) -> str:
        """Name the function and its hash."""
        return f"hkdf-{suite.keyed_hash.name}"

    def derive_key(self, salt: bytes, suite: Suite, key: bytearray) -> None:
        """Write the file's key."""
        _expand(self._random_bytes, salt, suite, key)


def new_serial_number() -> int:
    """Return a random serial number for a certificate, in 1..2**159-1."""
    return x509.random_serial_number()


@overload
def generate_key(purpose: Literal[KeyPurpose.AGGREGATE], suite: Suite) -> BlsSigner: ...
@overload
def generate_key(purpose: KeyPurpose, suite: Suite) -> SoftwareSigner: ...
def generate_key(purpose: KeyPurpose, suite: Suite) -> SoftwareSigner:
    """Make a new key for `purpose` on a chain of `suite`.

    Raises `CryptoError` where this machine cannot sign by that suite.
    """
    signer_type = _SIGNER_BY_PURPOSE.get(purpose, suite.signer_type)
    try:
        return _signer(signer_type, secrets.token_bytes(SECRET_BYTES))
    except CryptoError:  # a scalar out of range, one draw in 2**32; else it says the same again
        return _signer(signer_type, secrets.token_bytes(SECRET_BYTES))


def save_key(
    path: Path,
    key: SoftwareSigner,
    secret: KeySecret,
    purpose: KeyPurpose,
    suite: Suite = INTERNATIONAL,
) -> None:
    """Store `key` encrypted under `secret`, durably, mode 0600. Refuses to replace a file.

    `suite` is that of the chain the key is for: its algorithms encrypt the file.
    """
    _create_private_file(path, _lock(key, secret, purpose, suite))


def _lock(key: SoftwareSigner, secret: KeySecret, purpose: KeyPurpose, suite: Suite) -> bytes:
    """Return the file of a key."""
    unsealed = _KeyFile(
        suite=suite,
        purpose=purpose.value,
        algorithm=key.algorithm,
        public_key=key.public_key.encoded,
        lock=secret.lock(suite),
        salt=secrets.token_bytes(_SALT_BYTES),
        nonce=secrets.token_bytes(AEAD_NONCE_BYTES),
    )
    context = unsealed.associated_data()
    with secret_buffer(suite.aead.key_size) as key_bytes:
        secret.derive_key(unsealed.salt, suite, key_bytes)
        sealed = suite.aead.seal(key_bytes, unsealed.nonce, key.export_secret(), context)
    return replace(unsealed, sealed=sealed).encode()


def load_signer(path: Path, secret: KeySecret, purpose: KeyPurpose) -> Signer:
    """Open the key at `path`, which must be one for `purpose`.

    Raises `CryptoError`, naming the file and what to do, if the file is missing, readable by
    others, malformed, of another purpose, or does not open with `secret`.
    """
    data = _read_private_file(path)
    if is_reference(data):
        return _open_reference(path, data, secret, purpose)
    return _load_key(path, secret, purpose)


def move_to_device(path: Path, secret: DeviceSecret, purpose: KeyPurpose) -> KeyReference:
    """Have the device take in the key in the file at `path`, and leave a reference in its place.

    The file's bytes are gone from there, not from backups of it. Raises `CryptoError`, the file as
    it was, where the device does not take the key or does not sign by it.
    """
    key = _load_key(path, secret, purpose)
    reference = secret.device.adopt(purpose.value, key.algorithm, key.export_secret())
    _replace_private_file(path, reference.encode())
    return reference


def takes_two_people(path: Path) -> bool:
    """Tell whether the key at `path` opens with two passphrases alone; raises as `load_signer`."""
    data = _read_private_file(path)
    return not is_reference(data) and _read_key_file(path, data).lock.startswith(_TWO_PEOPLE)


def lock_anew(path: Path, secret: KeySecret, new_secret: KeySecret, purpose: KeyPurpose) -> None:
    """Have the key in the file at `path` open with another secret from now on.

    Copies of the file as it was open as they did. Raises as `load_signer` does, the file as it was.
    """
    key, suite = _load_key(path, secret, purpose), _read_key_file(path).suite
    _replace_private_file(path, _lock(key, new_secret, purpose, suite))
    _load_key(path, new_secret, purpose)


def _open_reference(path: Path, data: bytes, secret: KeySecret, purpose: KeyPurpose) -> Signer:
    try:
        reference = KeyReference.decode(data)
    except (ValueError, RecursionError) as error:
        raise CryptoError(f"{path}: not a reference to a key", fix=_FIX_RESTORE) from error
    if reference.purpose != purpose:
        raise CryptoError(
            f"{path}: expected a key for {purpose}, got one for {reference.purpose!r:.40}",
            fix="name the file that holds the key for this purpose",
        )
    if not isinstance(secret, DeviceSecret):
        raise CryptoError(
            f"{path}: its key is in a device, and none is open",
            fix="name it in node.toml: custody.driver, custody.module (PKCS #11: custody.token)",
        )
    return secret.device.open_signer(reference)


def load_aggregate_signer(path: Path, secret: KeySecret) -> BlsSigner:
    """Open the BLS key at `path`. Raises as `load_signer` does."""
    key = _load_key(path, secret, KeyPurpose.AGGREGATE)
    if not isinstance(key, BlsSigner):
        raise CryptoError(
            f"{path}: expected a BLS12-381 key, got {key.algorithm}", fix=_FIX_RESTORE
        )
    return key


def new_content_key(suite: Suite) -> bytes:
    """Return a fresh key for one content; it seals nothing else, and nothing twice."""
    return secrets.token_bytes(suite.aead.key_size)


def load_opener(path: Path, secret: KeySecret, suite: Suite) -> Opener:
    """Open the encryption key at `path`, for what others wrapped. Raises as `load_signer` does."""
    return opener_of(suite, _load_key(path, secret, KeyPurpose.ENCRYPTION))


def load_tls_key_pem(path: Path, secret: KeySecret) -> bytes:
    """Open the TLS key at `path` as unencrypted PKCS #8 PEM, for a TLS library's memory only.

    Raises as `load_signer` does.
    """
    key = _load_key(path, secret, KeyPurpose.TLS)
    if not isinstance(key, P256Signer):
        raise CryptoError(
            f"{path}: expected a P-256 key, got {key.algorithm}",
            fix="make a new TLS key and have its certificate issued",
        )
    return key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeyFile:
    """The content of a key file, field by field in the file's order."""

    suite: Suite
    purpose: str
    algorithm: str
    public_key: bytes
    lock: str
    salt: bytes
    nonce: bytes
    sealed: bytes = b""

    def encode(self) -> bytes:
        return (json.dumps(self._fields(), indent=2) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode a file in exactly the layout `encode` gives.

        Raises `ValueError` for any other, or `RecursionError` where that is nested too deep.
        """
        values = json.loads(data)
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            raise ValueError("expected an object of texts")
        suite = _SUITE_BY_FORMAT.get(values.get("format", ""))
        if suite is None:
            raise ValueError("expected a known format")
        file = cls(
            suite=suite,
            purpose=values.get("purpose", ""),
            algorithm=values.get("algorithm", ""),
            public_key=bytes.fromhex(values.get("public_key", "")),
            lock=values.get("lock", ""),
            salt=bytes.fromhex(values.get("salt", "")),
            nonce=bytes.fromhex(values.get("nonce", "")),
            sealed=bytes.fromhex(values.get("sealed", "")),
        )
        if file.encode() != data or (len(file.salt), len(file.nonce), len(file.sealed)) != _SIZES:
            raise ValueError("expected the layout of this version")
        return file

    def associated_data(self) -> bytes:
        """Return what the encryption binds: every field but the encrypted one."""
        clear = {name: value for name, value in self._fields().items() if name != "sealed"}
        return domains.tagged(domains.KEY_FILE, json.dumps(clear).encode())

    def _fields(self) -> dict[str, str]:
        return {
            "format": f"govchain-key/{self.suite.suite_id}",
            "purpose": self.purpose,
            "algorithm": self.algorithm,
            "public_key": self.public_key.hex(),
            "lock": self.lock,
            "salt": self.salt.hex(),
            "nonce": self.nonce.hex(),
            "sealed": self.sealed.hex(),
        }


def _load_key(path: Path, secret: KeySecret, purpose: KeyPurpose) -> SoftwareSigner:
    file = _read_key_file(path)
    if file.purpose != purpose:
        raise CryptoError(
            f"{path}: expected a key for {purpose}, got one for {file.purpose!r:.40}",
            fix="name the file that holds the key for this purpose",
        )
    if file.lock != (lock := secret.lock(file.suite)):
        raise CryptoError(
            f"{path}: expected a secret for {file.lock!r:.40}, got one for {lock}",
            fix="give what it was locked with: a key file, a passphrase, or those of two people",
        )
    try:
        with secret_buffer(file.suite.aead.key_size) as key:
            secret.derive_key(file.salt, file.suite, key)
            plaintext = file.suite.aead.unseal(key, file.nonce, file.sealed, file.associated_data())
    except CryptoError as error:
        raise CryptoError(
            f"{path}: does not open with this secret",
            fix=f"check the passphrase or key file; if it is right, {_FIX_RESTORE}",
        ) from error
    signer_type = _SIGNER_BY_ALGORITHM.get(file.algorithm)
    if signer_type is None:
        raise CryptoError(
            f"{path}: holds a key of algorithm {file.algorithm!r:.40}, which is not known here",
            fix="open it with the version of the program that wrote it",
        )
    return _signer(signer_type, plaintext)


def _read_key_file(path: Path, data: bytes | None = None) -> _KeyFile:
    """Read the file at `path`, or its content where that was read."""
    try:
        return _KeyFile.decode(_read_private_file(path) if data is None else data)
    except (ValueError, RecursionError) as error:
        raise CryptoError(
            f"{path}: not a key file of format {' or '.join(_SUITE_BY_FORMAT)}", fix=_FIX_RESTORE
        ) from error


def _signer(signer_type: type[SoftwareSigner], secret: bytes) -> SoftwareSigner:
    """Return a signer whose use does not give its key away."""
    if signer_type is Sm2Signer:
        prepare_to_sign()
    return signer_type.from_secret(secret)


def _create_private_file(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read: whole or not at all, durable on return."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE_PRIVATE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # a rename would replace what is there
        finally:
            temporary.unlink()
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise CryptoError(
            f"{path}: exists already, and keys are never overwritten",
            fix="choose another name, or move the old key away",
        ) from error
    except OSError as error:
        raise CryptoError(
            f"{path}: cannot be written: {error.strerror}", fix="check the directory and its rights"
        ) from error


def _replace_private_file(path: Path, data: bytes) -> None:
    """Put a file in the place of one that only its owner may read: whole or not at all, durably.

    Its owner may throw the old secret away as soon as this returns.
    """
    made = path.with_name(f".{path.name}.new")
    made.unlink(missing_ok=True)  # of a call that was cut short
    _create_private_file(made, data)
    try:
        made.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise CryptoError(
            f"{path}: cannot be written: {error.strerror}", fix="check the directory and its rights"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_private_file(path: Path) -> bytes:
    """Read a regular file that nobody but its owner may read or write."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(PRIVATE_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise CryptoError(
            f"{path}: cannot be read: {error.strerror}", fix="check the path and its rights"
        ) from error
    if not stat.S_ISREG(mode) or len(data) > PRIVATE_FILE_BYTES_MAX:
        raise CryptoError(
            f"{path}: expected a regular file of at most {PRIVATE_FILE_BYTES_MAX} bytes",
            fix="check the path",
        )
    if mode & _MODE_OTHERS:
        raise CryptoError(
            f"{path}: others than its owner may use it (mode {stat.S_IMODE(mode):04o})",
            fix=f"chmod 600 {path}",
        )
    return data
