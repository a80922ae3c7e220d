"""A malformed token signed with SM2 and SM3 by OpenSSL; those in the standard form are our own.

The certificate is of an SM2 key, issued by the usual root of P-256: so all turns on the token's own
signature.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from asn1crypto import cms, core, keys
from asn1crypto import x509 as tree
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from node.crypto import der
from node.crypto.suite import SM3
from tests.unit.timestamp.reference_token import Forgery, Tree, certificate_of, ess_2
from tests.vectors.receipt.chain import signer

SM2_WITH_SM3: Final = "1.2.156.10197.1.501"
_KEY: Final = ec.derive_private_key(7, ec.SECP256R1())


def sm2_token_without_z(folder: Path) -> bytes:
    """Return a token whose signature is over the digest of the message alone.

    The standard signs Z, of the signer's ID and key, before the message.
    """
    key = folder / "sm2.pem"
    _openssl("genpkey", "-algorithm", "SM2", "-out", key)
    public = _openssl("pkey", "-in", key, "-pubout", "-outform", "DER")
    leaf = _certified(public)
    usual = Forgery(key=_KEY, leaf=leaf, signing_certificate=ess_2(leaf)).token()
    token = cms.ContentInfo.load(usual)
    data = token["content"]
    info = data["encap_content_info"]["content"].contents
    (signer_info,) = data["signer_infos"]
    digest = cms.DigestAlgorithm({"algorithm": SM3.oid})
    del digest["parameters"]
    attributes = [
        cms.CMSAttribute({"type": "message_digest", "values": [SM3.new_hash(info).digest()]})
        if each["type"].native == "message_digest"
        else each
        for each in signer_info["signed_attrs"]
    ]
    signed = der.encode(der.SET, b"".join(sorted(each.dump() for each in attributes)))
    signer_info["signed_attrs"] = cms.CMSAttributes.load(signed)
    signer_info["digest_algorithm"] = digest
    signer_info["signature_algorithm"] = cms.SignedDigestAlgorithm({"algorithm": SM2_WITH_SM3})
    signer_info["signature"] = _signature(folder, key, signed)
    data["digest_algorithms"] = cms.DigestAlgorithms([digest])
    data["signer_infos"] = cms.SignerInfos([signer_info])
    token["content"] = data
    return bytes(token.dump(force=True))


def _certified(public: bytes) -> bytes:
    """Return the certificate of the key, by the usual root."""
    made: Tree = tree.Certificate.load(certificate_of(_KEY))
    body = made["tbs_certificate"]
    body["subject_public_key_info"] = keys.PublicKeyInfo.load(public)
    made["tbs_certificate"] = body
    encoded = body.dump(force=True)
    root = signer("org-1 authority").private_key
    made["signature_value"] = core.OctetBitString(root.sign(encoded, ec.ECDSA(hashes.SHA256())))
    return bytes(made.dump(force=True))


def _signature(folder: Path, key: Path, message: bytes) -> bytes:
    path = folder / "digest"
    path.write_bytes(SM3.new_hash(message).digest())
    return _openssl("pkeyutl", "-sign", "-inkey", key, "-in", path)


def _openssl(*arguments: str | Path) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout
