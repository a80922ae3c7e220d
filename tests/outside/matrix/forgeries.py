"""Rows in which all signatures are real: by those who may not, of something else, too few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import cbor2
from asn1crypto import core

from node.chain.compact import CompactCertificate
from node.crypto.certificate import build_timestamp_certificate
from node.timestamp.cose import CoseReceipt, protected_header, sign_root
from node.timestamp.export import cose_receipt_of
from node.timestamp.log.note import Note
from node.timestamp.receipt import Receipt
from node.timestamp.tokens.issuing import encode_granted
from node.timestamp.tokens.of_record import coordinates_of
from tests.outside.matrix.rows import (
    FORMATS,
    NO_TOKEN,
    Absent,
    Cells,
    Row,
    Sample,
    export,
    in_formats,
    only,
    refreshed,
)
from tests.outside.matrix.story import (
    FOUR_YEARS,
    HEIGHT,
    LAST_HEIGHT,
    NOW_MS,
    REMOVED,
    RETIRED_HEIGHT,
    Whole,
    chain_of,
    chain_of_retired,
    good,
    later_checkpoint,
    retired_receipt,
)
from tests.unit.timestamp.reference_token import Forgery, Tree, digest_algorithm
from tests.vectors.receipt.chain import signer
from tests.vectors.receipt.cosigned import cosignature, cosigned
from tests.vectors.receipt.keyed import sharer
from tests.vectors.receipt.story import with_votes
from tests.vectors.receipt.tokens import (
    TSA_KEY,
    YEAR_MS,
    authority_of,
    certified_by,
    issuer_of,
)

_DAY_MS: Final = 86_400_000
_UNKNOWN: Final = "1.2.3.4.5"
_UNKNOWN_HEADER: Final = -70_001
_TWO: Final = (0, 1)
"""Members who sign where three are a quorum."""


def _good() -> Cells:
    return in_formats(good().receipt)


def _another_document() -> Cells:
    return {name: (Sample(export(name, good().receipt), b"another"),) for name in FORMATS}


def _another_chain() -> Cells:
    return in_formats(Whole.of(chain_of("another")).receipt)


def _signed_by(*third: str) -> Receipt:
    """Return what two of the four members signed, and others in the place of a third.

    A vote names its voter by the place in the set and a share by a bit: there they pose.
    """
    whole, chain = good(), chain_of()
    block, at = whole.receipt.block, later_checkpoint(chain)
    first, second, last = block.certificate.votes
    message = block.certificate.subject.sign_bytes(
        chain.genesis.chain_id, chain.validators, last.time_ms
    )
    votes = [replace(last, signature=signer(name).sign(message)) for name in third]
    note = cosigned(at, chain.validators, _TWO)
    lines = [cosignature(at, name) for name in third]
    receipt = with_votes(
        whole.with_note(Note(note.text, (*note.signatures, *lines))), (first, second, *votes)
    )
    return replace(receipt, compact=whole.with_certificate(_shared_by(third)))


def _shared_by(third: Sequence[str]) -> CompactCertificate:
    chain = chain_of()
    at = good().compact.certificate.checkpoint
    members = [chain.validators.validators[index].validator_id for index in _TWO]
    message = at.share_bytes(chain.genesis.chain_id)
    shares = [sharer(name).sign(message) for name in (*members, *third)]
    return CompactCertificate.of(at, dict(enumerate(shares)))


def _too_few() -> Cells:
    return in_formats(_signed_by())


def _twice() -> Cells:
    whole, chain = good(), chain_of()
    second = chain.validators.validators[1].validator_id
    receipt = _signed_by(second)
    first_vote, second_vote, _ = whole.receipt.block.certificate.votes
    return in_formats(with_votes(receipt, (first_vote, second_vote, second_vote)))


def _removed() -> Cells:
    chain = chain_of()
    root = good().receipt.block.header.log_roots[0]
    cose = sign_root(chain.genesis.chain_id, root, signer(REMOVED))
    return in_formats(replace(_signed_by(REMOVED), cose=cose))


def _retired() -> Cells:
    return in_formats(Whole.of(chain_of_retired(), height=2).receipt)


def _expired_then() -> Cells:
    whole, chain = good(), chain_of()
    time_ms = whole.receipt.block.header.time_ms
    issuance = replace(FOUR_YEARS, not_after_ms=time_ms - 1_000)
    key = TSA_KEY.public_key.encoded
    certificate = build_timestamp_certificate(authority_of(chain), REMOVED, key, issuance)
    changed = replace(whole.receipt, token=certified_by(whole.token, certificate))
    return in_formats(changed, tlog=NO_TOKEN, qr=NO_TOKEN)


def _expired_since() -> Cells:
    chain = chain_of()
    issuance = replace(FOUR_YEARS, not_after_ms=FOUR_YEARS.not_before_ms + YEAR_MS)
    issuer = issuer_of(authority_of(chain), issuance=issuance)
    return in_formats(Whole.of(chain, issuer).receipt, tlog=NO_TOKEN, qr=NO_TOKEN)


def _future() -> Cells:
    before_ms = chain_of().blocks[HEIGHT - 2].header.time_ms
    later = chain_of(after_ms=NOW_MS + 20 * _DAY_MS - before_ms)
    return in_formats(Whole.of(later).receipt)


def _critical() -> Cells:
    whole, chain = good(), chain_of()
    receipt = whole.receipt

    def change(info: Tree) -> None:
        info["message_imprint"] = {
            "hash_algorithm": digest_algorithm("sha256"),
            "hashed_message": receipt.leaf.record.digest,
        }
        info["serial_number"] = coordinates_of(receipt).serial_number
        info["gen_time"] = datetime.fromtimestamp(receipt.leaf.time_ms // 1_000, UTC)
        value = core.OctetString(b"x")
        info["extensions"] = [{"extn_id": _UNKNOWN, "critical": True, "extn_value": value}]

    key = TSA_KEY.public_key.encoded
    leaf = build_timestamp_certificate(authority_of(chain), REMOVED, key, FOUR_YEARS)
    return in_formats(
        replace(receipt, token=Forgery(leaf=leaf, info=change).token()),
        tlog=Absent("a note has nothing critical: its format has unknown lines ignored"),
        cose=[_with_critical_header().encode()],
        qr=Absent("it has a fixed list of fields"),
    )


def _with_critical_header() -> CoseReceipt:
    """Return the COSE Receipt with a header that nobody knows, named by `crit` (RFC 9052)."""
    made = cose_receipt_of(good().receipt)
    if made is None:
        raise ValueError("the receipt has a COSE signature")
    key = signer("validator-2")
    chain_id, root = chain_of().genesis.chain_id, good().receipt.block.header.log_roots[0]
    headers = cbor2.loads(protected_header(chain_id, key.public_key.encoded))
    protected = cbor2.dumps({**headers, 2: [_UNKNOWN_HEADER], _UNKNOWN_HEADER: 1})
    signed = cbor2.dumps(["Signature1", protected, b"", root])
    return replace(made, protected=protected, signature=key.sign(signed))


def _bare() -> Cells:
    made = cose_receipt_of(good().receipt)
    if made is None:
        raise ValueError("the receipt has a COSE signature")
    return only(
        "it is the chain proof, or nothing without it",
        tsr=[encode_granted(good().token)],
        cose=[replace(made, carried=None).encode()],
    )


def _refreshed() -> Cells:
    chain = chain_of()
    return refreshed(retired_receipt(chain), chain.consistency(RETIRED_HEIGHT, LAST_HEIGHT))


def _refreshed_by_another() -> Cells:
    chain = chain_of()
    return refreshed(retired_receipt(chain), chain.consistency(1, LAST_HEIGHT))


def _refreshed_by_retired() -> Cells:
    chain = chain_of_retired()
    join = chain.consistency(RETIRED_HEIGHT, RETIRED_HEIGHT + 1)
    return refreshed(retired_receipt(chain), join)


GOOD = (
    Row("good", _good),
    Row("the certificate expired since, valid at T", _expired_since),
    Row("of a retired epoch, refreshed", _refreshed),
)
FORGERIES = (
    Row("another document", _another_document),
    Row("another chain, of the same validators and authorities", _another_chain),
    Row("two signers where three are a quorum", _too_few),
    Row("one of two signers twice", _twice),
    Row("a removed validator for the third", _removed),
    Row("all validators of a retired epoch", _retired),
    Row("the certificate had expired before T", _expired_then),
    Row("dated 20 days after now", _future),
    Row("an unknown critical extension", _critical),
    Row("without the chain proof", _bare),
    Row("refreshed by what joins another block", _refreshed_by_another),
    Row("refreshed by keys of the retired epoch alone", _refreshed_by_retired),
)
