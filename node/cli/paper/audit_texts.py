"""What the PDF of an audit says, in both languages, computed from the signed report alone.

The report is JSON by whoever signed it: every value is bounded, and made visible, before it is
printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from node.cli.paper.texts import Pair, visible

_TEXT_MAX: Final = 400
"""Characters of a value; a finding may quote whatever a validator sent."""
_ANCHORS_MAX: Final = 8
_COMMAND: Final = "govchain audit report audit-report.json --trust TRUST.json"
_FIRST_DATE: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS: Final[tuple[tuple[str, Pair, str, tuple[tuple[str, str], ...]], ...]] = (
    ("auditor", ("审计者", "Audited by"), "text", (("program", "程序 by program"),)),
    ("chain_id", ("链标识", "Chain"), "code", ()),
    (
        "source",
        ("区块来源", "Blocks from"),
        "text",
        (("compared_with", "对照 compared with"), ("blocks_compared", "区块 blocks")),
    ),
    ("blocks", ("已执行区块", "Blocks executed"), "text", (("epoch", "交接 handovers"),)),
    ("votes", ("验证者签名", "Validators' signatures"), "text", ()),
    (
        "transactions",
        ("交易（均有签名）", "Transactions, signed"),
        "text",
        (("failed", "无效果 without effect"),),
    ),
    ("records", ("存证记录", "Records"), "text", ()),
    ("header_digest", ("最新区块头", "Newest header"), "code", ()),
    ("state_root", ("状态根", "State root"), "code", ()),
    ("log_root", ("日志根", "Log root"), "code", (("log_size", "项数 items"),)),
)
"""Member of the report, its label, its kind; members told below it in small print."""
_GUIDE: Final[tuple[Pair, ...]] = (
    (
        "本页只是随附报告（audit-report.json）的可读形式，单凭本页不能证明任何事项。",
        "This page is a reading of the report attached to this file. Alone it proves nothing.",
    ),
    (
        "报告由审计者签名，凭该链的信任文件即可离线核验；也可自行再审计一次。",
        "The auditor signed the report: the chain's trust file is all it takes. Or audit anew.",
    ),
)


def report_facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `page.typ` prints of a report, as `page_facts` does of a receipt."""
    moment, is_sound = _moment(report.get("time")), report.get("verdict") == "sound"
    chain_id, span = _text(report, "chain_id"), f"{_text(report, 'from')} - {_text(report, 'to')}"
    rows: list[dict[str, Any]] = [
        {"label": ("区块范围", "Blocks"), "text": span, "kind": "text"},
        *(_row(report, *each) for each in _ROWS),
        *_anchors(report),
    ]
    if not is_sound:
        finding = {"label": ("发现", "Finding"), "text": _text(report, "finding"), "kind": "text"}
        rows.insert(0, finding | {"note": _text(report, "rule")})
    return {
        "title": f"审计报告 Audit Report {chain_id[:16]}",
        "author": _text(report, "auditor"),
        "date": [moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second],
        "heading": ("审计报告", "Audit Report"),
        "statement": _statement(report, is_sound=is_sound),
        "rows": rows,
        "guide": _GUIDE,
        "command": _COMMAND,
        "file": "audit-report.json",
        "attachment": "the signed report, as govchain audit run wrote it",
    }


def _row(
    report: Mapping[str, Any], name: str, label: Pair, kind: str, more: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    row: dict[str, Any] = {"label": label, "text": _text(report, name), "kind": kind}
    note = " · ".join(f"{said}: {_text(report, member)}" for member, said in more)
    return row | ({"note": note} if note else {})


def _anchors(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each authority outside that stamped the chain, or that is not outside."""
    said = report.get("anchors")
    for each in said[:_ANCHORS_MAX] if isinstance(said, list) else ():
        if not isinstance(each, dict):
            continue
        is_outside = each.get("verified") is True and each.get("outside") is True
        label = (
            ("外部锚定", "Anchored outside")
            if is_outside
            else ("非外部锚定", "Not anchored outside")
        )
        height, stamped = _text(each, "height"), _text(each, "stamped")
        row = {"label": label, "kind": "text"}
        row["text"] = f"{_text(each, 'authority')}: 区块 block {height}, {stamped}"
        if not is_outside:
            why = _text(each, "insider" if each.get("insider") is not None else "finding")
            row["note"] = why
        yield row


def _statement(report: Mapping[str, Any], *, is_sound: bool) -> Pair:
    auditor, height, time = (_text(report, name) for name in ("auditor", "height", "time"))
    if is_sound:
        return (
            (
                f"据所附报告，{auditor} 自创世区块起重新执行该链直至区块 {height}（{time}），"
                "逐一核对签名、证书、各类根和验证者交接，均相符。"
            ),
            (
                f"According to the attached report, {auditor} executed the chain again from "
                f"genesis up to block {height} ({time}) and checked every signature, certificate, "
                "root and handover: all agree."
            ),
        )
    return (
        f"据所附报告，{auditor} 重新执行该链时，在区块 {height}（{time}）之后发现不符，见下。",
        (
            f"According to the attached report, {auditor} executed the chain again and found, "
            f"after block {height} ({time}), what does not agree: see below."
        ),
    )


def _text(report: Mapping[str, Any], name: str) -> str:
    value = report.get(name)
    said = "-" if value is None else str(value)
    return visible(said if len(said) <= _TEXT_MAX else f"{said[:_TEXT_MAX]}...")


def _moment(time: object) -> datetime:
    """Return the time of the newest block; the first date of all where it is none."""
    try:
        moment = datetime.fromisoformat(str(time))
        return moment.astimezone(UTC) if moment.tzinfo else _FIRST_DATE
    except (ValueError, OverflowError):
        return _FIRST_DATE
