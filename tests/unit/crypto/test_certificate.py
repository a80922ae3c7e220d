"""Certificates: what we build is accepted by TLS and by us, everything else is refused by name."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from node.crypto.certificate import (
    LOOPBACK_HOSTS,
    Authority,
    Issuance,
    Member,
    build_authority_certificate,
    build_identity_certificate,
    build_node_certificate,
    build_timestamp_certificate,
    build_timestamp_request,
    encode_pem,
    split_pem,
)
from node.crypto.member_certificate import read_identity, verify_identity
from node.crypto.signature import Ed25519Signer, P256Signer
from node.errors import CryptoError

NOT_BEFORE_MS = 1_700_000_000_000
NOT_AFTER_MS = NOT_BEFORE_MS + 2 * 365 * 86_400_000
NOW_MS = NOT_BEFORE_MS + 1
ISSUANCE = Issuance(serial_number=7, not_before_ms=NOT_BEFORE_MS, not_after_ms=NOT_AFTER_MS)

CA_KEY = P256Signer.from_secret(b"\x01" * 32)
OTHER_CA_KEY = P256Signer.from_secret(b"\x02" * 32)
NODE_KEY = P256Signer.from_secret(b"\x03" * 32)
CLIENT_KEY = P256Signer.from_secret(b"\x04" * 32)

ORGANISATION = "深圳市政务服务局"
CA_CERTIFICATE = build_authority_certificate(CA_KEY, ORGANISATION, ISSUANCE)
CA = Authority(CA_CERTIFICATE, CA_KEY)
NODE = Member(identity_id="validator-1", role="validator", public_key=NODE_KEY.public_key.encoded)
CLIENT = Member(identity_id="市档案馆", role="agency", public_key=CLIENT_KEY.public_key.encoded)
NODE_CERTIFICATE = build_node_certificate(CA, NODE, ISSUANCE, hosts=LOOPBACK_HOSTS)
CLIENT_CERTIFICATE = build_identity_certificate(CA, CLIENT, ISSUANCE)


def usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names.split()})


def member_names(*uris: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])


CLIENT_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
GOOD_EXTENSIONS: Sequence[tuple[x509.ExtensionType, bool]] = (
    (usage(digital_signature=True), True),
    (CLIENT_AUTH, False),
    (member_names("govchain:agency:bureau"), False),
)


def handmade(
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = GOOD_EXTENSIONS,
    *,
    public_key: ec.EllipticCurvePublicKey
    | ed25519.Ed25519PublicKey
    | rsa.RSAPublicKey
    | None = None,
    organisations: Sequence[str] = (ORGANISATION,),
    signer: P256Signer = CA_KEY,
) -> bytes:
    """Issue a member's certificate as a careless or hostile authority might."""
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organisations]
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=NOT_BEFORE_MS)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(x509.load_der_x509_certificate(CA_CERTIFICATE).subject)
        .public_key(public_key or CLIENT_KEY.private_key.public_key())
        .serial_number(9)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer.private_key, hashes.SHA256()).public_bytes(Encoding.DER)


# --- What we build. ---


