"""Disclosures verified and told: fields, masked as a policy says, and what their receipt proves."""

from __future__ import annotations

from collections.abc import Sequence
from gettext import gettext as _
from pathlib import Path
from typing import Any

from node.cli.inputs import open_file
from node.cli.kinds import DISCLOSURE, expect_kind
from node.cli.network import Network
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError
from node.cli.verdict import fault_of_receipt, tell_verdict
from node.cli.wording import describe_verdict
from node.crypto.signature import P256PublicKey
from node.disclosure.fields import FieldPath, FieldValue, path_text
from node.disclosure.masking import MaskingPolicy
from node.disclosure.opening import Opening
from node.disclosure.proof import DISCLOSURE_BYTES_MAX, Disclosure, ProvenFields, check_fields
from node.disclosure.sd_jwt import build_sd_jwt
from node.errors import DecodeError, NodeError, ProofError
from node.timestamp.opening import digest_algorithm_of, open_receipt
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt

_Shown = Sequence[tuple[FieldPath, FieldValue]]


def verify_file(
    screen: Screen, path: Path, anchor: TrustAnchor, policy: MaskingPolicy | None, *, now_ms: int
) -> Answer:
    """Verify a disclosure and tell it: fields, then what the receipt of their commitment proves."""
    try:
        with open_file(path) as file:
            data = file.read(DISCLOSURE_BYTES_MAX + 1)
    except OSError as error:
        raise CommandError("GC-2301", f"{path}: {error.strerror}") from error
    expect_kind(path, data, DISCLOSURE)
    try:
        disclosure = Disclosure.decode(data)
        proven = check_fields(disclosure)
    except (DecodeError, ProofError) as error:
        screen.line(_("NOT VERIFIED  {path}").format(path=path), style="red")
        fault = Fault("GC-2610", str(error), _("get it again from who disclosed it"))
        return Answer(
            {"proof": str(path), "format": "disclosure", "verdict": "not verified"}, fault
        )
    digest = _digest_of(disclosure.receipt, proven.encoded)
    verdict = verify_receipt(disclosure.receipt, anchor, digest, now_ms=now_ms)
    tell_verdict(screen, str(path), verdict)
    is_proven = verdict.outcome is Outcome.VERIFIED
    if is_proven:
        _tell_proven(screen, proven, policy)
    facts = {
        "proof": str(path),
        "format": "disclosure",
        **describe_verdict(verdict),
        "of": proven.statement.count,
        "fields": describe_fields(proven.fields, policy) if is_proven else [],
    }
    return Answer(facts, fault_of_receipt(verdict))


def expect_receipt_of(path: Path, receipt: bytes, statement: bytes) -> None:
    """Raise `CommandError` where a receipt is of something else than this commitment."""
    try:
        record = open_receipt(receipt).receipt.leaf.record
        digest = _digest_of(receipt, statement)
    except NodeError as error:
        raise CommandError("GC-1001", f"{path}: {error}") from error
    if (record.digest_algorithm, record.digest) != (digest.algorithm.digest_id, digest.value):
        message = _("{path} is the receipt of something else than this record's commitment")
        fix = _("name the one that govchain disclose commit wrote beside it")
        raise CommandError("GC-2610", message.format(path=path), fix)


def sd_jwt_of(
    network: Network, opening: Opening, paths: list[FieldPath], receipt: bytes, *, issued_s: int
) -> str:
    """Return an SD-JWT signed by the own identity; raises `CommandError` where its key is none.

    It names the chain, and the record by which the commitment was notarized.
    """
    if not network.suite.has_public_forms:
        message = _("an SD-JWT is signed by ECDSA, and this identity by SM2")
        fix = _("prove the fields to whoever can verify offline: govchain disclose prove")
        raise CommandError("GC-2340", message, fix)
    leaf = open_receipt(receipt).receipt.leaf
    claims = {
        "iss": f"urn:govchain:{network.profile.chain_id.hex()}:{network.identity}",
        "iat": issued_s,
        "govchain": {
            "statement": opening.statement.encode().hex(),
            "transaction": leaf.tx_id.hex(),
            "operation": leaf.operation_index,
        },
    }
    signer = network.signer
    key = P256PublicKey.decode(signer.public_key.encoded)
    return build_sd_jwt(opening, paths, claims, key, signer.sign)


def tell_fields(screen: Screen, shown: _Shown, policy: MaskingPolicy | None) -> None:
    """Say fields as a table."""
    rows = [(path_text(path), shown_value(path, value, policy)) for path, value in shown]
    screen.table((_("field"), _("value")), rows)


def describe_fields(shown: _Shown, policy: MaskingPolicy | None) -> list[dict[str, Any]]:
    """Return fields as JSON members; a value that the policy changes is text."""
    found = []
    for path, value in shown:
        text = shown_value(path, value, policy)
        is_masked = text != _plain(value)
        found.append(
            {
                "path": path_text(path),
                "value": text if is_masked else value,
                "masked": is_masked,
            }
        )
    return found


def shown_value(path: FieldPath, value: FieldValue, policy: MaskingPolicy | None) -> str:
    """Return what a display shows of a value; all of it where there is no policy."""
    text = _plain(value)
    return text if policy is None else policy.mask_field(path, text)


def _plain(value: FieldValue) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _tell_proven(screen: Screen, proven: ProvenFields, policy: MaskingPolicy | None) -> None:
    said = _("of the {count} fields committed to, these are shown; of the others nothing is known:")
    screen.line("  " + said.format(count=proven.statement.count))
    tell_fields(screen, proven.fields, policy)
    if policy is not None and any(
        each["masked"] for each in describe_fields(proven.fields, policy)
    ):
        screen.line("  " + _("values are masked here; --clear shows them as they were proved"))


def _digest_of(receipt: bytes, statement: bytes) -> NamedDigest:
    """Return the digest of a statement by the algorithm that a receipt's record has."""
    algorithm = digest_algorithm_of(receipt)
    return NamedDigest(algorithm, algorithm.new_hash(statement).digest())
