"""A chain founded together: what each brings is its own, is sealed so, and taken by all alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.chain.genesis import Genesis, Role
from node.config import Address, ClientProfile, NodeConfig
from node.crypto.keystore import KeyFileSecret, KeyPurpose, load_signer
from node.crypto.signature import Signer
from node.errors import ConfigError, DecodeError
from node.operations.founder_home import (
    BUNDLE_FILE,
    FounderPlan,
    check_founding,
    make_founder,
    take_founding,
)
from node.operations.founding import (
    FOUNDING_BYTES_MAX,
    Draft,
    SignedFounder,
    Terms,
    open_sealed,
    sign_founder,
)
from tests.suites import SUITE
from tests.unit.crypto.test_certificate_profile import SM2_AUTHORITY

NOW_MS = 1_800_000_000_000
TERMS = Terms(name="city", suite=SUITE, created_ms=NOW_MS, testnet=True)
NAMES = ("org-a", "org-b", "org-c", "org-d")


def plan(name: str, people: Mapping[str, Role] | None = None) -> FounderPlan:
    port = 20_000 + 10 * ord(name[-1])
    return FounderPlan(
        suite=SUITE,
        organisation_id=name,
        title=f"Bureau {name}",
        validator_id=f"validator-{name}",
        people=people or {f"admin-{name}": Role.ADMIN, f"agency-{name}": Role.AGENCY},
        peer_address=Address("127.0.0.1", port),
        client_address=Address("127.0.0.1", port + 1),
        host="127.0.0.1",
    )


@pytest.fixture(scope="module")
def offices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the homes of four organisations, each with an authority of its own."""
    folder = tmp_path_factory.mktemp("offices")
    homes = {}
    for name in NAMES:
        homes[name] = folder / name / "home"
        make_founder(homes[name], plan(name), folder / name / "authority", None, NOW_MS)
    return homes


def bundle(offices: dict[str, Path], name: str) -> SignedFounder:
    return SignedFounder.decode((offices[name] / BUNDLE_FILE).read_bytes())


def drafted(offices: dict[str, Path], *names: str) -> Draft:
    draft = Draft(TERMS)
    for name in names or NAMES:
        draft = draft.with_founder(bundle(offices, name))
    return draft


def signer_of(home: Path) -> Signer:
    secret = KeyFileSecret.load(home / "secret.key")
    return load_signer(home / "node/keys/vote.key", secret, KeyPurpose.VOTE)


def test_each_takes_the_same_chain_and_it_says_of_each_what_each_brought(
    offices: dict[str, Path],
) -> None:
    draft, genesis = open_sealed(Draft.decode(drafted(offices).encode()).seal())
    assert genesis.name == "city"
    assert [each.organisation_id for each in genesis.organisations] == [*NAMES]
    assert genesis.validators.faults == 1
    admins = [each.identity_id for each in genesis.identities if each.role is Role.ADMIN]
    assert admins == [f"admin-{name}" for name in NAMES]
    for name, home in offices.items():
        assert check_founding(home, draft) == bundle(offices, name)
        for _ in range(2):  # a second call changes nothing
            take_founding(home, draft, genesis)
        assert Genesis.decode((home / "node/genesis.cbor").read_bytes()) == genesis
        config = NodeConfig.load(home / "node")
        assert config.validator_id == f"validator-{name}"
        others = {f"validator-{each}" for each in NAMES if each != name}
        assert {each.validator_id for each in config.peers} == others
        profile = ClientProfile.load(home / f"clients/agency-{name}/profile.toml")
        assert profile.chain_id == genesis.chain_id
        assert len(profile.endpoints) == 4
        assert profile.endpoints[0].validator_id == f"validator-{name}"  # its own first
        assert (home / "ca-bundle.pem").read_bytes().count(b"BEGIN CERTIFICATE") == 4


def test_what_is_sent_holds_no_secret(offices: dict[str, Path]) -> None:
    sealed = drafted(offices).seal()
    for home in offices.values():
        secret = (home / "secret.key").read_bytes().strip()
        for public in ((home / BUNDLE_FILE).read_bytes(), sealed):
            assert secret not in public
            assert b"PRIVATE" not in public


