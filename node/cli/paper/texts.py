"""What a PDF certificate says, in both languages, computed from the receipt alone.

The page is bilingual whoever makes it, so its texts are no messages of the catalogue: the same
receipt gives the same page under every locale.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from node.chain.certificate import QuorumCertificate
from node.chain.record import RecordAction
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.export import export_qr
from node.timestamp.receipt import RECEIPT_SUFFIX, Receipt, digest_name, iso_time
from node.timestamp.refreshed import REFRESHED_SUFFIX

Pair = tuple[str, str]
"""Chinese and English."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BEIJING: Final = timezone(timedelta(hours=8))
_GROUP: Final = 8
_COMMAND: Final = "govchain verify FILE --receipt THIS.pdf --trust TRUST.json --offline"
_HEADINGS: Final[dict[RecordAction, Pair]] = {
    RecordAction.RECORD: ("存证证书", "Certificate of Record"),
    RecordAction.SUPERSEDE: ("存证证书", "Certificate of Record"),
    RecordAction.WITHDRAW: ("撤回记录", "Record of Withdrawal"),
}
_ACTIONS: Final[dict[RecordAction, Pair]] = {
    RecordAction.RECORD: ("首次存证", "first record"),
    RecordAction.SUPERSEDE: ("替代此前的记录", "supersedes the record before it"),
    RecordAction.WITHDRAW: ("撤回此前的记录", "withdraws the record before it"),
}
_COORDINATES: Final[Pair] = ("链上位置与摘要", "place and digest")
_COMPACT: Final[Pair] = ("可独立核验的凭证", "verifies by itself")
_READING: Final[Pair] = (
    "本页只是随附证明（{file}）的可读形式，单凭本页不能证明任何事项。",
    "This page is a reading of the proof attached to this file. Alone it proves nothing.",
)
_GUIDE: Final[tuple[Pair, ...]] = (
    (
        "凭原文件、本 PDF 和该链的信任文件即可离线核验，无须信任任何单个节点。",
        "The document, this PDF and the chain's trust file are all it takes, offline.",
    ),
)


def page_facts(receipt: Receipt, join: ConsistencyProof | None = None) -> dict[str, Any]:
    """Return what `page.typ` prints: every text final, visible and within the shipped font.

    Where the receipt is joined to a later block, the keys of its own may be retired: then the page
    says who signed that one, and when, which holds either way.
    """
    leaf, header = receipt.leaf, receipt.block.header
    record = leaf.record
    moment = _moment(header.time_ms) or datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    digest = digest_name(record.digest_algorithm).upper()
    certificate = (receipt if join is None else join).block.certificate
    votes = certificate.votes
    kind, place = _ACTIONS[record.action], (header.height, receipt.log_index, header.log_size)
    rows = [
        _row(("文件摘要", "Document digest"), _grouped(record.digest), digest, kind="grouped"),
        _row(("类型", "Type"), visible(record.type_code), f"{kind[0]} · {kind[1]}"),
        _row(("编号", "Reference"), visible(record.reference or "-")),
        _row(("提交者", "Recorded by"), visible(leaf.sender)),
        _time_row(("共识时间", "Agreed time T"), header.time_ms, vouched=not header.time_degraded),
    ]
    if join is not None:
        later = join.block.header
        joined = (
            f"区块 {later.height}，纪元 {later.epoch}",
            f"block {later.height} of epoch {later.epoch}: the seal time and the signers are its",
        )
        rows.append(_row(("相连区块", "Joined to"), *joined))
    if votes:
        sealed = certificate.seal_time_ms()
        signers = (f"{len(votes)} 个验证者", f"{len(votes)} validators")
        rows.append(_row(("封存时间", "Seal time S"), _local_time(sealed), iso_time(sealed)))
        rows.append(_row(("签名", "Signed by"), *signers))
    rows += [
        _row(
            ("链上位置", "Place"),
            "区块 {}，日志第 {} 项，共 {} 项".format(*place),
            "block {}, item {} of {} in the log, counted from 0".format(*place),
        ),
        _row(("交易", "Transaction"), _grouped(leaf.tx_id), kind="grouped"),
        _row(("链标识", "Chain"), _grouped(receipt.chain_id), kind="grouped"),
    ]
    heading = _HEADINGS[record.action]
    file = f"proof{RECEIPT_SUFFIX if join is None else REFRESHED_SUFFIX}"
    kind_of_proof = "native" if join is None else "refreshed"
    return {
        "title": f"{heading[0]} {heading[1]} {record.digest.hex()[:16]}",
        "author": visible(leaf.sender),
        "date": [moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second],
        "heading": heading,
        "statement": _statement(receipt, certificate),
        "rows": rows,
        "guide": ((_READING[0].format(file=file), _READING[1]), *_GUIDE),
        "command": _COMMAND,
        "code": _COORDINATES if _compact_text(receipt, join) is None else _COMPACT,
        "file": file,
        "attachment": f"the proof: a {kind_of_proof} receipt (proto/RECEIPT.md)",
    }