def test_a_node_certificate_names_the_node_and_its_hosts() -> None:
    hosts = ("node1.city.example", "192.0.2.7", "2001:db8::7")
    certificate = build_node_certificate(CA, NODE, ISSUANCE, hosts=hosts)
    identity = verify_identity(certificate, CA_CERTIFICATE, NOW_MS)
    assert (identity.identity_id, identity.role) == ("validator-1", "validator")
    assert identity.organisation == ORGANISATION
    assert identity.public_key_encoded == NODE_KEY.public_key.encoded
    assert (identity.not_before_ms, identity.not_after_ms) == (NOT_BEFORE_MS, NOT_AFTER_MS)
    assert identity.fingerprint == sha256(certificate).digest()
    names = (
        x509.load_der_x509_certificate(certificate)
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    assert names.get_values_for_type(x509.DNSName) == ["node1.city.example"]
    addresses = [ip_address("192.0.2.7"), ip_address("2001:db8::7")]
    assert names.get_values_for_type(x509.IPAddress) == addresses


def test_an_identity_certificate_is_for_clients_only_and_takes_any_script() -> None:
    identity = verify_identity(CLIENT_CERTIFICATE, CA_CERTIFICATE, NOW_MS)
    assert (identity.identity_id, identity.role) == ("市档案馆", "agency")
    library = x509.load_der_x509_certificate(CLIENT_CERTIFICATE)
    assert library.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value == CLIENT_AUTH


def test_building_is_deterministic() -> None:
    assert build_authority_certificate(CA_KEY, ORGANISATION, ISSUANCE) == CA_CERTIFICATE
    assert build_identity_certificate(CA, CLIENT, ISSUANCE) == CLIENT_CERTIFICATE


def test_pem_and_der_are_the_same_certificate() -> None:
    pem = encode_pem(CLIENT_CERTIFICATE)
    assert pem.startswith(b"-----BEGIN CERTIFICATE-----")
    assert encode_pem(pem) == pem
    assert ssl.PEM_cert_to_DER_cert(pem.decode()) == CLIENT_CERTIFICATE
    from_pem = verify_identity(pem, encode_pem(CA_CERTIFICATE), NOW_MS)
    assert from_pem == verify_identity(CLIENT_CERTIFICATE, CA_CERTIFICATE, NOW_MS)
    with_pem_authority = Authority(encode_pem(CA_CERTIFICATE), CA_KEY)
    assert build_identity_certificate(with_pem_authority, CLIENT, ISSUANCE) == CLIENT_CERTIFICATE


def test_times_keep_whole_seconds() -> None:
    issuance = replace(ISSUANCE, not_before_ms=NOT_BEFORE_MS + 999, not_after_ms=NOT_AFTER_MS + 999)
    identity = read_identity(build_identity_certificate(CA, CLIENT, issuance))
    assert (identity.not_before_ms, identity.not_after_ms) == (NOT_BEFORE_MS, NOT_AFTER_MS)


@pytest.mark.parametrize("host", LOOPBACK_HOSTS)
def test_mutual_tls_accepts_both_certificates(tmp_path: Path, host: str) -> None:
    def context(protocol: int, name: str, certificate: bytes, key: P256Signer) -> ssl.SSLContext:
        made = ssl.SSLContext(protocol)
        made.minimum_version = ssl.TLSVersion.TLSv1_3
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(cadata=encode_pem(authority).decode())
        file = tmp_path / name
        pkcs8 = key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(encode_pem(certificate) + pkcs8)
        made.load_cert_chain(file)
        return made

    # The library checks validity against the real clock.
    always = Issuance(serial_number=1, not_before_ms=0, not_after_ms=4_000_000_000_000)
    authority = build_authority_certificate(CA_KEY, ORGANISATION, always)
    issuer = Authority(authority, CA_KEY)
    node = build_node_certificate(issuer, NODE, always, hosts=LOOPBACK_HOSTS)
    client = build_identity_certificate(issuer, CLIENT, always)
    server_context = context(ssl.PROTOCOL_TLS_SERVER, "server", node, NODE_KEY)
    client_context = context(ssl.PROTOCOL_TLS_CLIENT, "client", client, CLIENT_KEY)

    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client_context.wrap_bio(to_client, to_server, server_hostname=host),
        server_context.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(8):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    assert ends[0].getpeercert(binary_form=True) == node
    assert ends[1].getpeercert(binary_form=True) == client


# --- What we refuse to build. ---


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (replace(CLIENT, role="Agency"), "role: expected"),
        (replace(CLIENT, role=""), "role: expected"),
        (replace(CLIENT, role="a:b"), "role: expected"),
        (replace(CLIENT, identity_id=""), "identity id: expected 1 to 64 bytes, got 0"),
        (replace(CLIENT, identity_id="档" * 22), "identity id: expected 1 to 64 bytes, got 66"),
        (replace(CLIENT, public_key=b"\x02" * 32), "public key: expected 33 bytes"),
    ],
)
def test_unfit_members_are_refused(member: Member, message: str) -> None:
    with pytest.raises(CryptoError, match=message):
        build_identity_certificate(CA, member, ISSUANCE)


