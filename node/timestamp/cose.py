"""COSE Receipts (RFC 9942): what a validator signs of a log root, and the file made of it.

A COSE Receipt is a COSE_Sign1 whose payload, the root of the log, is detached: whoever verifies it
computes the root from a leaf and the inclusion proof in header 396 (verifiable data structure 1,
RFC9162_SHA256), then checks one ES256 signature over it. The key is the vote key of a validator, so
a trust file names its owner; alone it is one validator's word. The header `CARRIED_LABEL` of ours
carries the native receipt, which proves a quorum's, `JOIN_LABEL` what it was
refreshed by. See node/adr/0014-formats-of-a-receipt.md.

One profile, one form: everything but the shapes below is refused, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_bytes,
    expect_list,
    expect_uint,
)
from node.crypto.signature import (
    P256_PUBLIC_KEY_BYTES,
    P256_SIGNATURE_BYTES,
    P256PublicKey,
    Signer,
)
from node.errors import CryptoError, DecodeError, ProofError
from node.limits import RECEIPT_BYTES_MAX, RECEIPT_FILE_BYTES_MAX

LOG_PATH_HASHES_MAX: Final = 64
CARRIED_LABEL: Final = -0x676F76
"""Unprotected header of private use ("gov"): the bytes of the native receipt."""
JOIN_LABEL: Final = -0x676F77
"""The next one: the bytes of the consistency proof that joins that receipt to a later block."""
TOKEN_LABEL: Final = 270
"""3161-ctt (RFC 9921): a time-stamp token over the CBOR byte string of the signature."""
COSE_START: Final = b"\xd2\x84"
"""Tag 18 around an array of four: every COSE_Sign1 that says what it is begins so."""

_ALGORITHM, _KEY_ID, _CLAIMS, _ISSUER = 1, 4, 15, 1
_STRUCTURE, _PROOFS, _INCLUSION = 395, 396, -1
_ES256, _RFC9162_SHA256 = -7, 1
_HASH_BYTES: Final = 32
_DETACHED: Final = b"\xf6"
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}


@dataclass(frozen=True, slots=True)
class CoseSignature:
    """A validator's ES256 signature over the root of the log, as a COSE Receipt bears it."""

    vote_key: bytes
    """The compressed point, 33 bytes: the key identifier of the protected header."""
    signature: bytes
    """r || s, 64 bytes."""

    def check(self, chain_id: bytes, root: bytes) -> None:
        """Check the signature under the key it names; whose key that is, is not asked here.

        Raises `ProofError`.
        """
        try:
            key = P256PublicKey.decode(self.vote_key)
        except CryptoError as error:
            raise ProofError("cose-key", str(error)) from error
        if not key.verify(root_sign_bytes(chain_id, self.vote_key, root), self.signature):
            raise ProofError("cose-signature", f"expected one of {self.vote_key.hex()}")

    def to_value(self) -> list[Any]:
        """Return the CBOR array `cose-signature`."""
        return [self.vote_key, self.signature]

    @classmethod
    def from_value(cls, value: object) -> CoseSignature:
        """Read the CBOR array `cose-signature`; raises `DecodeError`."""
        vote_key, signature = expect_array(value, 2, "COSE signature")
        return cls(
            expect_bytes(vote_key, "COSE key", size=P256_PUBLIC_KEY_BYTES),
            expect_bytes(signature, "COSE signature", size=P256_SIGNATURE_BYTES),
        )


def sign_root(chain_id: bytes, root: bytes, signer: Signer) -> CoseSignature:
    """Return a validator's signature over a log root. `signer` holds its vote key, of P-256.

    What a vote signs begins with its domain tag, this with a CBOR array of four that begins with
    "Signature1": neither can be taken for the other.
    """
    vote_key = signer.public_key.encoded
    return CoseSignature(vote_key, signer.sign(root_sign_bytes(chain_id, vote_key, root)))


def root_sign_bytes(chain_id: bytes, vote_key: bytes, root: bytes) -> bytes:
    """Return the Sig_structure (RFC 9052 section 4.4) of a root: what the signature is over."""
    return encode(["Signature1", protected_header(chain_id, vote_key), b"", root])


