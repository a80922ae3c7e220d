"""BLS12-381 by both libraries, against Wycheproof and each other.

py-ecc takes a tenth of a second to hash and a third to check a pairing, so of every kind of case it
runs one, and all of them where GOVCHAIN_LONG_TESTS is set.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from node.crypto import bls, bls_backend
from node.crypto.bls import BlsPublicKey, BlsSigner, aggregate_signatures, verify_aggregate
from node.crypto.bls_backend import Backend, native, reference
from node.errors import CryptoError

# EIP-2333 test case 2: seed and master secret key, which is KeyGen of the seed.
EIP_2333_SEED = "0099ff991111002299dd7744ee3355bbdd8844115566cc55663355668888cc00"
EIP_2333_SCALAR = 27580842291869792442942448775674722299803720648445448686099262467207037398656


BACKENDS = {"native": native, "reference": reference}
FIELD = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f624"
    "1eabfffeb153ffffb9feffffffffaaab",
    16,
)
SOUND = {"Valid", "WrongKey", "WrongMessage", "SignatureMalleability"}
"""Flags of Wycheproof's cases whose key and signature are points as they have to be."""
INFINITY_KEY, INFINITY = b"\xc0" + bytes(47), b"\xc0" + bytes(95)


@pytest.fixture(params=BACKENDS, autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Run every test by each library."""
    chosen = BACKENDS[request.param]()
    monkeypatch.setattr(bls, "backend", lambda: chosen)
    return chosen


@pytest.fixture
def public_key_of() -> Callable[[int], bytes]:
    """Return the library's own function.

    Imported here, as that raises the recursion limit of the process: hostile nesting in any later
    test would overflow the stack of the interpreter instead of raising RecursionError.
    """
    limit = sys.getrecursionlimit()
    module = importlib.import_module("py_ecc.bls.ciphersuites")
    sys.setrecursionlimit(limit)
    function: Callable[[int], bytes] = module.G2ProofOfPossession.SkToPk
    return function


def cases_for(library: Backend, cases: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return those of Wycheproof's cases that a library runs."""
    if library.name == "native" or os.environ.get("GOVCHAIN_LONG_TESTS"):
        return cases
    return [*{tuple(case["flags"]): case for case in reversed(cases)}.values()]


def test_keys_are_generated_as_the_draft_says(
    public_key_of: Callable[[int], bytes],
) -> None:
    signer = BlsSigner.from_secret(bytes.fromhex(EIP_2333_SEED))
    assert signer.public_key.encoded == public_key_of(EIP_2333_SCALAR)
    assert signer.export_secret().hex() == EIP_2333_SEED
    for size in (0, 31, 33):
        with pytest.raises(CryptoError, match="expected a seed of 32 bytes"):
            BlsSigner.from_secret(bytes(size))


def test_signatures_and_proofs_of_possession_hold_for_their_own_key_only() -> None:
    signer, other = BlsSigner.from_secret(b"\x01" * 32), BlsSigner.from_secret(b"\x02" * 32)
    key = BlsPublicKey.decode(signer.public_key.encoded)
    signature, proof = signer.sign(key.encoded), signer.prove_possession()
    assert signature == signer.sign(key.encoded)
    assert key.verify(key.encoded, signature)
    assert not other.public_key.verify(key.encoded, signature)
    assert key.verify_possession(proof)
    assert not other.public_key.verify_possession(proof)
    assert not key.verify_possession(signature), "a proof is not a signature over the key"
    assert not key.verify(key.encoded, proof)


def test_the_secret_stays_out_of_repr() -> None:
    signer = BlsSigner.from_secret(bytes.fromhex(EIP_2333_SEED))
    shown = repr(signer)
    assert "public_key" in shown
    for form in (EIP_2333_SEED, repr(bytes.fromhex(EIP_2333_SEED))[2:-1], str(EIP_2333_SCALAR)):
        assert form not in shown


def test_wycheproof_signatures_of_our_ciphersuite(
    read_vectors: Callable[[str], Any], library: Backend
) -> None:
    """All 26 cases of the proof-of-possession ciphersuite, the only one we use."""
    vectors = read_vectors("wycheproof/bls_sig_g2_pop_verify_test.json")
    (group,) = vectors["testGroups"]
    assert group["ciphersuite"] == "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
    key = BlsPublicKey.decode(bytes.fromhex(group["publicKey"]["pk"]))
    for case in cases_for(library, group["tests"]):
        message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
        assert key.verify(message, signature) == (case["result"] == "valid"), case["tcId"]
    assert len(group["tests"]) == vectors["numberOfTests"]


def test_wycheproof_public_keys(read_vectors: Callable[[str], Any]) -> None:
    """The 17 bad keys of the basic ciphersuite's file: keys are alike in all ciphersuites.

    Its signatures are not run: under our tag all of them are wrong, whatever their form, so they
    would show nothing. The bad forms of signatures are among the cases above.
    """
    vectors = read_vectors("wycheproof/bls_sig_g2_basic_verify_test.json")
    good, *bad = (bytes.fromhex(group["publicKey"]["pk"]) for group in vectors["testGroups"])
    assert BlsPublicKey.decode(good).encoded == good
    assert len(bad) == 17
    for key in bad:
        with pytest.raises(CryptoError, match="public key: expected"):
            BlsPublicKey.decode(key)


def signer(number: int) -> BlsSigner:
    return BlsSigner.from_secret(hashlib.sha256(bytes((number,))).digest())


def test_one_signature_stands_for_all_that_signed_one_message() -> None:
    signers = [signer(number) for number in range(3)]
    keys = [each.public_key for each in signers]
    shares = [each.sign(b"checkpoint") for each in signers]
    total = aggregate_signatures(shares)
    assert len(total) == 96
    assert total == aggregate_signatures(shares[::-1])
    assert verify_aggregate(keys, b"checkpoint", total)
    assert not verify_aggregate(keys, b"another", total)
    assert not verify_aggregate(keys[:2], b"checkpoint", total)
    assert not verify_aggregate([*keys, signer(3).public_key], b"checkpoint", total)
    assert verify_aggregate(keys[:1], b"checkpoint", aggregate_signatures(shares[:1]))


def test_nobody_signs_nothing() -> None:
    key, share = signer(0).public_key, signer(0).sign(b"m")
    assert not verify_aggregate([], b"m", share)
    assert not verify_aggregate([], b"m", INFINITY)
    assert not verify_aggregate([key], b"m", INFINITY)
    assert not key.verify_possession(INFINITY)
    for bad in ([], [INFINITY], [share, share[:-1]], [share, bytes(96)]):
        with pytest.raises(CryptoError, match="aggregate: expected one or more"):
            aggregate_signatures(bad)
    with pytest.raises(CryptoError, match="public key: expected"):
        BlsPublicKey.decode(INFINITY_KEY)


def test_keys_that_cancel_each_other_out_sign_nothing() -> None:
    """The sum of a key and its negative is infinity, of which infinity would be a signature."""
    key = signer(0).public_key
    negative = BlsPublicKey.decode(bytes((key.encoded[0] ^ 0x20,)) + key.encoded[1:])
    message, share = b"m", signer(0).sign(b"m")
    assert not verify_aggregate([key, negative], message, INFINITY)
    assert not verify_aggregate([key, negative], message, share)


def test_the_libraries_agree_to_the_byte(library: Backend) -> None:
    other = BACKENDS["reference" if library.name == "native" else "native"]()
    scalar, message = EIP_2333_SCALAR, b"the same bytes"
    key = library.public_key(scalar)
    share = library.sign(scalar, message)
    assert key == other.public_key(scalar)
    assert share == other.sign(scalar, message)
    assert library.prove(scalar, key) == other.prove(scalar, key)
    both = [share, library.sign(7, message)]
    assert library.aggregate(both) == other.aggregate(both)


def test_one_point_has_one_encoding(library: Backend) -> None:
    """Other forms of the points of a good key and signature: neither library may take them."""
    key, share = signer(0).public_key.encoded, signer(0).sign(b"m")
    assert library.is_key(key)
    assert library.is_signature(share)
    for flip in (0x80, 0x40, 0xC0):
        assert not library.is_key(bytes((key[0] ^ flip,)) + key[1:])
        assert not library.is_signature(bytes((share[0] ^ flip,)) + share[1:])
    low = int.from_bytes(share[48:], "big")
    assert not library.is_signature(share[:48] + (low + FIELD).to_bytes(48, "big"))
    for size in (0, 1, 47, 49):
        assert not library.is_key(key.ljust(size, b"\0")[:size])
    for size in (0, 48, 95, 97):
        assert not library.is_signature(share.ljust(size, b"\0")[:size])


def test_points_outside_the_subgroup_are_refused(library: Backend) -> None:
    """The x of 4 is on the curve y^2 = x^3 + 4 but not of order r."""
    assert not library.is_key(b"\x80" + bytes(46) + b"\x04")
    outside_g2 = b"\x80" + bytes(94) + b"\x02"
    assert not library.is_signature(outside_g2)


def test_wycheproof_signatures_of_the_basic_ciphersuite(
    read_vectors: Callable[[str], Any], library: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All 88 cases, under their tag, by the native library; their encodings by py-ecc too.

    It knows its own tag alone, under which nothing here was signed: its verdicts would say nothing.
    """
    vectors = read_vectors("wycheproof/bls_sig_g2_basic_verify_test.json")
    tag = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_"
    monkeypatch.setattr(bls_backend, "_SIGNATURE_TAG", tag)
    for group in vectors["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in cases_for(library, group["tests"]):
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            is_sound = library.is_key(key) and library.is_signature(signature)
            assert is_sound == bool(SOUND.intersection(case["flags"])), case["tcId"]
            if library.name == "reference":
                continue
            verdict = is_sound and library.verify([key], message, signature)
            assert verdict == (case["result"] == "valid"), case["tcId"]
    assert sum(len(group["tests"]) for group in vectors["testGroups"]) == vectors["numberOfTests"]


def test_wycheproof_aggregates_over_different_messages(
    read_vectors: Callable[[str], Any], library: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All 19 cases, as far as we have a function for them: all our signers sign one message.

    So only cases of one signer can verify; of the others every point that is not sound is refused.
    """
    vectors = read_vectors("wycheproof/bls_sig_g2_aggregate_verify_test.json")
    tag = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_"
    monkeypatch.setattr(bls_backend, "_SIGNATURE_TAG", tag)
    (group,) = vectors["testGroups"]
    unsound = {"IdentityPoint", "NotOnCurve", "TruncatedSignature", "NotInSubgroup", "InvalidFlags"}
    for case in group["tests"]:
        if library.name == "reference" and not unsound & {*case["flags"]}:
            continue  # it takes seconds to find sound points sound
        keys = [bytes.fromhex(key) for key in case["pubkeys"]]
        messages, signature = [*map(bytes.fromhex, case["messages"])], bytes.fromhex(case["sig"])
        is_sound = library.is_signature(signature) and all(map(library.is_key, keys))
        assert is_sound is not bool(unsound & {*case["flags"]}) or not keys, case["tcId"]
        if len(keys) == len(messages) == 1 and is_sound:
            verdict = library.verify(keys, messages[0], signature)
            assert verdict == (case["result"] == "valid"), case["tcId"]
        if not keys:
            assert not verify_aggregate([], b"", signature)
    assert len(group["tests"]) == vectors["numberOfTests"]


def test_wycheproof_hashing_to_the_curve(
    read_vectors: Callable[[str], Any], library: Backend
) -> None:
    """All 34 cases: RFC 9380, where the statement becomes the point that is signed."""
    vectors = read_vectors("wycheproof/bls_hash_to_g2_test.json")
    (group,) = vectors["testGroups"]
    tag = group["dst"].encode()
    for case in cases_for(library, group["tests"]):
        message = bytes.fromhex(case["msg"])
        assert hashed(library, message, tag).hex() == case["expected"], case["tcId"]
    assert len(group["tests"]) == vectors["numberOfTests"]


def hashed(library: Backend, message: bytes, tag: bytes) -> bytes:
    """Return the point of a message by the function that signing uses."""
    if library.name == "native":
        group = importlib.import_module("pyblst").BlstP2Element
        return bytes(group.hash_to_group(message, tag).compress())
    limit = sys.getrecursionlimit()
    curve = importlib.import_module("py_ecc.bls.hash_to_curve")
    points = importlib.import_module("py_ecc.bls.g2_primitives")
    sys.setrecursionlimit(limit)
    return bytes(points.G2_to_signature(curve.hash_to_G2(message, tag, hashlib.sha256)))


def test_the_native_library_is_chosen_where_it_is() -> None:
    assert bls_backend.backend().name == "native"


def test_the_library_does_not_change_how_deep_the_process_may_recurse() -> None:
    program = (
        "import sys; before = sys.getrecursionlimit(); from node.crypto import bls_backend; "
        "bls_backend.reference().public_key(7); assert sys.getrecursionlimit() == before"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
