"""A report is that of who signed it, to the letter, or is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from node.errors import DecodeError, ProofError
from node.service.audit.report import AuditorUnknownError, sign_report, verify_report
from tests.unit.execution.small_chain import GENESIS, build_genesis, signer

REPORT: dict[str, Any] = {
    "chain_id": GENESIS.chain_id.hex(),
    "auditor": "auditor-1",
    "from": 1,
    "to": 9,
    "verdict": "sound",
    "finding": None,
    "words": "审计",
}
SIGNED = sign_report(REPORT, signer("auditor-1"))


def changed(**fields: Any) -> bytes:  # noqa: ANN401 - any JSON
    return json.dumps(json.loads(SIGNED) | fields).encode()


def test_a_report_is_read_back_whatever_its_layout() -> None:
    assert verify_report(SIGNED, GENESIS) == REPORT
    assert verify_report(changed(), GENESIS) == REPORT
    turned = dict(reversed(REPORT.items()))
    assert verify_report(changed(report=turned), GENESIS) == REPORT


@pytest.mark.parametrize(
    "fields",
    [{"to": 8}, {"verdict": "not sound"}, {"more": 1}, {"auditor": "agency-1"}, {"to": "9"}],
)
def test_no_member_can_be_changed(fields: dict[str, Any]) -> None:
    with pytest.raises(ProofError) as refusal:
        verify_report(changed(report=REPORT | fields), GENESIS)
    assert refusal.value.rule == "report-signature"


def test_another_signer_chain_or_identity_is_refused() -> None:
    with pytest.raises(ProofError, match="report-signature"):
        verify_report(sign_report(REPORT, signer("agency-1")), GENESIS)
    with pytest.raises(ProofError, match="report-chain"):
        verify_report(SIGNED, build_genesis(name="another"))
    stranger = sign_report(REPORT | {"auditor": "stranger"}, signer("stranger"))
    with pytest.raises(AuditorUnknownError, match="stranger"):
        verify_report(stranger, GENESIS)


WHOLE = SIGNED.decode()
HOSTILE = {
    b"": "expected JSON",
    b"\xff": "expected JSON",
    b"nothing": "expected JSON",
    SIGNED[:-3]: "expected JSON",
    SIGNED.replace(b'"version"', b'"format"'): "a name occurs twice",
    b"[" * 100_000: "expected JSON that is not nested as deep",
    b'{"a":' * 100_000: "expected JSON that is not nested as deep",
    b"[]": "expected an object",
    b"7": "expected an object",
    b"{}": "expected format, version, report and signature",
    changed(more=1): "expected format, version, report and signature",
    changed(format="other"): "expected 'govchain-audit-report' of version 1",
    changed(version=2): "expected 'govchain-audit-report' of version 1",
    changed(report=[]): "report: expected an object",
    changed(report=REPORT | {"to": [[[[9]]]]}): "expected JSON that is not nested as deep",
    changed(report=REPORT | {"to": 9.5}): "expected whole numbers",
    changed(
        report=REPORT | {"to": {"a": ["\ud800"]}}
    ): "report: expected texts that can be written",
    changed(report=REPORT | {"words": "\ud800"}): "report: expected texts that can be written",
    changed(report=REPORT | {"\ud800": ""}): "report: expected texts that can be written",
    changed(signature=7): "signature: expected base64",
    changed(signature=None): "signature: expected base64",
    changed(signature="?"): "signature: expected base64",
    changed(signature="="): "signature: expected base64",
    changed(signature="é"): "signature: expected base64",
    WHOLE.replace('"to": 9', '"to": 9, "to": 8').encode(): "a name occurs twice",
    WHOLE.replace('"to": 9', '"to": NaN').encode(): "expected whole numbers",
    WHOLE.replace('"to": 9', '"to": 1e999').encode(): "expected whole numbers",
    WHOLE.replace('"to": 9', f'"to": {"9" * 5_000}').encode(): "expected whole numbers",
    SIGNED + b" " * 4_194_304: "expected at most 4194304 bytes",
}


@pytest.mark.parametrize(("data", "lack"), HOSTILE.items(), ids=[*map(str, range(len(HOSTILE)))])
def test_what_a_file_lacks_is_said_in_words_of_ours(data: bytes, lack: str) -> None:
    with pytest.raises(DecodeError) as refusal:
        verify_report(data, GENESIS)
    assert str(refusal.value).startswith("audit report")
    assert lack in str(refusal.value)
    assert "Error" not in str(refusal.value)
