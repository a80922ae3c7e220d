"""What an auditor found, in a file that the auditor signed: made, read and verified. No IO.

JSON, because people read it. Signed are the bytes of the member `report` written with sorted names,
no spaces and no escapes beyond those that JSON needs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from node.chain.genesis import Genesis
from node.crypto import domains
from node.crypto.signature import Signer
from node.errors import DecodeError, ProofError

REPORT_FORMAT: Final = "govchain-audit-report"
REPORT_BYTES_MAX: Final = 4_194_304
_VERSION: Final = 1
_NUMBER_DIGITS_MAX: Final = 20
_DEPTH_MAX: Final = 4
"""Of what was found: what writes it again, to check the signature, recurses."""


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
    fields = _parse(data)
    if not isinstance(fields, dict):
        raise DecodeError("audit report: expected an object")
    if sorted(fields) != ["format", "report", "signature", "version"]:
        raise DecodeError("audit report: expected format, version, report and signature")
    if (fields["format"], fields["version"]) != (REPORT_FORMAT, _VERSION):
        raise DecodeError(f"audit report: expected {REPORT_FORMAT!r} of version {_VERSION}")
    return _check_members(fields["report"]), _read_signature(fields["signature"])


def _parse(data: bytes) -> object:
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_int=_whole_number,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except RecursionError as error:
        raise DecodeError("audit report: expected JSON that is not nested as deep") from error
    except ValueError as error:
        raise DecodeError("audit report: expected JSON, as govchain audit run wrote it") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise DecodeError("audit report: a name occurs twice")
    return fields


def _whole_number(text: str) -> int:
    return int(text) if len(text) <= _NUMBER_DIGITS_MAX else _refuse_number(text)


def _refuse_number(text: str) -> NoReturn:
    raise DecodeError(f"audit report: expected whole numbers, got {text:.20}")


def _check_members(report: object) -> dict[str, Any]:
    """Return what was found, all of which can be written again."""
    if not isinstance(report, dict):
        raise DecodeError("audit report: report: expected an object")
    _check_depth(report, _DEPTH_MAX)
    try:
        _signed_bytes(report)
    except UnicodeEncodeError as error:
        raise DecodeError("audit report: report: expected texts that can be written") from error
    return report


def _check_depth(value: object, depth: int) -> None:
    if isinstance(value, dict | list) and not depth:
        raise DecodeError("audit report: expected JSON that is not nested as deep")
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in held:
        _check_depth(each, depth - 1)


def _read_signature(text: object) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "=", validate=True)
    except ValueError as error:
        raise DecodeError("audit report: signature: expected base64") from error


def _signed_bytes(report: Mapping[str, Any]) -> bytes:
    text = json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return domains.tagged(domains.AUDIT_REPORT, text.encode())
