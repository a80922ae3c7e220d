"""Rows in which bits are flipped: one class per field, wherever a format says it."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from node.timestamp.export import COSE, TLOG, TSR
from node.timestamp.log.note import Note
from node.timestamp.opening import PDF
from node.timestamp.tokens.issuing import add_chain_proof, encode_granted, encode_time
from node.timestamp.tokens.of_record import coordinates_of
from tests.outside.matrix.rows import (
    FORMATS,
    NO_TOKEN,
    Absent,
    Cells,
    Row,
    Sample,
    ends_flipped,
    export,
    flipped,
    in_formats,
    only,
)
from tests.outside.matrix.story import chain_of, good, later_checkpoint
from tests.vectors.receipt.story import with_votes
from tests.vectors.receipt.tokens import TSA_KEY


def _digest() -> Cells:
    receipt = good().receipt
    leaf, record = receipt.leaf, receipt.leaf.record
    changed = [
        replace(receipt, leaf=structs.replace(leaf, record=structs.replace(record, digest=each)))
        for each in ends_flipped(record.digest)
    ]
    return in_formats(*changed, tsr=ends_flipped(export(TSR, receipt), record.digest))


def _time() -> Cells:
    receipt = good().receipt
    leaf = structs.replace(receipt.leaf, time_ms=receipt.leaf.time_ms ^ 1)
    tsr, gen_time = export(TSR, receipt), encode_time(receipt.leaf.time_ms)
    last_digit = tsr.index(gen_time) + len(gen_time) - len("0Z")
    return in_formats(replace(receipt, leaf=leaf), tsr=[flipped(tsr, last_digit)])


def _place() -> Cells:
    receipt = good().receipt
    changed = replace(receipt, log_index=receipt.log_index ^ 1)
    tsr = ends_flipped(export(TSR, receipt), coordinates_of(receipt).encode())[1]
    return in_formats(changed, tsr=[tsr])


def _path() -> Cells:
    whole = good()
    receipt = whole.receipt
    changed = [
        replace(
            receipt,
            log_path=(own, *receipt.log_path[1:]),
            checkpoint=replace(whole.public, path=(public, *whole.public.path[1:])),
            compact=replace(whole.compact, log_path=(compact, *whole.compact.log_path[1:])),
        )
        for own, public, compact in zip(
            ends_flipped(receipt.log_path[0]),
            ends_flipped(whole.public.path[0]),
            ends_flipped(whole.compact.log_path[0]),
            strict=True,
        )
    ]
    return in_formats(*changed)


def _certified() -> Cells:
    whole = good()
    header, certificate = whole.receipt.block.header, whole.compact.certificate
    at = later_checkpoint(chain_of())
    changed = []
    for state, root, compact in zip(
        ends_flipped(header.state_root),
        ends_flipped(at.head.root),
        ends_flipped(certificate.checkpoint.state_root),
        strict=True,
    ):
        text = replace(at, head=replace(at.head, root=root)).text
        checkpoint = replace(certificate.checkpoint, state_root=compact)
        changed.append(
            replace(
                whole.with_note(replace(whole.note, text=text)),
                block=replace(whole.receipt.block, header=replace(header, state_root=state)),
                compact=whole.with_certificate(replace(certificate, checkpoint=checkpoint)),
            )
        )
    return in_formats(*changed)


def _quorum() -> Cells:
    whole = good()
    *votes, vote = whole.receipt.block.certificate.votes
    *lines, line = whole.note.signatures
    certificate = whole.compact.certificate
    changed = []
    for voted, cosigned, aggregate in zip(
        ends_flipped(vote.signature),
        ends_flipped(line.signature),
        ends_flipped(certificate.aggregate),
        strict=True,
    ):
        note = Note(whole.note.text, (*lines, replace(line, signature=cosigned)))
        receipt = with_votes(whole.with_note(note), (*votes, replace(vote, signature=voted)))
        compact = whole.with_certificate(replace(certificate, aggregate=aggregate))
        changed.append(replace(receipt, compact=compact))
    return in_formats(*changed)


def _own_signature() -> Cells:
    whole = good()
    cose, (log_line, *lines) = whole.cose, whole.note.signatures
    changed = [
        replace(whole.receipt, cose=replace(cose, signature=each))
        for each in ends_flipped(cose.signature)
    ]
    notes = [
        Note(whole.note.text, (replace(log_line, signature=each), *lines))
        for each in ends_flipped(log_line.signature)
    ]
    return in_formats(
        *changed,
        tsr=ends_flipped(export(TSR, whole.receipt), whole.token[-32:]),
        tlog=[export(TLOG, whole.with_note(note)) for note in notes],
        qr=Absent("a QR code bears the quorum's signature alone"),
    )


def _certificate() -> Cells:
    whole, key = good(), TSA_KEY.public_key.encoded[1:]
    changed = [replace(whole.receipt, token=each) for each in ends_flipped(whole.token, key)]
    tsr = ends_flipped(export(TSR, whole.receipt), key)
    return in_formats(*changed, tsr=tsr, tlog=NO_TOKEN, qr=NO_TOKEN)


def _carried() -> Cells:
    whole = good()
    chain_id = whole.receipt.chain_id
    changed = [replace(whole.receipt, chain_id=each) for each in ends_flipped(chain_id)]
    bare = [replace(each, token=None).encode() for each in changed]
    cose = export(COSE, whole.receipt)
    at = cose.index(chain_id)
    return only(
        "it carries no receipt of another format",
        tsr=[encode_granted(add_chain_proof(whole.token, each)) for each in bare],
        cose=[flipped(cose, at), flipped(cose, at + len(chain_id) - 1)],
        pdf=[export(PDF, each) for each in changed],
    )


def _first_byte() -> Cells:
    return {name: (Sample(flipped(export(name, good().receipt), 0)),) for name in FORMATS}


def _last_byte() -> Cells:
    return {name: (Sample(flipped(export(name, good().receipt), -1)),) for name in FORMATS}


def _page() -> Cells:
    data = export(PDF, good().receipt)
    return only("it has no page", pdf=[flipped(data, data.index(b"/CreationDate") + 20)])


FLIPS = (
    Row("flipped: the document's digest", _digest),
    Row("flipped: the time", _time),
    Row("flipped: the place in the log", _place),
    Row("flipped: the path to the log's root", _path),
    Row("flipped: what the quorum signs", _certified),
    Row("flipped: a signature of the quorum", _quorum),
    Row("flipped: the format's own signature", _own_signature),
    Row("flipped: the time-stamping certificate", _certificate),
    Row("flipped: the receipt that it carries", _carried),
    Row("flipped: the first byte", _first_byte),
    Row("flipped: the last byte", _last_byte),
    Row("flipped: the page", _page),
)
