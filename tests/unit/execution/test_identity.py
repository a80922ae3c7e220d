"""What takes somebody its rights and gives them back, and each reason for which nothing happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.block import ResultCode
from node.chain.genesis import Identity, Organisation, Role
from node.chain.governance import AddOrganisation, RegisterIdentity, RemoveValidator
from node.chain.identity import (
    ChangeStatus,
    EnrolIdentity,
    Event,
    Roll,
    RotateIdentity,
    SetAuthorities,
    Status,
    Subject,
)
from node.chain.transaction import VerifiedTransaction
from node.crypto.certificate import (
    Authority,
    Issuance,
    Member,
    build_identity_certificate,
)
from node.crypto.member_certificate import read_identity
from node.crypto.suite import NATIONAL
from node.errors import InvariantViolation, PeerError
from node.execution import identity as execution_identity
from node.execution.identity import (
    authorities_of,
    find_certificates,
    find_organisation,
    find_roll,
    find_trail,
    has_rights,
    status_of,
    why_barred,
)
from node.execution.registry import authorities_key, epoch_in_force, find_identity, trail_key
from node.limits import GOVERNANCE_LIFETIME_MS_MAX
from tests.unit.crypto.rsa_authority import rsa_authority, rsa_member
from tests.unit.crypto.test_certificate_profile import SM2_AUTHORITY
from tests.unit.execution.governed_chain import (
    ADMINS,
    GOVERNED,
    GovernedChain,
    adding,
    governed,
    governed_tx,
)
from tests.unit.execution.small_chain import (
    CREATED_MS,
    HOUR_MS,
    SHORT_LIVED,
    SHORT_LIVED_NOT_AFTER_MS,
    authority,
    certifier,
    identity,
    newcomer,
    next_inputs,
    payload,
    signer,
    tx,
)

OK = ResultCode.OK
FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")


def change(name: str, status: Status, subject: Subject = Subject.IDENTITY) -> ChangeStatus:
    return ChangeStatus(subject, name, status, "seal lost")


def certificate(
    issuer: Authority,
    name: str,
    role: str = "agency",
    *,
    days: int = 30,
    not_before_ms: int = CREATED_MS,
) -> bytes:
    member = Member(
        identity_id=name, role=role, public_key=certifier(f"tls {name} {days}").public_key.encoded
    )
    issuance = Issuance(
        serial_number=7,
        not_before_ms=not_before_ms,
        not_after_ms=CREATED_MS + days * 24 * HOUR_MS,
    )
    return build_identity_certificate(issuer, member, issuance)


OWN, EXTERNAL = authority("own"), authority("external")


def enrolment(
    name: str = "agency-9", issuer: Authority = OWN, role: Role = Role.AGENCY
) -> EnrolIdentity:
    issued = certificate(issuer, name, role.name.lower())
    shown = read_identity(issued)
    return EnrolIdentity(
        Identity(
            identity_id=name,
            organisation="org-1",
            role=role,
            public_key=signer(name).public_key.encoded,
            not_before_ms=shown.not_before_ms,
            not_after_ms=shown.not_after_ms,
        ),
        issued,
    )


class People(GovernedChain):
    """A governed chain, of which one organisation has two real authorities."""

    def __init__(self) -> None:
        super().__init__()
        both = SetAuthorities("org-1", (OWN.certificate, EXTERNAL.certificate), "")
        assert self.govern(governed(both)) is ResultCode.OK

    def notarize(self, sender: str = "agency-1", *, key_of: str | None = None) -> ResultCode:
        asked = tx(payload("x"), sender=sender, chain_id=GOVERNED.chain_id, key_of=key_of)
        return self.commit(asked).results[0].code

    def status(self, name: str, subject: Subject = Subject.IDENTITY) -> Status:
        return status_of(self.state.get, subject, name)


def own_tx(text: str, sender: str = "agency-1") -> VerifiedTransaction:
    return tx(payload(text), sender=sender, chain_id=GOVERNED.chain_id)


# --- Statuses ---


def test_who_is_frozen_has_no_rights_until_unfrozen_and_who_is_revoked_never_again() -> None:
    chain = People()
    assert chain.notarize() is ResultCode.OK
    assert chain.govern(governed(change("agency-1", Status.FROZEN))) is ResultCode.OK
    assert chain.notarize() is ResultCode.IDENTITY_FROZEN
    assert chain.notarize("agency-2") is ResultCode.OK
    assert chain.govern(governed(change("agency-1", Status.ACTIVE))) is ResultCode.OK
    assert chain.notarize() is ResultCode.OK
    assert chain.govern(governed(change("agency-1", Status.REVOKED))) is ResultCode.OK
    assert chain.notarize() is ResultCode.IDENTITY_REVOKED
    back = governed(change("agency-1", Status.ACTIVE))
    assert chain.govern(back) is ResultCode.STATUS_NOT_NEXT


def test_it_holds_from_the_next_transaction_of_the_block_on_and_not_before() -> None:
    chain = People()
    freezing = governed_tx(governed(change("agency-1", Status.FROZEN)), nonce=99)
    block = chain.commit(own_tx("before"), freezing, own_tx("after"), own_tx("other", "agency-2"))
    codes = [result.code for result in block.results]
    ok = ResultCode.OK
    assert codes == [ok, ok, ResultCode.IDENTITY_FROZEN, ok]


def test_with_an_organisation_all_of_its_own_lose_their_rights() -> None:
    chain = People()
    freezing = governed(
        change("org-1", Status.FROZEN, Subject.ORGANISATION),
        evidence=chain.statements(*FOUNDERS[1:]),
        approvers=ADMINS[1:],
    )
    assert chain.govern(freezing, sender="admin-2") is ResultCode.OK
    assert not has_rights(chain.state.get, "agency-1", "org-1")
    assert chain.notarize() is ResultCode.ORGANISATION_FROZEN
    assert (
        why_barred(chain.state.get, "agency-1", "org-1")
        == "organisation 'org-1' is frozen since block 2: seal lost"
    )
    revoking = governed(
        change("org-1", Status.REVOKED, Subject.ORGANISATION), epoch=1, approvers=ADMINS[1:]
    )
    assert chain.govern(revoking, sender="admin-2") is ResultCode.OK
    assert chain.notarize() is ResultCode.ORGANISATION_REVOKED


def test_each_change_is_kept_with_its_reason_its_block_and_its_transaction() -> None:
    chain = People()
    assert chain.govern(governed(enrolment())) is ResultCode.OK
    for status in (Status.FROZEN, Status.ACTIVE, Status.REVOKED):
        assert chain.govern(governed(change("agency-9", status))) is ResultCode.OK
    trail = find_trail(chain.state.get, Subject.IDENTITY, "agency-9")
    assert [each.event for each in trail] == [
        Event.REGISTERED,
        Event.FROZEN,
        Event.UNFROZEN,
        Event.REVOKED,
    ]
    assert [each.height for each in trail] == [2, 3, 4, 5]
    assert [each.reason for each in trail] == ["", *["seal lost"] * 3]
    assert all(chain.state.has_transaction(each.tx_id) for each in trail)
    assert [each.changes for each in trail] == [1, 2, 3, 4]
    assert find_trail(chain.state.get, Subject.IDENTITY, "agency-1") == []


def test_a_trail_of_which_the_state_lacks_a_part_is_not_shown_as_if_it_were_whole() -> None:
    chain = People()
    for status in (Status.FROZEN, Status.ACTIVE):
        assert chain.govern(governed(change("agency-1", status))) is ResultCode.OK
    del chain.state.values[trail_key(Subject.IDENTITY, "agency-1", 1)]
    with pytest.raises(InvariantViolation, match="part of the trail of 'agency-1'"):
        find_trail(chain.state.get, Subject.IDENTITY, "agency-1")


def test_nothing_bars_who_was_never_frozen_or_is_so_no_more() -> None:
    chain = People()
    assert why_barred(chain.state.get, "agency-1", "org-1") is None
    for status in (Status.FROZEN, Status.ACTIVE):
        assert chain.govern(governed(change("agency-1", status))) is ResultCode.OK
    assert why_barred(chain.state.get, "agency-1", "org-1") is None


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        (Status.ACTIVE, Status.ACTIVE),
        (Status.FROZEN, Status.FROZEN),
        (Status.REVOKED, Status.FROZEN),
        (Status.REVOKED, Status.REVOKED),
        (Status.REVOKED, Status.ACTIVE),
    ],
)
def test_a_status_that_leads_nowhere_is_refused(before: Status, wanted: Status) -> None:
    chain = People()
    if before is not Status.ACTIVE:
        assert chain.govern(governed(change("agency-2", before))) is ResultCode.OK
    code = chain.govern(governed(change("agency-2", wanted)))
    assert (code, chain.status("agency-2")) == (ResultCode.STATUS_NOT_NEXT, before)


def test_strangers_have_no_rights_to_lose() -> None:
    chain = People()
    nobody = governed(change("nobody", Status.FROZEN))
    assert chain.govern(nobody) is ResultCode.IDENTITY_UNKNOWN
    no_org = governed(change("org-9", Status.FROZEN, Subject.ORGANISATION))
    assert chain.govern(no_org) is ResultCode.ORGANISATION_UNKNOWN


def test_who_is_frozen_approves_nothing_and_hands_in_nothing() -> None:
    chain = People()
    assert chain.govern(governed(change("admin-4", Status.FROZEN))) is ResultCode.OK
    wanted = change("agency-2", Status.FROZEN)
    with_frozen = governed(wanted, approvers=("admin-1", "admin-2", "admin-4"))
    assert chain.govern(with_frozen) is ResultCode.APPROVAL_INVALID
    assert chain.govern(governed(wanted), sender="admin-4") is ResultCode.IDENTITY_FROZEN
    assert chain.govern(governed(wanted)) is ResultCode.OK


# --- Validators ---


def names_of(chain: GovernedChain) -> list[str]:
    members = epoch_in_force(chain.state, GOVERNED.suite).validators.validators
    return [member.validator_id for member in members]


@pytest.mark.parametrize(
    ("name", "subject"), [("validator-2", Subject.IDENTITY), ("org-2", Subject.ORGANISATION)]
)
@pytest.mark.parametrize("status", [Status.FROZEN, Status.REVOKED])
def test_a_validator_that_loses_its_rights_leaves_by_an_epoch_change(
    name: str, subject: Subject, status: Status
) -> None:
    chain = People()
    asked = governed(change(name, status, subject))
    assert chain.govern(asked) is ResultCode.EVIDENCE_MISSING
    assert names_of(chain) == [*FOUNDERS]
    assert chain.status(name, subject) is Status.ACTIVE
    with_evidence = replace(
        asked, evidence=tuple(chain.statements("validator-1", "validator-3", "validator-4"))
    )
    assert chain.govern(with_evidence) is ResultCode.OK
    barrier = chain.state.header
    assert names_of(chain) == ["validator-1", "validator-3", "validator-4"]
    epoch = epoch_in_force(chain.state, GOVERNED.suite)
    assert (epoch.number, barrier.next_set_digest) == (1, epoch.validators.digest)


def test_the_word_of_who_leaves_is_no_evidence() -> None:
    chain = People()
    asked = governed(
        change("validator-2", Status.FROZEN),
        evidence=chain.statements("validator-1", "validator-2", "validator-3"),
    )
    assert chain.govern(asked) is ResultCode.EVIDENCE_INVALID


def test_no_freezing_takes_more_validators_than_an_epoch_change_may() -> None:
    chain = People()
    asked = governed(
        change("org-2", Status.FROZEN, Subject.ORGANISATION),
        change("validator-3", Status.FROZEN),
        evidence=chain.statements("validator-1", "validator-4"),
    )
    assert chain.govern(asked) is ResultCode.CHANGE_TOO_LARGE
    assert names_of(chain) == [*FOUNDERS]


def test_a_frozen_validator_is_replaced_in_one_step_and_unfreezing_does_not_bring_it_back() -> None:
    chain = People()
    step = governed(
        change("validator-2", Status.FROZEN),
        adding("validator-2b", "org-2"),
        evidence=chain.statements("validator-1", "validator-3", "validator-2b"),
    )
    assert chain.govern(step) is ResultCode.OK
    assert names_of(chain) == ["validator-1", "validator-3", "validator-4", "validator-2b"]
    unfreezing = governed(change("validator-2", Status.ACTIVE), epoch=1)
    assert chain.govern(unfreezing) is ResultCode.OK
    assert "validator-2" not in names_of(chain)
    again = governed(adding("validator-2", "org-2"), epoch=1)
    assert chain.govern(again) is ResultCode.NAME_TAKEN


def test_nobody_joins_the_validators_without_rights() -> None:
    chain = People()
    newcomer = replace(identity("validator-5", Role.VALIDATOR), organisation="org-1")
    known = governed(RegisterIdentity(newcomer), change("validator-5", Status.FROZEN))
    assert chain.govern(known) is ResultCode.OK
    joining = governed(adding("validator-5"), evidence=chain.statements(*FOUNDERS))
    assert chain.govern(joining) is ResultCode.IDENTITY_FROZEN


# --- Lock-outs ---


def test_what_nobody_could_undo_is_refused() -> None:
    chain = People()
    assert chain.govern(governed(change("admin-4", Status.FROZEN))) is ResultCode.OK
    too_many = governed(change("admin-3", Status.FROZEN))
    assert chain.govern(too_many) is ResultCode.NOBODY_COULD_APPROVE
    assert chain.govern(governed(change("admin-4", Status.ACTIVE))) is ResultCode.OK


def test_a_revoked_organisation_is_not_counted_and_a_frozen_one_is() -> None:
    chain = People()
    leaving = governed(
        change("org-4", Status.REVOKED, Subject.ORGANISATION),
        evidence=chain.statements("validator-1", "validator-2", "validator-3"),
    )
    assert chain.govern(leaving) is ResultCode.OK
    wanted = change("agency-1", Status.FROZEN)
    two_of_three = governed(wanted, epoch=1, approvers=ADMINS[:2])
    assert chain.govern(two_of_three) is ResultCode.OK
    freezing = governed(change("admin-3", Status.FROZEN), epoch=1, approvers=ADMINS[:2])
    assert chain.govern(freezing) is ResultCode.OK
    one = governed(change("agency-1", Status.ACTIVE), epoch=1, approvers=ADMINS[:1])
    assert chain.govern(one) is ResultCode.APPROVALS_MISSING


def another_admin(name: str, organisation: str) -> RegisterIdentity:
    return RegisterIdentity(replace(identity(name, Role.ADMIN), organisation=organisation))


def test_an_administrator_registered_later_can_undo_what_one_of_genesis_could() -> None:
    chain = People()
    assert chain.govern(governed(change("admin-4", Status.FROZEN))) is ResultCode.OK
    freezing = governed(change("admin-3", Status.FROZEN))
    assert chain.govern(freezing) is ResultCode.NOBODY_COULD_APPROVE
    assert chain.govern(governed(another_admin("admin-3b", "org-3"))) is ResultCode.OK
    assert chain.govern(freezing) is ResultCode.OK
    by_the_second = governed(
        change("admin-3", Status.ACTIVE), approvers=("admin-1", "admin-2", "admin-3b")
    )
    assert chain.govern(by_the_second) is ResultCode.OK


def test_the_rolls_of_who_was_admitted_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROLL_IDENTITIES_MAX", "ROLL_ORGANISATIONS_MAX"):
        monkeypatch.setattr(execution_identity, name, 2)
    chain = People()
    for number, code in ((5, ResultCode.OK), (6, ResultCode.OK), (7, ResultCode.ROLL_FULL)):
        admitted = AddOrganisation(
            Organisation(organisation_id=f"org-{number}", name="", ca_certificate=OWN.certificate)
        )
        assert chain.govern(governed(admitted)) is code
        assert chain.govern(governed(another_admin(f"admin-{number}", "org-1"))) is code
    roll = find_roll(chain.state.get)
    assert roll == Roll(("org-5", "org-6"), ("admin-5", "admin-6"))
    agency = governed(RegisterIdentity(identity("agency-8", Role.AGENCY)))
    assert chain.govern(agency) is ResultCode.OK, "who approves nothing is not on them"


def test_nobody_is_registered_for_an_organisation_without_rights() -> None:
    chain = People()
    freezing = governed(
        change("org-4", Status.FROZEN, Subject.ORGANISATION),
        evidence=chain.statements("validator-1", "validator-2", "validator-3"),
    )
    assert chain.govern(freezing) is ResultCode.OK
    joining = governed(another_admin("admin-4b", "org-4"), epoch=1)
    assert chain.govern(joining) is ResultCode.ORGANISATION_FROZEN


# --- Certificates ---


@pytest.mark.parametrize("issuer", [OWN, EXTERNAL], ids=["own", "external"])
def test_each_authority_of_an_organisation_certifies_its_members(issuer: Authority) -> None:
    chain = People()
    enrolled = enrolment(issuer=issuer)
    assert chain.govern(governed(enrolled)) is ResultCode.OK
    assert find_identity(chain.state, "agency-9") == enrolled.identity
    accepted = find_certificates(chain.state.get, "agency-9")
    shown = read_identity(enrolled.certificate)
    assert accepted is not None
    assert accepted.accepts(shown.fingerprint, CREATED_MS + HOUR_MS)
    assert not accepted.accepts(bytes(32), CREATED_MS + HOUR_MS)
    assert not accepted.accepts(shown.fingerprint, shown.not_after_ms + 1)
    assert chain.notarize("agency-9") is ResultCode.OK


def refused_enrolments() -> dict[str, EnrolIdentity]:
    sound = enrolment()
    later = replace(sound.identity, not_after_ms=sound.identity.not_after_ms + 1_000)
    return {
        "of another authority": enrolment(issuer=authority("stranger")),
        "of another organisation's authority": enrolment(issuer=authority("own", "org-2")),
        "of another name": replace(sound, certificate=certificate(OWN, "agency-8")),
        "of another role": replace(sound, certificate=certificate(OWN, "agency-9", "admin")),
        "not of the validity stated": replace(sound, identity=later),
        "not valid yet": EnrolIdentity(
            replace(sound.identity, not_before_ms=CREATED_MS + HOUR_MS),
            certificate(OWN, "agency-9", not_before_ms=CREATED_MS + HOUR_MS),
        ),
        "no certificate": replace(sound, certificate=b"\x30\x00"),
        "no key": replace(sound, identity=replace(sound.identity, public_key=b"no key")),
    }


@pytest.mark.parametrize("why", refused_enrolments())
def test_a_certificate_that_does_not_fit_enrols_nobody(why: str) -> None:
    chain = People()
    code = chain.govern(governed(refused_enrolments()[why]))
    # Under "no key" the certificate is one, but the key for transactions is not.
    of_key = ResultCode.KEY_INVALID if why == "no key" else ResultCode.CERTIFICATE_INVALID
    assert code is of_key
    assert find_identity(chain.state, "agency-9") is None


def test_a_name_is_enrolled_once_and_in_an_organisation_that_has_its_rights() -> None:
    chain = People()
    assert chain.govern(governed(enrolment())) is ResultCode.OK
    assert chain.govern(governed(enrolment())) is ResultCode.NAME_TAKEN
    elsewhere = enrolment("agency-7")
    elsewhere = replace(elsewhere, identity=replace(elsewhere.identity, organisation="org-9"))
    assert chain.govern(governed(elsewhere)) is ResultCode.ORGANISATION_UNKNOWN
    freezing = governed(
        change("org-1", Status.FROZEN, Subject.ORGANISATION),
        evidence=chain.statements(*FOUNDERS[1:]),
        approvers=ADMINS[1:],
    )
    assert chain.govern(freezing, sender="admin-2") is ResultCode.OK
    late = governed(enrolment("agency-7"), epoch=1, approvers=ADMINS[1:])
    assert chain.govern(late, sender="admin-2") is ResultCode.ORGANISATION_FROZEN


def test_the_certificate_before_is_accepted_as_long_as_the_rotation_says() -> None:
    chain = People()
    first = enrolment()
    assert chain.govern(governed(first)) is ResultCode.OK
    renewed = certificate(EXTERNAL, "agency-9", days=60)
    rotation = RotateIdentity("agency-9", renewed, None, HOUR_MS, "yearly")
    assert chain.govern(governed(rotation)) is ResultCode.OK
    at_ms = chain.state.header.time_ms
    accepted = find_certificates(chain.state.get, "agency-9")
    old, new = read_identity(first.certificate), read_identity(renewed)
    assert accepted is not None
    assert accepted.accepts(new.fingerprint, new.not_after_ms)
    assert accepted.accepts(old.fingerprint, at_ms + HOUR_MS)
    assert not accepted.accepts(old.fingerprint, at_ms + HOUR_MS + 1)
    known = find_identity(chain.state, "agency-9")
    assert known == replace(first.identity, not_after_ms=new.not_after_ms)
    assert chain.notarize("agency-9") is ResultCode.OK
    at_once = RotateIdentity(
        "agency-9", certificate(OWN, "agency-9", days=90), None, 0, "key stolen"
    )
    assert chain.govern(governed(at_once)) is ResultCode.OK
    accepted = find_certificates(chain.state.get, "agency-9")
    assert accepted is not None
    assert not accepted.accepts(new.fingerprint, at_ms)


def test_a_rotation_shortens_at_its_beginning_no_validity_and_is_told_with_its_reason() -> None:
    chain = People()
    assert chain.govern(governed(enrolment())) is ResultCode.OK
    for days, begins_ms in ((60, CREATED_MS + 500), (90, CREATED_MS - 500)):
        renewed = certificate(OWN, "agency-9", days=days, not_before_ms=begins_ms)
        shown = read_identity(renewed)
        rotation = RotateIdentity("agency-9", renewed, None, 0, f"for {days} days")
        assert chain.govern(governed(rotation)) is ResultCode.OK
        known = find_identity(chain.state, "agency-9")
        assert known is not None
        assert known.not_before_ms == min(CREATED_MS, shown.not_before_ms)
        assert known.not_after_ms == shown.not_after_ms
    trail = find_trail(chain.state.get, Subject.IDENTITY, "agency-9")
    assert [(each.event, each.reason) for each in trail] == [
        (Event.REGISTERED, ""),
        (Event.ROTATED, "for 60 days"),
        (Event.ROTATED, "for 90 days"),
    ]


def test_who_is_given_a_new_certificate_has_its_rights_within_the_block() -> None:
    chain = People()
    renewed = certificate(OWN, SHORT_LIVED)
    rotation = governed_tx(governed(RotateIdentity(SHORT_LIVED, renewed, None, 0, "")), nonce=99)
    late_ms = SHORT_LIVED_NOT_AFTER_MS + 1 - chain.state.header.time_ms
    asked = own_tx("late", SHORT_LIVED)
    assert [r.code for r in chain.execute(asked, rotation, step_ms=late_ms).results] == [
        ResultCode.IDENTITY_NOT_VALID,
        OK,
    ]
    assert [r.code for r in chain.execute(rotation, asked, step_ms=late_ms).results] == [OK, OK]


@pytest.mark.parametrize("key", [b"no key", b""])
def test_no_rotation_is_to_what_cannot_be_read_as_a_key(key: bytes) -> None:
    chain = People()
    rotation = RotateIdentity("agency-1", certificate(OWN, "agency-1"), key, 0, "")
    assert chain.govern(governed(rotation)) is ResultCode.KEY_INVALID
    assert chain.notarize() is ResultCode.OK


@pytest.mark.parametrize("overlap_ms", [0, HOUR_MS])
def test_of_whom_none_was_registered_any_other_goes_as_long_as_the_first_rotation_says(
    overlap_ms: int,
) -> None:
    chain = People()
    first = RotateIdentity("agency-1", certificate(OWN, "agency-1"), None, overlap_ms, "")
    assert chain.govern(governed(first)) is ResultCode.OK
    at_ms = chain.state.header.time_ms
    accepted = find_certificates(chain.state.get, "agency-1")
    assert accepted is not None
    unknown = bytes(32)
    assert accepted.accepts(unknown, at_ms + overlap_ms) is (overlap_ms > 0)
    assert not accepted.accepts(unknown, at_ms + overlap_ms + 1)
    at_once = RotateIdentity("agency-1", certificate(OWN, "agency-1", days=60), None, 0, "stolen")
    assert chain.govern(governed(at_once)) is ResultCode.OK
    accepted = find_certificates(chain.state.get, "agency-1")
    assert accepted is not None
    assert not accepted.accepts(unknown, at_ms + 1)
    assert len([each for each in accepted.certificates if each.until_ms]) == 1


def test_after_a_rotation_of_its_key_the_one_before_signs_nothing() -> None:
    chain = People()
    rotation = RotateIdentity(
        "agency-1",
        certificate(OWN, "agency-1"),
        signer("second key").public_key.encoded,
        0,
        "",
    )
    assert chain.govern(governed(rotation)) is ResultCode.OK
    with pytest.raises(PeerError) as caught:
        chain.notarize()
    assert caught.value.rule == "tx-sender"
    assert chain.notarize(key_of="second key") is ResultCode.OK


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.FROZEN, ResultCode.IDENTITY_FROZEN),
        (Status.REVOKED, ResultCode.IDENTITY_REVOKED),
    ],
)
def test_who_has_no_rights_gets_no_certificate(status: Status, code: ResultCode) -> None:
    chain = People()
    assert chain.govern(governed(change("agency-1", status))) is ResultCode.OK
    rotation = RotateIdentity("agency-1", certificate(OWN, "agency-1"), None, 0, "")
    assert chain.govern(governed(rotation)) is code
    unknown = RotateIdentity("agency-9", certificate(OWN, "agency-9"), None, 0, "")
    assert chain.govern(governed(unknown)) is ResultCode.IDENTITY_UNKNOWN


def test_an_authority_that_was_replaced_certifies_nobody() -> None:
    chain = People()
    only = SetAuthorities("org-1", (EXTERNAL.certificate,), "key of our CA lost")
    assert chain.govern(governed(only)) is ResultCode.OK
    assert chain.govern(governed(enrolment())) is ResultCode.CERTIFICATE_INVALID
    assert chain.govern(governed(enrolment(issuer=EXTERNAL))) is ResultCode.OK
    organisation = find_organisation(chain.state.get, "org-1")
    assert organisation is not None
    assert authorities_of(chain.state.get, organisation) == (EXTERNAL.certificate,)
    trail = find_trail(chain.state.get, Subject.ORGANISATION, "org-1")
    assert [(each.event, each.reason) for each in trail] == [
        (Event.ROTATED, ""),
        (Event.ROTATED, "key of our CA lost"),
    ]


def test_authorities_are_certificates_that_may_sign_and_of_members() -> None:
    chain = People()
    member = SetAuthorities("org-1", (certificate(OWN, "agency-1"),), "")
    assert chain.govern(governed(member)) is ResultCode.AUTHORITY_INVALID
    unknown = SetAuthorities("org-9", (OWN.certificate,), "")
    assert chain.govern(governed(unknown)) is ResultCode.ORGANISATION_UNKNOWN
    for unfit in (b"\x30\x00", certificate(OWN, "agency-1")):
        admitted = newcomer("org-5")
        admitted = AddOrganisation(replace(admitted.organisation, ca_certificate=unfit))
        assert chain.govern(governed(admitted)) is ResultCode.AUTHORITY_INVALID
    assert chain.govern(governed(newcomer("org-5"))) is ResultCode.OK


def test_an_external_authority_of_rsa_certifies_members_of_who_named_it_alone() -> None:
    chain = People()
    rsa = rsa_authority(CREATED_MS)
    assert chain.govern(governed(SetAuthorities("org-1", (OWN.certificate, rsa), ""))) is OK
    key = certifier("tls of rsa").private_key.public_key()
    for organisation, code in (("org-1", OK), ("org-2", ResultCode.CERTIFICATE_INVALID)):
        issued = rsa_member(CREATED_MS, key, f"agency:new-{organisation}", organisation)
        shown = read_identity(issued)
        joining = EnrolIdentity(
            Identity(
                identity_id=shown.identity_id,
                organisation=organisation,
                role=Role.AGENCY,
                public_key=signer("new").public_key.encoded,
                not_before_ms=shown.not_before_ms,
                not_after_ms=shown.not_after_ms,
            ),
            issued,
        )
        assert chain.govern(governed(joining)) is code


def test_an_organisation_has_an_authority_that_tls_takes() -> None:
    genesis = GovernedChain().state.get
    writes: dict[bytes, bytes | None] = {}
    occasion = execution_identity.Occasion(1, CREATED_MS, bytes(32))
    people = execution_identity.People(genesis, writes, NATIONAL, occasion, lambda: FOUNDERS)
    of_sm2 = newcomer("org-5").organisation
    of_sm2 = replace(of_sm2, ca_certificate=SM2_AUTHORITY)
    assert people.admit(of_sm2) is ResultCode.AUTHORITY_NOT_FOR_TLS
    only = SetAuthorities("org-1", (SM2_AUTHORITY,), "")
    assert people.set_authorities(only) is ResultCode.AUTHORITY_NOT_FOR_TLS
    assert writes == {}
    both = replace(only, authorities=(SM2_AUTHORITY, OWN.certificate))
    assert people.set_authorities(both) is None
    assert authorities_key("org-1") in writes


@pytest.mark.parametrize(
    ("status", "code"),
    [(Status.FROZEN, ResultCode.OK), (Status.REVOKED, ResultCode.ORGANISATION_REVOKED)],
)
def test_authorities_are_set_of_a_frozen_organisation_but_of_no_revoked_one(
    status: Status, code: ResultCode
) -> None:
    chain = People()
    leaving = governed(
        change("org-4", status, Subject.ORGANISATION),
        evidence=chain.statements("validator-1", "validator-2", "validator-3"),
    )
    assert chain.govern(leaving) is ResultCode.OK
    authorities = SetAuthorities("org-4", (EXTERNAL.certificate,), "")
    assert chain.govern(governed(authorities, epoch=1)) is code


def test_an_organisation_admitted_later_has_a_trail_from_its_admission_on() -> None:
    chain = People()
    admitted = AddOrganisation(
        Organisation(organisation_id="org-5", name="5", ca_certificate=OWN.certificate)
    )
    assert chain.govern(governed(admitted)) is ResultCode.OK
    (entry,) = find_trail(chain.state.get, Subject.ORGANISATION, "org-5")
    assert (entry.event, entry.height) == (Event.REGISTERED, 2)


def test_a_validator_that_left_is_known_still() -> None:
    chain = People()
    leaving = governed(
        RemoveValidator("validator-4"),
        evidence=chain.statements("validator-1", "validator-2", "validator-3"),
    )
    assert chain.govern(leaving) is ResultCode.OK
    revoking = governed(change("validator-4", Status.REVOKED), epoch=1)
    assert chain.govern(revoking) is ResultCode.OK
    assert epoch_in_force(chain.state, GOVERNED.suite).number == 1


def test_what_was_approved_once_is_carried_out_once() -> None:
    chain = People()
    unfrozen = governed(change("agency-1", Status.ACTIVE))
    assert chain.govern(governed(change("agency-1", Status.FROZEN))) is OK
    assert chain.govern(unfrozen) is OK
    assert chain.govern(governed(change("agency-1", Status.FROZEN))) is OK
    # One administrator alone has the approvals, which stand in the block, and hands them in again.
    assert chain.govern(unfrozen, sender="admin-4") is ResultCode.ALREADY_CARRIED_OUT
    assert chain.status("agency-1") is Status.FROZEN
    assert chain.govern(governed(change("agency-1", Status.ACTIVE))) is OK


@pytest.mark.parametrize(
    ("from_t_ms", "code"),
    [
        (-1, ResultCode.PROPOSAL_LAPSED),
        (0, OK),
        (GOVERNANCE_LIFETIME_MS_MAX, OK),
        (GOVERNANCE_LIFETIME_MS_MAX + 1, ResultCode.PROPOSAL_LAPSED),
    ],
)
def test_what_was_approved_lapses_and_within_ninety_days(from_t_ms: int, code: ResultCode) -> None:
    chain = People()
    freezing = change("agency-1", Status.FROZEN)
    t_ms = next_inputs(chain.state).time_ms
    assert chain.govern(governed(freezing, not_after_ms=t_ms + from_t_ms)) is code
    assert chain.status("agency-1") is (Status.FROZEN if code is OK else Status.ACTIVE)
