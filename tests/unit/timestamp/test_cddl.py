"""proto/govchain.cddl says what the code writes, and nothing wider than the code reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
from msgspec.structs import replace as replace_struct

from node.chain.authorisation import Authorised, Terms, Uses
from node.chain.block import (
    CertifiedBlock,
    CertifiedHeader,
    Header,
    ResultCode,
    TransactionResult,
    checkpoint_of,
)
from node.chain.certificate import QuorumCertificate, Vote
from node.chain.encoding import decode, encode
from node.chain.evidence import Evidence
from node.chain.genesis import Genesis, Identity, Organisation, Parameters, Role
from node.chain.governance import (
    AddOrganisation,
    AddValidator,
    Approval,
    CheckpointStatement,
    Endpoint,
    Governance,
    RegisterIdentity,
    RemoveValidator,
    SetEndpoint,
    SetParameters,
    possession_bytes,
)
from node.chain.identity import (
    AcceptedCertificate,
    AcceptedCertificates,
    ChangeStatus,
    EnrolIdentity,
    Event,
    Roll,
    RotateIdentity,
    SetAuthorities,
    Status,
    StatusEntry,
    Subject,
    decode_authorities,
    encode_authorities,
)
from node.chain.membership import AggregateKey, ValidatorSet
from node.chain.policy import OPERATIONS, Measure, Rule, Scope, SetRule
from node.chain.quota import Quota, SetQuota
from node.chain.record import Notarization, Record, RecordAction, RecordLeaf
from node.chain.reference import ReferenceName, ReferenceStatus, Standing, reference_key
from node.chain.state_tree import StateProof
from node.chain.transaction import (
    Transaction,
    TransactionBody,
    TransactionKind,
    sign_transaction,
)
from node.chain.vault import (
    Authorise,
    Content,
    EncryptionKey,
    Grant,
    Keep,
    RegisterKey,
    Revoke,
    Rotate,
    Secret,
    Shred,
    Use,
    Vault,
    VaultDocument,
    VaultGrant,
    VaultKeys,
    VaultStanding,
    Wrap,
    vault_document_key,
    vault_keys_key,
)
from node.crypto.suite import INTERNATIONAL, SHA_384, SHA_512
from node.disclosure.fields import FieldsStatement, Salt, flatten
from node.disclosure.opening import Opening
from node.disclosure.proof import Disclosure, disclose
from node.disclosure.watermark import Watermark
from node.errors import DecodeError
from node.execution.registry import (
    ROLL_KEY,
    EpochStart,
    StateKind,
    authorities_key,
    carried_out_key,
    certificates_key,
    endpoint_key,
    epoch_start_key,
    genesis_state,
    quota_key,
    retired_key_key,
    retired_validator_key,
    rule_key,
    status_key,
    trail_key,
)
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.history import Handover
from node.timestamp.outside.anchor import Anchor, AnchoredCheckpoint
from node.timestamp.receipt import Receipt
from node.timestamp.refreshed import RefreshedReceipt
from node.timestamp.standing import StandingProof
from node.timestamp.state_value import StateValueProof
from tests.unit.consensus.signing import evidence_against
from tests.unit.disclosure.test_watermark import MARK
from tests.unit.timestamp.cddl import Schema
from tests.vectors.receipt.chain import AGENCY, SUITE, Chain, record_of, seed, signer, validator_set
from tests.vectors.standing.chain import (
    StandingChain,
    absent_beside_another,
    name_of,
    record_under,
)

SCHEMA = Schema((Path(__file__).parents[3] / "proto" / "govchain.cddl").read_text())


def nested(read: Callable[[object], object]) -> Callable[[bytes], object]:
    return lambda data: read(decode(data, what="value", size_max=2**20))


def renewed(status: ReferenceStatus) -> ReferenceStatus:
    return replace_struct(status, standing=Standing.RENEWED, withdrawn_index=status.log_index - 1)


def with_long_digests(
    payload: Notarization, status: ReferenceStatus, record: Record
) -> Iterator[tuple[str, bytes, Callable[[bytes], object]]]:
    """Yield the structures that hold document digests with those of 48 and of 64 bytes."""
    for algorithm in (SHA_384, SHA_512):
        digest = algorithm.new_hash(b"document").digest()
        fields = {"digest_algorithm": algorithm.digest_id, "digest": digest}
        columns = replace_struct(payload, digest_algorithm=algorithm.digest_id, digests=digest * 2)
        yield "notarization", encode(columns.to_value()), nested(Notarization.from_value)
        stated = replace_struct(record, **fields)
        yield "record", encode(stated.to_value()), nested(Record.from_value)
        yield "reference-status", replace_struct(status, **fields).encode(), ReferenceStatus.decode
        again = replace_struct(renewed(status), **fields)
        yield "reference-status", again.encode(), ReferenceStatus.decode


def state_value_samples(
    *proofs: StandingProof,
) -> Iterator[tuple[str, bytes, Callable[[bytes], object]]]:
    """Yield what proves a standing as what proves any value."""
    for each in proofs:
        value = StateValueProof(
            suite=each.suite,
            key=each.name.key,
            value=None if each.status is None else each.status.encode(),
            proof=each.proof,
            block=each.block,
            handovers=each.handovers,
        )
        yield "state-value-proof", value.encode(), StateValueProof.decode


def a_tombstone() -> VaultDocument:
    return VaultDocument(
        standing=VaultStanding.SHREDDED,
        owner="agency-1",
        organisation="org-1",
        version=1,
        content=None,
        changes=2,
        height=3,
        time_ms=4,
        ordered_by="agency-2",
        grants=(),
        reason=seed("decision"),
    )


def disclosure_samples() -> Iterator[tuple[str, bytes, Callable[[bytes], object]]]:
    """Yield samples of what is disclosed: an opening with a field erased, what is notarized."""
    fields = flatten({"name": "张三", "age": -7, "married": True, "note": None})
    opening = Opening.begin(fields, INTERNATIONAL, lambda size: bytes(range(size)))
    yield "fields-statement", opening.statement.encode(), FieldsStatement.decode
    salted = [
        replace(entry, salt=Salt(bytes((number,)) * 16))
        for number, entry in enumerate(opening.fields)
    ]
    opening = Opening(INTERNATIONAL, tuple(salted))
    yield "fields-opening", opening.erased([("name",)]).encode(), Opening.decode
    shown = disclose(opening, [("age",), ("note",)], b"receipt")
    yield "disclosure", shown.encode(), Disclosure.decode
    yield "watermark-statement", MARK.encode(), Watermark.decode


TERMS = Terms(purpose="年检", fields=("name", "id"), not_after_ms=2**64 - 1, basis=seed("consent"))


def vault_samples(body: TransactionBody) -> Iterator[tuple[str, bytes, Callable[[bytes], object]]]:
    """Yield samples of the vault: every operation, and what the state holds."""
    content = Content(envelope=1, size_bytes=68_719_476_736, root=seed("root"))
    wraps = (Wrap("agency-1", 1, seed("wrap")), Wrap("审计-1", 2, seed("wrap 2")))
    document_id = seed("document")[:16]
    operations = (
        RegisterKey(1, seed("key")),
        Keep(document_id, content, wraps),
        Grant(document_id, 1, wraps),
        Revoke(document_id, ("agency-1", "审计-1")),
        Rotate(document_id, 2, content, wraps),
        Shred(document_id, None),
        Shred(document_id, seed("decision")),
        Authorise(document_id, 1, wraps[0], TERMS),
        Authorise(document_id, 1, wraps[1], replace(TERMS, fields=(), basis=None)),
        Use(document_id, 2**64 - 1),
    )
    for operation in operations:
        payload = Vault(operation)
        yield "vault", encode(payload.to_value()), nested(Vault.from_value)
        keeping = replace_struct(body, kind=TransactionKind.VAULT, payload=payload)
        yield "tx-body", keeping.encode(), TransactionBody.decode
    document = replace(
        a_tombstone(),
        standing=VaultStanding.KEPT,
        content=content,
        grants=tuple(VaultGrant(wrap, "org-1", 3) for wrap in wraps),
        reason=None,
    )
    for secret in (Secret(seed("key"), "决定.pdf"), Secret(seed("key"), "")):
        yield "vault-secret", secret.encode(), lambda data: Secret.decode(data, 32)
    keys = VaultKeys((EncryptionKey("agency-1", 1, seed("key"), 3),))
    yield "vault-document", document.encode(), VaultDocument.decode
    first, *others = document.grants
    under_terms = replace(first, authorised=Authorised(TERMS, Uses(2, 7, 1_700_000_000_000)))
    document = replace(document, grants=(under_terms, *others))
    yield "vault-document", document.encode(), VaultDocument.decode
    yield "vault-document", a_tombstone().encode(), VaultDocument.decode
    yield "vault-keys", keys.encode(), VaultKeys.decode


NAMED_RULE = Rule(
    scope=Scope.NAMED,
    organisations=("org-1", "org-2"),
    roles=(Role.AUDITOR, Role.ADMIN),
    measure=Measure.FRACTION,
    numerator=2,
    denominator=3,
)
ENTRY = StatusEntry(
    status=Status.FROZEN,
    event=Event.FROZEN,
    reason="印章遗失",
    height=7,
    time_ms=8,
    tx_id=seed("tx"),
    changes=1,
)
ACCEPTED = AcceptedCertificates(
    (AcceptedCertificate(seed("new"), 9), AcceptedCertificate(seed("old"), 2**64 - 1)),
    7,
)


def samples() -> list[tuple[str, bytes, Callable[[bytes], object]]]:
    """Return (rule, encoding, decoder) of every structure the code can read."""
    chain = Chain.found()
    chain.append(record_of(b"1"))
    chain.append(record_of(b"2", reference=None), next_set=validator_set(1, (1, 2, 3, 4, 5)))
    receipt = chain.receipt(chain.append(record_of(b"3", action=RecordAction.SUPERSEDE)))
    block = chain.blocks[-1]
    vote = block.certificate.expand()[0]
    columns = Notarization(
        digest_algorithm=1,
        type_code="证照",
        action=RecordAction.RECORD,
        digests=seed("one") + seed("two"),
        references=(None, "粤2025"),
    )
    body = TransactionBody(
        chain_id=chain.genesis.chain_id,
        sender=AGENCY,
        nonce=seed("nonce")[:16],
        not_after_ms=2**64 - 1,
        kind=TransactionKind.NOTARIZE,
        payload=columns,
    )
    transaction = sign_transaction(body, signer(AGENCY), SUITE)
    certified = CertifiedBlock(block.header, (transaction, transaction), block.certificate)
    result = TransactionResult(
        tx_id=transaction.tx_id,
        code=ResultCode.REFERENCE_MISSING,
        operation_index=1,
        log_index=9,
    )
    status = ReferenceStatus(
        standing=Standing.WITHDRAWN,
        version=2,
        height=3,
        time_ms=4,
        log_index=5,
        digest_algorithm=1,
        digest=seed("one"),
    )
    genesis, size = chain.genesis, SUITE.signature_size
    joining = genesis.validators.validators[0]
    governance = Governance(
        epoch=3,
        not_after_ms=1,
        nonce=bytes(16),
        operations=(
            AddOrganisation(genesis.organisations[0]),
            RegisterIdentity(genesis.identities[0]),
            AddValidator(joining, seed("possession")),
            RemoveValidator("validator-1"),
            SetParameters(genesis.parameters),
            SetEndpoint("validator-9", Endpoint("例子.cn", 7_000)),
            ChangeStatus(Subject.ORGANISATION, "org-1", Status.FROZEN, "印章遗失"),
            ChangeStatus(Subject.IDENTITY, "validator-1", Status.ACTIVE, ""),
            EnrolIdentity(genesis.identities[0], b"certificate"),
            RotateIdentity("agency-1", b"certificate", None, 1, ""),
            RotateIdentity("agency-1", b"certificate", bytes(33), 0, "new"),
            SetAuthorities("org-1", (b"one", b"two"), ""),
            SetQuota("org-1", Quota(100, 100_000)),
            SetQuota("org-1", None),
            SetRule("set-parameters:window_slots", NAMED_RULE),
            SetRule("notarize:证照", None),
        ),
        evidence=(CheckpointStatement("validator-9", block.header.encode(), bytes(64)),),
        approvals=(Approval("admin-1", bytes(64)),),
    )
    governing = replace_struct(body, kind=TransactionKind.GOVERN, payload=governance)
    start = EpochStart(7, genesis.validators)
    standing = StandingChain.found()
    standing.append(record_under("粤2025", b"1"), next_set=validator_set(1, (1, 2, 3, 4, 5)))
    standing.append(record_under("粤2025", b"1", RecordAction.WITHDRAW))
    present = standing.proof(name_of("粤2025"), 2)
    absent = standing.proof(absent_beside_another(standing, 2), 2)
    consistency = standing.consistency(1, 2)
    refreshed = RefreshedReceipt(standing.receipt(1), consistency)
    anchored = AnchoredCheckpoint(
        suite=SUITE, block=standing.chain.blocks[1], handovers=consistency.handovers
    )
    anchor = Anchor(checkpoint=anchored, token=b"token")
    bls = replace(
        genesis.validators.validators[0], aggregate_key=AggregateKey(bytes(48), bytes(96))
    )
    with_bls = replace(genesis.validators, validators=(bls,))
    return [
        ("transaction", transaction.encoded, lambda data: Transaction.decode(data, SUITE)),
        ("tx-body", body.encode(), TransactionBody.decode),
        ("notarization", encode(columns.to_value()), nested(Notarization.from_value)),
        ("tx-body", governing.encode(), TransactionBody.decode),
        ("governance", encode(governance.to_value()), nested(Governance.from_value)),
        *vault_samples(body),
        *disclosure_samples(),
        ("epoch-start", start.encode(), lambda data: EpochStart.decode(data, SUITE)),
        ("rule", NAMED_RULE.encode(), Rule.decode),
        ("quota", Quota(2, 0).encode(), Quota.decode),
        *(("rule", each.default.encode(), Rule.decode) for each in OPERATIONS.values()),
        ("status-entry", ENTRY.encode(), StatusEntry.decode),
        ("accepted-certificates", ACCEPTED.encode(), AcceptedCertificates.decode),
        ("authorities", encode_authorities((b"one", b"two")), decode_authorities),
        ("roll", Roll(("org-9",), ("admin-9", "auditor-9")).encode(), Roll.decode),
        *with_long_digests(columns, status, receipt.leaf.record),
        ("record-leaf", receipt.leaf.encode(), RecordLeaf.decode),
        ("record", encode(receipt.leaf.record.to_value()), nested(Record.from_value)),
        ("header", block.header.encode(), Header.decode),
        ("result", result.encode(), TransactionResult.decode),
        ("certified-block", certified.encode(), lambda data: CertifiedBlock.decode(data, SUITE)),
        ("vote", encode(vote.to_value()), nested(lambda value: Vote.from_value(value, size))),
        (
            "certificate",
            encode(block.certificate.to_value()),
            nested(lambda value: QuorumCertificate.from_value(value, size)),
        ),
        ("evidence", evidence_against(2).encode(), lambda data: Evidence.decode(data, SUITE)),
        (
            "validator-set",
            with_bls.encode(),
            nested(lambda value: ValidatorSet.from_value(value, SUITE)),
        ),
        ("parameters", encode(genesis.parameters.to_value()), nested(Parameters.from_value)),
        (
            "organisation",
            encode(genesis.organisations[0].to_value()),
            nested(Organisation.from_value),
        ),
        ("identity", encode(genesis.identities[0].to_value()), nested(Identity.from_value)),
        ("genesis", genesis.encode(), Genesis.decode),
        ("reference-status", renewed(status).encode(), ReferenceStatus.decode),
        ("reference-status", status.encode(), ReferenceStatus.decode),
        ("receipt", receipt.encode(), Receipt.decode),
        ("standing-proof", present.encode(), StandingProof.decode),
        ("standing-proof", absent.encode(), StandingProof.decode),
        *state_value_samples(present, absent),
        ("reference-name", encode(present.name.to_value()), nested(ReferenceName.from_value)),
        ("state-proof", absent.proof.encode(), StateProof.decode),
        ("anchor", anchor.encode(), Anchor.decode),
        ("anchor", anchor.joined(consistency.header_path).encode(), Anchor.decode),
        ("anchored-checkpoint", anchored.encode(), AnchoredCheckpoint.decode),
        ("consistency-proof", consistency.encode(), ConsistencyProof.decode),
        ("refreshed-receipt", refreshed.encode(), RefreshedReceipt.decode),
        (
            "handover",
            chain.handovers[0].encode(),
            lambda data: Handover.decode(data, SUITE),
        ),
        ("certified-header", block.encode(), lambda data: CertifiedHeader.decode(data, SUITE)),
    ]


SAMPLES = samples()
by_rule = pytest.mark.parametrize(
    ("rule", "data", "read"), SAMPLES, ids=[rule for rule, _, _ in SAMPLES]
)


@by_rule
def test_what_the_code_writes_is_what_the_rule_says(
    rule: str, data: bytes, read: Callable[[bytes], object]
) -> None:
    assert SCHEMA.matches(rule, data)
    read(data)


@by_rule
def test_a_field_more_or_less_is_refused_by_both(
    rule: str, data: bytes, read: Callable[[bytes], object]
) -> None:
    value = cbor2.loads(data)
    for changed in ([*value, None], value[:-1]):
        assert not SCHEMA.matches(rule, cbor2.dumps(changed))
        with pytest.raises(DecodeError):
            read(cbor2.dumps(changed))


@by_rule
def test_whatever_byte_changes_the_code_reads_nothing_that_the_rule_refuses(
    rule: str, data: bytes, read: Callable[[bytes], object]
) -> None:
    for position in range(min(len(data), 2_000)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        try:
            read(bytes(changed))
        except DecodeError:
            continue
        assert SCHEMA.matches(rule, bytes(changed)), position


def test_a_vote_signs_the_statement_that_the_rule_says() -> None:
    chain = Chain.found()
    chain.append(record_of(b"1"))
    vote = chain.blocks[0].certificate.expand()[0]
    signed = vote.subject.sign_bytes(chain.genesis.chain_id, chain.validators, vote.time_ms)
    tag, _, statement = signed.partition(b"\0")
    assert tag == b"govchain/v1/vote"
    assert SCHEMA.matches("vote-statement", statement)


def test_governance_signs_what_the_rules_say() -> None:
    chain = Chain.found()
    chain.append(record_of(b"1"))
    header = chain.blocks[0].header
    payload = Governance(
        epoch=0, not_after_ms=1, nonce=bytes(16), operations=(RemoveValidator("validator-1"),)
    )
    signed = {
        "approval-subject": payload.approval_bytes(header.chain_id),
        "possession-subject": possession_bytes(header.chain_id, chain.validators.validators[0]),
        "checkpoint": checkpoint_of(header, header.digest(SUITE)),
    }
    tags = []
    for rule, message in signed.items():
        tag, _, subject = message.partition(b"\0")
        assert SCHEMA.matches(rule, subject)
        tags.append(tag.decode())
    assert tags == ["govchain/v1/governance", "govchain/v1/possession", "govchain/v1/checkpoint"]


def test_every_state_key_is_of_one_kind_and_its_value_as_that_kind_says() -> None:
    state = genesis_state(Chain.found().genesis)
    encodings = {rule: data for rule, data, _ in SAMPLES}
    state[reference_key(AGENCY, "证照", "粤2025")] = encodings["reference-status"]
    state[epoch_start_key(1)] = encodings["epoch-start"]
    state[retired_validator_key("validator-1")] = encode([1, 0])
    state[retired_key_key(bytes(33))] = encode([1, 0])
    state[status_key(Subject.IDENTITY, "agency-1")] = ENTRY.encode()
    state[trail_key(Subject.ORGANISATION, "org-1", 1)] = ENTRY.encode()
    state[certificates_key("agency-1")] = ACCEPTED.encode()
    state[authorities_key("org-1")] = encode_authorities((b"one",))
    state[rule_key("set-rule")] = NAMED_RULE.encode()
    state[quota_key("org-1")] = Quota(3, 0).encode()
    state[ROLL_KEY] = Roll().encode()
    state[endpoint_key("validator-1")] = encode(Endpoint("::1", 1).to_value())
    state[vault_keys_key("org-1")] = VaultKeys().encode()
    state[vault_document_key(bytes(16))] = a_tombstone().encode()
    state[carried_out_key(bytes(32))] = encode([1, bytes(32)])
    values = {
        "epoch-start-key": "epoch-start",
        "retired-validator-key": "retired",
        "retired-key-key": "retired",
        "endpoint-key": "endpoint",
        "vault-keys-key": "vault-keys",
        "vault-document-key": "vault-document",
        "status-key": "status-entry",
        "trail-key": "status-entry",
        "certificates-key": "accepted-certificates",
        "authorities-key": "authorities",
        "rule-key": "rule",
        "quota-key": "quota",
        "roll-key": "roll",
        "parameters-key": "parameters",
        "validator-set-key": "validator-set",
        "organisation-key": "organisation",
        "identity-key": "identity",
        "reference-key": "reference-status",
        "carried-out-key": "carried-out",
    }
    assert len(values) == len(StateKind)
    met = set()
    for key, value in state.items():
        (kind,) = [kind for kind in values if SCHEMA.matches(kind, key)]
        assert SCHEMA.matches("state-key", key)
        assert SCHEMA.matches(values[kind], value)
        met.add(kind)
    assert met == values.keys()


def test_every_code_of_a_result_and_no_other_is_one() -> None:
    taken = [SCHEMA.matches("result", encode([1, bytes(32), code, 0, 0])) for code in range(256)]
    assert [code for code, is_taken in enumerate(taken) if is_taken] == sorted(ResultCode)


def test_header_leaves_and_record_leaves_are_told_apart() -> None:
    chain = Chain.found()
    chain.append(record_of(b"1"))
    header_leaf, record_leaf = chain.leaves
    kinds = ("leaf", "header-leaf", "record-leaf")
    assert [SCHEMA.matches(kind, header_leaf) for kind in kinds] == [True, True, False]
    assert [SCHEMA.matches(kind, record_leaf) for kind in kinds] == [True, False, True]


@pytest.mark.parametrize(
    "text", ["a = b", "a = uint\na = bstr", "a = {}", "a = [uint", "a uint", "a = [x: uint ; y"]
)
def test_a_text_that_is_no_such_schema_is_refused(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        Schema(text)
