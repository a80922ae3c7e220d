"""Signed notes: examples others published, strictness, and keys that are made to collide."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.crypto.signature import Ed25519Signer
from node.errors import DecodeError, ProofError
from node.timestamp.log import note as notes
from node.timestamp.log.note import (
    Note,
    NoteSignature,
    SignatureType,
    VerifierKey,
    cosign_text,
    sign_text,
)

# From the documentation of golang.org/x/mod/sumdb/note, which the format comes from.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdng"
    "otpRZb6KE6RyyBwJnAM=\n"
)
# From the page c2sp.org/tlog-cosignature; its keys are not published.
C2SP_NOTE = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5"
    "/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlr"
    "DJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
TEXT = "a text\n"
ZERO_KEY_ID = hashlib.sha256(b"zero\n\x01" + bytes(32)).hexdigest()[:8]
ZERO_KEY = f"zero+{ZERO_KEY_ID}+{notes.to_base64(bytes([1]) + bytes(32))}"


def signer(name: str) -> Ed25519Signer:
    return Ed25519Signer.from_secret(hashlib.sha256(name.encode()).digest())


def key_of(name: str, kind: SignatureType = SignatureType.LOG) -> VerifierKey:
    return VerifierKey.of(name, kind, signer(name).public_key.encoded)


def test_a_note_of_others_verifies() -> None:
    key = VerifierKey.parse(GO_KEY)
    assert str(key) == GO_KEY
    note = Note.decode(GO_NOTE.encode())
    assert note.encode() == GO_NOTE.encode()
    assert [line.key for line in note.signed_by([key])] == [key]


def test_a_cosigned_checkpoint_of_others_is_read_whole() -> None:
    note = Note.decode(C2SP_NOTE.encode())
    assert note.encode() == C2SP_NOTE.encode()
    witness = note.signatures[1]
    assert (witness.name, witness.key_id.hex()) == ("witness.example.com/w1", "8d66cf3f")
    assert int.from_bytes(witness.signature[:8]) == 1679315147  # as the page's signed message says


def test_what_is_signed_verifies_and_nothing_else() -> None:
    log, witness = key_of("log"), key_of("witness", SignatureType.COSIGNATURE)
    lines = (
        sign_text(TEXT, "log", signer("log")),
        cosign_text(TEXT, "witness", signer("witness"), 1_700_000_000),
    )
    note = Note(TEXT, lines)
    assert [line.time_s for line in note.signed_by([witness, log])] == [1_700_000_000, None]
    with pytest.raises(ProofError, match="note-signature"):
        Note("another\n", lines).signed_by([witness])
    assert Note("another\n", lines).signed_by([key_of("stranger")]) == ()


def test_one_key_under_two_types_is_two_keys() -> None:
    """Neither kind of line can be passed off as the other: what is signed begins otherwise."""
    log, witness = key_of("log"), key_of("log", SignatureType.COSIGNATURE)
    assert log.key_id != witness.key_id
    line = sign_text(TEXT, "log", signer("log"))
    posing = NoteSignature("log", witness.key_id, bytes(8) + line.signature)
    with pytest.raises(ProofError, match="note-signature"):
        Note(TEXT, (posing,)).signed_by([witness])


def test_a_key_counts_once() -> None:
    twice = tuple(cosign_text(TEXT, "w", signer("w"), time_s) for time_s in (1, 2))
    with pytest.raises(ProofError, match="note-twice"):
        Note(TEXT, twice).signed_by([key_of("w", SignatureType.COSIGNATURE)])


def test_a_key_made_to_have_the_id_of_another_does_not_hide_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ids have 32 bits: somebody may search for a key with the id of another's."""
    victim, attacker = (
        key_of("log"),
        VerifierKey.of("log", SignatureType.LOG, bytes([5]) + bytes(31)),
    )
    same = lambda _key: b"same"  # noqa: E731 - stands for two keys of one id
    monkeypatch.setattr(VerifierKey, "key_id", property(same))
    note = Note(TEXT, (sign_text(TEXT, "log", signer("log")),))
    assert [line.key for line in note.signed_by([attacker, victim])] == [victim]


@pytest.mark.parametrize(
    "vkey",
    [
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("c74f20a3", "C74F20A3"),
        GO_KEY.replace("PeterNeumann", "Peter Neumann"),
        GO_KEY.removeprefix("PeterNeumann"),
        GO_KEY.replace("+ARpc", "+BRpc"),
        GO_KEY[:-4],
        GO_KEY + "=",
        GO_KEY.replace("PeterNeumann", "Peter\udc9eNeumann"),  # as a policy has what is not UTF-8
        "PeterNeumann",
        "",
        ZERO_KEY,
    ],
)
def test_a_key_that_is_not_in_its_one_form_is_refused(vkey: str) -> None:
    with pytest.raises(DecodeError):
        VerifierKey.parse(vkey)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        b"\xff" + GO_NOTE.encode(),
        GO_NOTE.encode()[:-1],
        GO_NOTE.encode() + b"\n",
        GO_NOTE.replace("\u2014", "-").encode(),
        GO_NOTE.replace("\u2014 ", "\u2014").encode(),
        GO_NOTE.replace("\n", "\r\n").encode(),
        GO_NOTE.replace("the answer", "the\tanswer").encode(),
        GO_NOTE.replace("AM=", "AN=").encode(),
        GO_NOTE.replace("AM=", "AM").encode(),
        GO_NOTE.replace(" PeterNeumann ", " Peter\u00a0Neumann ").encode(),
        GO_NOTE.replace(" PeterNeumann ", "  ").encode(),
        b"text\n\n" + "\u2014 name AAAA\n".encode(),
        b"text\n\n" + "\u2014 name AAAAAAA=\n".encode() * (notes.SIGNATURES_MAX + 1),
        b"x" * notes.NOTE_BYTES_MAX + GO_NOTE.encode(),
    ],
)
def test_what_is_not_the_one_form_of_a_note_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Note.decode(data)


def test_sixteen_signatures_are_taken_and_more() -> None:
    lines = "".join(f"\u2014 name{at} AAAAAAA=\n" for at in range(notes.SIGNATURES_MAX))
    assert len(Note.decode(f"text\n\n{lines}".encode()).signatures) == notes.SIGNATURES_MAX


@given(st.binary(max_size=300))
def test_what_is_read_is_written_alike(data: bytes) -> None:
    try:
        note = Note.decode(b"text\n\n" + data)
    except DecodeError:
        return
    assert note.encode() == b"text\n\n" + data