def protected_header(chain_id: bytes, vote_key: bytes) -> bytes:
    """Return the protected header: ES256, the key, the chain as issuer (RFC 9597), the structure.

    It is the same for all receipts that a validator signs, so one signature serves a whole block.
    """
    issuer = f"govchain:chain:{chain_id.hex()}"
    return _map(
        (_ALGORITHM, encode(_ES256)),
        (_KEY_ID, encode(vote_key)),
        (_CLAIMS, _map((_ISSUER, encode(issuer)))),
        (_STRUCTURE, encode(_RFC9162_SHA256)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoseReceipt:
    """A COSE Receipt as written: nothing is checked but its form."""

    protected: bytes
    """The protected header, as signed."""
    log_size: int
    log_index: int
    log_path: tuple[bytes, ...]
    signature: bytes
    token: bytes | None = None
    """A TimeStampToken over `stamped_bytes`, DER, or None."""
    carried: bytes | None = None
    """The native receipt, or None: then it is one validator's word."""
    join: bytes | None = None
    """What joins that receipt to a later block, if it was refreshed, or None."""

    @property
    def stamped_bytes(self) -> bytes:
        """Return what a time-stamp token of header 270 is over: the signature's CBOR encoding."""
        return encode(self.signature)

    def encode(self) -> bytes:
        """Return the bytes of a `.cose` file."""
        proof = encode([self.log_size, self.log_index, list(self.log_path)])
        headers = [
            (TOKEN_LABEL, None if self.token is None else encode(self.token)),
            (_PROOFS, _map((_INCLUSION, encode([proof])))),
            (CARRIED_LABEL, None if self.carried is None else encode(self.carried)),
            (JOIN_LABEL, None if self.join is None else encode(self.join)),
        ]
        present = [(label, value) for label, value in headers if value is not None]
        body = (encode(self.protected), _map(*present), _DETACHED, encode(self.signature))
        return COSE_START + b"".join(body)

    @classmethod
    def decode(cls, data: bytes) -> CoseReceipt:
        """Read a COSE Receipt of this profile; raises `DecodeError` on everything else."""
        if len(data) > RECEIPT_FILE_BYTES_MAX:
            problem = f"expected at most {RECEIPT_FILE_BYTES_MAX} bytes, got {len(data)}"
            raise DecodeError(f"COSE receipt: {problem}")
        reader = _Reader(data)
        reader.skip(COSE_START, "tag 18 and an array of four")
        protected = reader.read_bytes("protected header")
        token = proof = carried = join = None
        for _ in range(reader.read_head(_MAP, "unprotected header")):
            if reader.has(encode(TOKEN_LABEL)):
                token = reader.read_bytes("header 270")
            elif reader.has(encode(_PROOFS)):
                reader.skip(b"\xa1\x20\x81", "one inclusion proof under -1")
                proof = reader.read_bytes("inclusion proof")
            elif reader.has(encode(CARRIED_LABEL)):
                carried = reader.read_bytes("carried receipt")
            elif reader.has(encode(JOIN_LABEL)):
                join = reader.read_bytes("carried proof")
            else:
                raise DecodeError(f"COSE receipt: unknown header at byte {reader.position}")
        reader.skip(_DETACHED, "a detached payload")
        signature = reader.read_bytes("signature")
        if proof is None:
            raise DecodeError("COSE receipt: expected header 396")
        log_size, log_index, log_path = _read_proof(proof)
        receipt = cls(
            protected=protected,
            log_size=log_size,
            log_index=log_index,
            log_path=log_path,
            signature=expect_bytes(signature, "COSE signature", size=P256_SIGNATURE_BYTES),
            token=token,
            carried=carried,
            join=join,
        )
        if receipt.encode() != data:  # a longer form, headers twice or out of order, a byte more
            raise DecodeError("COSE receipt: not the canonical encoding, or bytes follow the end")
        return receipt


def _read_proof(proof: bytes) -> tuple[int, int, tuple[bytes, ...]]:
    value = decode(proof, what="inclusion proof", size_max=RECEIPT_BYTES_MAX)
    log_size, log_index, path = expect_array(value, 3, "inclusion proof")
    return (
        expect_uint(log_size, "tree size"),
        expect_uint(log_index, "leaf index"),
        tuple(
            expect_bytes(node, "inclusion path", size=_HASH_BYTES)
            for node in expect_list(path, LOG_PATH_HASHES_MAX, "inclusion path")
        ),
    )


_BYTES: Final = 0x40
_MAP: Final = 0xA0


def _map(*entries: tuple[int, bytes]) -> bytes:
    """Return a map of few encoded values; the labels come in the order of their encodings."""
    return bytes((_MAP | len(entries),)) + b"".join(encode(label) + item for label, item in entries)


class _Reader:
    """Reads heads one after the other; whether they are canonical is seen by encoding again."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def has(self, piece: bytes) -> bool:
        """Pass over `piece` if it comes next, and tell whether it did."""
        found = self._data.startswith(piece, self.position)
        if found:
            self.position += len(piece)
        return found

    def skip(self, piece: bytes, what: str) -> None:
        """Pass over `piece`; raises `DecodeError` naming `what` where it does not come next."""
        if not self.has(piece):
            raise DecodeError(f"COSE receipt: expected {what} at byte {self.position}")

    def read_head(self, major: int, what: str) -> int:
        """Return the argument of a head of that major type; raises `DecodeError`."""
        start = self.position
        low = int.from_bytes(self._data[start : start + 1]) - major
        width = _WIDTHS.get(low, 0)
        if not 0 <= low <= max(_WIDTHS):
            raise DecodeError(f"COSE receipt: expected {what} at byte {start}")
        self.position += 1 + width
        return int.from_bytes(self._data[start + 1 : self.position]) if width else low

    def read_bytes(self, what: str) -> bytes:
        """Return the content of a byte string; raises `DecodeError`."""
        size = self.read_head(_BYTES, what)
        start, self.position = self.position, self.position + size
        if self.position > len(self._data):
            raise DecodeError(f"COSE receipt: {what} ends after byte {len(self._data)}")
        return self._data[start : self.position]
