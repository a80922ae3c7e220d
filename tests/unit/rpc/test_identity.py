"""Who is believed to be on the other end of a connection."""

from __future__ import annotations

import pytest

from node.crypto.certificate import build_authority_certificate
from node.crypto.sm2 import Sm2Signer
from node.rpc.identity import VERDICT_MS, AccessError, Gatekeeper, TlsIdentity
from tests.unit.rpc.pki import HOUR_MS, Pki, now_ms, shared_pki

Properties = dict[str, list[bytes]]


def shown(tls: TlsIdentity, version: bytes = b"TLSv1.3") -> Properties:
    """Return the properties of a connection on which `tls` was shown."""
    return {"ssl_tls_version": [version], "x509_pem_cert": [tls.certificate_pem]}


@pytest.fixture
def pki() -> Pki:
    return shared_pki()


def test_a_members_certificate_says_who_it_is(pki: Pki) -> None:
    identity = pki.gatekeeper().identify(shown(pki.client("agency-1")))
    assert (identity.role, identity.identity_id, identity.organisation) == (
        "agency",
        "agency-1",
        "org-1",
    )


def test_every_organisation_issues_for_itself(pki: Pki) -> None:
    gatekeeper = pki.gatekeeper()
    for number in range(1, 5):
        identity = gatekeeper.identify(shown(pki.validator(number)))
        assert identity.organisation == f"org-{number}"


@pytest.mark.parametrize("version", [b"TLSv1.2", b"TLSv1.1", b""])
def test_an_older_tls_is_refused(pki: Pki, version: bytes) -> None:
    with pytest.raises(AccessError, match=r"TLS 1\.3"):
        pki.gatekeeper().identify(shown(pki.client(), version))


def test_a_connection_without_tls_is_refused(pki: Pki) -> None:
    with pytest.raises(AccessError, match=r"TLS 1\.3"):
        pki.gatekeeper().identify({})


def test_a_connection_without_certificate_is_refused(pki: Pki) -> None:
    with pytest.raises(AccessError, match="one client certificate, got 0"):
        pki.gatekeeper().identify({"ssl_tls_version": [b"TLSv1.3"]})


def test_another_organisation_is_refused(pki: Pki) -> None:
    outsider = pki.client(authority=pki.authority(99))
    with pytest.raises(AccessError, match="'org-99' is not a member"):
        pki.gatekeeper().identify(shown(outsider))


def test_an_authority_under_a_members_name_is_refused(pki: Pki) -> None:
    impostor = pki.client(authority=pki.authority(99, "org-1"))
    with pytest.raises(AccessError, match="not issued by the authority of its organisation"):
        pki.gatekeeper().identify(shown(impostor))


def test_an_authority_of_sm2_beside_its_other_takes_nothing_from_tls(pki: Pki) -> None:
    """TLS libraries know no SM2: such an authority vouches for time stamps, and they see none."""
    authorities = {name: (a.certificate,) for name, a in pki.authorities.items()}
    before = Gatekeeper(authorities, now_ms)
    made = pki.issuance(77)
    sm2 = build_authority_certificate(Sm2Signer.from_secret(bytes(range(1, 33))), "org-1", made)
    both = Gatekeeper(authorities | {"org-1": (sm2, *authorities["org-1"])}, now_ms)
    assert both.roots_pem == before.roots_pem
    assert both.identify(shown(pki.client("agency-1"))).organisation == "org-1"
    alone = Gatekeeper({"org-1": (sm2,)}, now_ms)
    assert alone.roots_pem == b""
    with pytest.raises(AccessError, match="'org-1' is not a member"):
        alone.identify(shown(pki.client("agency-1")))


def test_something_else_than_a_certificate_is_refused(pki: Pki) -> None:
    with pytest.raises(AccessError, match="certificate"):
        pki.gatekeeper().identify(shown(TlsIdentity(b"nonsense", b"")))


def test_a_verdict_is_remembered_for_a_while_and_no_longer(pki: Pki) -> None:
    clock_ms = now_ms()
    authorities = {name: (a.certificate,) for name, a in pki.authorities.items()}
    gatekeeper = Gatekeeper(authorities, lambda: clock_ms)
    client = shown(pki.client(not_after_ms=clock_ms + HOUR_MS))
    first = gatekeeper.identify(client)
    clock_ms += VERDICT_MS
    assert gatekeeper.identify(client) is first
    clock_ms += 1
    assert gatekeeper.identify(client) is not first
    clock_ms += HOUR_MS
    with pytest.raises(AccessError, match="valid in"):
        gatekeeper.identify(client)


def test_roots_are_those_of_the_members(pki: Pki) -> None:
    gatekeeper = pki.gatekeeper()
    each = [gatekeeper.root_pem(f"org-{number}") for number in range(1, 5)]
    assert gatekeeper.roots_pem == b"".join(each)
    assert all(root.startswith(b"-----BEGIN CERTIFICATE-----") for root in each)


def test_a_private_key_is_not_shown(pki: Pki) -> None:
    assert "PRIVATE" not in repr(pki.client())


def test_authorities_may_change_and_what_is_none_certifies_nobody(pki: Pki) -> None:
    gatekeeper = pki.gatekeeper()
    assert gatekeeper.identify(shown(pki.client())).organisation == "org-1"
    others = {name: (a.certificate,) for name, a in pki.authorities.items() if name != "org-1"}
    member = pki.validator(2).certificate_pem  # a certificate, but of no authority
    gatekeeper.admit({**others, "org-8": (member,), "org-9": (b"\x30\x00",)})
    assert gatekeeper.root_pem("org-8") == gatekeeper.root_pem("org-9") == b""
    assert gatekeeper.roots_pem.count(b"BEGIN CERTIFICATE") == len(others)
    with pytest.raises(AccessError, match="'org-1' is not a member"):
        gatekeeper.identify(shown(pki.client()))
    assert gatekeeper.identify(shown(pki.validator(2))).organisation == "org-2"


def test_each_authority_of_an_organisation_is_believed(pki: Pki) -> None:
    second = pki.authority(99, "org-1")
    both = (pki.authorities["org-1"].certificate, second.certificate)
    gatekeeper = Gatekeeper({"org-1": both}, now_ms)
    for client in (pki.client(), pki.client(authority=second)):
        assert gatekeeper.identify(shown(client)).identity_id == "agency-1"
    gatekeeper.admit({"org-1": (second.certificate,)})
    with pytest.raises(AccessError, match="not issued by the authority"):
        gatekeeper.identify(shown(pki.client()))


def test_who_is_barred_is_refused_as_soon_as_that_may_have_changed(pki: Pki) -> None:
    barred: dict[str, str] = {}
    clock_ms = now_ms()
    certificates = {name: (a.certificate,) for name, a in pki.authorities.items()}
    gatekeeper = Gatekeeper(
        certificates, lambda: clock_ms, lambda who, _now_ms: barred.get(who.identity_id)
    )
    client = shown(pki.client())
    gatekeeper.identify(client)
    before = gatekeeper.verdicts_of
    barred["agency-1"] = "identity 'agency-1' is frozen since block 7"
    gatekeeper.admit(certificates)
    assert gatekeeper.verdicts_of != before
    with pytest.raises(AccessError, match="frozen since block 7"):
        gatekeeper.identify(client)
    barred.clear()
    assert gatekeeper.identify(client).identity_id == "agency-1"
    before = gatekeeper.verdicts_of
    clock_ms += VERDICT_MS
    assert gatekeeper.verdicts_of != before