@pytest.mark.parametrize(
    "issuance",
    [
        replace(ISSUANCE, not_after_ms=NOT_BEFORE_MS - 1_000),
        replace(ISSUANCE, serial_number=0),
        replace(ISSUANCE, serial_number=2**160),
        replace(ISSUANCE, not_after_ms=10**18),
    ],
)
def test_unfit_issuances_are_refused(issuance: Issuance) -> None:
    with pytest.raises(CryptoError, match="certificate of '市档案馆'"):
        build_identity_certificate(CA, CLIENT, issuance)
    with pytest.raises(CryptoError, match="authority certificate of"):
        build_authority_certificate(CA_KEY, ORGANISATION, issuance)


@pytest.mark.parametrize("host", ["", "政务.example", "*.example", "a b", "::1::2", "x" * 64])
def test_unfit_hosts_are_refused(host: str) -> None:
    with pytest.raises(CryptoError, match="host: expected a DNS name or an IP address"):
        build_node_certificate(CA, NODE, ISSUANCE, hosts=[host])


@pytest.mark.parametrize("organisation", ["", "x" * 65])
def test_unfit_organisations_are_refused(organisation: str) -> None:
    with pytest.raises(CryptoError, match="authority certificate of"):
        build_authority_certificate(CA_KEY, organisation, ISSUANCE)


def test_an_authority_issues_with_its_own_p256_key_only() -> None:
    with pytest.raises(CryptoError, match="not the one its certificate names"):
        build_identity_certificate(Authority(CA_CERTIFICATE, OTHER_CA_KEY), CLIENT, ISSUANCE)
    with pytest.raises(CryptoError, match="expected a key of P-256 or SM2 held in memory"):
        build_authority_certificate(Ed25519Signer.from_secret(bytes(32)), ORGANISATION, ISSUANCE)


# --- What we refuse to believe. ---


def test_validity_includes_both_ends_and_nothing_more() -> None:
    longer = replace(
        ISSUANCE, not_before_ms=NOT_BEFORE_MS - 5_000, not_after_ms=NOT_AFTER_MS + 5_000
    )
    shorter = replace(
        ISSUANCE, not_before_ms=NOT_BEFORE_MS + 5_000, not_after_ms=NOT_AFTER_MS - 5_000
    )
    for authority_issuance, first_ms, last_ms, who in (
        (longer, NOT_BEFORE_MS, NOT_AFTER_MS, "^certificate of"),
        (shorter, NOT_BEFORE_MS + 5_000, NOT_AFTER_MS - 5_000, "^authority certificate of"),
    ):
        authority = build_authority_certificate(CA_KEY, ORGANISATION, authority_issuance)
        for at_ms in (first_ms, last_ms):
            identity = verify_identity(CLIENT_CERTIFICATE, authority, at_ms)
            assert identity.identity_id == CLIENT.identity_id
        for at_ms in (first_ms - 1, last_ms + 1):
            with pytest.raises(CryptoError, match=f"{who} .*got {at_ms} ms"):
                verify_identity(CLIENT_CERTIFICATE, authority, at_ms)


def test_only_the_issuing_authority_vouches() -> None:
    same_name_other_key = build_authority_certificate(OTHER_CA_KEY, ORGANISATION, ISSUANCE)
    other_name_same_key = build_authority_certificate(CA_KEY, "another organisation", ISSUANCE)
    for authority in (same_name_other_key, other_name_same_key):
        with pytest.raises(CryptoError, match="not issued by the authority"):
            verify_identity(CLIENT_CERTIFICATE, authority, NOW_MS)
    with pytest.raises(CryptoError, match="not issued by the authority"):
        verify_identity(handmade(signer=OTHER_CA_KEY), CA_CERTIFICATE, NOW_MS)


def test_an_authority_speaks_for_its_own_organisation_only() -> None:
    assert verify_identity(handmade(), CA_CERTIFICATE, NOW_MS).identity_id == "bureau"
    with pytest.raises(CryptoError, match="names organisation 'another'"):
        verify_identity(handmade(organisations=["another"]), CA_CERTIFICATE, NOW_MS)
    with pytest.raises(CryptoError, match="one organisation, got 2"):
        verify_identity(handmade(organisations=[ORGANISATION, "another"]), CA_CERTIFICATE, NOW_MS)
    with pytest.raises(CryptoError, match="subject: expected a name, got an empty one"):
        verify_identity(handmade(organisations=[]), CA_CERTIFICATE, NOW_MS)


