"""A node's home on a machine of its own, and how the node introduces itself."""

from __future__ import annotations

import json
import secrets
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding

from node.chain.genesis import Genesis
from node.chain.governance import Endpoint
from node.config import Address, ClientProfile, NodeConfig
from node.config import Endpoint as KnownPeer
from node.crypto import keystore
from node.crypto.certificate import Issuance, build_authority_certificate
from node.crypto.keystore import KeyFileSecret, KeyPurpose, PassphraseSecret, load_signer
from node.crypto.member_certificate import verify_identity
from node.crypto.signature import P256Signer
from node.errors import ConfigError, CryptoError
from node.operations.homes import (
    HomePlan,
    Issued,
    Secret,
    apply_for_home,
    certify_home,
    make_home,
)
from node.operations.introduction import Introduction, add_to_profile
from node.operations.provision import NetworkPlan, endpoint_table, provision, render_toml
from node.operations.topology import PORTS_PER_NODE, find_free_ports
from node.service.home import log_identity, require_whole
from node.storage.wal import WriteAheadLog
from tests.suites import SUITE

NOW_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def genesis(tmp_path_factory: pytest.TempPathFactory) -> Genesis:
    folder = tmp_path_factory.mktemp("founders") / "network"
    ports = find_free_ports("127.0.0.1", PORTS_PER_NODE)
    plan = NetworkPlan(name="trial", suite=SUITE, created_ms=NOW_MS, node_count=1, ports=ports)
    provision(folder, plan)
    return Genesis.decode((folder / "genesis.cbor").read_bytes())


@pytest.fixture
def plan(genesis: Genesis) -> HomePlan:
    return HomePlan(
        node_id="city-a",
        organisation_id="city",
        genesis=genesis,
        peer_address=Address("::", 7_100),
        client_address=Address("::", 7_101),
        host="2001:db8::7",
        peers=(KnownPeer("validator-1", Address("::1", 7_200)),),
    )


