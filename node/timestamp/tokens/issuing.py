"""Time-stamp tokens (RFC 3161, RFC 5816): issued for committed records, and answers around them.

A token states that a digest existed at the agreed time T of the block that recorded it. Everything
in it but the signature follows from the record and the request, and a signature of ECDSA is
deterministic: one node gives one record one token per request. By SM2 (GB/T 20520) each has another
signature. Its bytes are constant pieces spliced around what
differs, since building a tree of objects costs a hundred times more.

The serial number is the record's place on its chain, so the token alone says where to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Self

from node.crypto import der
from node.crypto.authority import (
    ECDSA_TOKENS,
    AuthorityCertificate,
    TokenAlgorithms,
    read_timestamp_certificate,
)
from node.crypto.certificate import encode_der
from node.crypto.signature import Signer
from node.errors import CryptoError, DecodeError, ProofError
from node.timestamp.tokens.request import Failure, Imprint, TimeStampRefused, TimeStampRequest

OUR_ARC: Final = "2.25.163599954292325701006170283646623784039"
"""Ours alone: the UUID 7b143480-9835-4d76-bb8f-6cca19899c67 as an object identifier (X.667)."""
POLICY: Final = f"{OUR_ARC}.1"
"""The policy of tokens where the genesis names none."""
CHAIN_PROOF: Final = f"{OUR_ARC}.2"
"""The unsigned attribute that holds a receipt, with null for its token, in an OCTET STRING."""

SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CONTEXT_0: Final = der.context(0, constructed=True)
_CONTEXT_1: Final = der.context(1, constructed=True)
_MILLISECONDS: Final = der.context(0, constructed=False)
_VERSION_1: Final = der.encode_integer(1)
_VERSION_3: Final = der.encode_integer(3)
_SCALAR_BYTES: Final = 32
_SIGNED_DATA_TYPE: Final = der.encode_oid(SIGNED_DATA)
_TST_INFO_TYPE: Final = der.encode_oid(TST_INFO)

_GRANTED: Final = 0
_REJECTED: Final = 2
_GRANTED_INFO: Final = der.encode_sequence(der.encode_integer(_GRANTED))

_SERIAL_BYTES: Final = 20
_SERIAL_HEAD: Final = 1
_CHAIN_BYTES: Final = 7
_NUMBER_BYTES: Final = 6


# --- What a token says ---


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Where a record stands: on which chain, at which height and at which place of the log."""

    chain_prefix: bytes
    """The first 7 bytes of the chain id."""
    height: int
    log_index: int

    @classmethod
    def of(cls, chain_id: bytes, height: int, log_index: int) -> Self:
        """Return the coordinates of a record."""
        return cls(chain_id[:_CHAIN_BYTES], height, log_index)

    @classmethod
    def from_serial(cls, serial_number: int) -> Self:
        """Read what `serial_number` gave; raises `DecodeError` for any other number."""
        data = max(serial_number, 0).to_bytes(max(_SERIAL_BYTES, serial_number.bit_length()), "big")
        head, rest = data[:-_SERIAL_BYTES], data[-_SERIAL_BYTES:]
        if any(head) or rest[0] != _SERIAL_HEAD:
            raise DecodeError("serial number: expected the coordinates of a record")
        at = 1 + _CHAIN_BYTES
        height, index = rest[at : at + _NUMBER_BYTES], rest[at + _NUMBER_BYTES :]
        return cls(rest[1:at], int.from_bytes(height, "big"), int.from_bytes(index, "big"))

    @property
    def serial_number(self) -> int:
        """Return the serial number of the record's tokens: 20 bytes, unique for ever.

        Raises `ProofError` for numbers beyond 48 bits: no chain gets there, but a receipt may say
        so.
        """
        return int.from_bytes(self._bytes, "big")

    def encode(self) -> bytes:
        """Return the serial number's DER; raises like `serial_number`."""
        return der.encode(der.INTEGER, self._bytes)

    @property
    def _bytes(self) -> bytes:
        if max(self.height, self.log_index) >= 1 << 8 * _NUMBER_BYTES:
            raise ProofError("token-serial", "expected the coordinates of a record")
        height = self.height.to_bytes(_NUMBER_BYTES, "big")
        index = self.log_index.to_bytes(_NUMBER_BYTES, "big")
        return b"%c%b%b%b" % (_SERIAL_HEAD, self.chain_prefix, height, index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What one token is to state."""

    imprint: Imprint
    coordinates: Coordinates
    time_ms: int
    """T of the record's block."""
    nonce: bytes | None = None
    """Content of the INTEGER of the request, if it has one."""
    has_certificates: bool = True

    @classmethod
    def answering(cls, request: TimeStampRequest, coordinates: Coordinates, time_ms: int) -> Self:
        """Return what answers a request whose digest was recorded there and then."""
        return cls(
            imprint=request.imprint,
            coordinates=coordinates,
            time_ms=time_ms,
            nonce=request.nonce,
            has_certificates=request.wants_certificates,
        )


class TokenIssuer:
    """Issues tokens under one key, policy and promised accuracy. Made once, used for many."""

    def __init__(
        self, certificates: Sequence[bytes], signer: Signer, *, policy: str, accuracy_ms: int
    ) -> None:
        """Prepare what all tokens share.

        `certificates` (PEM or DER) are the signing key's own and then those between it and the
        root; `policy` is dotted; `accuracy_ms`, at least 1, is how far T may lie from UTC. Raises
        `CryptoError` unless the first certificate is one for time-stamping, of the signer's key.
        """
        leaf = read_timestamp_certificate(certificates[0])
        if not leaf.is_of(signer.public_key):
            raise CryptoError("time-stamping key: it is not the one its certificate names")
        self._leaf = leaf
        self._signer = signer
        self._policy = der.encode_oid(policy)
        self.policy = policy
        """Dotted."""
        self._accuracy = encode_accuracy(accuracy_ms)
        self._certificates = encode_certificates([leaf.encoded, *map(encode_der, certificates[1:])])
        self._algorithms = leaf.token_algorithms
        self._signed_attributes = SignedAttributes(leaf.encoded, self._algorithms)
        self._signer_id = encode_signer_id(leaf)

    def check(self, request: TimeStampRequest) -> None:
        """Raise `TimeStampRefused` if a request asks for another policy than this one's."""
        if request.policy not in (None, self.policy):
            message = f"request policy: expected {self.policy}, got {request.policy}"
            raise TimeStampRefused(Failure.UNACCEPTED_POLICY, message)

    def issue(self, stamp: Stamp) -> bytes:
        """Return the DER of the TimeStampToken that states `stamp`.

        Raises `TimeStampRefused` where the certificate is not valid at that time.
        """
        leaf = self._leaf
        if not leaf.not_before_ms <= stamp.time_ms <= leaf.not_after_ms:
            valid = f"{leaf.not_before_ms}..{leaf.not_after_ms} ms"
            message = f"time-stamping certificate: valid in {valid}, got {stamp.time_ms} ms"
            raise TimeStampRefused(Failure.TIME_NOT_AVAILABLE, message)
        info = encode_info(
            self._policy,
            stamp.imprint,
            stamp.coordinates.encode(),
            stamp.time_ms,
            self._accuracy,
            stamp.nonce,
        )
        attributes = self._signed_attributes.encode(info)
        return encode_token(
            info,
            self._certificates if stamp.has_certificates else b"",
            self._signer_id,
            attributes,
            self._signer.sign(der.encode(der.SET, attributes)),
            self._algorithms,
        )


def encode_info(  # noqa: PLR0917 - a field each
    policy: bytes,
    imprint: Imprint,
    serial_number: bytes,
    time_ms: int,
    accuracy: bytes,
    nonce: bytes | None,
) -> bytes:
    """Return the DER of TSTInfo, what a token of ours states, from parts that are DER mostly."""
    return der.encode_sequence(
        _VERSION_1,
        policy,
        imprint.encoded,
        serial_number,
        encode_time(time_ms),
        accuracy,
        b"" if nonce is None else der.encode(der.INTEGER, nonce),
    )


def encode_token(  # noqa: PLR0917 - a part each
    info: bytes,
    certificates: bytes,
    signer_id: bytes,
    attributes: bytes,
    signature: bytes,
    algorithms: TokenAlgorithms = ECDSA_TOKENS,
) -> bytes:
    """Return the DER of a TimeStampToken of ours, spliced from its parts.

    `certificates` and `signer_id` are those of `encode_certificates` and `encode_signer_id`,
    `attributes` those of `SignedAttributes`, `signature` is r || s.
    """
    digest_algorithm, signature_algorithm = _identifiers(algorithms)
    signer_info = der.encode_sequence(
        _VERSION_1,
        signer_id,
        digest_algorithm,
        der.encode(_CONTEXT_0, attributes),
        signature_algorithm,
        der.encode(der.OCTET_STRING, _encode_signature(signature)),
    )
    content = der.encode(_CONTEXT_0, der.encode(der.OCTET_STRING, info))
    signed_data = der.encode_sequence(
        _VERSION_3,
        der.encode_set(digest_algorithm),
        der.encode_sequence(_TST_INFO_TYPE, content),
        certificates,
        der.encode(der.SET, signer_info),
    )
    return der.encode_sequence(_SIGNED_DATA_TYPE, der.encode(_CONTEXT_0, signed_data))


def encode_certificates(certificates: Sequence[bytes]) -> bytes:
    """Return the certificates (DER) as a token carries them."""
    return der.encode(_CONTEXT_0, b"".join(sorted(certificates)))


def encode_signer_id(leaf: AuthorityCertificate) -> bytes:
    """Return how a token names the certificate of its key."""
    return der.encode_sequence(leaf.issuer_name, der.encode_integer(leaf.serial_number))


class SignedAttributes:
    """The signed attributes of one certificate's tokens, spliced around the message digest."""

    def __init__(self, certificate: bytes, algorithms: TokenAlgorithms = ECDSA_TOKENS) -> None:
        self._hash = algorithms.digest.new_hash
        identifier = b""  # RFC 5035 section 4: of the default, SHA-256, DER has nothing
        if algorithms.digest is not ECDSA_TOKENS.digest:
            identifier, _ = _identifiers(algorithms)
        digest = der.encode(der.OCTET_STRING, self._hash(certificate).digest())
        certificate_id = der.encode_sequence(identifier, digest)
        ours = (
            _encode_attribute(CONTENT_TYPE, _TST_INFO_TYPE),
            _encode_attribute(
                SIGNING_CERTIFICATE_V2,
                der.encode_sequence(der.encode_sequence(certificate_id)),
            ),
        )
        blank = bytes(algorithms.digest.size)
        varying = _encode_attribute(MESSAGE_DIGEST, der.encode(der.OCTET_STRING, blank))
        # Elements of a SET sort by tag and length first, which no digest changes.
        attributes = b"".join(sorted((*ours, varying)))
        self._before, self._after = attributes.split(blank)

    def encode(self, info: bytes) -> bytes:
        """Return the content of the SET for this TSTInfo."""
        return self._before + self._hash(info).digest() + self._after


@lru_cache(maxsize=2)
def _identifiers(algorithms: TokenAlgorithms) -> tuple[bytes, bytes]:
    """Return the identifiers of digest and signature, without parameters."""
    digest, signature = map(der.encode_oid, (algorithms.digest.oid, algorithms.signature))
    return der.encode_sequence(digest), der.encode_sequence(signature)


def _encode_attribute(oid: str, value: bytes) -> bytes:
    return der.encode_sequence(der.encode_oid(oid), der.encode_set(value))


def encode_time(time_ms: int) -> bytes:
    """Return the GeneralizedTime: UTC, a fraction only where there is one, no trailing zeros."""
    seconds, milliseconds = divmod(time_ms, 1_000)
    text = _second(seconds)
    fraction = f".{milliseconds:03}".rstrip("0") if milliseconds else ""
    return der.encode(der.GENERALIZED_TIME, f"{text}{fraction}Z".encode())


@lru_cache(maxsize=16)  # records of one block have one time, those of the next few the same second
def _second(seconds: int) -> str:
    return f"{_EPOCH + timedelta(seconds=seconds):%Y%m%d%H%M%S}"


def encode_accuracy(accuracy_ms: int) -> bytes:
    """Return the DER of Accuracy."""
    seconds, milliseconds = divmod(accuracy_ms, 1_000)
    millis = der.encode_integer(milliseconds)[2:]
    return der.encode_sequence(
        der.encode_integer(seconds) if seconds else b"",
        der.encode(_MILLISECONDS, millis) if milliseconds else b"",
    )


def _encode_signature(signature: bytes) -> bytes:
    """Return the DER of r || s."""
    r, s = signature[:_SCALAR_BYTES].lstrip(b"\x00"), signature[_SCALAR_BYTES:].lstrip(b"\x00")
    return der.encode_sequence(_encode_positive(r), _encode_positive(s))


def _encode_positive(magnitude: bytes) -> bytes:
    """Return the INTEGER of a number that is positive, without leading zeros."""
    content = b"\x00" + magnitude if magnitude[0] & 0x80 else magnitude
    return der.encode(der.INTEGER, content)


# --- The proof in a token ---


def add_chain_proof(token: bytes, receipt: bytes) -> bytes:
    """Return the token with a receipt (whose token is null) in an unsigned attribute.

    What is signed stays as it is, so whoever does not know the attribute sees the same token.
    Raises `DecodeError` unless `token` is one, without unsigned attributes.
    """
    parts = _Parts.of(token)
    if parts.unsigned_attributes:
        raise DecodeError("token: expected no unsigned attributes")
    attribute = _encode_attribute(CHAIN_PROOF, der.encode(der.OCTET_STRING, receipt))
    return parts.joined(der.encode(_CONTEXT_1, attribute))


def without_unsigned_attributes(token: bytes) -> bytes:
    """Return the token as it was signed; raises `DecodeError` unless it is one."""
    return _Parts.of(token).joined(b"")


def take_chain_proof(token: bytes) -> tuple[bytes, bytes | None]:
    """Return the token without its unsigned attributes, and the receipt in them, if any.

    Raises `DecodeError` where there is anything else among them.
    """
    parts = _Parts.of(token)
    if not parts.unsigned_attributes:
        return token, None
    attribute = der.read_only(
        der.read_only(parts.unsigned_attributes, _CONTEXT_1, "unsigned attributes")
        .read(der.SEQUENCE)
        .encoded,
        der.SEQUENCE,
        "unsigned attribute",
    )
    oid = attribute.read_oid()
    values = attribute.enter(der.SET, "unsigned attribute")
    if oid != CHAIN_PROOF:
        raise DecodeError(f"unsigned attribute: expected {CHAIN_PROOF}, got {oid}")
    receipt = values.read(der.OCTET_STRING).content
    bare = parts.joined(b"")
    if add_chain_proof(bare, receipt) != token:
        raise DecodeError("unsigned attributes: expected the chain proof alone")
    return bare, receipt


@dataclass(frozen=True, slots=True)
class _Parts:
    """A token, cut where unsigned attributes stand: the last of its only SignerInfo."""

    signed_data_before: bytes
    signer_info_before: bytes
    unsigned_attributes: bytes

    @classmethod
    def of(cls, token: bytes) -> Self:
        outer = der.read_only(token, der.SEQUENCE, "token")
        if outer.read_oid() != SIGNED_DATA:
            raise DecodeError("token: expected signed data")
        content = outer.enter(_CONTEXT_0, "signed data")
        outer.finish()
        signed_data = content.enter(der.SEQUENCE, "signed data")
        content.finish()
        before = [signed_data.read(tag).encoded for tag in (der.INTEGER, der.SET, der.SEQUENCE)]
        for tag in (_CONTEXT_0, _CONTEXT_1):  # certificates, revocation lists
            element = signed_data.read_if(tag)
            before.append(b"" if element is None else element.encoded)
        signer_infos = signed_data.enter(der.SET, "signer infos")
        signed_data.finish()
        signer_info = signer_infos.enter(der.SEQUENCE, "signer info")
        signer_infos.finish()
        fields = [signer_info.read().encoded for _ in range(6)]
        unsigned = signer_info.read_if(_CONTEXT_1)
        signer_info.finish()
        attributes = b"" if unsigned is None else unsigned.encoded
        return cls(b"".join(before), b"".join(fields), attributes)

    def joined(self, unsigned_attributes: bytes) -> bytes:
        """Return the token with these unsigned attributes instead."""
        signer_info = der.encode_sequence(self.signer_info_before, unsigned_attributes)
        signed_data = der.encode_sequence(self.signed_data_before, der.encode(der.SET, signer_info))
        return der.encode_sequence(_SIGNED_DATA_TYPE, der.encode(_CONTEXT_0, signed_data))


# --- Answers ---


def encode_granted(token: bytes) -> bytes:
    """Return the DER of the TimeStampResp that grants a token."""
    return der.encode_sequence(_GRANTED_INFO, token)


def encode_refused(refusal: TimeStampRefused) -> bytes:
    """Return the DER of the TimeStampResp that says why there is no token."""
    text = der.encode(der.UTF8_STRING, str(refusal).encode())
    status = der.encode_sequence(
        der.encode_integer(_REJECTED),
        der.encode_sequence(text),
        der.encode_named_bit(refusal.failure),
    )
    return der.encode_sequence(status)
