"""Whom a node deals with, read from the state of a chain that is governed."""

from __future__ import annotations

import pytest

from node.chain.block import ResultCode
from node.chain.genesis import Role
from node.chain.governance import (
    Endpoint,
    Operation,
    RegisterIdentity,
    RemoveValidator,
    SetEndpoint,
)
from node.chain.identity import ChangeStatus, SetAuthorities, Status, Subject
from node.crypto.certificate_profile import CertificateIdentity
from node.crypto.member_certificate import read_identity
from node.errors import PeerError
from node.service.neighbours import ANY_ORGANISATION, Neighbour, Neighbourhood
from tests.unit.execution.governed_chain import (
    GOVERNED,
    adding,
    governed,
    governed_tx,
    statement,
)
from tests.unit.execution.small_chain import CREATED_MS, YEAR_MS, identity, newcomer
from tests.unit.execution.test_identity import OWN, enrolment
from tests.unit.service.chatting import Chat

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
HINTS = {name: f"10.0.0.{number}:7100" for number, name in enumerate(FOUNDERS, 1)}
NOW_MS = CREATED_MS + 60_000


class Town:
    """A running chain, as one of its validators sees it."""

    def __init__(self, hints: dict[str, str] = HINTS) -> None:
        self.chat = Chat(*FOUNDERS)
        self._nonce = 0
        state = self.chat.nodes["validator-1"].ledger
        self.seen = Neighbourhood(GOVERNED, "validator-1", hints, state)

    def govern(self, *operations: Operation, members: tuple[str, ...] = ()) -> None:
        self._nonce += 1
        node = self.chat.nodes["validator-1"]
        evidence = [statement(name, node.ledger.header) for name in members]
        payload = governed(*operations, epoch=node.engine.term.epoch.number, evidence=evidence)
        transaction = governed_tx(payload, nonce=self._nonce)
        self.chat.submit("validator-1", transaction)
        result = node.ledger.result(transaction.transaction.tx_id)
        assert result is not None
        assert result.code is ResultCode.OK


def shown(name: str, organisation: str = "org-1", role: str = "validator") -> CertificateIdentity:
    return CertificateIdentity(
        identity_id=name,
        role=role,
        organisation=organisation,
        public_key_encoded=bytes(33),
        not_before_ms=0,
        not_after_ms=1,
        fingerprint=bytes(32),
    )


def registered(name: str = "city", role: Role = Role.VALIDATOR) -> tuple[Operation, Operation]:
    return (RegisterIdentity(identity(name, role)), SetEndpoint(name, Endpoint("10.0.0.9", 7_100)))


def test_members_are_found_where_the_state_says_and_where_the_operator_knows() -> None:
    town = Town()
    assert town.seen.members() == [
        Neighbour(name, f"org-{number}", (HINTS[name],))
        for number, name in enumerate(FOUNDERS, 1)
        if name != "validator-1"
    ]
    town.govern(SetEndpoint("validator-2", Endpoint("::1", 7_200)))
    first, *_ = town.seen.members()
    assert first.addresses == ("[::1]:7200", HINTS["validator-2"])


def test_a_member_that_nobody_says_where_to_find_is_named_all_the_same() -> None:
    assert Neighbour("validator-4", "org-4", ()) in Town({}).seen.members()


@pytest.mark.parametrize("role", [Role.VALIDATOR, Role.OBSERVER])
def test_a_registered_node_may_follow(role: Role) -> None:
    town = Town()
    certificate = shown("city", role=role.name.lower())
    with pytest.raises(PeerError, match="stranger"):
        town.seen.follower(certificate, NOW_MS)
    town.govern(*registered(role=role))
    found = town.seen.follower(certificate, NOW_MS)
    assert found == Neighbour("city", "org-1", ("10.0.0.9:7100",))


@pytest.mark.parametrize(
    ("certificate", "now_ms", "rule"),
    [
        (shown("city", "org-2"), NOW_MS, "wrong-certificate"),
        (shown("city", role="agency"), NOW_MS, "wrong-certificate"),
        (shown("city"), CREATED_MS + YEAR_MS + 1, "identity-not-valid"),
        (shown("town"), NOW_MS, "stranger"),
        (shown("agency-1", role="agency"), NOW_MS, "stranger"),
        (shown("validator-2", "org-2"), NOW_MS, "stranger"),  # it decides: it does not follow
    ],
)
def test_who_may_not_follow_is_told_why(
    certificate: CertificateIdentity, now_ms: int, rule: str
) -> None:
    town = Town()
    town.govern(*registered())
    with pytest.raises(PeerError) as raised:
        town.seen.follower(certificate, now_ms)
    assert raised.value.rule == rule


