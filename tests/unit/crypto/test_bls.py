"""BLS12-381 against Wycheproof. py-ecc takes about a third of a second per pairing check."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from node.crypto.bls import BlsPublicKey, BlsSigner
from node.errors import CryptoError

# EIP-2333 test case 2: seed and master secret key, which is KeyGen of the seed.
EIP_2333_SEED = "0099ff991111002299dd7744ee3355bbdd8844115566cc55663355668888cc00"
EIP_2333_SCALAR = 27580842291869792442942448775674722299803720648445448686099262467207037398656


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


def test_wycheproof_signatures_of_our_ciphersuite(read_vectors: Callable[[str], Any]) -> None:
    """All 26 cases of the proof-of-possession ciphersuite, the only one we use."""
    vectors = read_vectors("wycheproof/bls_sig_g2_pop_verify_test.json")
    seen = 0
    for group in vectors["testGroups"]:
        assert group["ciphersuite"] == "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
        key = BlsPublicKey.decode(bytes.fromhex(group["publicKey"]["pk"]))
        for case in group["tests"]:
            message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
            assert key.verify(message, signature) == (case["result"] == "valid"), case["tcId"]
            seen += 1
    assert seen == vectors["numberOfTests"]


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


def test_the_library_does_not_change_how_deep_the_process_may_recurse() -> None:
    program = (
        "import sys; before = sys.getrecursionlimit(); from node.crypto.bls import BlsSigner; "
        "BlsSigner.from_secret(bytes(range(32))); assert sys.getrecursionlimit() == before"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
