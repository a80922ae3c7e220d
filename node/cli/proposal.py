"""A change of the chain on its way through several organisations: a file that each approves.

The file is for people and programs alike: it says in words what is proposed, and holds the bytes
that are signed. Both must say the same: a file is read only if writing it again gives every byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from gettext import gettext as _
from pathlib import Path
from typing import Any, Final, assert_never

from node.chain.encoding import decode, encode
from node.chain.genesis import Genesis, Identity
from node.chain.governance import (
    AddOrganisation,
    AddValidator,
    Approval,
    Governance,
    Operation,
    RegisterIdentity,
    RemoveValidator,
    SetEndpoint,
    SetParameters,
)
from node.chain.identity import (
    ChangeStatus,
    EnrolIdentity,
    RotateIdentity,
    SetAuthorities,
    Status,
    Subject,
)
from node.chain.policy import SetRule
from node.chain.quota import SetQuota
from node.cli.kinds import INTRODUCTION, PROPOSAL, PROPOSAL_FORMAT, Kind, expect_kind
from node.cli.rules import describe_quota, describe_rule, tell_operation, tell_quota, tell_rule
from node.cli.verb import CommandError
from node.config import Address
from node.crypto.member_certificate import encode_authority_pem
from node.crypto.signature import Signer
from node.errors import ConfigError, DecodeError, NodeError
from node.limits import TX_BYTES_MAX
from node.operations.introduction import INTRODUCTION_BYTES_MAX, Introduction
from node.rpc.connection import LedgerEndpoint
from node.timestamp.receipt import iso_time

FILE_BYTES_MAX: Final = 4 * TX_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Guest:
    """Where clients reach a node that is to join, and who certifies it.

    Nobody approves of this: it serves to ask the node for its statement, which vouches for itself.
    """

    node_id: str
    address: Address
    authority_pem: str

    @property
    def endpoint(self) -> LedgerEndpoint:
        """Return it as a client reaches it, its own authority alone believed."""
        return LedgerEndpoint(self.node_id, str(self.address), self.authority_pem.encode())

    def to_table(self) -> dict[str, str]:
        """Return the members of a JSON object."""
        clients_at, authority = str(self.address), self.authority_pem
        return {"node": self.node_id, "clients_at": clients_at, "authority": authority}


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed, for which chain, and who approves of it so far."""

    chain_id: bytes
    governance: Governance
    """Without evidence: that is gathered at the end, as it does not stay fresh."""
    guests: tuple[Guest, ...] = ()
    """Nodes that it is about and that profiles do not name yet."""

    def encode(self) -> bytes:
        """Return the content of the file."""
        governance = self.governance
        content = {
            "format": PROPOSAL_FORMAT,
            "chain_id": self.chain_id.hex(),
            "epoch": governance.epoch,
            "not_after": iso_time(governance.not_after_ms),
            "operations": [describe(operation) for operation in governance.operations],
            "approved_by": [approval.identity_id for approval in governance.approvals],
            "guests": [guest.to_table() for guest in self.guests],
            "governance": encode(governance.to_value()).hex(),
        }
        return json.dumps(content, ensure_ascii=False, indent=2).encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Proposal:
        """Read a file; raises `DecodeError` where words and bytes differ."""
        try:
            content = json.loads(data)
            chain_id = bytes.fromhex(content["chain_id"])
            encoded = bytes.fromhex(content["governance"])
            guests = tuple(_read_guest(table) for table in content["guests"])
        except (ValueError, KeyError, TypeError, RecursionError, NodeError) as error:
            message = f"proposal: not of format {PROPOSAL_FORMAT}: {error!r:.80}"
            raise DecodeError(message) from error
        value = decode(encoded, what="proposal", size_max=TX_BYTES_MAX)
        proposal = cls(chain_id, Governance.from_value(value), guests)
        if proposal.governance.evidence or proposal.encode() != data:
            raise DecodeError("proposal: what it says is not what would be signed, or not whole")
        return proposal

    def approve(self, identity_id: str, signer: Signer) -> Proposal:
        """Return it with one more approval."""
        governance = self.governance
        signature = signer.sign(governance.approval_bytes(self.chain_id))
        approvals = (*governance.approvals, Approval(identity_id, signature))
        return replace(self, governance=replace(governance, approvals=approvals))

    @property
    def approved_by(self) -> list[str]:
        """Return the identities that approve."""
        return [approval.identity_id for approval in self.governance.approvals]


