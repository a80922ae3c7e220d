"""Header, block, transaction result: the shapes. Rules about them live in validation.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from node.chain.certificate import QuorumCertificate
from node.chain.encoding import (
    Encoded,
    decode,
    encode,
    encode_bytes,
    encode_uint,
    expect_array,
    expect_blob,
    expect_bool,
    expect_bytes,
    expect_list,
    expect_uint,
    expect_version,
)
from node.chain.governance import checkpoint_bytes
from node.chain.merkle import leaf_hashes, merkle_root
from node.chain.struct import Struct
from node.chain.transaction import Transaction
from node.crypto import domains
from node.crypto.hashing import HashFunction
from node.crypto.suite import Suite
from node.limits import BLOCK_TXS_MAX, PEER_MESSAGE_BYTES_MAX, TX_BYTES_MAX, VALIDATORS_MAX

HEADER_BYTES_MAX = 1_024
CERTIFIED_HEADER_BYTES_MAX = 16_384
DIGEST_BYTES = 32
_ROOTS_REMEMBERED: Final = 8  # a window has at most four blocks
_RESULT_START: Final = encode([1, None, None, None, None])[:2]
_BEFORE_TX_ID: Final = _RESULT_START + encode_bytes(bytes(DIGEST_BYTES))[:-DIGEST_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The summary a quorum certifies. All roots are those *after* executing the block."""

    chain_id: bytes
    epoch: int
    height: int
    view: int
    """The view in which this block was first proposed; a view change keeps it."""
    time_ms: int
    """T, the agreed time, milliseconds since 1970 UTC; strictly after the parent's."""
    time_degraded: bool
    """True where validators could not vouch for T: no timestamp token is issued for the block."""
    parent: bytes
    """Digest of the header of `height - 1`."""
    proposer: int
    """Index of the validator that stamped T."""
    tx_root: bytes
    """RFC 9162 root over the transaction hashes."""
    log_size: int
    log_roots: tuple[bytes, ...]
    """Root of the chain-wide log, one per log hash of the suite: one so far."""
    state_root: bytes
    results_root: bytes
    """RFC 9162 root over the encoded results, one per transaction."""
    next_set_digest: bytes
    """Hash of the validator set that decides the next height: another one in a barrier."""
    parameters_digest: bytes
    """Of the parameters in force for this block: what its T and its accuracy were judged by."""
    _encoded: Encoded | None = field(default=None, init=False, compare=False, repr=False)

    def to_value(self) -> list[Any]:
        """Return the CBOR array `header`."""
        return [
            1,
            self.chain_id,
            self.epoch,
            self.height,
            self.view,
            self.time_ms,
            self.time_degraded,
            self.parent,
            self.proposer,
            self.tx_root,
            self.log_size,
            list(self.log_roots),
            self.state_root,
            self.results_root,
            self.next_set_digest,
            self.parameters_digest,
        ]

    def encode(self) -> bytes:
        """Return the canonical bytes; their hash is the header digest."""
        return self.encoded.data

    @property
    def encoded(self) -> Encoded:
        """The CBOR array `header`, to be spliced; encoded when first asked for."""
        known = self._encoded
        if known is None:
            known = Encoded(self.to_value())
            object.__setattr__(self, "_encoded", known)
        return known

    @classmethod
    def from_value(cls, value: object) -> Header:
        """Read the CBOR array `header`; raises `DecodeError`."""
        (
            version,
            chain_id,
            epoch,
            height,
            view,
            time_ms,
            time_degraded,
            parent,
            proposer,
            tx_root,
            log_size,
            log_roots,
            state_root,
            results_root,
            next_set_digest,
            parameters_digest,
        ) = expect_array(value, 16, "header")
        expect_version(version, "header")
        (log_root,) = expect_array(log_roots, 1, "header log roots")
        return cls(
            chain_id=expect_bytes(chain_id, "header chain id", size=DIGEST_BYTES),
            epoch=expect_uint(epoch, "header epoch"),
            height=expect_uint(height, "header height"),
            view=expect_uint(view, "header view"),
            time_ms=expect_uint(time_ms, "header time"),
            time_degraded=expect_bool(time_degraded, "header degraded flag"),
            parent=expect_bytes(parent, "header parent", size=DIGEST_BYTES),
            proposer=expect_uint(proposer, "header proposer", VALIDATORS_MAX - 1),
            tx_root=expect_bytes(tx_root, "header transaction root", size=DIGEST_BYTES),
            log_size=expect_uint(log_size, "header log size"),
            log_roots=(expect_bytes(log_root, "header log root", size=DIGEST_BYTES),),
            state_root=expect_bytes(state_root, "header state root", size=DIGEST_BYTES),
            results_root=expect_bytes(results_root, "header results root", size=DIGEST_BYTES),
            next_set_digest=expect_bytes(next_set_digest, "header set hash", size=DIGEST_BYTES),
            parameters_digest=expect_bytes(
                parameters_digest, "header parameters hash", size=DIGEST_BYTES
            ),
        )

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Read a header from its canonical bytes; raises `DecodeError`."""
        return cls.from_value(decode(data, what="header", size_max=HEADER_BYTES_MAX))

    def digest(self, suite: Suite) -> bytes:
        """Return the header digest that votes sign and the next header names as parent."""
        return suite.tagged_hash(domains.HEADER, self.encode())


class TransactionRoots:
    """The roots over lists of transaction hashes (`Header.tx_root`), of which the last are known.

    A validator needs that of a block twice: to check the list it was told, and to execute it.
    """

    def __init__(self, hash_function: HashFunction) -> None:
        """Begin with none."""
        self._hash_function = hash_function
        self._known: dict[tuple[bytes, ...], bytes] = {}

    def of(self, tx_hashes: tuple[bytes, ...]) -> bytes:
        """Return the root over these hashes; over none it is the hash of nothing."""
        root = self._known.get(tx_hashes)
        if root is None:
            root = merkle_root(leaf_hashes(tx_hashes, self._hash_function), self._hash_function)
            if len(self._known) >= _ROOTS_REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[tx_hashes] = root
        return root


def checkpoint_of(header: Header, digest: bytes) -> bytes:
    """Return what a cosignature key signs to state that it holds the chain up to a header."""
    return checkpoint_bytes(
        header.chain_id,
        epoch=header.epoch,
        height=header.height,
        header_digest=digest,
        log_size=header.log_size,
        log_roots=header.log_roots,
        state_root=header.state_root,
    )


@dataclass(frozen=True, slots=True)
class CertifiedHeader:
    """A header and a certificate said to be its own: prepared or committed, as it says.

    Untrusted until it is checked that the certificate is about the header, and who signed it.
    """

    header: Header
    certificate: QuorumCertificate

    def to_value(self) -> list[Any]:
        """Return the CBOR array `certified-header`."""
        return [self.header.encoded, self.certificate.encoded]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(self.to_value())

    @classmethod
    def from_value(cls, value: object, signature_size: int) -> CertifiedHeader:
        """Read the CBOR array `certified-header`; raises `DecodeError`."""
        header, certificate = expect_array(value, 2, "certified header")
        return cls(
            Header.from_value(header), QuorumCertificate.from_value(certificate, signature_size)
        )

    @classmethod
    def decode(cls, data: bytes, suite: Suite) -> CertifiedHeader:
        """Read a certified header from its canonical bytes; raises `DecodeError`."""
        value = decode(data, what="certified header", size_max=CERTIFIED_HEADER_BYTES_MAX)
        return cls.from_value(value, suite.signature_size)


class ResultCode(IntEnum):
    """Outcome of one transaction inside a valid block. Numbers are consensus and never reused."""

    OK = 0
    EXPIRED = 1
    """No block included it in its lifetime. The outcome of an admitted transaction alone: a block
    with one out of its lifetime is invalid."""
    NOT_PERMITTED = 2
    """The sender's role does not allow this operation."""
    IDENTITY_NOT_VALID = 3
    """T lies outside the validity of the sender's certificate."""
    REFERENCE_IN_FORCE = 4
    """A first record under a reference that already has one in force."""
    REFERENCE_NOT_IN_FORCE = 5
    """Superseding or withdrawing what is not in force."""
    DIGEST_ALGORITHM_UNKNOWN = 6
    REFERENCE_MISSING = 7
    """Superseding or withdrawing without naming a reference."""
    EPOCH_NOT_IN_FORCE = 8
    """A governed transaction made for another epoch."""
    EPOCH_ENDING = 9
    """An earlier transaction of the block ends the epoch already."""
    APPROVAL_INVALID = 10
    """An approval of nobody who may give it, given twice, or not of these operations."""
    APPROVALS_MISSING = 11
    """Fewer founding organisations approve than a majority."""
    ORGANISATION_UNKNOWN = 12
    NAME_TAKEN = 13
    """An organisation, identity or validator id that is in use, or was."""
    KEY_TAKEN = 14
    """A validator's key that is in use, or was."""
    KEY_INVALID = 15
    """A malformed key of a member or validator, or a vote key that is not shown to be held."""
    VALIDATOR_UNKNOWN = 16
    """Removing who is no validator."""
    VALIDATOR_COUNT = 17
    """The set would be empty, or larger than allowed."""
    CHANGE_TOO_LARGE = 18
    """More validators added, or removed, than one epoch change may."""
    EVIDENCE_INVALID = 19
    """A checkpoint statement of nobody in the set to be, of another chain, stale, or twice."""
    EVIDENCE_MISSING = 20
    """Fewer members of the set to be hold the chain than it needs for a quorum."""
    VAULT_KEY_NUMBER = 21
    """An encryption key whose number does not follow that of the one before."""
    VAULT_KEY_UNKNOWN = 22
    """A recipient who never registered an encryption key."""
    VAULT_ENVELOPE_UNKNOWN = 23
    """Content sealed by algorithms that this chain does not know."""
    VAULT_DOCUMENT_TAKEN = 24
    """A document id that is in use, or was."""
    VAULT_DOCUMENT_UNKNOWN = 25
    VAULT_DOCUMENT_SHREDDED = 26
    VAULT_VERSION = 27
    """Made for a version of the document that is not the one in force."""
    VAULT_RECIPIENT_TWICE = 28
    """A recipient named twice in one transaction."""
    VAULT_RECIPIENTS_FULL = 29
    """More recipients of a document than allowed."""
    IDENTITY_UNKNOWN = 30
    """Changing an identity that the chain does not know."""
    IDENTITY_FROZEN = 31
    """Who sends, or is to join or be renewed, is frozen."""
    IDENTITY_REVOKED = 32
    """Who sends, or is to join or be renewed, is revoked."""
    ORGANISATION_FROZEN = 33
    """The organisation of who sends, or is to join or be renewed, is frozen."""
    ORGANISATION_REVOKED = 34
    """The same organisation is revoked, or it is to be changed itself."""
    STATUS_NOT_NEXT = 35
    """A status that the present one does not lead to: frozen again, unfrozen without having been
    frozen, anything of who is revoked."""
    NOBODY_COULD_APPROVE = 36
    """A change after which nobody could approve something vital any more."""
    ROLL_FULL = 37
    """More organisations, or identities that may approve, admitted after genesis than allowed."""
    CERTIFICATE_INVALID = 38
    """A member's certificate outside the profile, of another or by no authority of its own."""
    AUTHORITY_INVALID = 39
    """A certificate of an authority that may not sign those of members on this chain."""
    AUTHORITY_NOT_FOR_TLS = 40
    """An organisation none of whose authorities could certify anybody for a TLS connection."""
    VAULT_ROLE = 41
    """An operation of the vault that this role never has, whatever the rules say."""
    VAULT_KEY_INVALID = 42
    """An encryption key that is none of the chain's suite."""
    VAULT_KEY_NOT_IN_FORCE = 43
    """A key wrapped under another encryption key than the recipient's newest."""
    VAULT_KEYS_FULL = 44
    """More encryption keys of an organisation than allowed."""
    VAULT_DOCUMENT_FOREIGN = 45
    """Changing a document that another organisation owns."""
    VAULT_DOCUMENT_TOO_LARGE = 46
    """More than one value of the state may hold: recipients with long terms."""
    VAULT_RECIPIENT_UNKNOWN = 47
    """A recipient that the chain does not know."""
    VAULT_RECIPIENT_BARRED = 48
    """A recipient who is frozen or revoked, or whose organisation is."""
    VAULT_GRANT_UNKNOWN = 49
    """Revoking a grant that is not there."""
    VAULT_NOT_AUTHORISED = 50
    """A use by who was never authorised, or no longer is."""
    VAULT_TERMS_OVER = 51
    """A use after the end of its terms, or terms that end before they begin."""
    VAULT_USED_MEANWHILE = 52
    """A use that does not name the block of the sender's use before it."""
    ALREADY_CARRIED_OUT = 53
    """A governed transaction whose approvals had their effect: another one takes others."""
    PROPOSAL_LAPSED = 54
    """A governed transaction later than was approved, or approved for longer than may be."""


