"""Every function of the product that reads bytes or text of strangers, and what each may do.

It may return, or refuse by the errors its documentation names: anything else is a find. What it
takes it must give back to the byte where there is but one form (`encode`): two encodings of one
thing would be two digests of it. `test_fuzz.py` reads from the code that none is missing here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final

import click

from node.chain.encoding import encode
from node.chain.transaction import Transaction
from node.chain.transaction_reader import TransactionReader
from node.cli.verb import CommandError
from node.crypto.certificate_extensions import CertificateRefused
from node.crypto.suite import INTERNATIONAL
from node.errors import (
    ClientError,
    ConfigError,
    CryptoError,
    DecodeError,
    NodeError,
    ProofError,
    StorageError,
)
from node.timestamp.tokens.request import TimeStampRefused
from tests.unit.execution.small_chain import GENESIS, payload, tx

Refusals = tuple[type[Exception], ...]

_SIGNATURE: Final = INTERNATIONAL.signature_size


class FoundError(AssertionError):
    """A decoder took what it must refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One function, called with the bytes that the fuzzer chose."""

    name: str
    """`module:function` within `node`."""
    run: Callable[[bytes], object]
    refusals: Refusals
    """What it may raise."""
    encode: Callable[[Any], bytes] | None
    """How what it returned becomes the same bytes again; None where there are several forms."""
    examples: tuple[bytes, ...] = ()
    """Inputs to begin with where no unit test hands it any that are taken."""

    def attempt(self, data: bytes) -> bool:
        """Call it; return whether it took `data`. Raises what a target must not."""
        try:
            value = self.run(data)
        except self.refusals:
            return False
        if self.encode is not None and (again := self.encode(value)) != data:
            raise FoundError(f"{self.name}: takes {data.hex():.999} for {again.hex():.999}")
        return True


def function(name: str) -> Callable[..., Any]:
    """Return what `module:qualified.name` within `node` stands for."""
    module, _, path = name.partition(":")
    found: Any = import_module(f"node.{module}")
    for part in path.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def _own_form(value: Any) -> bytes:  # noqa: ANN401 - whatever the decoder returns
    return value.encode()  # type: ignore[no-any-return]


def _exact(
    name: str, *arguments: object, refusals: Refusals = (DecodeError,), **named: object
) -> Target:
    """Read bytes of which there is one form: `encode` gives them back."""
    return Target(
        name=name,
        run=lambda data: function(name)(data, *arguments, **named),
        refusals=refusals,
        encode=_own_form,
    )


def _loose(
    name: str, *arguments: object, refusals: Refusals = (DecodeError,), **named: object
) -> Target:
    """Read bytes that nobody writes again, or of which there are several forms."""
    return Target(
        name=name,
        run=lambda data: function(name)(data, *arguments, **named),
        refusals=refusals,
        encode=None,
    )


def _text(
    name: str, *arguments: object, refusals: Refusals = (DecodeError,), example: str
) -> Target:
    """Read text, given in UTF-8."""
    return Target(
        name=name,
        run=lambda data: function(name)(data.decode("utf-8", "replace"), *arguments),
        refusals=refusals,
        encode=None,
        examples=(example.encode(),),
    )


def _read_twice(data: bytes) -> Transaction:
    """Read by what a reader remembers of the first time; must be what `Transaction.decode` says."""
    reader = TransactionReader(INTERNATIONAL)
    reader.read(_LIKE)
    expected: Transaction | None
    try:
        expected = Transaction.decode(data, INTERNATIONAL)
    except DecodeError:
        expected = None
    try:
        found = reader.read(data)
        again = reader.read(data)
    except DecodeError:
        if expected is not None:
            raise FoundError(f"a reader refuses {data.hex()}") from None
        raise
    if expected is None or found != expected or again != expected:
        raise FoundError(f"a reader reads {data.hex()} otherwise")
    return found


_LIKE: Final = tx(payload("a", references=("ref-1",))).transaction.encoded
"""Of one record, as a reader remembers the parts of no others."""
"""A transaction, for those that are alike."""


_BAD_FILE: Final[Refusals] = (
    ValueError,
    RecursionError,
)  # of which `DecodeError` is none: the caller names the file

_WRONG_USAGE: Final[Refusals] = (click.UsageError,)  # a bad parameter is one

_TARGETS: Final = (
    # --- what is hashed, signed, and exchanged by validators ---
    Target(
        name="chain.transaction_reader:TransactionReader.read",
        run=_read_twice,
        refusals=(DecodeError,),
        encode=None,
    ),
    _loose("chain.encoding:decode", what="item", size_max=1 << 20),
    _exact("chain.block:Header.decode"),
    _exact("chain.block:CertifiedHeader.decode", INTERNATIONAL),
    _exact("chain.block:TransactionResult.decode"),
    _exact("chain.block:CertifiedBlock.decode", INTERNATIONAL),
    _exact("chain.compact:CompactCertificate.decode"),
    _exact("chain.evidence:Evidence.decode", INTERNATIONAL),
    _exact("chain.genesis:Genesis.decode"),
    _exact("chain.identity:StatusEntry.decode"),
    _exact("chain.identity:AcceptedCertificates.decode"),
    _exact("chain.identity:Roll.decode"),
    _loose("chain.identity:decode_authorities"),
    _exact("chain.log:LogFrontier.decode"),
    _exact("chain.policy:Rule.decode"),
    _exact("chain.quota:Quota.decode"),
    _exact("chain.record:RecordLeaf.decode"),
    _exact("chain.reference:ReferenceStatus.decode"),
    replace(
        _exact("chain.state_bucket:Bucket.decode", b"\x04", refusals=(StorageError,)),
        encode=lambda bucket: bucket.stored,
    ),
    _exact("chain.state_page:Page.decode", "", INTERNATIONAL, refusals=(ProofError, DecodeError)),
    _exact("chain.state_tree:StateProof.decode"),
    _exact("chain.transaction:TransactionBody.decode"),
    _loose("chain.transaction:Transaction.decode", INTERNATIONAL),
    _exact("chain.vault:Secret.decode", 32),
    _exact("chain.vault:VaultKeys.decode"),
    _exact("chain.vault:VaultDocument.decode"),
    _exact("execution.registry:EpochStart.decode", INTERNATIONAL),
    _loose("service.wire:decode_message", _SIGNATURE),
    # --- what lies on disk ---
    _exact("storage.archive:ArchiveHead.decode", INTERNATIONAL),
    _exact("storage.past:MissingPast.decode"),
    _loose("storage.packing:unpack", 1 << 20),
    _loose("storage.segment:SegmentHeader.decode", refusals=(StorageError,)),
    _loose("storage.segment:parse_segment", refusals=(StorageError,)),
    _loose("storage.stored_block:decode_header_value", INTERNATIONAL, refusals=(StorageError,)),
    # --- keys and certificates ---
    _loose("crypto.application_key:ApplicationKey.read", refusals=(CryptoError,)),
    _loose("crypto.authority:AuthorityCertificate.read", refusals=(CryptoError,)),
    _loose("crypto.authority:read_timestamp_certificate", refusals=(CryptoError,)),
    _loose("crypto.bls:BlsPublicKey.decode", refusals=(CryptoError,)),
    _loose("crypto.certificate:split_pem", refusals=(CryptoError,)),
    _loose("crypto.certificate:load_certificate", refusals=(CryptoError,)),
    _loose("crypto.certificate_fields:decode_certificate", refusals=(CertificateRefused,)),
    _text(
        "crypto.identity_name:decode_identity_name",
        refusals=(CryptoError,),
        example="govchain:agency:housing-1",
    ),
    _loose("crypto.member_certificate:read_identity", refusals=(CertificateRefused,)),
    _exact("crypto.device:KeyReference.decode", refusals=_BAD_FILE),
    _exact("crypto.keystore:_KeyFile.decode", refusals=_BAD_FILE),
    _loose("crypto.revocation:RevocationList.read", refusals=(CryptoError,)),
    _loose("crypto.signature:P256PublicKey.decode", refusals=(CryptoError,)),
    _loose("crypto.signature:Ed25519PublicKey.decode", refusals=(CryptoError,)),
    _loose("crypto.sm2:Sm2PublicKey.decode", refusals=(CryptoError,)),
    _loose("crypto.sm2_ciphertext:decode_der", refusals=(CryptoError,)),
    # --- what a verifier is handed ---
    _exact("disclosure.fields:FieldsStatement.decode"),
    _exact("disclosure.opening:Opening.decode"),
    _exact("disclosure.proof:Disclosure.decode"),
    _exact("disclosure.watermark:Watermark.decode"),
    _exact("timestamp.compact:CompactReceipt.decode", refusals=(DecodeError, ProofError)),
    _loose("timestamp.compact:CompactReceipt.parse", refusals=(DecodeError, ProofError)),
    _exact("timestamp.consistency:ConsistencyProof.decode"),
    _exact("timestamp.cose:CoseReceipt.decode"),
    # Others write an algorithm with parameters or without; what is hashed is kept as it came.
    _loose("timestamp.evidence.record:EvidenceRecord.decode", refusals=(DecodeError, ProofError)),
    _exact("timestamp.history:Handover.decode", INTERNATIONAL),
    _exact("timestamp.log.fork:ForkProof.decode"),
    _exact("timestamp.log.note:Note.decode"),
    _loose("timestamp.log.note:decode_text", "note", size_max=1 << 16),
    _loose("timestamp.log.policy:parse_policy"),
    _exact("timestamp.log.proof:TlogProof.decode"),
    _loose("timestamp.opening:open_receipt", refusals=(DecodeError, ProofError, CryptoError)),
    _exact("timestamp.outside.anchor:AnchoredCheckpoint.decode"),
    _exact("timestamp.outside.anchor:Anchor.decode"),
    _exact("timestamp.receipt:Receipt.decode"),
    _exact("timestamp.refreshed:RefreshedReceipt.decode"),
    _loose("timestamp.refreshed:decode_receipt"),
    _exact("timestamp.standing:StandingProof.decode"),
    _exact("timestamp.state_value:StateValueProof.decode"),
    _loose("timestamp.tokens.of_record:open_tsr", refusals=(DecodeError, ProofError)),
    _loose("timestamp.tokens.reading:TokenInfo.decode", refusals=(DecodeError, ProofError)),
    _loose("timestamp.tokens.reading:ReadToken.decode", refusals=(DecodeError, ProofError)),
    _loose("timestamp.tokens.refusal:read_refusal"),
    _exact("timestamp.tokens.request:TimeStampRequest.decode", refusals=(TimeStampRefused,)),
    _loose("timestamp.trust:TrustFile.decode"),  # JSON, that people may lay out
    _loose("timestamp.trust:load_trust", refusals=(DecodeError, ProofError)),
    # --- what a person hands to the command, or another program to a node ---
    _exact("cli.proposal:Proposal.decode"),
    _exact("cli.under_way:UnderWay.decode", INTERNATIONAL),
    replace(
        _exact("cli.vault.content:JournalHead.decode"),
        examples=(encode([1, b"/a/file", 5, 7, bytes(16), 1, b"wrapped"]),),
    ),
    _exact("operations.founding:Draft.decode", refusals=(ConfigError,)),
    _loose("operations.founding:Founder.read", refusals=(NodeError,)),
    _exact("operations.founding:SignedFounder.decode", refusals=(ConfigError,)),
    _loose("operations.founding:open_sealed", refusals=(ConfigError,)),
    _exact("operations.introduction:Introduction.decode", GENESIS, refusals=(ConfigError,)),
    _loose("disclosure.masking:MaskingPolicy.read"),
    _text("disclosure.fields:parse_path", example="address/city"),
    _loose("operations.witness:AddCheckpoint.decode"),
    _text(
        "cli.choice:read_reference_name",
        "gov.example",
        "licence",
        refusals=_WRONG_USAGE,
        example="91440300MA5",
    ),
    _text("cli.credentials:read_key", refusals=_WRONG_USAGE, example="04ab"),
    _text("cli.rules:read_rule", ("admin",), "majority", refusals=(CommandError,), example="any"),
    _text("cli.subjects:read_time_ms", refusals=_WRONG_USAGE, example="2026-11-21T10:00:00+08:00"),
    _text(
        "cli.subjects:read_tx_id",
        refusals=_WRONG_USAGE,
        example="0000000000000000000000000000000000000000000000000000000000000000",
    ),
    _text(
        "cli.vault.chain:read_document_id",
        refusals=_WRONG_USAGE,
        example="00000000000000000000000000000000",
    ),
    _text("client.events:EventId.parse", example="7.0"),
    _text("config:Address.parse", refusals=(ConfigError,), example="[::1]:7050"),
    _text(
        "timestamp.log.checkpoint:Checkpoint.parse",
        example="gov.example/log\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
    ),
    _text("timestamp.log.checkpoint:parse_decimal", "number", example="17"),
    _text(
        "timestamp.log.note:VerifierKey.parse",
        example="gov.example+f40007bd+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
    ),
    _text("timestamp.log.note:NoteSignature.parse", example="— gov.example AAAAAAA="),
    _text("timestamp.log.tiles:TileFile.parse", example="0/x001/067"),
    _text(
        "timestamp.verify:NamedDigest.parse",
        refusals=(ClientError,),
        example="sha-256:0000000000000000000000000000000000000000000000000000000000000000",
    ),
)

TARGETS: Final = {target.name: target for target in _TARGETS}