def test_a_home_is_whole_and_private(tmp_path: Path, plan: HomePlan) -> None:
    home, authority = tmp_path / "city-a", tmp_path / "authority"
    introduction = make_home(home, plan, authority, None, NOW_MS)
    require_whole(home)
    config = NodeConfig.load(home)
    assert (config.peer_address, config.client_address) == (
        Address("::", 7_100),
        Address("::", 7_101),
    )
    assert (config.peers, config.metrics_address) == (plan.peers, None)
    log, _ = WriteAheadLog.open(config.wal, log_identity(plan.genesis, "city-a"))
    log.close()
    shown = verify_identity(
        (home / "tls.pem").read_bytes(), (authority / "ca.pem").read_bytes(), NOW_MS
    )
    assert (shown.identity_id, shown.role, shown.organisation) == ("city-a", "validator", "city")
    assert (home / "ca-bundle.pem").read_bytes().count(b"BEGIN CERTIFICATE") == 2
    for private in (*(home / "keys").iterdir(), home / "secret.key", authority / "ca.key"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert {stat.S_IMODE(each.stat().st_mode) for each in (home, authority)} == {0o700}
    assert introduction.newcomer.endpoint.endpoint == Endpoint("2001:db8::7", 7_100)
    assert introduction.client_address == Address("2001:db8::7", 7_101)
    assert not [*tmp_path.rglob("*.unfinished")]


def test_an_introduction_reads_back_and_holds_nothing_else(tmp_path: Path, plan: HomePlan) -> None:
    introduction = make_home(tmp_path / "city-a", plan, tmp_path / "authority", None, NOW_MS)
    data = (tmp_path / "city-a/introduction.json").read_bytes()
    assert Introduction.decode(data, plan.genesis) == introduction
    assert introduction.encode() == data
    assert b"PRIVATE" not in data
    # Found by tests.fuzz: of a field given twice the last counted, and blanks among digits did not.
    digit = data.index(b'"vote_key": "') + len(b'"vote_key": "') + 2
    start = data.index(b'"node"')
    twice = data[:start] + b'"node": "another",\n  ' + data[start:]
    for other in (twice, data[:digit] + b" " + data[digit:], data + b"\n"):
        with pytest.raises(ConfigError, match="as govchain wrote it") as raised:
            Introduction.decode(other, plan.genesis)
        assert raised.value.code == "GC-2324"


def test_a_profile_learns_of_it_and_keeps_the_rest(tmp_path: Path, plan: HomePlan) -> None:
    introduction = make_home(tmp_path / "city-a", plan, tmp_path / "authority", None, NOW_MS)
    profile = tmp_path / "profile.toml"
    known = [endpoint_table("validator-1", "::1", 7_300)]
    names = ("identity", "credentials", "ca_bundle", "genesis", "suite")
    settings = {"version": 1, "chain_id": "00" * 32, **dict.fromkeys(names, "x")}
    profile.write_bytes(render_toml({**settings, "endpoints": known}))
    for address in (Address("::1", 1), introduction.client_address):
        add_to_profile(profile, replace(introduction, client_address=address))
    first, second = ClientProfile.load(profile).endpoints
    assert first == KnownPeer("validator-1", Address("::1", 7_300))
    assert (second.validator_id, second.address) == ("city-a", introduction.client_address)
    assert second.authority is not None
    assert second.authority.read_bytes() == introduction.authority_pem


@pytest.mark.parametrize(
    ("member", "value", "why"),
    [
        ("format", "govchain-introduction-2", "expected format"),
        ("chain_id", "00" * 32, "expected one for chain"),
        ("node", "city-b", "does not verify"),
        ("possession", "", "does not verify"),
        ("vote_key", "ff", "public key"),
        ("authority", "none", "certificate"),
        ("peer_address", "::1", "host:port"),
        ("not_before_ms", -1, "-1"),
        ("extra", "", "unknown field"),
        ("identity_key", "zz", "hexadecimal"),
    ],
)
def test_an_introduction_that_was_changed_is_refused(
    tmp_path: Path, plan: HomePlan, member: str, value: object, why: str
) -> None:
    introduction = make_home(tmp_path / "city-a", plan, tmp_path / "authority", None, NOW_MS)
    content = json.loads(introduction.encode())
    changed = json.dumps({**content, member: value}).encode()
    with pytest.raises(ConfigError, match=why) as raised:
        Introduction.decode(changed, plan.genesis)
    assert raised.value.code == "GC-2324"


def test_an_authority_serves_the_next_node_too(tmp_path: Path, plan: HomePlan) -> None:
    authority = tmp_path / "authority"
    first = make_home(tmp_path / "city-a", plan, authority, None, NOW_MS)
    renewed = replace(plan, node_id="city-a.2")
    second = make_home(tmp_path / "city-a.2", renewed, authority, None, NOW_MS)
    assert first.newcomer.organisation == second.newcomer.organisation
    assert first.newcomer.joining.validator.vote_key != second.newcomer.joining.validator.vote_key
    with pytest.raises(ConfigError, match="the authority is of 'city', not of 'village'"):
        make_home(
            tmp_path / "village", replace(plan, organisation_id="village"), authority, None, NOW_MS
        )
    assert not (tmp_path / "village").exists()


def hurried(*, salt: bytes, length: int, n: int, r: int, p: int) -> Scrypt:
    assert (n, r, p) == (2**17, 8, 1)
    return Scrypt(salt=salt, length=length, n=2, r=r, p=p)


def test_a_secret_that_is_given_opens_the_keys(
    tmp_path: Path, plan: HomePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystore, "Scrypt", hurried)  # else a third of a second for each key
    words = Secret(PassphraseSecret("several unrelated words"), None)
    home = tmp_path / "city-a"
    make_home(home, plan, tmp_path / "authority", words, NOW_MS)
    assert NodeConfig.load(home).key_file is None
    assert not (home / "secret.key").exists()
    load_signer(home / "keys/vote.key", words.opens, KeyPurpose.VOTE)
    with pytest.raises(ConfigError, match=r"holds no secret\.key") as raised:
        make_home(tmp_path / "other", plan, tmp_path / "authority", None, NOW_MS)
    assert raised.value.code == "GC-2311"
    key_file = tmp_path / "own.key"
    own = Secret(KeyFileSecret.generate(key_file), key_file)
    make_home(tmp_path / "third", plan, tmp_path / "third-authority", own, NOW_MS)
    assert NodeConfig.load(tmp_path / "third").key_file == key_file


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"host": "::"}, "no address at which others reach"),
        ({"node_id": "validator-1", "peers": ()}, "is a validator by the genesis already"),
        (
            {"node_id": "validator-9", "peers": (KnownPeer("validator-9", Address("a", 1)),)},
            "itself",
        ),
        ({"client_address": Address("::", 7_100)}, "an address of its own for each use"),
    ],
)
def test_what_could_never_run_is_not_made(
    tmp_path: Path, plan: HomePlan, changes: dict[str, object], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        make_home(tmp_path / "city-a", replace(plan, **changes), tmp_path / "ca", None, NOW_MS)  # type: ignore[arg-type]
    assert not (tmp_path / "city-a").exists()


def test_a_host_that_no_certificate_can_name_is_refused(tmp_path: Path, plan: HomePlan) -> None:
    with pytest.raises(CryptoError, match="expected a DNS name or an IP address"):
        make_home(tmp_path / "city-a", replace(plan, host="city a"), tmp_path / "ca", None, NOW_MS)


def test_nothing_is_overwritten(tmp_path: Path, plan: HomePlan) -> None:
    home = tmp_path / "city-a"
    make_home(home, plan, tmp_path / "authority", None, NOW_MS)
    before = (home / "introduction.json").read_bytes()
    with pytest.raises(ConfigError, match="is not empty") as raised:
        make_home(home, plan, tmp_path / "authority", None, NOW_MS)
    assert raised.value.code == "GC-2102"
    assert (home / "introduction.json").read_bytes() == before


def issue_at(request: Path, *, organisation: str = "city") -> Issued:
    """Issue a certificate as an authority with other tools does: what is asked for, copied."""
    asked = x509.load_pem_x509_csr(request.read_bytes())
    signer = P256Signer.from_secret(secrets.token_bytes(32))
    issuance = Issuance(
        serial_number=1, not_before_ms=NOW_MS - 60_000, not_after_ms=NOW_MS + 60_000
    )
    own = build_authority_certificate(signer, organisation, issuance)
    ca = x509.load_der_x509_certificate(own)
    builder = (
        x509.CertificateBuilder(ca.subject, asked.subject, asked.public_key(), 2)
        .not_valid_before(ca.not_valid_before_utc)
        .not_valid_after(ca.not_valid_after_utc)
    )
    for each in asked.extensions:
        builder = builder.add_extension(each.value, each.critical)
    certificate = builder.sign(signer.private_key, hashes.SHA256())
    return Issued(certificate.public_bytes(Encoding.PEM), ca.public_bytes(Encoding.PEM))


def test_an_authority_elsewhere_certifies_what_is_asked_for(tmp_path: Path, plan: HomePlan) -> None:
    home = tmp_path / "city-a"
    request = apply_for_home(home, plan, None, NOW_MS)
    with pytest.raises(ConfigError, match=r"tls\.pem is missing"):
        require_whole(home)
    issued = issue_at(request)
    introduction = certify_home(home, plan, issued, None, NOW_MS)
    require_whole(home)
    shown = verify_identity((home / "tls.pem").read_bytes(), issued.authority, NOW_MS)
    assert (shown.identity_id, shown.role, shown.organisation) == ("city-a", "validator", "city")
    assert introduction.authority_pem == issued.authority
    data = (home / "introduction.json").read_bytes()
    assert Introduction.decode(data, plan.genesis) == introduction
    assert NodeConfig.load(home).key_file == home / "secret.key"
    with pytest.raises(ConfigError, match="no node there waits for a certificate"):
        certify_home(home, plan, issued, None, NOW_MS)


def test_a_certificate_that_was_not_asked_for_is_refused(tmp_path: Path, plan: HomePlan) -> None:
    home, other = tmp_path / "city-a", tmp_path / "city-b"
    request = apply_for_home(home, plan, None, NOW_MS)
    elsewhere = apply_for_home(other, replace(plan, node_id="city-b"), None, NOW_MS)
    again = apply_for_home(tmp_path / "again", plan, None, NOW_MS)
    for issued, why in (
        (issue_at(elsewhere), "expected one of validator 'city-a', got one of validator 'city-b'"),
        (issue_at(again), "is not for the key of"),
        (issue_at(request, organisation="village"), "names organisation"),
        (Issued(issue_at(request).certificate, issue_at(request).authority), "not issued by"),
    ):
        with pytest.raises(CryptoError, match=why):
            certify_home(home, plan, issued, None, NOW_MS)
    with pytest.raises(ConfigError, match="was made for 'city-b'"):
        certify_home(other, plan, issue_at(elsewhere), None, NOW_MS)
    assert not (home / "tls.pem").exists()
