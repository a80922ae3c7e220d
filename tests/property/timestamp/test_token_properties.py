"""Spliced tokens are byte for byte those of an object tree, whatever they state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import cms, core
from hypothesis import given
from hypothesis import strategies as st

from node.crypto import der
from node.crypto.suite import DOCUMENT_DIGESTS, DocumentDigest
from node.errors import DecodeError
from node.timestamp.tokens.issuing import (
    POLICY,
    Coordinates,
    TokenIssuer,
    add_chain_proof,
    take_chain_proof,
)
from node.timestamp.tokens.reading import TokenInfo
from node.timestamp.tokens.request import Imprint
from tests.unit.timestamp.authority import ISSUANCE, TSA, TSA_KEY, stamp
from tests.unit.timestamp.reference_token import Forgery, digest_algorithm

times_ms = st.integers(ISSUANCE.not_before_ms, ISSUANCE.not_after_ms)
places = st.integers(0, 2**48 - 1)
coordinates = st.builds(Coordinates, st.binary(min_size=7, max_size=7), places, places)
nonces = st.none() | st.integers(-(2**200), 2**200)


def content_of(number: int) -> bytes:
    return der.Reader(der.encode_integer(number), "integer").read_integer_bytes()


@given(
    algorithm=st.sampled_from(DOCUMENT_DIGESTS),
    document=st.binary(max_size=20),
    at=coordinates,
    time_ms=times_ms,
    accuracy_ms=st.integers(1, 86_400_000),
    nonce=nonces,
    has_certificates=st.booleans(),
)
def test_a_token_is_the_one_that_asn1crypto_makes(
    *,
    algorithm: DocumentDigest,
    document: bytes,
    at: Coordinates,
    time_ms: int,
    accuracy_ms: int,
    nonce: int | None,
    has_certificates: bool,
) -> None:
    digest = algorithm.new_hash(document).digest()

    def change(info: Any) -> None:  # noqa: ANN401 - asn1crypto has no types
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
        identifier = digest_algorithm(algorithm.oid)
        info["message_imprint"] = {"hash_algorithm": identifier, "hashed_message": digest}
        info["serial_number"] = at.serial_number
        info["gen_time"] = moment
        info["accuracy"] = {
            name: value
            for name, value in zip(("seconds", "millis"), divmod(accuracy_ms, 1_000), strict=True)
            if value
        }
        if nonce is not None:
            info["nonce"] = nonce

    issuer = TokenIssuer([TSA], TSA_KEY, policy=POLICY, accuracy_ms=accuracy_ms)
    ours = issuer.issue(
        stamp(
            imprint=Imprint.of(algorithm, digest),
            coordinates=at,
            time_ms=time_ms,
            nonce=None if nonce is None else content_of(nonce),
            has_certificates=has_certificates,
        )
    )
    theirs = Forgery(info=change, certificates=None if has_certificates else []).token()
    assert ours == theirs


@given(st.integers(-(2**300), 2**300))
def test_integers_are_read_as_they_are_written(number: int) -> None:
    assert der.Reader(der.encode_integer(number), "integer").read_integer() == number


@given(st.lists(st.integers(0, 2**130), max_size=6), st.integers(0, 2), st.integers(0, 39))
def test_object_identifiers_are_read_as_they_are_written(
    arcs: list[int], first: int, second: int
) -> None:
    dotted = ".".join(map(str, (first, second, *arcs)))
    encoded = der.encode_oid(dotted)
    assert encoded == core.ObjectIdentifier(dotted).dump()
    if len(encoded) <= 66:
        assert der.Reader(encoded, "identifier").read_oid() == dotted


@given(st.binary(max_size=40))
def test_whatever_is_read_is_written_back_alike(data: bytes) -> None:
    reader = der.Reader(data, "bytes")
    try:
        element = reader.read()
        reader.finish()
    except DecodeError:
        return
    assert der.encode(element.tag, element.content) == data == element.encoded


@given(times_ms, coordinates, nonces, st.binary(max_size=5_000))
def test_what_a_token_states_is_read_from_it(
    time_ms: int, at: Coordinates, nonce: int | None, proof: bytes
) -> None:
    content = None if nonce is None else content_of(nonce)
    issuer = TokenIssuer([TSA], TSA_KEY, policy=POLICY, accuracy_ms=1)
    token = issuer.issue(stamp(time_ms=time_ms, coordinates=at, nonce=content))
    assert take_chain_proof(add_chain_proof(token, proof)) == (token, proof)
    encoded = cms.ContentInfo.load(token)["content"]["encap_content_info"]["content"].contents
    info = TokenInfo.decode(encoded)
    assert (info.time_ms, info.nonce) == (time_ms, content)
    assert Coordinates.from_serial(info.serial_number) == at
