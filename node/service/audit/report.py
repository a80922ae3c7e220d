"""What an auditor found, in a file that the auditor signed: made, read and verified. No IO.

JSON, because people read it. Signed are the bytes of the member `report` written with sorted names,
no spaces and no escapes beyond those that JSON needs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from node.chain.genesis import Genesis
from node.crypto import domains
from node.crypto.signature import Signer
from node.errors import DecodeError, ProofError

REPORT_FORMAT: Final = "govchain-audit-report"
REPORT_BYTES_MAX: Final = 4_194_304
_VERSION: Final = 1


class AuditorUnknownError(Exception):
    """The genesis does not name who signed: nothing is known to be wrong with the report."""


def sign_report(report: Mapping[str, Any], signer: Signer) -> bytes:
    """Return the file of a report, signed. Its members are JSON; `auditor` names who signs."""
    signature = signer.sign(_signed_bytes(report))
    fields = {
        "format": REPORT_FORMAT,
        "version": _VERSION,
        "report": report,
        "signature": base64.b64encode(signature).decode("ascii"),
    }
    return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()


def verify_report(data: bytes, genesis: Genesis) -> dict[str, Any]:
    """Return a report that an identity of the genesis signed.

    Raises `DecodeError` for what is no such file, `ProofError` (`report-chain`, `report-signature`)
    where it is of another chain or not signed by whom it names, and `AuditorUnknownError` where the
    genesis does not hold that identity.
    """
    report, signature = _read(data)
    if report.get("chain_id") != genesis.chain_id.hex():
        raise ProofError("report-chain", f"expected chain {genesis.chain_id.hex()}")
    auditor = report.get("auditor")
    for identity in genesis.identities:
        if identity.identity_id == auditor:
            break
    else:
        raise AuditorUnknownError(f"the genesis does not name {auditor!r:.80}")
    key = genesis.suite.load_public_key(identity.public_key)
    if not key.verify(_signed_bytes(report), signature):
        raise ProofError("report-signature", f"it is not that of {auditor}")
    return report


def _read(data: bytes) -> tuple[dict[str, Any], bytes]:
    if len(data) > REPORT_BYTES_MAX:
        raise DecodeError(f"audit report: expected at most {REPORT_BYTES_MAX} bytes")
    try:
        fields = json.loads(data.decode("utf-8"), object_pairs_hook=_distinct)
        report, signature = fields["report"], base64.b64decode(fields["signature"], validate=True)
        if sorted(fields) != ["format", "report", "signature", "version"]:
            raise DecodeError("audit report: expected format, version, report and signature")
        told = (fields["format"], fields["version"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DecodeError(f"audit report: {error!r:.200}") from error
    if told != (REPORT_FORMAT, _VERSION) or not isinstance(report, dict):
        raise DecodeError(f"audit report: expected {REPORT_FORMAT!r} of version {_VERSION}")
    return report, signature


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name occurs twice")
    return fields


def _signed_bytes(report: Mapping[str, Any]) -> bytes:
    text = json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return domains.tagged(domains.AUDIT_REPORT, text.encode())