def _read_guest(table: Mapping[str, str]) -> Guest:
    authority = encode_authority_pem(table["authority"].encode())
    return Guest(table["node"], Address.parse(table["clients_at"]), authority.decode())


def read_proposal(path: Path) -> Proposal:
    """Read a proposal; raises `CommandError` where the file is none."""
    data = _read_sent(path, FILE_BYTES_MAX, PROPOSAL, "GC-2322")
    try:
        return Proposal.decode(data)
    except DecodeError as error:
        raise CommandError("GC-2322", f"{path}: {error}") from error


def read_introduction(path: Path, genesis: Genesis) -> Introduction:
    """Read how a node introduces itself to this chain; raises `CommandError` or `ConfigError`."""
    data = _read_sent(path, INTRODUCTION_BYTES_MAX, INTRODUCTION, "GC-2324")
    try:
        return Introduction.decode(data, genesis)
    except ConfigError as error:
        raise CommandError("GC-2324", f"{path}: {error}") from error


def _read_sent(path: Path, size_max: int, kind: Kind, code: str) -> bytes:
    """Read a file that came from elsewhere; a pipe is none, and would keep us waiting."""
    try:
        if not path.is_file():
            raise CommandError(code, _("{path}: not a file").format(path=path))
        with path.open("rb") as file:
            data = file.read(size_max + 1)
    except OSError as error:
        raise CommandError(code, f"{path}: {error.strerror}") from error
    expect_kind(path, data, kind, code=code)
    if len(data) > size_max:
        message = _("{path}: expected at most {bytes} bytes")
        raise CommandError(code, message.format(path=path, bytes=size_max))
    return data


def _identity_facts(identity: Identity) -> dict[str, Any]:
    return {
        "identity": identity.identity_id,
        "organisation": identity.organisation,
        "role": identity.role.name.lower(),
        "public_key": identity.public_key.hex(),
        "not_before_ms": identity.not_before_ms,
        "not_after_ms": identity.not_after_ms,
    }


def describe(operation: Operation) -> dict[str, Any]:  # noqa: PLR0911 - one per operation
    """Return an operation as the members of a JSON object."""
    match operation:
        case AddOrganisation(organisation):
            return {
                "operation": "add-organisation",
                "organisation": organisation.organisation_id,
                "name": organisation.name,
                "ca_sha256": hashlib.sha256(organisation.ca_certificate).hexdigest(),
            }
        case RegisterIdentity(identity):
            return {"operation": "register-identity", **_identity_facts(identity)}
        case EnrolIdentity(identity, certificate):
            return {
                "operation": "enrol-identity",
                **_identity_facts(identity),
                "certificate_sha256": hashlib.sha256(certificate).hexdigest(),
            }
        case RotateIdentity(identity_id, certificate, public_key, overlap_ms, reason):
            return {
                "operation": "rotate-identity",
                "identity": identity_id,
                "certificate_sha256": hashlib.sha256(certificate).hexdigest(),
                "public_key": None if public_key is None else public_key.hex(),
                "overlap_ms": overlap_ms,
                "reason": reason,
            }
        case AddValidator(validator):
            return {
                "operation": "add-validator",
                "validator": validator.validator_id,
                "organisation": validator.organisation,
                "vote_key": validator.vote_key.hex(),
                "cosignature_key": validator.cosignature_key.hex(),
                "bls_key": None
                if validator.aggregate_key is None
                else validator.aggregate_key.key.hex(),
            }
        case RemoveValidator(validator_id):
            return {"operation": "remove-validator", "validator": validator_id}
        case SetParameters(parameters):
            names = parameters.__dataclass_fields__
            values = {name: getattr(parameters, name) for name in names}
            return {"operation": "set-parameters", "parameters": values}
        case SetEndpoint(node_id, endpoint):
            return {"operation": "set-endpoint", "node": node_id, "address": str(endpoint)}
        case _:
            return _describe_rights(operation)


