"""Authorities of many algorithms with what they issue, made by openssl's command line."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

EXTERNAL: Final = "Trust Services Ltd"
_MEMBER: Final = """\
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth, serverAuth
subjectAltName = URI:govchain:validator:validator-1, DNS:validator-1, DNS:localhost
"""


@dataclass(frozen=True)
class Kind:
    """How an authority's key is made, and how it signs: options of `genpkey`, `req` and `x509`."""

    key: tuple[str, ...]
    signing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Issued:
    """An authority, and what it issued to validator-1 of org-1, all PEM."""

    authority: bytes
    member: bytes
    member_key: bytes


def _curve(name: str, digest: str) -> Kind:
    return Kind(("-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{name}"), (f"-{digest}",))


def _rsa(*signing: str, bits: int = 3_072) -> Kind:
    return Kind(("-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}"), signing)


def _pss(digest: str, salt: str = "digest", mask: str | None = None) -> Kind:
    options = ("rsa_padding_mode:pss", f"rsa_pss_saltlen:{salt}", f"rsa_mgf1_md:{mask or digest}")
    given = [each for option in options for each in ("-sigopt", option)]
    return _rsa(f"-{digest}", *given)


TAKEN: Final = {
    "P-256 with SHA-256": _curve("P-256", "sha256"),
    "P-384 with SHA-384": _curve("P-384", "sha384"),
    "RSA with SHA-256": _rsa("-sha256"),
    "RSA with SHA-384": _rsa("-sha384"),
    "RSA with SHA-512": _rsa("-sha512"),
    "RSA-PSS with SHA-256": _pss("sha256"),
    "RSA-PSS with SHA-384": _pss("sha384"),
    "RSA-PSS with SHA-512": _pss("sha512"),
}
"""Of TLS, by the names of certificate_algorithms.py."""

SM2_WITH_SM3: Final = Kind(("-algorithm", "SM2"), ("-sm3", "-sigopt", "distid:1234567812345678"))

NOT_TAKEN: Final = {
    "P-521 (1.3.132.0.35)": _curve("P-521", "sha384"),
    "ECDSA with SHA-512": _curve("P-521", "sha512"),
    "ECDSA with SHA-224": _curve("P-256", "sha224"),
    "secp256k1": _curve("secp256k1", "sha256"),
    "RSA with SHA-224": _rsa("-sha224"),
    "RSA with SHA-1": _rsa("-sha1"),
    "got one of 2048": _rsa("-sha256", bits=2_048),
    "RSA-PSS (1.2.840.113549.1.1.10 302f": _pss("sha256", salt="20"),
    "RSA-PSS (1.2.840.113549.1.1.10 3034": _pss("sha256", mask="sha512"),
    "RSA-PSS (1.2.840.113549.1.1.10)": Kind(
        ("-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:3072"), _pss("sha256").signing
    ),
    "Ed25519": Kind(("-algorithm", "ED25519")),
    "got 2.16.840.1.101.3.4.3.14": _rsa("-sha3-256"),
}
"""By a part of the refusal, which names what was shown."""

OF_ANOTHER_CURVE: Final = {
    "P-256": _curve("P-256", "sha384"),
    "P-384": _curve("P-384", "sha256"),
}
"""Keys of curves that sign with the other one's hash, which TLS 1.3 does not have."""


def issue(folder: Path, kind: Kind) -> Issued:
    """Make an authority of a kind, and have it issue."""
    authority_key, authority = folder / "ca.key", folder / "ca.pem"
    request, member = folder / "member.csr", folder / "member.pem"
    authority_key.write_bytes(_key_of(kind.key))
    key = _key_of(TAKEN["P-256 with SHA-256"].key)
    (folder / "member.key").write_bytes(key)
    (folder / "member.cnf").write_text(_MEMBER)
    named = ("-subj", f"/O={EXTERNAL}", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    made = ("-x509", "-new", "-key", str(authority_key), *kind.signing, *named)
    _openssl("req", *made, "-out", str(authority))
    asked = ("-new", "-key", str(folder / "member.key"), "-subj", "/O=org-1")
    _openssl("req", *asked, "-out", str(request))
    under = ("-CA", str(authority), "-CAkey", str(authority_key), "-set_serial", "2")
    described = ("-in", str(request), "-extfile", str(folder / "member.cnf"), "-days", "30")
    _openssl("x509", "-req", *described, *under, *kind.signing, "-out", str(member))
    return Issued(authority.read_bytes(), member.read_bytes(), key)


def verifies(folder: Path) -> bool:
    """Tell whether openssl verifies what was issued there."""
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", folder / "ca.pem", folder / "member.pem"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@cache
def _key_of(options: tuple[str, ...]) -> bytes:
    """Return one key of each kind: of RSA they take a second to make."""
    return _openssl("genpkey", *options)


def _openssl(*arguments: str) -> bytes:
    done = subprocess.run(["openssl", *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
