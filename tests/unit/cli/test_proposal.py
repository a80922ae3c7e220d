"""A proposal on its way: it reads back as written, and not otherwise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.genesis import Organisation, Parameters, Role
from node.chain.governance import (
    AddOrganisation,
    Endpoint,
    Governance,
    Operation,
    RegisterIdentity,
    RemoveValidator,
    SetEndpoint,
    SetParameters,
)
from node.cli.proposal import FILE_BYTES_MAX, Guest, Proposal, describe, read_proposal, sentences
from node.cli.verb import CommandError
from node.config import Address
from node.crypto.member_certificate import encode_authority_pem
from tests.unit.execution.governed_chain import GOVERNED, adding, statement
from tests.unit.execution.small_chain import SmallChain, identity, signer
from tests.unit.rpc.pki import shared_pki

EVERY_KIND: tuple[Operation, ...] = (
    AddOrganisation(Organisation(organisation_id="org-5", name="市", ca_certificate=b"ca")),
    RegisterIdentity(identity("validator-5", Role.VALIDATOR)),
    adding("validator-5"),
    RemoveValidator("validator-4"),
    SetParameters(Parameters(checkpoint_blocks=7)),
    SetEndpoint("validator-5", Endpoint("::1", 7_100)),
)


def proposed(*operations: Operation) -> Proposal:
    governance = Governance(
        epoch=3,
        not_after_ms=1_800_000_000_000,
        nonce=bytes(16),
        operations=operations or EVERY_KIND,
    )
    return Proposal(GOVERNED.chain_id, governance)


def test_it_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    proposal = (
        proposed().approve("admin-1", signer("admin-1")).approve("admin-2", signer("admin-2"))
    )
    path.write_bytes(proposal.encode())
    assert read_proposal(path) == proposal
    assert proposal.approved_by == ["admin-1", "admin-2"]
    said = json.loads(path.read_text(encoding="utf-8"))
    assert said["approved_by"] == ["admin-1", "admin-2"]
    assert said["operations"] == [describe(operation) for operation in EVERY_KIND]


def test_where_a_guest_is_reached_goes_with_it_and_is_not_what_is_approved(tmp_path: Path) -> None:
    authority = shared_pki().authorities["org-2"].certificate
    guest = Guest("city", Address("::1", 7_101), encode_authority_pem(authority).decode())
    path = tmp_path / "step.json"
    proposal = replace(proposed(), guests=(guest,))
    path.write_bytes(proposal.encode())
    assert read_proposal(path) == proposal
    assert guest.endpoint.address == "[::1]:7101"
    alone = proposed()
    approved = alone.approve("admin-1", signer("admin-1")).governance
    assert proposal.governance == alone.governance
    assert proposal.approve("admin-1", signer("admin-1")).governance.approval_bytes(
        proposal.chain_id
    ) == approved.approval_bytes(alone.chain_id)
    path.write_bytes(proposal.encode().replace(b"[::1]:7101", b"::1:7101"))
    with pytest.raises(CommandError, match="expected host:port"):
        read_proposal(path)


def test_an_approval_is_over_what_the_chain_will_check() -> None:
    (approval,) = proposed().approve("admin-1", signer("admin-1")).governance.approvals
    message = proposed().governance.approval_bytes(GOVERNED.chain_id)
    assert signer("admin-1").public_key.verify(message, approval.signature)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("validator-4", "validator-3"),  # the words
        ('"epoch": 3', '"epoch": 4'),
        ("govchain-proposal-3", "govchain-proposal-4"),
        ('  "epoch"', '  "note": "harmless",\n  "epoch"'),
        ("}\n", "}"),
        ('"governance": "87', '"governance": "86'),
    ],
)
def test_a_file_that_was_changed_is_refused(tmp_path: Path, old: str, new: str) -> None:
    text = proposed().encode().decode()
    assert old in text
    path = tmp_path / "step.json"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(CommandError) as raised:
        read_proposal(path)
    assert raised.value.code == "GC-2322"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b" " * (FILE_BYTES_MAX + 1)]
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "step.json"
    path.write_bytes(content)
    with pytest.raises(CommandError) as raised:
        read_proposal(path)
    assert raised.value.code == "GC-2322"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CommandError, match="not a file"):
            read_proposal(path)


def test_evidence_does_not_travel(tmp_path: Path) -> None:
    evidence = (statement("validator-1", SmallChain(GOVERNED).state.header),)
    payload = Governance(
        epoch=3,
        not_after_ms=1_800_000_000_000,
        nonce=bytes(16),
        operations=EVERY_KIND,
        evidence=evidence,
    )
    path = tmp_path / "step.json"
    path.write_bytes(Proposal(GOVERNED.chain_id, payload).encode())
    with pytest.raises(CommandError, match="not what would be signed"):
        read_proposal(path)


def test_every_kind_of_operation_is_told_in_words() -> None:
    told = sentences(EVERY_KIND)
    assert len(set(told)) == len(EVERY_KIND)
    assert "org-5" in told[0]
    assert "remove validator validator-4" in told[3]
    assert "checkpoint_blocks=7, rotation_blocks=1000" in told[4]  # as parameters set takes them
    assert "[::1]:7100" in told[5]
