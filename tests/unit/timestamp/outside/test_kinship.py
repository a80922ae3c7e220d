"""Who of a chain is behind an authority that is to be outside it."""

from __future__ import annotations

from node.crypto.certificate import (
    Authority,
    build_authority_certificate,
    build_timestamp_certificate,
)
from node.timestamp.outside.kinship import find_insider
from tests.vectors.anchor.generate import ISSUERS, OUTSIDE
from tests.vectors.receipt.chain import AGENCY, Chain, signer
from tests.vectors.receipt.tokens import FIVE_YEARS, authority_of, tsa_certificate_of


def self_signed(name: str, key: str) -> bytes:
    return build_authority_certificate(signer(key), name, FIVE_YEARS)


def test_an_organisation_is_known_by_its_key_and_by_what_it_issued() -> None:
    chain = Chain.found()
    trust, authority = chain.trust().establish(), authority_of(chain)
    assert find_insider([authority.certificate], trust) == "org-1"
    assert find_insider([tsa_certificate_of(authority)], trust) == "org-1"
    assert find_insider([self_signed("another name", "org-1 authority")], trust) == "org-1"


def test_a_validator_and_an_agency_are_known_by_their_keys() -> None:
    trust = Chain.found().trust().establish()
    assert find_insider([self_signed("x", "validator-2")], trust) == "validator-2"
    assert find_insider([self_signed("x", AGENCY)], trust) == AGENCY


def test_others_are_outside_and_what_cannot_be_read_is_nobodys() -> None:
    chain = Chain.found()
    trust, outside = chain.trust().establish(), ISSUERS[OUTSIDE].root
    assert find_insider([outside, b"no certificate"], trust) is None
    assert find_insider([], trust) is None
    assert find_insider([b"", outside, authority_of(chain).certificate], trust) == "org-1"
    stranger = Authority(self_signed("org-1", "a stranger"), signer("a stranger"))
    certificate = build_timestamp_certificate(
        stranger, "validator-1", signer("unknown").public_key.encoded, FIVE_YEARS
    )
    assert find_insider([stranger.certificate, certificate], trust) is None
