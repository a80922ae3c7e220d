"""A second verifier of evidence records, written from proto/EVIDENCE.md alone.

It imports nothing of this product, and is as plain as the page: an oracle, not an example of style.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, TypeAlias

from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

Value: TypeAlias = Any

HASHES = {
    "2.16.840.1.101.3.4.2.1": "sha-256",
    "2.16.840.1.101.3.4.2.2": "sha-384",
    "2.16.840.1.101.3.4.2.3": "sha-512",
    "1.2.156.10197.1.401": "sm3",
}
SHA_2 = {"sha-256": hashes.SHA256(), "sha-384": hashes.SHA384(), "sha-512": hashes.SHA512()}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END_2030, END_2035 = datetime(2031, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
ENDS = {"rsa-2048": END_2030, "rsa-3072": END_2035, "p-256": END_2035, "p-384": END_2035}
ENDS |= {"p-521": END_2035, "sm2": END_2035, "ed25519": END_2035}
HARMLESS = {x509.ReasonFlags.unspecified, x509.ReasonFlags.affiliation_changed}
HARMLESS |= {x509.ReasonFlags.superseded, x509.ReasonFlags.cessation_of_operation}


class RefusedError(Exception):
    """Verification ends here."""


class UnrootedError(Exception):
    """Verification ends here: not rooted."""


def need(condition: object, what: str = "") -> None:
    if not condition:
        raise RefusedError(what)


def h(name: str, data: bytes) -> bytes:
    return hashlib.new(name.replace("-", ""), data).digest()


def children(data: bytes, tag: int) -> list[bytes]:
    """Return the DER of what one element of this tag holds; it fills `data`."""
    found, rest = element(data)
    need(found[0] == tag and not rest, "element")
    content = found[header_size(found) :]
    parts = []
    while content:
        part, content = element(content)
        parts.append(part)
    return parts


def header_size(data: bytes) -> int:
    return 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)


def element(data: bytes) -> tuple[bytes, bytes]:
    need(len(data) >= 2 and data[0] & 0x1F != 0x1F, "tag")
    size, start = data[1], 2
    if size & 0x80:
        count = size & 0x7F
        start += count
        encoded = data[2:start]
        need(0 < count <= 4 and len(encoded) == count and encoded[0], "length")
        size = int.from_bytes(encoded, "big")
        need(size >= 0x80, "length")
    need(len(data) >= start + size, "size")
    return data[: start + size], data[start + size :]


def algorithm_of(parts: list[bytes]) -> str:
    need(parts and len(parts) <= 2 and parts[1:] in ([], [b"\x05\x00"]), "algorithm")
    need(parts[0][0] == 6, "algorithm")
    name = HASHES.get(core.ObjectIdentifier.load(parts[0]).dotted)
    need(name is not None, "algorithm")
    return str(name)


class Stamp:
    """An archive time stamp: its tree and its token."""

    def __init__(self, data: bytes) -> None:
        parts = children(data, 0x30)
        self.data = data
        named = None
        if parts and parts[0][0] == 0xA0:
            named = algorithm_of(children(parts.pop(0), 0xA0))
        need(not parts or parts[0][0] != 0xA1, "attributes")
        self.lists: list[list[bytes]] = []
        if parts and parts[0][0] == 0xA2:
            for each in children(parts.pop(0), 0xA2):
                values = children(each, 0x30)
                need(all(value[0] == 4 for value in values), "hash")
                self.lists.append([value[header_size(value) :] for value in values])
            need(self.lists, "tree")
        need(len(parts) == 1, "time stamp")
        (self.token,) = parts
        try:
            self.read()
        except (ValueError, TypeError, KeyError) as error:
            raise RefusedError("token") from error
        need(named in (None, self.algorithm), "algorithm of the tree")

    def read(self) -> None:
        content = cms.ContentInfo.load(self.token, strict=True)
        need(content["content_type"].native == "signed_data", "type")
        self.signed = content["content"]
        encoded = self.signed["encap_content_info"]["content"]
        self.content = encoded.contents
        self.info = tsp.TSTInfo.load(self.content, strict=True)
        imprint = self.info["message_imprint"]
        name = HASHES.get(imprint["hash_algorithm"]["algorithm"].dotted)
        need(name is not None, "imprint algorithm")
        self.algorithm = str(name)
        self.imprint = imprint["hashed_message"].native
        self.time = self.info["gen_time"].native
        stated = self.info["accuracy"].native or {}
        millis = timedelta(milliseconds=stated.get("millis") or 0)
        self.latest = self.time + timedelta(seconds=stated.get("seconds") or 0) + millis
        self.path: list[x509.Certificate] = []
        self.digest = ""

    @property
    def first(self) -> list[bytes]:
        return self.lists[0] if self.lists else [self.imprint]


def read_record(data: bytes) -> tuple[list[list[Stamp]], list[bytes], list[str]]:
    need(len(data) <= 4_194_304, "size")
    version, listed, *more = children(data, 0x30) or [b"", b""]
    need(version == b"\x02\x01\x01", "version")
    names = [algorithm_of(children(each, 0x30)) for each in children(listed, 0x30)]
    beside: list[bytes] = []
    if more and more[0][0] == 0xA0:
        infos = children(more.pop(0), 0xA0)
        need(len(infos) == 1, "infos")
        kind, values = children(infos[0], 0x30)
        need(core.ObjectIdentifier.load(kind).dotted == "1.2.840.113549.1.9.16.2.23", "infos")
        held = children(values, 0x31)
        need(len(held) == 1, "infos")
        beside = children(held[0], 0x30)
        need(beside and len(set(beside)) == len(beside), "infos")
    need(len(more) == 1, "more")
    chains = [
        [Stamp(stamp) for stamp in children(chain, 0x30)] for chain in children(more[0], 0x30)
    ]
    need(chains and all(chains) and sum(map(len, chains)) <= 256, "chains")
    for chain in chains:
        need(len({stamp.algorithm for stamp in chain}) == 1, "one algorithm")
    used = {chain[0].algorithm for chain in chains}
    need(sorted(names) == sorted(used), "listed algorithms")
    return chains, beside, names


def check_tree(stamp: Stamp) -> None:
    joined: list[bytes] = []
    for at, each in enumerate(stamp.lists):
        need(each and each == sorted(set(each)) and (at or len(each) > 1), "list")
        joined = [h(stamp.algorithm, b"".join(sorted([*each, *joined])))]
    need(not joined or joined == [stamp.imprint], "root")


def check_token(stamp: Stamp, beside: list[bytes], roots: list[bytes]) -> None:
    signers = stamp.signed["signer_infos"]
    need(len(signers) == 1 and stamp.signed["version"].native == "v3", "signers")
    (signer,) = signers
    need(not signer["unsigned_attrs"], "unsigned")
    held = [each.chosen.dump() for each in stamp.signed["certificates"] or []] + beside
    loaded = [x509.load_der_x509_certificate(each) for each in held]
    sid = signer["sid"].chosen
    leaves = [
        each
        for each in loaded
        if each.serial_number == sid["serial_number"].native
        and each.issuer.public_bytes() == sid["issuer"].dump()
    ]
    need(leaves, "signer's certificate")
    leaf = leaves[0]
    attributes = {each["type"].native: each["values"] for each in signer["signed_attrs"]}
    encoded = [each.dump() for each in signer["signed_attrs"]]
    need(encoded == sorted(encoded) and len(attributes) == len(encoded), "order")
    stamp.digest = str(HASHES.get(signer["digest_algorithm"]["algorithm"].dotted))
    need(stamp.digest in SHA_2, "digest")
    need(attributes["content_type"][0].native == "tst_info", "content type")
    need(attributes["message_digest"][0].native == h(stamp.digest, stamp.content), "digest")
    named = attributes["signing_certificate_v2"][0]["certs"][0]
    by = str(HASHES.get(named["hash_algorithm"]["algorithm"].dotted))
    der = leaf.public_bytes(Encoding.DER)
    need(named["cert_hash"].native == h(by, der), "name of the certificate")
    signed = b"\x31" + signer["signed_attrs"].dump()[1:]
    check_signature(leaf, signer["signature"].native, signed, SHA_2[stamp.digest])
    extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    need(extended.critical, "purpose")
    need(list(extended.value) == [ExtendedKeyUsageOID.TIME_STAMPING], "purpose")
    found = path_to_root(leaf, loaded, [x509.load_der_x509_certificate(each) for each in roots])
    if found is None:
        raise UnrootedError
    stamp.path = found
    need(all(is_valid(each, stamp.time) for each in found), "valid then")


def check_signature(leaf: x509.Certificate, signature: bytes, data: bytes, by: Value) -> None:
    key = leaf.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(by))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), by)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            raise RefusedError("key")
    except InvalidSignature as error:
        raise RefusedError("signature") from error


def path_to_root(
    leaf: x509.Certificate, held: list[x509.Certificate], roots: list[x509.Certificate]
) -> list[x509.Certificate] | None:
    path = [leaf]
    while path[-1] not in roots:
        above = [each for each in [*roots, *held] if each not in path and issued(path[-1], each)]
        if not above or len(path) == 4:
            return None
        path.append(above[0])
    return path


def issued(one: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_valid(certificate: x509.Certificate, at: datetime) -> bool:
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc


def check_revoked(stamp: Stamp, at: datetime, lists: Sequence[bytes]) -> None:
    for certificate, issuer in pairwise(stamp.path):
        for data in lists:
            crl = x509.load_der_x509_crl(data)
            if crl.issuer != issuer.subject:
                continue
            need(crl.is_signature_valid(issuer.public_key()), "list")  # type: ignore[arg-type]
            entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
            if entry is not None:
                check_entry(entry, stamp.time, at)


def check_entry(entry: x509.RevokedCertificate, made: datetime, at: datetime) -> None:
    said = {type(each.value): each.value for each in entry.extensions}
    reason: Value = said.get(x509.CRLReason)
    since = entry.revocation_date_utc
    if reason is not None and reason.reason in HARMLESS:
        need(since > made, "retired")
        return
    invalid: Value = said.get(x509.InvalidityDate)
    if invalid is not None:
        since = min(since, invalid.invalidity_date_utc)
    need(since > at, "revoked")


def names_of(stamp: Stamp) -> list[str]:
    found = [stamp.digest]
    for each in stamp.path:
        key = each.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            found.append("rsa-3072" if key.key_size >= 3_072 else "rsa-2048")
        elif isinstance(key, ec.EllipticCurvePublicKey):
            found.append(key.curve.name.replace("secp", "p-").removesuffix("r1"))
        else:
            found.append("ed25519")
    for each in stamp.path[:-1]:
        by = each.signature_hash_algorithm
        found.append("sha-512" if by is None else by.name.replace("sha", "sha-"))
    return found


def verify(
    data: bytes,
    files: Sequence[bytes],
    roots: list[bytes],
    at_ms: int,
    *,
    lists: Sequence[bytes] = (),
    weak: Mapping[str, int] | None = None,
) -> tuple[str, int | None]:
    """Verify a record; return the outcome and the step that failed."""
    step, at = 1, EPOCH + timedelta(milliseconds=at_ms)
    try:
        chains, beside, _ = read_record(data)
        stamps = [stamp for chain in chains for stamp in chain]
        step = 2
        for stamp in stamps:
            check_tree(stamp)
        step = 3
        name = chains[0][0].algorithm
        need(files and all(h(name, file) in chains[0][0].first for file in files), "files")
        step = 4
        for chain in chains:
            for before, stamp in pairwise(chain):
                need(h(stamp.algorithm, before.token) in stamp.first, "renewal")
        step = 5
        for number in range(1, len(chains)):
            name, first = chains[number][0].algorithm, chains[number][0].first
            older = h(name, sequence([sequence([s.data for s in c]) for c in chains[:number]]))
            need(all(h(name, h(name, file) + older) in first for file in files), "rehashed")
        step = 6
        for stamp in stamps:
            check_token(stamp, beside, roots)
        paths = [each.public_bytes(Encoding.DER) for stamp in stamps for each in stamp.path]
        need(set(beside) <= set(paths), "needed")
        step = 7
        times = [stamp.time for stamp in stamps]
        need(times == sorted(times) and times[-1] <= at + timedelta(minutes=1), "order")
        step = 8
        judged = [stamp.latest for stamp in stamps[1:]] + [max(at, stamps[-1].time)]
        for stamp, when in zip(stamps, judged, strict=True):
            need(all(is_valid(each, when) for each in stamp.path), "valid")
            check_revoked(stamp, when, lists)
        step = 9
        ends = dict(ENDS)
        for name, from_ms in (weak or {}).items():
            end = EPOCH + timedelta(milliseconds=from_ms)
            ends[name] = min(end, ends.get(name, end))
        for stamp, when in zip(stamps, judged, strict=True):
            need(all(name not in ends or when < ends[name] for name in names_of(stamp)), "weak")
        begun = [chain[0].latest for chain in chains[1:]] + [at]
        for chain, when in zip(chains, begun, strict=True):
            name = chain[0].algorithm
            need(name not in ends or when < ends[name], "weak hash")
    except RefusedError:
        return "not verified", step
    except UnrootedError:
        return "not rooted", step
    return "verified", None


def sequence(parts: list[bytes]) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([0x30, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x30, 0x80 | len(length)]) + length + content