_SUCCEEDED: Final = encode_uint(ResultCode.OK) + encode_uint(0)


class TransactionResult(Struct, frozen=True, gc=False, kw_only=True):
    """What became of one transaction."""

    tx_id: bytes
    code: ResultCode
    operation_index: int
    """The operation that failed; 0 when all succeeded."""
    log_index: int
    """Log index of its first record; later operations follow. The log size reached when failed."""

    def encode(self) -> bytes:
        """Return the canonical bytes, a leaf under the header's results root."""
        return (
            _RESULT_START
            + encode_bytes(self.tx_id)
            + encode_uint(self.code)
            + encode_uint(self.operation_index)
            + encode_uint(self.log_index)
        )

    @classmethod
    def decode(cls, data: bytes) -> TransactionResult:
        """Read a result; raises `DecodeError`."""
        version, tx_id, code, operation_index, log_index = expect_array(
            decode(data, what="result", size_max=256), 5, "result"
        )
        expect_version(version, "result")
        return cls(
            tx_id=expect_bytes(tx_id, "result transaction id", size=DIGEST_BYTES),
            code=ResultCode(expect_uint(code, "result code", max(ResultCode).value)),
            operation_index=expect_uint(operation_index, "result operation"),
            log_index=expect_uint(log_index, "result log index"),
        )


