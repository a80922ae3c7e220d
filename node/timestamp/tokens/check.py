"""Strict verification of time-stamp tokens (RFC 3161), in numbered steps with named reasons.

No verifier at large refuses everything it should; this one takes the strictest reading of each
clause. A token alone is the word of one key: at best that is sound and `NOT_ROOTED`. What a quorum
attests is in the receipt that our tokens carry, see `verify.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain, pairwise
from typing import Final

from node.crypto import der
from node.crypto.authority import ED25519, AuthorityCertificate, find_path
from node.crypto.hashing import Hasher, NewHash
from node.crypto.revocation import RevocationList
from node.crypto.suite import SHA_256, SHA_384, SHA_512, SM3, DocumentDigest
from node.errors import CryptoError, DecodeError, ProofError
from node.timestamp.receipt import iso_time
from node.timestamp.steps import NotRootedError, Outcome, StepReport, expect_past, take_steps
from node.timestamp.tokens.issuing import (
    CONTENT_TYPE,
    MESSAGE_DIGEST,
    SIGNING_CERTIFICATE_V2,
    TST_INFO,
)
from node.timestamp.tokens.reading import ReadToken, token_of_answer
from node.timestamp.tokens.request import TimeStampRequest

SIGNING_CERTIFICATE: Final = "1.2.840.113549.1.9.16.2.12"
"""The first version (RFC 2634), whose digest is SHA-1."""

_DIGESTS: Final = {digest.oid: digest for digest in (SHA_256, SHA_384, SHA_512, SM3)}
_DIRECTORY_NAME: Final = der.context(4, constructed=True)


class TokenStep(IntEnum):
    """The steps that verify a token, in their order."""

    ANSWER = 1
    DOCUMENT = 2
    CERTIFICATE = 3
    ATTRIBUTES = 4
    SIGNATURE = 5
    PURPOSE = 6
    TIME = 7
    AUTHORITY = 8
    CHAIN = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a token is compared with."""

    document: tuple[DocumentDigest, bytes]
    """How the document was hashed, and its digest."""
    roots: Sequence[bytes]
    """Certificates (PEM or DER) of the authorities that are believed."""
    certificates: Sequence[bytes] = ()
    """Others that are at hand besides those in the token, believed no more than those."""
    request: TimeStampRequest | None = None
    """The request it answers, where that is at hand: imprint, policy, nonce, certificates."""
    now_ms: int | None = None
    """A time that no true token is after, by more than its clock may err; None skips that check."""
    policies: Sequence[str] = ()
    """The policies (dotted) of which it has to be under one; empty if any will do."""
    judged_at_ms: int | None = None
    """A time, besides genTime, at which its certificates have to be valid, and not before it."""
    allows_ed25519: bool = False
    """Whether a signature by Ed25519 (RFC 8419) is taken, as verifiers at large do not."""
    by_trust_file: bool = True
    """Whether the roots are those of a trust file; else whoever verifies believes them."""
    revocations: Sequence[RevocationList] = ()
    """Lists by those who issued the certificates of a token's path, where some are at hand."""


CERTIFICATES_MAX: Final = 8
"""In a token."""
BESIDE_MAX: Final = 64
"""Beside it: those of all validators may be at hand."""


def verify_token(data: bytes, expected: Expectation) -> tuple[Outcome, tuple[StepReport, ...]]:
    """Verify an answer or a bare token without a chain proof; never raises, and never `VERIFIED`.

    1. ANSWER: exactly the DER of an answer with status granted, or of a token: signed data over
       TSTInfo version 1, one signer named by issuer and serial number, no critical extension.
    2. DOCUMENT: the imprint is the document's; with a request, imprint, nonce and policy are its
       own, and there are certificates just where it asks for them. The policy is one of those
       expected, if some are.
    3. CERTIFICATE: the signer's is in the token or at hand, and the signed attribute of RFC 5816 or
       RFC 2634 names it first; further names are those of the path, in order. A name of the
       authority, if there is one, is the certificate's.
    4. ATTRIBUTES: in DER's order, once each; the content type is TSTInfo's, the digest its own.
    5. SIGNATURE: the certificate's key signed the attributes: ECDSA or RSA with SHA-2, SM2 with
       SM3, or, where that is allowed, Ed25519.
    6. PURPOSE: its extended key usage is critical, and time-stamping alone; it only signs.
    7. TIME: every certificate was valid at genTime, which is not in the future; and at the time it
       is judged at, if another is given.
    8. AUTHORITY: the path leads to a root. *Not rooted where it does not.*
    9. CHAIN: never passes here: without a chain proof it is *not rooted*, one key's word; and not
       even that, by a key that was revoked, unless it was merely retired and only later.
    """
    return take_steps(TokenCheck(data, expected).steps())