def test_the_draft_replaces_a_bundle_of_the_same_organisation_where_it_stood(
    offices: dict[str, Path],
) -> None:
    founder = bundle(offices, "org-b").founder
    moved = replace(founder, peers_at=Address("192.0.2.7", 7_100))
    again = sign_founder(moved, signer_of(offices["org-b"]))
    draft = drafted(offices).with_founder(again)
    assert [each.founder.organisation.organisation_id for each in draft.founders] == [*NAMES]
    assert draft.founders[1].founder.peers_at == Address("192.0.2.7", 7_100)
    with pytest.raises(ConfigError, match="says of 'org-b' something else than its own bundle"):
        check_founding(offices["org-b"], draft)
    check_founding(offices["org-a"], draft)


def test_who_is_not_among_the_founders_or_runs_another_chain_takes_nothing(
    offices: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="'org-d' is not among its founders"):
        check_founding(offices["org-d"], drafted(offices, "org-a", "org-b"))
    home = tmp_path / "home"
    signed = make_founder(home, plan("org-z"), tmp_path / "authority", None, NOW_MS)
    first, second = (Draft(replace(TERMS, name=name)).with_founder(signed) for name in "12")
    take_founding(home, first, first.genesis())
    with pytest.raises(ConfigError, match="runs another chain already"):
        take_founding(home, second, second.genesis())
    assert Genesis.decode((home / "node/genesis.cbor").read_bytes()).name == "1"
    with pytest.raises(ConfigError, match="No such file"):
        check_founding(tmp_path, first)


def stolen_name(offices: dict[str, Path]) -> SignedFounder:
    """Return an organisation that names its validator as another's."""
    founder = bundle(offices, "org-b").founder
    validator = replace(founder.validator, validator_id="validator-org-a")
    return sign_founder(replace(founder, validator=validator), signer_of(offices["org-b"]))


def stolen_key(offices: dict[str, Path]) -> SignedFounder:
    """Return an organisation that shows another's vote key as its own."""
    founder = bundle(offices, "org-b").founder
    key = bundle(offices, "org-a").founder.validator.vote_key
    changed = replace(founder, validator=replace(founder.validator, vote_key=key))
    return sign_founder(changed, signer_of(offices["org-b"]))


def of_others(offices: dict[str, Path]) -> SignedFounder:
    """Return an organisation that brings an identity of another."""
    founder = bundle(offices, "org-b").founder
    people = (*founder.identities, bundle(offices, "org-a").founder.identities[0])
    return sign_founder(replace(founder, identities=people), signer_of(offices["org-b"]))


def without_admin(offices: dict[str, Path]) -> SignedFounder:
    founder = bundle(offices, "org-b").founder
    people = tuple(each for each in founder.identities if each.role is not Role.ADMIN)
    return sign_founder(replace(founder, identities=people), signer_of(offices["org-b"]))


def no_authority(offices: dict[str, Path]) -> SignedFounder:
    founder = bundle(offices, "org-b").founder
    organisation = replace(founder.organisation, ca_certificate=b"\x30\x00")
    changed = replace(founder, organisation=organisation)
    return sign_founder(changed, signer_of(offices["org-b"]))