def test_who_lost_its_rights_may_not_follow_nor_ask_until_it_has_them_again() -> None:
    town = Town()
    town.govern(*registered())
    assert town.seen.why_barred(shown("city"), NOW_MS) is None
    town.govern(ChangeStatus(Subject.IDENTITY, "city", Status.FROZEN, "stolen"))
    with pytest.raises(PeerError, match=r"barred.*'city' is frozen since block 2: stolen"):
        town.seen.follower(shown("city"), NOW_MS)
    assert town.seen.why_barred(shown("city"), NOW_MS) is not None
    town.govern(ChangeStatus(Subject.IDENTITY, "city", Status.ACTIVE, ""))
    assert town.seen.follower(shown("city"), NOW_MS).node_id == "city"


@pytest.mark.parametrize("name", ["agency-1", "admin-1", "validator-1", "validator-9", "city"])
def test_no_authority_certifies_who_is_of_another_organisation(name: str) -> None:
    town = Town()
    town.govern(*registered())
    town.govern(adding("validator-9"), members=(*FOUNDERS, "validator-9"))
    town.govern(RemoveValidator("validator-9"), members=FOUNDERS)
    assert town.seen.why_barred(shown(name, "org-1"), NOW_MS) is None
    why = town.seen.why_barred(shown(name, "org-2"), NOW_MS)
    assert why == f"{name!r} is of 'org-1': 'org-2' cannot certify it"
    assert town.seen.why_barred(shown("stranger", "org-2"), NOW_MS) is None


def test_a_client_is_let_in_until_its_identity_ends_whatever_its_certificate_says() -> None:
    town = Town()
    short = identity("clerk", Role.AUDITOR, NOW_MS)
    town.govern(RegisterIdentity(short))
    assert town.seen.why_barred(shown("clerk"), NOW_MS) is None
    assert "validity is over" in (town.seen.why_barred(shown("clerk"), NOW_MS + 1) or "")


def test_where_a_certificate_is_registered_no_other_is_accepted() -> None:
    town = Town()
    enrolled = enrolment()
    town.govern(SetAuthorities("org-1", (OWN.certificate,), ""), enrolled)
    own = read_identity(enrolled.certificate)
    assert town.seen.why_barred(own, NOW_MS) is None
    assert "another certificate" in (town.seen.why_barred(shown("agency-9"), NOW_MS) or "")
    assert town.seen.why_barred(own, own.not_after_ms + 1) is not None
    assert town.seen.authorities()["org-1"] == (OWN.certificate,)


def test_a_node_without_an_endpoint_could_not_be_answered() -> None:
    town = Town()
    town.govern(registered()[0])
    with pytest.raises(PeerError) as raised:
        town.seen.follower(shown("city"), NOW_MS)
    assert raised.value.rule == "no-endpoint"


def test_a_validator_that_left_may_follow_under_the_authority_it_had() -> None:
    town = Town()
    town.govern(RemoveValidator("validator-4"), members=FOUNDERS[:3])
    assert [each.node_id for each in town.seen.members()] == ["validator-2", "validator-3"]
    left = Neighbour("validator-4", "org-4", (HINTS["validator-4"],))
    assert town.seen.follower(shown("validator-4", "org-4"), NOW_MS) == left
    assert town.seen.unknown() == []
    with pytest.raises(PeerError, match="wrong-certificate"):
        town.seen.follower(shown("validator-4", "org-1"), NOW_MS)


def test_whom_only_the_operator_knows_may_be_of_an_epoch_to_come() -> None:
    town = Town({**HINTS, "city": "10.0.0.9:7100"})
    assert town.seen.unknown() == [Neighbour("city", ANY_ORGANISATION, ("10.0.0.9:7100",))]
    town.govern(*registered())
    assert town.seen.unknown() == []


def test_an_organisation_certifies_from_the_block_on_that_adds_it() -> None:
    town = Town()
    assert [*town.seen.authorities()] == ["org-1", "org-2", "org-3", "org-4"]
    added = newcomer("org-5")
    town.govern(added)
    assert town.seen.authorities()["org-5"] == (added.organisation.ca_certificate,)