def check_token(
    token: bytes, expected: Expectation
) -> tuple[ReadToken, tuple[AuthorityCertificate, ...]]:
    """Take steps 1 to 8; return the token and the path from its certificate to a root.

    Raises what the first failed step raises: `DecodeError`, `CryptoError`, `ProofError`, or
    `NotRootedError` where no root is reached.
    """
    check = TokenCheck(token, expected)
    for step, take in check.steps():
        if step is not TokenStep.CHAIN:
            take()
    return check.token, check.path or ()


def check_token_alone(
    token: bytes, expected: Expectation
) -> tuple[ReadToken, AuthorityCertificate]:
    """Take steps 1 to 7; return the token and its certificate, whoever issued that.

    Raises what the first failed step raises: `DecodeError`, `CryptoError` or `ProofError`.
    """
    check = TokenCheck(token, expected)
    for step, take in check.steps():
        if step < TokenStep.AUTHORITY:
            take()
    return check.token, check.leaf


class TokenCheck:
    """One run through the steps. A step returns what it found or raises what it missed."""

    def __init__(self, data: bytes, expected: Expectation) -> None:
        self._data = data
        self._expected = expected
        self.token: ReadToken
        """What is verified, once step 1 passed."""
        self._attributes: dict[str, bytes]
        self.leaf: AuthorityCertificate
        """The certificate of the key that signed, once step 3 passed."""
        self.path: tuple[AuthorityCertificate, ...] | None
        """From `leaf` to a root, once step 3 passed; None if no root is reached."""

    def steps(self) -> Iterator[tuple[TokenStep, Callable[[], str]]]:
        """Yield the steps, to be taken in this order."""
        yield TokenStep.ANSWER, self._read
        yield TokenStep.DOCUMENT, self._check_document
        yield TokenStep.CERTIFICATE, self._find_certificate
        yield TokenStep.ATTRIBUTES, self._check_attributes
        yield TokenStep.SIGNATURE, self._check_signature
        yield TokenStep.PURPOSE, self._check_purpose
        yield TokenStep.TIME, self._check_time
        yield TokenStep.AUTHORITY, self._check_authority
        yield TokenStep.CHAIN, self._miss_chain_proof

    def _read(self) -> str:  # step 1
        self.token = ReadToken.decode(token_of_answer(self._data))
        return f"serial number {self.token.info.serial_number:x}"

    def _check_document(self) -> str:  # step 2
        imprint, (algorithm, digest) = self.token.info.imprint, self._expected.document
        expected, got = f"{algorithm.name}:{digest.hex()}", _name(imprint.algorithm, imprint.digest)
        if expected != got:
            raise ProofError("imprint", f"expected {expected}, got {got}")
        request = self._expected.request
        if request is not None:
            self._check_request(request)
        policies = self._expected.policies
        if policies and self.token.info.policy not in map(der.encode_oid, policies):
            raise ProofError("policy", f"expected {' or '.join(policies)}")
        return got if request is None else f"{got}, as the request asks"

    def _check_request(self, request: TimeStampRequest) -> None:  # RFC 3161 section 2.4
        info, asked = self.token.info, request.imprint
        if (asked.algorithm, asked.digest) != (info.imprint.algorithm, info.imprint.digest):
            raise ProofError("imprint", "expected that of the request")
        if request.policy is not None and der.encode_oid(request.policy) != info.policy:
            raise ProofError("policy", "expected that of the request")
        if request.nonce != info.nonce:
            raise ProofError("nonce", "expected that of the request")
        if request.wants_certificates is not bool(self.token.certificates):
            wanted = "some" if request.wants_certificates else "none"
            raise ProofError("certificates", f"expected {wanted} in the token, as the request asks")

    def _find_certificate(self) -> str:  # step 3
        token = self.token
        self._attributes = token.attributes()
        beside = self._expected.certificates
        at_hand = (*token.certificates, *beside)
        if len(token.certificates) > CERTIFICATES_MAX:
            raise ProofError("certificates", f"expected at most {CERTIFICATES_MAX}")
        if len(beside) > BESIDE_MAX:
            raise ProofError("certificates", f"expected at most {BESIDE_MAX} beside the token")
        held = [AuthorityCertificate.read(encoded) for encoded in at_hand]
        signers = [each for each in held if _signer_id(each) == token.signer_id]
        if not signers:
            raise ProofError(
                "certificate-missing", "expected the signer's in the token, or at hand"
            )
        self.leaf = signers[0]
        self.path = find_path(self.leaf, held, _read_roots(self._expected.roots))
        named = _signing_certificates(self._attributes)
        path = self.path or (self.leaf,)
        for at, (new_hash, digest) in chain.from_iterable(map(enumerate, named)):
            if at == len(path) or new_hash(path[at].encoded).digest() != digest:
                which = "the signer's first" if at == 0 else "those of its path, in order"
                raise ProofError("signing-certificate", f"expected the digests of {which}")
        self._check_name()
        most = max(map(len, named))
        return f"{len(token.certificates)} in the token, {most} named by what is signed"

    def _check_name(self) -> None:
        name, leaf = self.token.info.authority_name, self.leaf
        if not name:
            return
        names = [der.encode(_DIRECTORY_NAME, leaf.subject_name)]
        if leaf.alternative_names:
            reader = der.read_only(leaf.alternative_names, der.SEQUENCE, "alternative names")
            while not reader.is_empty:
                names.append(reader.read().encoded)
        if name not in names:
            raise ProofError("authority-name", "expected a name of the certificate")

    def _check_attributes(self) -> str:  # step 4
        token, attributes = self.token, self._attributes
        if attributes.get(CONTENT_TYPE) != der.encode_oid(TST_INFO):
            raise ProofError("content-type", f"expected {TST_INFO}")
        algorithm = _DIGESTS.get(token.digest_algorithm)
        if algorithm is None:
            raise ProofError("digest-algorithm", f"expected SHA-2, got {token.digest_algorithm}")
        digest = algorithm.new_hash(token.info.encoded).digest()
        if attributes.get(MESSAGE_DIGEST) != der.encode(der.OCTET_STRING, digest):
            raise ProofError("message-digest", "expected that of the token's content")
        return f"{len(attributes)} signed attributes, {algorithm.name}"

    def _check_signature(self) -> str:  # step 5
        token = self.token
        if token.signature_algorithm == ED25519 and not self._expected.allows_ed25519:
            raise ProofError("signature-algorithm", "expected ECDSA, RSA or SM2, got Ed25519")
        self.leaf.check_signature(
            der.encode(der.SET, token.signed_attributes),
            token.signature,
            algorithm=token.signature_algorithm,
            digest=token.digest_algorithm,
        )
        return f"algorithm {token.signature_algorithm}"

    def _check_purpose(self) -> str:  # step 6
        self.leaf.check_time_stamping()
        return "time-stamping alone"

    def _check_time(self) -> str:  # step 7
        time_ms = self.token.info.time_ms
        judged_at_ms = self._expected.judged_at_ms
        if judged_at_ms is not None and judged_at_ms < time_ms:
            judged_at = iso_time(judged_at_ms)
            raise ProofError(
                "time-judged", f"expected at most {judged_at}, got {iso_time(time_ms)}"
            )
        for certificate in self.path or (self.leaf,):
            certificate.check_valid(time_ms)
            if judged_at_ms is not None:
                certificate.check_valid(judged_at_ms)
        expect_past(time_ms, self._expected.now_ms)
        return iso_time(time_ms)

    def _check_authority(self) -> str:  # step 8
        if self.path is None:
            if self._expected.by_trust_file:
                raise NotRootedError("its certificate leads to no authority of the trust file")
            raise NotRootedError("its certificate leads to no authority that is believed")
        return f"path of {len(self.path)} certificates"

    def _miss_chain_proof(self) -> str:  # step 9
        if (since_ms := revoked_since(self.path or (), self._expected, self.token)) is not None:
            raise ProofError("revoked", f"its key is not believed since {iso_time(since_ms)}")
        raise NotRootedError("without a chain proof a time-stamp token is the word of one key")


