"""SD-JWTs of records: verified by an implementation of others, and by the examples of RFC 9901."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from jwcrypto.jwk import JWK
from jwcrypto.jws import InvalidJWSSignature
from sd_jwt.verifier import SDJWTVerifier

from node.crypto.signature import P256Signer
from node.crypto.suite import INTERNATIONAL
from node.disclosure.fields import flatten
from node.disclosure.opening import Opening
from node.disclosure.sd_jwt import (
    SD_JWT_TYPE,
    build_sd_jwt,
    disclosure_digest,
    disclosure_of,
)
from node.errors import ClientError
from tests.unit.disclosure.test_fields import RECORD, draw

SIGNER = P256Signer.from_secret(hashlib.sha256(b"agency").digest())
CLAIMS = {"iss": "urn:govchain:00:agency-1", "iat": 1_760_000_000}


def opening() -> Opening:
    return Opening.begin(flatten(RECORD), INTERNATIONAL, draw)


def built(record: Opening, *shown: tuple[str, ...]) -> str:
    return build_sd_jwt(record, shown, CLAIMS, SIGNER.public_key, SIGNER.sign)


def key() -> JWK:
    numbers = SIGNER.private_key.public_key().public_numbers()
    x, y = (
        base64.urlsafe_b64encode(each.to_bytes(32, "big")).rstrip(b"=").decode()
        for each in (numbers.x, numbers.y)
    )
    return JWK(kty="EC", crv="P-256", x=x, y=y)


def verified(token: str) -> dict[str, Any]:
    """Return the claims as the implementation of others gives them to a reader."""
    payload = SDJWTVerifier(token, lambda _issuer, _header: key()).get_verified_payload()
    return dict(payload)


def test_what_is_shown_is_read_by_others_and_the_rest_is_not_there() -> None:
    record = opening()
    token = built(record, ("id",), ("address", "city"))
    claims = verified(token)
    assert claims == {**CLAIMS, "id": "11010519491231002X", "address/city": "深圳"}
    assert verified(built(record)) == CLAIMS
    everything = verified(built(record, *(each.path for each in record.fields)))
    assert everything["name"] == "张三"
    assert everything["age"] == 75
    parts = [base64.urlsafe_b64decode(part + "==") for part in token.replace("~", ".").split(".")]
    assert all("张三".encode() not in part for part in parts)
    header = json.loads(parts[0])
    assert (header["typ"], header["alg"]) == (SD_JWT_TYPE, "ES256")
    assert JWK(**header["jwk"]).thumbprint() == key().thumbprint()
    assert len(json.loads(parts[1])["_sd"]) == len(record.entries)


def test_the_salts_of_commitments_are_in_none() -> None:
    record = opening()
    token = built(record, *(each.path for each in record.fields))
    for part in token.replace("~", ".").split("."):
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        for each in record.fields:
            assert each.salt.value not in data
            assert base64.urlsafe_b64encode(each.salt.value).rstrip(b"=") not in data


def test_a_disclosure_taken_away_hides_its_claim_and_one_altered_is_refused() -> None:
    token = built(opening(), ("id",), ("name",))
    signed, first, second, end = token.split("~")
    assert end == ""
    assert len(verified(f"{signed}~{second}~")) == len(CLAIMS) + 1
    forged = disclosure_of("salt", "id", "110105194912310021")
    assert "id" not in verified(f"{signed}~{forged}~"), "no digest stands for it"
    header, _payload, signature = signed.split(".")
    other = json.dumps({**CLAIMS, "_sd": [disclosure_digest(forged)]}).encode()
    body = base64.urlsafe_b64encode(other).rstrip(b"=").decode()
    with pytest.raises(InvalidJWSSignature):
        verified(f"{header}.{body}.{signature}~{forged}~")
    with pytest.raises(Exception, match=r"[Dd]uplicate"):
        verified(f"{signed}~{first}~{first}~")


def test_an_erased_field_is_in_no_sd_jwt() -> None:
    record = opening().erased([("id",)])
    with pytest.raises(ClientError) as refused:
        built(record, ("id",))
    assert refused.value.code == "GC-2611"
    assert verified(built(record, ("name",)))["name"] == "张三"


@pytest.mark.parametrize("name", ["iss", "iat", "_sd", "_sd_alg", "..."])
def test_a_field_named_as_what_has_another_meaning_is_refused(name: str) -> None:
    record = Opening.begin(flatten({name: "x", "other": 1}), INTERNATIONAL, draw)
    with pytest.raises(ClientError) as refused:
        built(record, ("other",))
    assert refused.value.code == "GC-2611"


def test_disclosures_hash_to_the_digests_of_the_rfc() -> None:
    """RFC 9901 sections 4.2.1 and 4.2.3, where JSON is written with blanks after commas."""
    given = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"
    assert json.loads(base64.urlsafe_b64decode(given + "=")) == [
        "_26bc4LT-ac6q2KI6cBW5es",
        "family_name",
        "Möbius",
    ]
    assert disclosure_digest(given) == "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"
    ours = disclosure_of("_26bc4LT-ac6q2KI6cBW5es", "family_name", "Möbius")
    assert base64.urlsafe_b64decode(ours + "==").decode() == (
        '["_26bc4LT-ac6q2KI6cBW5es","family_name","Möbius"]'
    )