def code_text(receipt: Receipt, join: ConsistencyProof | None = None) -> str:
    """Return what the QR code holds: a receipt that verifies by itself, else where the record is.

    A compact receipt where there is a compact certificate (`compact_verify.py`), unless a join says
    that its keys are to count no more; else coordinates and the digest, which prove nothing.
    """
    compact = _compact_text(receipt, join)
    if compact is not None:
        return compact.decode()
    record = receipt.leaf.record
    digest = f"{digest_name(record.digest_algorithm)}:{record.digest.hex()}"
    place = f"{receipt.block.header.height}:{receipt.log_index}"
    return f"govchain:record:{receipt.chain_id.hex()}:{place}:{digest}"


def _compact_text(receipt: Receipt, join: ConsistencyProof | None) -> bytes | None:
    return export_qr(receipt) if join is None else None


def visible(text: str) -> str:
    """Return a text of which the shipped font has every character; others become <U+XXXX>.

    Shipped are ASCII, Latin-1 and GB/T 2312. What has two forms is shown in the composed one.
    """
    composed = unicodedata.normalize("NFC", text)
    return "".join(each if _has_glyph(each) else f"<U+{ord(each):04X}>" for each in composed)


def _has_glyph(character: str) -> bool:
    if character < "\u0100":
        return character.isprintable()
    try:
        return len(character.encode("gb2312")) > 1
    except UnicodeEncodeError:
        return False


def _statement(receipt: Receipt, certificate: QuorumCertificate) -> Pair:
    leaf, header = receipt.leaf, receipt.block.header
    sender = visible(leaf.sender)
    vouched = not header.time_degraded
    sealed = certificate.seal_time_ms() if certificate.votes else header.time_ms
    time_ms = header.time_ms if vouched else sealed
    local, utc = _local_time(time_ms), iso_time(time_ms)
    if leaf.record.action is RecordAction.WITHDRAW:
        return (
            f"据所附证明，{sender} 不迟于 {local} 撤回了以下摘要所指文件的记录。",
            (
                f"According to the attached proof, {sender} withdrew the record of the document "
                f"with the digest below, no later than {utc}."
            ),
        )
    doubt = ("", "") if vouched else ("（以封存时间为准）", " (as sealed)")
    return (
        f"据所附证明，具有以下摘要的文件不迟于 {local}{doubt[0]}已经存在，并由 {sender} 提交存证。",
        (
            "According to the attached proof, a document with the digest below existed no later "
            f"than {utc}{doubt[1]}, and {sender} put it on record."
        ),
    )


def _time_row(label: Pair, time_ms: int, *, vouched: bool) -> dict[str, Any]:
    if vouched:
        return _row(label, _local_time(time_ms), iso_time(time_ms))
    doubt = "验证者未担保此时间，以封存时间为准 · not vouched for: rely on the seal time"
    return _row(label, _local_time(time_ms), f"{iso_time(time_ms)} · {doubt}")


def _row(label: Pair, text: str, note: str = "", *, kind: str = "text") -> dict[str, Any]:
    row: dict[str, Any] = {"label": label, "text": text, "kind": kind}
    return row | ({"note": note} if note else {})


def _moment(time_ms: int) -> datetime | None:
    """Return a time that has a date in all time zones, or None: it lies past the year 9999."""
    try:
        moment = _EPOCH + timedelta(milliseconds=time_ms)
        moment.astimezone(_BEIJING)
    except OverflowError:
        return None
    return moment


def _local_time(time_ms: int) -> str:
    moment = _moment(time_ms)
    if moment is None:
        return iso_time(time_ms)
    local = moment.astimezone(_BEIJING)
    clock = local.isoformat(sep=" ", timespec="milliseconds")[11:23]
    return f"{local.year}年{local.month}月{local.day}日 {clock}（北京时间）"


def _grouped(data: bytes) -> str:
    """Return hex digits in groups, so that people can compare them and lines can break."""
    digits = data.hex()
    return " ".join(digits[start : start + _GROUP] for start in range(0, len(digits), _GROUP))