def _name(algorithm: DocumentDigest, digest: bytes) -> str:
    return f"{algorithm.name}:{digest.hex()}"


def revoked_since(
    path: Sequence[AuthorityCertificate], expected: Expectation, token: ReadToken
) -> int | None:
    """Return since when a certificate of a token's path is revoked, ms UTC; None where none is.

    RFC 3161 section 4: a key that was merely retired leaves what it had signed before. One that may
    have been stolen leaves nothing that no other evidence dates. Raises `CryptoError` for a list
    that is not what it says.
    """
    for certificate, issuer in pairwise(path):
        for revocations in expected.revocations:
            found = revocations.find(certificate, issuer)
            if found is None or (found.is_harmless and token.info.time_ms < found.since_ms):
                continue
            return found.since_ms
    return None


def _read_roots(roots: Sequence[bytes]) -> list[AuthorityCertificate]:
    """Return those that can be read: a genesis may hold others, which vouch for nobody."""
    found = []
    for root in roots:
        with suppress(CryptoError):
            found.append(AuthorityCertificate.read(root))
    return found


def _signer_id(certificate: AuthorityCertificate) -> bytes:
    serial_number = der.encode_integer(certificate.serial_number)
    return der.encode_sequence(certificate.issuer_name, serial_number)


def _signing_certificates(attributes: dict[str, bytes]) -> list[list[tuple[NewHash, bytes]]]:
    """Return the digests, each with its hash, of the certificates that what is signed names.

    One list for each form of the attribute. Raises `ProofError` where there are none, or one is
    empty; RFC 5816 asks for either form and allows both.
    """
    forms = ((SIGNING_CERTIFICATE, _read_first_version), (SIGNING_CERTIFICATE_V2, _read_second))
    named: list[list[tuple[NewHash, bytes]]] = []
    for oid, read in forms:
        if oid not in attributes:
            continue
        outer = der.read_only(attributes[oid], der.SEQUENCE, "signing certificate")
        certificates = outer.enter(der.SEQUENCE, "signing certificate")
        outer.read_if(der.SEQUENCE)  # policies, which name nothing that is checked
        outer.finish()
        digests = []
        while not certificates.is_empty:
            digests.append(read(certificates.enter(der.SEQUENCE, "signing certificate")))
        if not digests:
            raise ProofError("signing-certificate", "expected a list of at least one")
        named.append(digests)
    if not named:
        raise ProofError("signing-certificate", "expected the signed attribute, got none")
    return named


def _read_first_version(reader: der.Reader) -> tuple[NewHash, bytes]:
    digest = reader.read(der.OCTET_STRING).content
    reader.read_if(der.SEQUENCE)  # issuer and serial number: the digest says more
    reader.finish()
    return _sha_1, digest


def _sha_1(data: bytes = b"", /) -> Hasher:
    return hashlib.sha1(data, usedforsecurity=False)  # RFC 2634 has no other


def _read_second(reader: der.Reader) -> tuple[NewHash, bytes]:
    algorithm = SHA_256
    identifier = reader.enter_if(der.SEQUENCE, "signing certificate")
    if identifier is not None:
        oid = identifier.read_oid()
        identifier.read_if(der.NULL)
        identifier.finish()
        if oid not in _DIGESTS:
            raise DecodeError(f"signing certificate: expected SHA-2, got {oid}")
        algorithm = _DIGESTS[oid]
    digest = reader.read(der.OCTET_STRING).content
    reader.read_if(der.SEQUENCE)
    reader.finish()
    return algorithm.new_hash, digest
