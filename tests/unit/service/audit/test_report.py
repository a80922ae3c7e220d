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


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        SIGNED[:-3],
        SIGNED.replace(b'"version"', b'"format"'),
        changed(version=2),
        changed(format="other"),
        changed(signature="?"),
        changed(signature=None),
        changed(report=[]),
        changed(more=1),
        SIGNED + b" " * 4_194_304,
    ],
    ids=range(14),
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        verify_report(data, GENESIS)
