"""Tokens by keys that authorities of every kind vouch for: the HTML verifier judges them as ours.

The vectors hold what one kind of authority gives rise to; here are the others, made on the spot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.timestamp.tokens.issuing import POLICY, TokenIssuer, encode_granted
from node.timestamp.trust import TrustFile
from tests.outside.html_verifier import Case, answers, compare, difference, encoded
from tests.unit.timestamp.authority import DOCUMENT as STAMPED
from tests.unit.timestamp.authority import ROOT, TIME_MS
from tests.unit.timestamp.reference_token import Forgery, Pss, certificate_of
from tests.unit.timestamp.tokens.test_check import ACCEPTED, REFUSED
from tests.vectors.receipt.case import DIGEST
from tests.vectors.receipt.chain import CREATED_MS, Chain, record_of
from tests.vectors.receipt.story import DOCUMENT
from tests.vectors.receipt.tokens import TSA_KEY, with_token

Key: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)

FOUNDED: Final = datetime.fromtimestamp(CREATED_MS // 1000, UTC)
YEAR: Final = timedelta(days=365)


@dataclass(frozen=True)
class Authority:
    """A key with its certificate."""

    key: Key
    certificate: x509.Certificate

    @property
    def encoded(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def certify(
    name: str,
    key: Key,
    issuer: Authority | None = None,
    hash_algorithm: hashes.HashAlgorithm | None = None,
    *,
    path_length: int | None = None,
    is_authority: bool = True,
    ended: bool = False,
) -> Authority:
    """Return a certificate of a key, signed by an issuer or by itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
    by = subject if issuer is None else issuer.certificate.subject
    builder = (
        x509.CertificateBuilder(by, subject, key.public_key(), 7)
        .not_valid_before(FOUNDED - 2 * YEAR)
        .not_valid_after(FOUNDED - YEAR if ended else FOUNDED + 9 * YEAR)
    )
    if is_authority:
        constraints = x509.BasicConstraints(ca=True, path_length=path_length)
        builder = builder.add_extension(constraints, critical=True)
    else:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(usage, critical=True)
    signing = key if issuer is None else issuer.key
    plain = isinstance(signing, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    chosen = None if plain else hash_algorithm or hashes.SHA256()
    return Authority(key, builder.sign(signing, chosen))  # type: ignore[arg-type] # of either kind


def case_of(
    name: str,
    root: Authority,
    between: Sequence[Authority] = (),
    *,
    known: Authority | None = None,
) -> Case:
    """Return a receipt whose token is by a key that `root` vouches for by way of others.

    The genesis knows `root`, or `known` instead.
    """
    found = Chain.found()
    first, *others = found.genesis.organisations
    organisations = (replace(first, ca_certificate=(known or root).encoded), *others)
    genesis = replace(found.genesis, organisations=organisations)
    chain = replace(found, genesis=genesis, tip=replace(found.tip, chain_id=genesis.chain_id))
    chain.append(record_of(DOCUMENT))
    by = between[0] if between else root
    strength = hashes.SHA512() if isinstance(by.key, rsa.RSAPrivateKey) else hashes.SHA384()
    leaf = certify("time stamps", TSA_KEY.private_key, by, strength, is_authority=False)
    held = [leaf.encoded, *(each.encoded for each in between)]
    issuer = TokenIssuer(held, TSA_KEY, policy=POLICY, accuracy_ms=1_000)
    receipt = with_token(chain.receipt(1), issuer)
    return Case(name, chain.trust().encode(), receipt.encode(), DIGEST)


def cases() -> Iterator[tuple[str, Case]]:
    """Yield what the outcome is to be, and the case."""
    p256, p384, p521 = (
        ec.derive_private_key(11 + at, curve)
        for at, curve in enumerate((ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()))
    )
    middle_key = ec.derive_private_key(99, ec.SECP256R1())
    rsa_key = rsa.generate_private_key(65_537, 2_048)
    keys: dict[str, Key] = {"P-256": p256, "P-384": p384, "P-521": p521, "RSA": rsa_key}
    keys["Ed25519"] = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    for name, key in keys.items():
        root = certify(name, key)
        yield "verified", case_of(f"by {name}", root)
        middle = certify("middle", middle_key, root)
        yield "verified", case_of(f"by way of a certificate of {name}", root, [middle])
    root = certify("root", p256, path_length=0)
    middle = certify("middle", middle_key, root)
    yield "not verified", case_of("longer than the root allows", root, [middle])
    plain = certify("middle", middle_key, certify("root", p256), is_authority=False)
    yield "not verified", case_of("by what is no authority", certify("root", p256), [plain])
    ended = certify("middle", middle_key, certify("root", p256), ended=True)
    yield "not verified", case_of("by what had ended", certify("root", p256), [ended])
    root, stranger = certify("root", p256), certify("root", p384)
    yield "not rooted", case_of("by a stranger of the root's name", stranger, known=root)
    held = [certify("middle", middle_key, stranger)]
    yield "not rooted", case_of("by way of such a stranger", stranger, held, known=root)


def test_tokens_are_judged_as_ours_whoever_vouches(tmp_path: Path) -> None:
    expected, made = zip(*cases(), strict=True)
    found = answers([encoded(case) for case in made], tmp_path)
    assert [answer["outcome"] for answer in found] == [*expected]
    assert compare(made, tmp_path) == []


def trust_of(root: bytes) -> bytes:
    """Return a trust file of a genesis whose organisations all have this authority."""
    found = Chain.found().genesis
    kept = (replace(each, ca_certificate=root) for each in found.organisations)
    genesis = replace(found, organisations=tuple(kept))
    return TrustFile(chain_id=genesis.chain_id, genesis=genesis).encode()


def alone() -> Iterator[Case]:
    """Yield tokens without a receipt: what single verifiers get wrong, and keys of every kind."""
    trust = trust_of(ROOT)
    forgeries = {name: row[0] for name, row in REFUSED.items()} | ACCEPTED
    key, short = (rsa.generate_private_key(65_537, bits) for bits in (2_048, 1_024))
    for digest in ("sha256", "sha384", "sha512"):
        for pss in (None, Pss(), Pss(salt_bytes=20), Pss(mask_digest="sha512")):
            forgery = Forgery(key=key, leaf=certificate_of(key), digest=digest, pss=pss)
            forgeries[f"RSA, {digest}, {pss}"] = forgery
    forgeries["a short key of RSA"] = Forgery(key=short, leaf=certificate_of(short))
    ed25519_key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    leaf = certificate_of(ed25519_key)
    forgeries["Ed25519"] = Forgery(key=ed25519_key, leaf=leaf, digest="sha512")
    forgeries["another's signature"] = Forgery(key=key, leaf=certificate_of(TSA_KEY.private_key))
    document = f"sha-256:{hashlib.sha256(STAMPED).hexdigest()}"
    for name, forgery in forgeries.items():
        token = forgery.token()
        yield Case(name, trust, token, document)
        yield Case(f"{name}, granted", trust, encode_granted(token), document, TIME_MS - 90_000)
        yield Case(f"{name}, of another", trust, token, DIGEST)
    yield Case("by nobody it knows", trust_of(b"none"), Forgery().token(), document)


def test_tokens_alone_are_judged_as_ours(tmp_path: Path) -> None:
    made = list(alone())
    found = answers([encoded(case) for case in made], tmp_path)
    ended = {(answer["outcome"], answer["steps"][-1]["name"]) for answer in found}
    assert {step for outcome, step in ended if outcome == "not rooted"} == {"AUTHORITY", "CHAIN"}
    assert len({step for outcome, step in ended if outcome == "not verified"}) == 7
    assert [each for each in map(difference, made, found) if each is not None] == []


def test_of_an_authority_of_another_kind_the_page_says_not_rooted(tmp_path: Path) -> None:
    """Ours follows it: the page says less, never more, and its guide names the kinds it knows."""
    key = ed448.Ed448PrivateKey.from_private_bytes(bytes(range(57)))
    case = case_of("by Ed448", certify("Ed448", key))
    (answer,) = answers([encoded(case)], tmp_path)
    assert (answer["outcome"], answer["steps"][-1]["name"]) == ("not rooted", "TOKEN")