def test_authorities_and_members_are_not_taken_for_each_other() -> None:
    with pytest.raises(CryptoError, match="expected a member's, got an authority's"):
        verify_identity(CA_CERTIFICATE, CA_CERTIFICATE, NOW_MS)
    with pytest.raises(CryptoError, match="expected one that may sign certificates"):
        verify_identity(CLIENT_CERTIFICATE, NODE_CERTIFICATE, NOW_MS)


UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
CONSTRAINTS = x509.NameConstraints([x509.DNSName("example")], None)


@pytest.mark.parametrize(
    ("extensions", "message"),
    [
        ([], "key usage digital signature"),
        (GOOD_EXTENSIONS[1:], "key usage digital signature"),
        ([(usage(key_agreement=True), True), *GOOD_EXTENSIONS[1:]], "key usage digital signature"),
        (
            [(usage(digital_signature=True, key_cert_sign=True), True), *GOOD_EXTENSIONS[1:]],
            "no issuing",
        ),
        (
            [(usage(digital_signature=True, crl_sign=True), True), *GOOD_EXTENSIONS[1:]],
            "no issuing",
        ),
        (
            [(x509.BasicConstraints(ca=True, path_length=None), True), *GOOD_EXTENSIONS],
            "got an authority's",
        ),
        ([GOOD_EXTENSIONS[0], GOOD_EXTENSIONS[2]], "client authentication"),
        (
            [
                GOOD_EXTENSIONS[0],
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
                GOOD_EXTENSIONS[2],
            ],
            "client authentication",
        ),
        (
            [
                GOOD_EXTENSIONS[0],
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False),
                GOOD_EXTENSIONS[2],
            ],
            "client authentication",
        ),
        ([*GOOD_EXTENSIONS, (UNKNOWN, True)], r"critical extension 1\.2\.3\.4 is not understood"),
        (
            [*GOOD_EXTENSIONS, (CONSTRAINTS, True)],
            r"critical extension 2\.5\.29\.30 is not understood",
        ),
        (GOOD_EXTENSIONS[:2], "expected one name govchain:"),
    ],
)
def test_certificates_outside_the_profile_are_refused(
    extensions: Sequence[tuple[x509.ExtensionType, bool]], message: str
) -> None:
    with pytest.raises(CryptoError, match=message):
        verify_identity(handmade(extensions), CA_CERTIFICATE, NOW_MS)


def test_unknown_extensions_are_refused_too_where_they_are_not_critical() -> None:
    certificate = handmade([*GOOD_EXTENSIONS, (UNKNOWN, False)])
    with pytest.raises(CryptoError, match=r"certificate: extension 1\.2\.3\.4 is not understood"):
        verify_identity(certificate, CA_CERTIFICATE, NOW_MS)


@pytest.mark.parametrize(
    "uris",
    [
        ["https://example.org"],
        ["govchain:agency:one", "govchain:agency:two"],
        ["govchain:agency"],
        ["govchain:agency:"],
        ["govchain::bureau"],
        ["govchain:agency:bureau:more"],
        ["govchain:AGENCY:bureau"],
        ["govchain:agency:a b"],
        ["govchain:agency:%62ureau"],
        ["govchain:agency:%e6%a1%a3"],
        ["govchain:agency:%FF"],
        ["govchain:agency:%"],
        ["govchain:agency:" + "x" * 65],
    ],
)
def test_identities_not_in_their_one_form_are_refused(uris: list[str]) -> None:
    certificate = handmade([*GOOD_EXTENSIONS[:2], (member_names(*uris), False)])
    with pytest.raises(CryptoError, match=r"^(certificate|role|identity id): "):
        verify_identity(certificate, CA_CERTIFICATE, NOW_MS)


def test_keys_of_other_kinds_are_refused() -> None:
    other_curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    edwards = ed25519.Ed25519PrivateKey.generate().public_key()
    modular = rsa.generate_private_key(65_537, 2_048).public_key()
    for public_key in (other_curve, edwards, modular):
        with pytest.raises(CryptoError, match=r"expected a (key of )?(P-256|RSA)"):
            verify_identity(handmade(public_key=public_key), CA_CERTIFICATE, NOW_MS)


