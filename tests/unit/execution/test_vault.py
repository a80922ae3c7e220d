"""The rules of the vault, one by one (numbers as in node/execution/vault.py)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import pytest
from msgspec.structs import replace as replace_struct

from node.chain.authorisation import (
    AUTHORISED_FIELD_BYTES_MAX,
    AUTHORISED_FIELDS_MAX,
    PURPOSE_BYTES_MAX,
    Authorised,
    Terms,
    Uses,
)
from node.chain.block import ResultCode
from node.chain.encoding import encode
from node.chain.genesis import Identity, Role
from node.chain.identity import Event, Status, StatusEntry, Subject
from node.chain.transaction import (
    TransactionKind,
    VerifiedTransaction,
    sign_transaction,
    verify_transaction,
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
    Shred,
    Use,
    Vault,
    VaultDocument,
    VaultKeys,
    VaultOperation,
    VaultStanding,
    Wrap,
    vault_document_key,
    vault_keys_key,
)
from node.crypto.suite import INTERNATIONAL, NATIONAL
from node.errors import DecodeError, InvariantViolation
from node.execution import vault as execution_vault
from node.execution.notary import Failure, Position
from node.execution.registry import identity_key, status_key
from node.execution.vault import decode_document, keep_vault, read_document, read_keys
from node.limits import STATE_VALUE_BYTES_MAX, VAULT_KEYS_MAX, VAULT_RECIPIENTS_MAX
from tests.suites import SUITE
from tests.unit.execution.small_chain import CREATED_MS, SmallChain, payload, signer, tx
from tests.unit.execution.small_chain import identity as member

DOCUMENT = bytes(range(16))
OTHER_SUITE = INTERNATIONAL if SUITE is NATIONAL else NATIONAL
CONTENT = Content(envelope=SUITE.suite_id, size_bytes=10, root=bytes(32))
OWNER, COLLEAGUE, CHIEF = "owner", "colleague", "chief"
FRIEND, AUDITOR, WATCHER = "friend", "auditor", "watcher"
PEOPLE = {
    OWNER: ("org-1", Role.AGENCY),
    COLLEAGUE: ("org-1", Role.AGENCY),
    CHIEF: ("org-1", Role.ADMIN),
    FRIEND: ("org-2", Role.AGENCY),
    AUDITOR: ("org-3", Role.AUDITOR),
    WATCHER: ("org-3", Role.OBSERVER),
}


def identity(name: str) -> Identity:
    organisation, role = PEOPLE[name]
    return replace(member(name, role), organisation=organisation)


def wrap(name: str, number: int = 1) -> Wrap:
    return Wrap(name, number, hashlib.sha256(name.encode()).digest())


@dataclass
class House:
    """Applies operations one after the other to a state of its own."""

    state: dict[bytes, bytes] = field(default_factory=dict)
    height: int = 0

    def __post_init__(self) -> None:
        for name in PEOPLE:
            self.state[identity_key(name)] = encode(identity(name).to_value())

    def apply(self, operation: VaultOperation, sender: str = OWNER) -> ResultCode:
        self.height += 1
        at = Position(self.height, self.height * 1_000, 0)
        before = dict(self.state)
        outcome = keep_vault(Vault(operation), identity(sender), at, self.state.get, SUITE)
        if isinstance(outcome, Failure):
            assert self.state == before
            return outcome.code
        self.state.update(outcome)
        return ResultCode.OK

    def register(self, *names: str, number: int = 1) -> None:
        for name in names:
            key = RegisterKey(number, signer(f"{name} {number}").public_key.encoded)
            assert self.apply(key, name) is ResultCode.OK

    def document(self) -> VaultDocument:
        found = read_document(self.state.get, DOCUMENT)
        assert found is not None
        return found

    def names(self) -> list[str]:
        return [grant.wrap.recipient for grant in self.document().grants]


TERMS = Terms(purpose="年检", fields=("name", "id"), not_after_ms=8_000, basis=b"\3" * 32)
"""The block of height 8 is the last in which they give anything."""


def kept(*recipients: str) -> House:
    """Return a house with a document of these recipients; its owner is one of them."""
    house = House()
    house.register(OWNER, COLLEAGUE, FRIEND, AUDITOR)
    wraps = tuple(wrap(name) for name in (OWNER, *recipients))
    assert house.apply(Keep(DOCUMENT, CONTENT, wraps)) is ResultCode.OK
    return house


def test_what_is_kept_stands_in_the_state_with_all_who_may_open_it() -> None:
    house = kept(FRIEND)
    assert house.document() == VaultDocument(
        standing=VaultStanding.KEPT,
        owner=OWNER,
        organisation="org-1",
        version=1,
        content=CONTENT,
        changes=1,
        height=5,
        time_ms=5_000,
        ordered_by=OWNER,
        grants=house.document().grants,
    )
    grants = house.document().grants
    assert [grant.wrap for grant in grants] == [wrap(FRIEND), wrap(OWNER)]
    assert [(grant.organisation, grant.height) for grant in grants] == [("org-2", 5), ("org-1", 5)]
    entitled = [name for name in ("org-1", "org-2", "org-3") if house.document().is_entitled(name)]
    assert entitled == ["org-1", "org-2"]


def test_grants_and_revocations_move_who_may_open_it() -> None:
    house = kept(FRIEND)
    assert house.apply(Grant(DOCUMENT, 1, (wrap(AUDITOR),)), COLLEAGUE) is ResultCode.OK
    assert house.names() == [AUDITOR, FRIEND, OWNER]
    assert (house.document().changes, house.document().ordered_by) == (2, COLLEAGUE)
    assert house.apply(Revoke(DOCUMENT, (FRIEND,))) is ResultCode.OK
    assert house.names() == [AUDITOR, OWNER]
    assert not house.document().is_entitled("org-2")
    assert house.document().changes == 3


def test_a_grant_under_a_newer_key_takes_the_place_of_the_older() -> None:
    house = kept(FRIEND)
    house.register(FRIEND, number=2)
    assert house.apply(Grant(DOCUMENT, 1, (wrap(FRIEND, 2),))) is ResultCode.OK
    assert house.names() == [FRIEND, OWNER]
    found = house.document().grant_of(FRIEND)
    assert found is not None
    assert found.wrap.key_number == 2


def test_rotation_replaces_content_and_all_grants() -> None:
    house = kept(FRIEND, AUDITOR)
    anew = replace(CONTENT, root=b"\1" * 32)
    wraps = (wrap(OWNER), wrap(AUDITOR))
    assert house.apply(Rotate(DOCUMENT, 2, anew, wraps)) is ResultCode.OK
    assert (house.document().version, house.document().content) == (2, anew)
    assert house.names() == [AUDITOR, OWNER]


@pytest.mark.parametrize("sender", [OWNER, COLLEAGUE, CHIEF])
def test_shredding_leaves_a_tombstone_that_says_who_ordered_it(sender: str) -> None:
    house = kept(FRIEND)
    assert house.apply(Shred(DOCUMENT, b"\2" * 32), sender) is ResultCode.OK
    tombstone = house.document()
    assert (tombstone.standing, tombstone.ordered_by) == (VaultStanding.SHREDDED, sender)
    assert (tombstone.content, tombstone.grants, tombstone.reason) == (None, (), b"\2" * 32)
    assert (tombstone.height, tombstone.time_ms) == (6, 6_000)
    assert not tombstone.is_entitled("org-1")


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_x1_who_may_register_a_key(name: str) -> None:
    key = RegisterKey(1, signer(name).public_key.encoded)
    expected = ResultCode.VAULT_ROLE if name == WATCHER else ResultCode.OK
    assert House().apply(key, name) is expected


@pytest.mark.parametrize("name", sorted(PEOPLE))
def test_x1_agencies_alone_have_something_kept(name: str) -> None:
    house = House()
    house.register(OWNER)
    expected = ResultCode.OK if PEOPLE[name][1] is Role.AGENCY else ResultCode.VAULT_ROLE
    assert house.apply(Keep(DOCUMENT, CONTENT, (wrap(OWNER),)), name) is expected


@pytest.mark.parametrize("name", sorted(PEOPLE))
@pytest.mark.parametrize(
    "operation",
    [
        Grant(DOCUMENT, 1, (wrap(AUDITOR),)),
        Revoke(DOCUMENT, (OWNER,)),
        Rotate(DOCUMENT, 2, CONTENT, (wrap(OWNER),)),
        Shred(DOCUMENT, None),
        Authorise(DOCUMENT, 1, wrap(AUDITOR), TERMS),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_x1_the_owners_organisation_alone_changes_a_document(
    operation: VaultOperation, name: str
) -> None:
    organisation, role = PEOPLE[name]
    of_role = role is Role.AGENCY or (role is Role.ADMIN and isinstance(operation, Shred))
    foreign = ResultCode.VAULT_DOCUMENT_FOREIGN if of_role else ResultCode.VAULT_ROLE
    expected = ResultCode.OK if of_role and organisation == "org-1" else foreign
    assert kept(FRIEND).apply(operation, name) is expected


def test_x2_key_numbers_follow_one_another_and_keys_are_of_the_suite() -> None:
    house = House()
    key = signer("any").public_key.encoded
    assert house.apply(RegisterKey(2, key)) is ResultCode.VAULT_KEY_NUMBER
    assert house.apply(RegisterKey(1, bytes(33))) is ResultCode.VAULT_KEY_INVALID
    assert house.apply(RegisterKey(1, key)) is ResultCode.OK
    assert house.apply(RegisterKey(1, key)) is ResultCode.VAULT_KEY_NUMBER
    assert house.apply(RegisterKey(2, key)) is ResultCode.OK
    found = read_keys(house.state.get, "org-1").find(OWNER)
    assert found is not None
    assert (found.number, found.public_key, found.height) == (2, key, 5)


def test_x3_a_document_id_is_used_once() -> None:
    house = kept()
    again = Keep(DOCUMENT, CONTENT, (wrap(OWNER),))
    assert house.apply(again) is ResultCode.VAULT_DOCUMENT_TAKEN
    assert house.apply(Shred(DOCUMENT, None)) is ResultCode.OK
    assert house.apply(again) is ResultCode.VAULT_DOCUMENT_TAKEN


@pytest.mark.parametrize(
    "operation",
    [
        Grant(DOCUMENT, 1, (wrap(AUDITOR),)),
        Revoke(DOCUMENT, (OWNER,)),
        Rotate(DOCUMENT, 2, CONTENT, (wrap(OWNER),)),
        Shred(DOCUMENT, None),
        Authorise(DOCUMENT, 1, wrap(AUDITOR), TERMS),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_x4_what_is_not_there_or_shredded_can_not_be_changed(operation: VaultOperation) -> None:
    assert House().apply(operation) is ResultCode.VAULT_DOCUMENT_UNKNOWN
    house = kept()
    house.apply(Shred(DOCUMENT, None))
    assert house.apply(operation) is ResultCode.VAULT_DOCUMENT_SHREDDED


@pytest.mark.parametrize(("granted", "rotated"), [(0, 1), (2, 3)])
def test_x5_versions_follow_one_another(granted: int, rotated: int) -> None:
    house = kept()
    more = Grant(DOCUMENT, granted, (wrap(FRIEND),))
    assert house.apply(more) is ResultCode.VAULT_VERSION
    anew = Rotate(DOCUMENT, rotated, CONTENT, (wrap(OWNER),))
    assert house.apply(anew) is ResultCode.VAULT_VERSION


@pytest.mark.parametrize("envelope", [0, OTHER_SUITE.suite_id, 255])
def test_x6_content_is_sealed_by_the_chains_suite(envelope: int) -> None:
    house = kept()
    other = replace(CONTENT, envelope=envelope)
    keep = Keep(bytes(16), other, (wrap(OWNER),))
    assert house.apply(keep) is ResultCode.VAULT_ENVELOPE_UNKNOWN
    rotate = Rotate(DOCUMENT, 2, other, (wrap(OWNER),))
    assert house.apply(rotate) is ResultCode.VAULT_ENVELOPE_UNKNOWN
    at = Position(1, 1, 1)
    there = replace(CONTENT, envelope=OTHER_SUITE.suite_id)
    keep = Keep(bytes(16), there, (wrap(OWNER),))
    outcome = keep_vault(Vault(keep), identity(OWNER), at, house.state.get, OTHER_SUITE)
    assert not isinstance(outcome, Failure)


def test_x7_recipients_are_named_once_and_hold_the_key_named() -> None:
    house = kept(FRIEND)
    for wraps, code in (
        ((wrap(AUDITOR), wrap(AUDITOR)), ResultCode.VAULT_RECIPIENT_TWICE),
        ((wrap(AUDITOR, 2),), ResultCode.VAULT_KEY_NOT_IN_FORCE),
        ((wrap(CHIEF),), ResultCode.VAULT_KEY_UNKNOWN),
        ((wrap("nobody"),), ResultCode.VAULT_RECIPIENT_UNKNOWN),
    ):
        assert house.apply(Grant(DOCUMENT, 1, wraps)) is code
        assert house.apply(Keep(bytes(16), CONTENT, wraps)) is code
        assert house.apply(Rotate(DOCUMENT, 2, CONTENT, wraps)) is code
        if len(wraps) == 1:
            assert house.apply(Authorise(DOCUMENT, 1, wraps[0], TERMS)) is code
    for recipients, code in (
        ((AUDITOR,), ResultCode.VAULT_GRANT_UNKNOWN),
        ((FRIEND, "nobody"), ResultCode.VAULT_GRANT_UNKNOWN),
        ((FRIEND, FRIEND), ResultCode.VAULT_RECIPIENT_TWICE),
    ):
        assert house.apply(Revoke(DOCUMENT, recipients)) is code
    assert house.names() == [FRIEND, OWNER]


def test_x7_who_lost_its_rights_is_granted_nothing() -> None:
    house = kept()
    for subject, name in ((Subject.IDENTITY, FRIEND), (Subject.ORGANISATION, "org-2")):
        entry = StatusEntry(
            status=Status.FROZEN,
            event=Event.FROZEN,
            reason="",
            height=1,
            time_ms=1,
            tx_id=bytes(32),
            changes=1,
        )
        house.state[status_key(subject, name)] = entry.encode()
        assert house.apply(Grant(DOCUMENT, 1, (wrap(FRIEND),))) is ResultCode.VAULT_RECIPIENT_BARRED
        del house.state[status_key(subject, name)]
    assert house.apply(Grant(DOCUMENT, 1, (wrap(FRIEND),))) is ResultCode.OK


def crowd(house: House, count: int) -> list[str]:
    """Have this many identities of different organisations hold a key; return their names."""
    names = [f"member-{number:03}" for number in range(count)]
    for first in range(0, count, VAULT_KEYS_MAX):
        organisation, some = f"crowd-{first}", names[first : first + VAULT_KEYS_MAX]
        keys = [EncryptionKey(name, 1, bytes(33), 1) for name in some]
        house.state[vault_keys_key(organisation)] = VaultKeys(tuple(keys)).encode()
        for name in some:
            person = replace(member(name, Role.AGENCY), organisation=organisation)
            house.state[identity_key(name)] = encode(person.to_value())
    return names


def authorised(house: House, name: str) -> Authorised:
    grant = house.document().grant_of(name)
    assert grant is not None
    assert grant.authorised is not None
    return grant.authorised


def test_an_authorisation_stands_in_the_state_and_leaves_no_copy_elsewhere() -> None:
    house = kept()
    assert house.apply(Authorise(DOCUMENT, 1, wrap(AUDITOR), TERMS), COLLEAGUE) is ResultCode.OK
    assert authorised(house, AUDITOR) == Authorised(TERMS, Uses())
    assert not house.document().is_entitled("org-3")
    assert house.document().is_entitled("org-1")
    assert house.document().at(8_000).grant_of(AUDITOR) is not None
    assert house.document().at(8_001).grant_of(AUDITOR) is None
    assert house.document().at(8_001).grant_of(OWNER) is not None
    assert VaultDocument.decode(house.document().encode()) == house.document()


def test_x9_every_use_leaves_its_trace_and_names_the_one_before() -> None:
    house = kept()  # four keys and the document: heights 1 to 5
    assert house.apply(Authorise(DOCUMENT, 1, wrap(AUDITOR), TERMS)) is ResultCode.OK
    assert house.apply(Use(DOCUMENT, 1), AUDITOR) is ResultCode.VAULT_USED_MEANWHILE  # height 7
    assert house.apply(Use(DOCUMENT, 0), AUDITOR) is ResultCode.OK  # height 8
    assert authorised(house, AUDITOR).uses == Uses(1, 8, 8_000)
    assert (house.document().changes, house.document().ordered_by) == (3, AUDITOR)
    assert house.apply(Use(DOCUMENT, 8), AUDITOR) is ResultCode.VAULT_TERMS_OVER  # it is over
    longer = replace(TERMS, not_after_ms=1_000_000)
    assert house.apply(Authorise(DOCUMENT, 1, wrap(AUDITOR), longer)) is ResultCode.OK
    assert authorised(house, AUDITOR) == Authorised(longer, Uses(1, 8, 8_000)), "the trace stays"
    assert house.apply(Use(DOCUMENT, 0), AUDITOR) is ResultCode.VAULT_USED_MEANWHILE
    assert house.apply(Use(DOCUMENT, 8), AUDITOR) is ResultCode.OK
    assert authorised(house, AUDITOR).uses == Uses(2, 12, 12_000)


def test_x9_nobody_uses_what_it_was_not_authorised_to() -> None:
    house = kept(FRIEND)
    longer = replace(TERMS, not_after_ms=1_000_000)
    use = Use(DOCUMENT, 0)
    assert House().apply(use, AUDITOR) is ResultCode.VAULT_DOCUMENT_UNKNOWN
    assert house.apply(use, WATCHER) is ResultCode.VAULT_ROLE
    for name in (AUDITOR, FRIEND, OWNER):  # no grant; grants without terms
        assert house.apply(use, name) is ResultCode.VAULT_NOT_AUTHORISED
    assert house.apply(Authorise(DOCUMENT, 1, wrap(AUDITOR), longer)) is ResultCode.OK
    assert house.apply(Revoke(DOCUMENT, (AUDITOR,))) is ResultCode.OK
    assert house.apply(use, AUDITOR) is ResultCode.VAULT_NOT_AUTHORISED
    assert house.apply(Authorise(DOCUMENT, 1, wrap(AUDITOR), longer)) is ResultCode.OK
    assert house.apply(Shred(DOCUMENT, None)) is ResultCode.OK
    assert house.apply(use, AUDITOR) is ResultCode.VAULT_DOCUMENT_SHREDDED


def test_x9_terms_that_are_over_are_not_granted_and_a_rotation_frees_from_none() -> None:
    house = kept(FRIEND)
    past = replace(TERMS, not_after_ms=5_999)
    assert house.apply(Authorise(DOCUMENT, 1, wrap(FRIEND), past)) is ResultCode.VAULT_TERMS_OVER
    assert house.apply(Authorise(DOCUMENT, 2, wrap(FRIEND), TERMS)) is ResultCode.VAULT_VERSION
    assert house.apply(Authorise(DOCUMENT, 1, wrap(FRIEND), TERMS)) is ResultCode.OK
    rotate = Rotate(DOCUMENT, 2, CONTENT, (wrap(OWNER), wrap(FRIEND)))
    assert house.apply(rotate) is ResultCode.OK
    assert authorised(house, FRIEND).terms == TERMS
    assert not house.document().is_entitled("org-2")
    assert house.apply(Grant(DOCUMENT, 2, (wrap(FRIEND),))) is ResultCode.OK
    assert house.document().is_entitled("org-2"), "a grant without terms takes their place"


@pytest.mark.parametrize(
    ("spare_bytes", "code"), [(0, ResultCode.OK), (-1, ResultCode.VAULT_DOCUMENT_TOO_LARGE)]
)
def test_x8_a_document_may_fill_a_value_of_the_state_to_the_byte(
    monkeypatch: pytest.MonkeyPatch, spare_bytes: int, code: ResultCode
) -> None:
    grant = Grant(DOCUMENT, 1, (wrap(AUDITOR),))
    granted = kept()
    assert granted.apply(grant) is ResultCode.OK
    size_bytes = len(granted.document().encode())
    house = kept()
    monkeypatch.setattr(execution_vault, "STATE_VALUE_BYTES_MAX", size_bytes + spare_bytes)
    assert house.apply(grant) is code


def test_x8_terms_fit_what_the_state_may_hold() -> None:
    house = kept()
    names = crowd(house, VAULT_RECIPIENTS_MAX)
    wide = Terms(
        purpose="p" * PURPOSE_BYTES_MAX,
        fields=("f" * AUTHORISED_FIELD_BYTES_MAX,) * AUTHORISED_FIELDS_MAX,
        not_after_ms=1_000_000,
        basis=bytes(32),
    )
    codes = [house.apply(Authorise(DOCUMENT, 1, wrap(name), wide)) for name in names[:60]]
    assert codes.count(ResultCode.OK) > 40
    assert codes[-1] is ResultCode.VAULT_DOCUMENT_TOO_LARGE
    assert len(house.document().encode()) <= STATE_VALUE_BYTES_MAX


def test_x8_recipients_of_a_document_are_bounded() -> None:
    house = kept()
    names = crowd(house, VAULT_RECIPIENTS_MAX)
    fitting = Grant(DOCUMENT, 1, tuple(wrap(name) for name in names[1:]))
    assert house.apply(fitting) is ResultCode.OK
    assert len(house.names()) == VAULT_RECIPIENTS_MAX
    assert house.apply(Grant(DOCUMENT, 1, (wrap(names[0]),))) is ResultCode.VAULT_RECIPIENTS_FULL
    assert house.apply(fitting) is ResultCode.OK, "renewed, not added"


def test_x8_keys_of_an_organisation_are_bounded() -> None:
    house = House()
    names = crowd(house, VAULT_KEYS_MAX)
    newcomer = replace(member("newcomer", Role.AGENCY), organisation="crowd-0")
    key = RegisterKey(1, signer("any").public_key.encoded)
    at = Position(1, 1, 1)
    outcome = keep_vault(Vault(key), newcomer, at, house.state.get, SUITE)
    assert outcome == Failure(ResultCode.VAULT_KEYS_FULL)
    renewing = replace(newcomer, identity_id=names[0])
    renewed = Vault(replace(key, number=2))
    again = keep_vault(renewed, renewing, at, house.state.get, SUITE)
    assert not isinstance(again, Failure)


def test_a_value_that_is_none_of_ours_is_a_contradiction() -> None:
    with pytest.raises(InvariantViolation, match="vault document"):
        decode_document(b"\x80")
    with pytest.raises(InvariantViolation, match="vault keys"):
        read_keys({vault_keys_key("org-1"): b"\x80"}.get, "org-1")
    torn = replace(kept().document(), content=None)
    with pytest.raises(DecodeError, match="of a kept document"):
        VaultDocument.decode(torn.encode())


def test_a_block_carries_out_what_the_vault_is_asked_and_says_why_not() -> None:
    chain = SmallChain()
    register = vault_tx(RegisterKey(1, signer("agency-1 vault").public_key.encoded))
    keep = Keep(DOCUMENT, CONTENT, (wrap("agency-1"),))
    before_log = chain.state.log_frontier.size
    executed = chain.commit(
        register, vault_tx(keep), vault_tx(keep), tx(payload("a")), vault_tx(Shred(DOCUMENT, None))
    )
    assert [result.code for result in executed.results] == [
        ResultCode.OK,
        ResultCode.OK,
        ResultCode.VAULT_DOCUMENT_TAKEN,
        ResultCode.OK,
        ResultCode.OK,
    ]
    assert executed.frontier.size == before_log + 2, "the parent's header, and one record"
    document = VaultDocument.decode(chain.state.values[vault_document_key(DOCUMENT)])
    assert document.standing is VaultStanding.SHREDDED
    assert document.time_ms == CREATED_MS + 1_000


def vault_tx(operation: VaultOperation, sender: str = "agency-1") -> VerifiedTransaction:
    body = replace_struct(
        tx(payload("a"), sender=sender).transaction.body,
        kind=TransactionKind.VAULT,
        payload=Vault(operation),
    )
    key = signer(sender)
    return verify_transaction(sign_transaction(body, key, SUITE), key.public_key)