def authority_of_sm2(offices: dict[str, Path]) -> SignedFounder:
    """Nobody whom it certifies could connect."""
    founder = bundle(offices, "org-b").founder
    organisation = replace(founder.organisation, ca_certificate=SM2_AUTHORITY)
    changed = replace(founder, organisation=organisation)
    return sign_founder(changed, signer_of(offices["org-b"]))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (stolen_key, "does not verify"),
        (of_others, "expected 'admin-org-a' to be of 'org-b'"),
        (without_admin, "expected an administrator"),
        (no_authority, "certificate: "),
        (authority_of_sm2, "expected a key of one of P-256, P-384, RSA, got SM2"),
    ],
)
def test_what_is_not_an_organisation_s_own_is_no_bundle(
    offices: dict[str, Path], made: Callable[[dict[str, Path]], SignedFounder], why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        SignedFounder.decode(made(offices).encode())
    assert refused.value.code == "GC-2326"


def test_names_that_are_taken_do_not_stand_beside_each_other(offices: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="an id or a vote key occurs twice"):
        drafted(offices, "org-a").with_founder(stolen_name(offices))


def test_any_altered_digit_of_a_bundle_is_refused(offices: dict[str, Path]) -> None:
    table = json.loads((offices["org-a"] / BUNDLE_FILE).read_bytes())
    for name in ("statement", "signature"):
        text = table[name]
        for at in range(0, len(text), 7):
            digit = "0" if text[at] != "0" else "1"
            altered = {**table, name: text[:at] + digit + text[at + 1 :]}
            with pytest.raises(ConfigError) as refused:
                SignedFounder.decode(json.dumps(altered).encode())
            assert refused.value.code == "GC-2326"


def changed(table: dict[str, Any], **fields: object) -> bytes:
    return json.dumps({**table, **fields}).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"},
        {"created_ms": NOW_MS + 1},
        {"testnet": False},
        {"chain_id": "00" * 32},
        {"suite": "none"},
        {"format": "govchain-founding-draft-1"},
        {"parameters": {}},
        {"parameters": {"unknown": 1}},
        {"founders": []},
        {"more": 1},
    ],
)
def test_a_sealed_file_that_was_changed_is_refused(
    offices: dict[str, Path], change: dict[str, Any]
) -> None:
    table = json.loads(drafted(offices).seal())
    with pytest.raises(ConfigError) as refused:
        open_sealed(changed(table, **change))
    assert refused.value.code == "GC-2326"


def test_a_founder_left_out_or_moved_makes_another_chain(offices: dict[str, Path]) -> None:
    table = json.loads(drafted(offices).seal())
    founders = table["founders"]
    for others in (founders[1:], founders[::-1], [*founders, founders[0]]):
        with pytest.raises(ConfigError) as refused:
            open_sealed(changed(table, founders=others))
        assert refused.value.code == "GC-2326"


def test_what_is_too_long_or_no_json_is_refused() -> None:
    for data in (b"", b"{", b"[]", b"\xff", b" " * (FOUNDING_BYTES_MAX + 1)):
        for read in (SignedFounder.decode, Draft.decode, open_sealed):
            with pytest.raises(ConfigError) as refused:
                read(data)
            assert refused.value.code == "GC-2326"


def test_what_was_begun_and_failed_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make_founder(home, plan("org-y"), tmp_path / "authority", None, NOW_MS)
    with pytest.raises(ConfigError, match="exists and is not empty"):
        make_founder(home, plan("org-y"), tmp_path / "authority", None, NOW_MS)
    other = tmp_path / "other"
    unfit = plan("org-y", {"agency-org-y": Role.AGENCY})
    with pytest.raises(DecodeError, match="expected an administrator"):
        make_founder(other, unfit, tmp_path / "authority", None, NOW_MS)
    assert sorted(each.name for each in tmp_path.iterdir() if "lock" not in each.name) == [
        "authority",
        "home",
    ]


def test_what_reads_alike_and_is_another_file_is_refused(offices: dict[str, Path]) -> None:
    """Found by tests.fuzz: of a field given twice the last counted; blanks among digits did not."""
    draft = drafted(offices)
    files = [
        (SignedFounder.decode, bundle(offices, next(iter(offices))).encode()),
        (Draft.decode, draft.encode()),
        (open_sealed, draft.seal()),
    ]
    for read, data in files:
        assert read(data)
        first = data.index(b'"format"')
        twice = data[:first] + b'"format": "another",\n  ' + data[first:]
        digit = data.index(b'"statement": "') + len(b'"statement": "') + 2
        spaced = data[:digit] + b" " + data[digit:]
        for other in (twice, spaced, data + b"\n", json.dumps(json.loads(data)).encode()):
            with pytest.raises(ConfigError, match="as govchain wrote it") as raised:
                read(other)
            assert raised.value.code == "GC-2326"
