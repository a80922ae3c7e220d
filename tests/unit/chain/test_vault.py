"""What the vault's format says, held against vectors that others' code made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from node.chain.merkle import leaf_hash
from node.chain.vault import (
    Secret,
    chunk_list_root,
    content_context,
    document_id_of,
    vault_document_key,
    wrap_context,
)
from node.crypto.envelope import CHUNK_BYTES, ContentCipher, opener_of
from node.crypto.suite import Suite, suite_by_name
from node.errors import CryptoError, DecodeError
from tests.vectors.vault import generate

NAMES = ("international", "national")


def vector(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((generate.FOLDER / f"{name}.json").read_text("utf-8"))
    return found


def test_the_vectors_are_those_that_the_generator_makes() -> None:
    for name, content in generate.made().items():
        assert (generate.FOLDER / name).read_bytes() == content, name


@pytest.mark.parametrize("name", NAMES)
def test_a_wrapped_key_opens_to_what_the_vector_says(name: str) -> None:
    given, suite = vector(name), suite_by_name(name)
    opener = opener_of(suite, suite.signer_type.from_secret(hexed(given, "recipient_secret")))
    assert opener.public_key == hexed(given, "recipient_public_key")
    wrapped = hexed(given, "wrapped_key")
    assert leaf_hash(wrapped, suite.hash) == hexed(given, "wrapped_key_digest")
    secret = Secret.decode(opener.unwrap(wrapped, info(given)), suite.aead.key_size)
    assert secret == Secret(hexed(given, "content_key"), given["name"])
    for other in (
        {"version": 1},
        {"key_number": 2},
        {"recipient": "机构-2"},
        {"chain_id": "00" * 32},
        {"document_id": "00" * 16},
    ):
        with pytest.raises(CryptoError):
            opener.unwrap(wrapped, info(given | other))


@pytest.mark.parametrize("name", NAMES)
def test_contents_seal_to_the_chunks_of_the_vector(name: str) -> None:
    given, suite = vector(name), suite_by_name(name)
    assert len(given["contents"]) == 5
    for case in given["contents"]:
        ids = b"".join(chunk_ids(given, suite, case["size_bytes"]))
        assert ids.hex() == "".join(case["chunk_ids"])
        assert chunk_list_root(ids, suite).hex() == case["root"]


def chunk_ids(given: dict[str, Any], suite: Suite, size_bytes: int) -> list[bytes]:
    context = content_context(
        hexed(given, "chain_id"), hexed(given, "document_id"), given["version"]
    )
    cipher = ContentCipher(suite.aead, hexed(given, "content_key"), context)
    content = generate.content_of(size_bytes)
    chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)] or [b""]
    last = len(chunks) - 1
    return [
        leaf_hash(cipher.seal(index, chunk, is_last=index == last), suite.hash)
        for index, chunk in enumerate(chunks)
    ]


def info(given: dict[str, Any]) -> bytes:
    return wrap_context(
        hexed(given, "chain_id"),
        hexed(given, "document_id"),
        given["version"],
        given["recipient"],
        given["key_number"],
    )


def hexed(given: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(given[name])


def test_a_secret_shows_nothing_of_itself() -> None:
    assert "x" * 4 not in repr(Secret(b"x" * 32, "xxxx"))


def test_a_secret_of_another_shape_is_refused() -> None:
    with pytest.raises(DecodeError, match="vault content key"):
        Secret.decode(Secret(bytes(16), "name").encode(), 32)
    with pytest.raises(DecodeError, match="vault name"):
        Secret.decode(Secret(bytes(32), "a\nb").encode(), 32)


def test_a_state_key_names_its_document() -> None:
    document_id = bytes(range(16))
    assert document_id_of(vault_document_key(document_id)) == document_id
