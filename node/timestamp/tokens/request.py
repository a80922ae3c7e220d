"""Time-stamp requests (RFC 3161 section 2.4.1): read strictly, written, and why one is refused.

A request names a digest and asks for a token over it. What is not exactly the DER form of one is
refused, with the failure that the answer is to carry.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from node.crypto import der
from node.crypto.suite import DOCUMENT_DIGESTS, DocumentDigest
from node.errors import ClientError, DecodeError

REQUEST_BYTES_MAX: Final = 1_024
NONCE_BYTES_MAX: Final = 32

_DIGESTS_BY_OID: Final = {digest.oid: digest for digest in DOCUMENT_DIGESTS}
_ALGORITHMS: Final = {digest.oid: der.encode_oid(digest.oid) for digest in DOCUMENT_DIGESTS}
_VERSION: Final = 1
_EXTENSIONS: Final = der.context(0, constructed=True)


class Failure(IntEnum):
    """Why no token is given: the named bits of PKIFailureInfo, RFC 3161 section 2.4.2."""

    BAD_ALGORITHM = 0
    BAD_REQUEST = 2
    BAD_DATA_FORMAT = 5
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADDITIONAL_INFORMATION_NOT_AVAILABLE = 17
    SYSTEM_FAILURE = 25


class TimeStampRefused(ClientError):  # noqa: N818 - it is the answer, rather than a fault
    """No token is given; `failure` is what the answer says."""

    code = "GC-2020"

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Imprint:
    """A document's digest as requests and tokens carry it."""

    algorithm: DocumentDigest
    digest: bytes
    encoded: bytes
    """The DER of MessageImprint. Of its two forms, with parameters NULL or none, a token repeats
    that of its request."""

    @classmethod
    def of(cls, algorithm: DocumentDigest, digest: bytes) -> Imprint:
        """Return the imprint of a digest, without parameters."""
        identifier = der.encode_sequence(_ALGORITHMS[algorithm.oid])
        encoded = der.encode_sequence(identifier, der.encode(der.OCTET_STRING, digest))
        return cls(algorithm, digest, encoded)

    @classmethod
    def read(cls, reader: der.Reader) -> Imprint:
        """Read the next element; raises `TimeStampRefused` for an algorithm that is not taken."""
        element = reader.read(der.SEQUENCE)
        fields = der.Reader(element.content, "imprint")
        identifier = fields.enter(der.SEQUENCE, "imprint algorithm")
        oid = identifier.read_oid()
        parameters = identifier.read_if(der.NULL)
        if parameters is not None and parameters.content:
            raise DecodeError("imprint algorithm: expected parameters NULL or none")
        algorithm = _DIGESTS_BY_OID.get(oid)
        if algorithm is None:
            names = ", ".join(digest.name for digest in DOCUMENT_DIGESTS)
            message = f"imprint algorithm: expected {names}, got {oid}"
            raise TimeStampRefused(Failure.BAD_ALGORITHM, message)
        identifier.finish()
        digest = fields.read(der.OCTET_STRING).content
        fields.finish()
        if len(digest) != algorithm.size:
            raise DecodeError(f"imprint: expected {algorithm.size} bytes, got {len(digest)}")
        return cls(algorithm, digest, element.encoded)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeStampRequest:
    """What a requester asks for."""

    imprint: Imprint
    policy: str | None = None
    """The policy (dotted) under which the token must be, if any."""
    nonce: bytes | None = None
    """The content of an INTEGER that the token has to repeat, if any."""
    wants_certificates: bool = False

    def encode(self) -> bytes:
        """Return the DER of TimeStampReq."""
        return der.encode_sequence(
            der.encode_integer(_VERSION),
            self.imprint.encoded,
            b"" if self.policy is None else der.encode_oid(self.policy),
            b"" if self.nonce is None else der.encode(der.INTEGER, self.nonce),
            der.TRUE if self.wants_certificates else b"",
        )

    @classmethod
    def decode(cls, data: bytes) -> TimeStampRequest:
        """Read a TimeStampReq; raises `TimeStampRefused` with the failure to answer."""
        try:
            return cls._decode(data)
        except DecodeError as error:
            raise TimeStampRefused(Failure.BAD_DATA_FORMAT, str(error)) from error

    @classmethod
    def _decode(cls, data: bytes) -> TimeStampRequest:
        if len(data) > REQUEST_BYTES_MAX:
            raise DecodeError(f"request: expected at most {REQUEST_BYTES_MAX} bytes")
        reader = der.read_only(data, der.SEQUENCE, "request")
        version = reader.read_integer()
        if version != _VERSION:
            message = f"request: expected version {_VERSION}, got {version}"
            raise TimeStampRefused(Failure.BAD_REQUEST, message)
        imprint = Imprint.read(reader)
        policy = nonce = None
        if (element := reader.read_if(der.OBJECT_IDENTIFIER)) is not None:
            policy = der.Reader(element.encoded, "request policy").read_oid()
        if (element := reader.read_if(der.INTEGER)) is not None:
            nonce = der.check_integer(element.content, "request nonce")
            if len(nonce) > NONCE_BYTES_MAX:
                raise DecodeError(f"request nonce: expected at most {NONCE_BYTES_MAX} bytes")
        wants_certificates = reader.read_true()
        if reader.read_if(_EXTENSIONS) is not None:
            message = "request: no extensions are known"
            raise TimeStampRefused(Failure.UNACCEPTED_EXTENSION, message)
        reader.finish()
        return cls(
            imprint=imprint, policy=policy, nonce=nonce, wants_certificates=wants_certificates
        )