def _describe_rights(
    operation: ChangeStatus | SetAuthorities | SetQuota | SetRule,
) -> dict[str, Any]:
    match operation:
        case ChangeStatus(subject, name, status, reason):
            return {
                "operation": "change-status",
                subject.name.lower(): name,
                "status": status.name.lower(),
                "reason": reason,
            }
        case SetAuthorities(organisation_id, authorities, reason):
            return {
                "operation": "set-authorities",
                "organisation": organisation_id,
                "ca_sha256": [hashlib.sha256(each).hexdigest() for each in authorities],
                "reason": reason,
            }
        case SetQuota(organisation_id, quota):
            return {
                "operation": "set-quota",
                "organisation": organisation_id,
                "quota": describe_quota(quota),
            }
        case SetRule(name, rule):
            described = None if rule is None else describe_rule(rule)
            return {"operation": "set-rule", "of": name, "rule": described}
        case _:
            assert_never(operation)


def sentences(operations: Sequence[Operation]) -> list[str]:
    """Return what operations do, in the user's language, one line each."""
    return [_sentence(operation) for operation in operations]


def _sentence(operation: Operation) -> str:
    match operation:
        case AddOrganisation():
            text = _("admit organisation {organisation}; SHA-256 of its CA: {ca_sha256}")
        case RegisterIdentity():
            text = _("register {role} {identity} of {organisation}, key {public_key}")
        case AddValidator():
            text = _("add validator {validator} of {organisation}, vote key {vote_key}")
        case RemoveValidator():
            text = _("remove validator {validator}")
        case SetParameters():
            text = _("set the parameters to {parameters}")
        case SetEndpoint():
            text = _("note that {node} listens for peers at {address}")
        case _:
            return _sentence_of_rights(operation)
    facts = describe(operation)
    if isinstance(operation, SetParameters):  # as `parameters set` takes them
        values = facts["parameters"].items()
        facts["parameters"] = ", ".join(f"{name}={value}" for name, value in values)
    return text.format(**facts)


def _sentence_of_rights(
    operation: ChangeStatus | EnrolIdentity | RotateIdentity | SetAuthorities | SetRule | SetQuota,
) -> str:
    facts = describe(operation)
    match operation:
        case ChangeStatus(subject, name, status, reason):
            return f"{_change_texts()[subject, status].format(name=name)}{_because(reason)}"
        case EnrolIdentity():
            text = _(
                "register {role} {identity} of {organisation}, key {public_key}, certificate "
                "(SHA-256) {certificate_sha256}"
            )
            return text.format(**facts)
        case RotateIdentity(reason=reason):
            text = _("give {identity} the certificate (SHA-256) {certificate_sha256}")
            if operation.public_key is not None:
                text += _(", and the key {public_key} for its transactions")
            return f"{text.format(**facts)}{_because(reason)}"
        case SetAuthorities(reason=reason):
            text = _("have members of {organisation} certified by the CAs (SHA-256) {ca_sha256}")
            listed = ", ".join(facts["ca_sha256"])
            named = text.format(organisation=operation.organisation_id, ca_sha256=listed)
            return f"{named}{_because(reason)}"
        case SetQuota(organisation_id, quota):
            return tell_quota(organisation_id, quota)
        case SetRule(name, rule):
            if rule is not None:
                return _("from now on: {rule}").format(rule=tell_rule(name, rule))
            return _("have the default rule decide again: {what}").format(what=tell_operation(name))
        case _:
            assert_never(operation)


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _change_texts() -> dict[tuple[Subject, Status], str]:
    return {
        (Subject.IDENTITY, Status.FROZEN): _("freeze identity {name}"),
        (Subject.IDENTITY, Status.ACTIVE): _("unfreeze identity {name}"),
        (Subject.IDENTITY, Status.REVOKED): _("revoke identity {name}, for good"),
        (Subject.ORGANISATION, Status.FROZEN): _("freeze organisation {name} and all of its own"),
        (Subject.ORGANISATION, Status.ACTIVE): _("unfreeze organisation {name}"),
        (Subject.ORGANISATION, Status.REVOKED): _(
            "revoke organisation {name} and all of its own, for good"
        ),
    }