def test_what_is_not_one_certificate_is_refused() -> None:
    pem = encode_pem(CLIENT_CERTIFICATE)
    for data in (
        b"",
        b"garbage",
        CLIENT_CERTIFICATE[:-1],
        CLIENT_CERTIFICATE + b"\x00",
        pem[:-40],
        pem + pem,
        pem + bytes(8_192),
    ):
        with pytest.raises(CryptoError, match="certificate: expected"):
            verify_identity(data, CA_CERTIFICATE, NOW_MS)
        with pytest.raises(CryptoError, match="certificate: expected"):
            verify_identity(CLIENT_CERTIFICATE, data, NOW_MS)


def test_any_altered_byte_is_refused_and_only_by_our_error() -> None:
    for index in range(len(CLIENT_CERTIFICATE)):
        for mask in (0x01, 0x10, 0x80, 0xFF):
            altered = bytearray(CLIENT_CERTIFICATE)
            altered[index] ^= mask
            with pytest.raises(CryptoError):
                verify_identity(bytes(altered), CA_CERTIFICATE, NOW_MS)


def test_a_time_stamp_certificate_is_for_that_alone_and_openssl_agrees(tmp_path: Path) -> None:
    key = NODE_KEY.public_key.encoded
    certificate = build_timestamp_certificate(CA, "validator-1", key, ISSUANCE)
    read = x509.load_der_x509_certificate(certificate)
    found = {each.oid: (each.value, each.critical) for each in read.extensions}
    assert found.pop(x509.ExtendedKeyUsage.oid) == (
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True
    )  # fmt: skip
    assert found.pop(x509.KeyUsage.oid) == (usage(digital_signature=True), True)
    assert set(found) == {x509.SubjectKeyIdentifier.oid, x509.AuthorityKeyIdentifier.oid}
    with pytest.raises(CryptoError, match="client authentication"):
        read_identity(certificate)  # no member of the chain: nobody lets it in
    (tmp_path / "ca.pem").write_bytes(encode_pem(CA_CERTIFICATE))
    (tmp_path / "tsa.pem").write_bytes(encode_pem(certificate))
    (tmp_path / "node.pem").write_bytes(encode_pem(NODE_CERTIFICATE))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "timestampsign"]
    command += ["-attime", str(NOW_MS // 1_000 + 1), "-CAfile", str(tmp_path / "ca.pem")]
    for name, is_accepted in (("tsa.pem", True), ("node.pem", False)):
        done = subprocess.run([*command, tmp_path / name], capture_output=True, check=False)
        assert (done.returncode == 0) is is_accepted, done.stderr


def test_a_request_asks_for_what_a_time_stamp_certificate_has() -> None:
    request = x509.load_pem_x509_csr(build_timestamp_request(NODE_KEY, "validator-1", ORGANISATION))
    certificate = build_timestamp_certificate(
        CA, "validator-1", NODE_KEY.public_key.encoded, ISSUANCE
    )
    issued = x509.load_der_x509_certificate(certificate)
    assert request.is_signature_valid
    assert request.subject == issued.subject
    asked = {each.oid: (each.value, each.critical) for each in request.extensions}
    assert asked.items() <= {e.oid: (e.value, e.critical) for e in issued.extensions}.items()
    assert len(asked) == 2


def test_a_key_that_is_not_the_authority_s_issues_no_time_stamp_certificate() -> None:
    key = NODE_KEY.public_key.encoded
    with pytest.raises(CryptoError, match="its key is not the one"):
        build_timestamp_certificate(Authority(CA_CERTIFICATE, OTHER_CA_KEY), "a", key, ISSUANCE)
    with pytest.raises(CryptoError, match="time-stamp certificate of"):
        build_timestamp_certificate(CA, "", key, ISSUANCE)


def test_a_file_of_several_certificates_comes_apart() -> None:
    certificates = [encode_pem(each) for each in (NODE_CERTIFICATE, CA_CERTIFICATE)]
    assert split_pem(b"".join(certificates)) == certificates
    for broken in (
        b"",
        b"text\n" + certificates[0],
        certificates[0] + b"-----BEGIN CERTIFICATE-----",
    ):
        with pytest.raises(CryptoError, match="certificate"):
            split_pem(broken)