def encode_results(results: Iterable[TransactionResult]) -> list[bytes]:
    """Return what `TransactionResult.encode` gives for each. Nearly all of a block are alike."""
    return [
        b"".join((_BEFORE_TX_ID, result.tx_id, _SUCCEEDED, encode_uint(result.log_index)))
        if result.code is ResultCode.OK and not result.operation_index
        else result.encode()
        for result in results
    ]


@dataclass(frozen=True, slots=True)
class CertifiedBlock:
    """A header, its transactions and its commit certificate, as stored and as synced.

    Untrusted when it comes from a peer, until the certificate is checked and the block executed.
    """

    header: Header
    transactions: tuple[Transaction, ...]
    certificate: QuorumCertificate

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `certified-block`."""
        return encode(
            [
                1,
                self.header.encoded,
                [transaction.encoded for transaction in self.transactions],
                self.certificate.encoded,
            ]
        )

    @classmethod
    def decode(cls, data: bytes, suite: Suite) -> CertifiedBlock:
        """Read a certified block; raises `DecodeError`. Signatures are not checked here."""
        version, header, encoded, certificate = expect_array(
            decode(data, what="certified block", size_max=PEER_MESSAGE_BYTES_MAX),
            4,
            "certified block",
        )
        expect_version(version, "certified block")
        return cls(
            Header.from_value(header),
            tuple(
                Transaction.decode(
                    expect_blob(item, "block transaction", size_max=TX_BYTES_MAX), suite
                )
                for item in expect_list(encoded, BLOCK_TXS_MAX, "block transactions")
            ),
            QuorumCertificate.from_value(certificate, suite.signature_size),
        )
