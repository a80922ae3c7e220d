"""What the vault's format says, held against vectors that others' code made."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from node.chain.authorisation import Authorised, Terms, Uses
from node.chain.encoding import decode, encode
from node.chain.merkle import leaf_hash
from node.chain.vault import (
    Content,
    EncryptionKey,
    Grant,
    Keep,
    RegisterKey,
    Revoke,
    Rotate,
    Secret,
    Shred,
    Vault,
    VaultDocument,
    VaultGrant,
    VaultKeys,
    VaultOperation,
    VaultStanding,
    Wrap,
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
DOCUMENT = bytes(range(16))
CONTENT = Content(envelope=1, size_bytes=10, root=bytes(32))
WRAP = Wrap("agency-1", 1, bytes(32))
KEPT = VaultDocument(
    standing=VaultStanding.KEPT,
    owner="agency-1",
    organisation="org-1",
    version=2,
    content=CONTENT,
    changes=3,
    height=4,
    time_ms=5,
    ordered_by="agency-2",
    grants=(VaultGrant(Wrap("agency-5", 1, bytes(32)), "org-2", 4),),
)
TOMBSTONE = replace(
    KEPT, standing=VaultStanding.SHREDDED, content=None, grants=(), reason=b"\x01" * 32
)
KEYS = VaultKeys((EncryptionKey("agency-1", 1, b"key", 7),))


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
    assert document_id_of(vault_document_key(DOCUMENT)) == DOCUMENT


@pytest.mark.parametrize("name", ["", "证照.pdf"])
def test_a_secret_is_read_as_it_was_wrapped_with_a_name_or_without(name: str) -> None:
    secret = Secret(bytes(32), name)
    assert Secret.decode(secret.encode(), 32) == secret
    assert decode(secret.encode(), what="secret", size_max=200)[2] == (name or None)


@pytest.mark.parametrize(
    "operation",
    [
        RegisterKey(1, b"key"),
        Keep(DOCUMENT, CONTENT, (WRAP,)),
        Grant(DOCUMENT, 1, (WRAP, WRAP)),
        Revoke(DOCUMENT, ("agency-1",)),
        Rotate(DOCUMENT, 2, CONTENT, (WRAP,)),
        Shred(DOCUMENT, None),
        Shred(DOCUMENT, b"\x01" * 32),
    ],
)
def test_an_operation_is_read_as_it_was_written(operation: VaultOperation) -> None:
    assert Vault.from_value(Vault(operation).to_value()) == Vault(operation)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([2, 6, [DOCUMENT, None]], "vault: expected version 1, got 2"),
        ([1, 9, [DOCUMENT, None]], "vault operation kind: 9 is unknown"),
        ([1, 4, [DOCUMENT, []]], "vault recipients: expected 1..[0-9]+, got none"),
        ([1, 3, [DOCUMENT, 1, []]], "vault recipients: expected 1..[0-9]+, got none"),
        ([1, 6, [DOCUMENT[:15], None]], "vault document id"),
    ],
)
def test_what_asks_for_nothing_known_is_refused(value: object, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        Vault.from_value(value)


@pytest.mark.parametrize("document", [KEPT, TOMBSTONE])
def test_a_document_is_read_as_the_state_holds_it(document: VaultDocument) -> None:
    assert VaultDocument.decode(document.encode()) == document


@pytest.mark.parametrize(
    ("document", "at", "value", "why"),
    [
        (KEPT, 1, 0, "vault standing: expected 1 or 2, got 0"),
        (KEPT, 1, 3, "vault standing: expected 1 or 2, got 3"),
        (KEPT, 1, True, "vault standing: expected 1 or 2, got True"),
        (KEPT, 5, None, "vault content: expected it of a kept document"),
        (TOMBSTONE, 5, CONTENT.to_value(), "vault content: expected it of a kept document"),
    ],
)
def test_a_document_is_kept_with_its_content_or_shredded_without(
    document: VaultDocument, at: int, value: object, why: str
) -> None:
    items = decode(document.encode(), what="document", size_max=10_000)
    items[at] = value
    with pytest.raises(DecodeError, match=why):
        VaultDocument.decode(encode(items))


@pytest.mark.parametrize(
    ("read", "written"),
    [
        (VaultDocument.decode, KEPT.encode()),
        (VaultKeys.decode, KEYS.encode()),
        (lambda data: Secret.decode(data, 32), Secret(bytes(32), "").encode()),
    ],
)
def test_another_version_is_not_read(read: Callable[[bytes], object], written: bytes) -> None:
    value = decode(written, what="value", size_max=10_000)
    with pytest.raises(DecodeError, match="expected version 1, got 2"):
        read(encode([2, *value[1:]]))


def test_nodes_of_the_owner_keep_a_copy_though_none_of_its_own_may_open_it() -> None:
    entitled = [name for name in ("org-1", "org-2", "org-3") if KEPT.is_entitled(name)]
    assert entitled == ["org-1", "org-2"]
    assert not any(TOMBSTONE.is_entitled(name) for name in ("org-1", "org-2", "org-3"))


def test_the_state_holds_keys_by_identity_in_whatever_order_they_came() -> None:
    keys = VaultKeys()
    for name, number in (("agency-2", 1), ("agency-1", 1), ("agency-3", 1), ("agency-2", 2)):
        keys = keys.replaced(EncryptionKey(name, number, b"key", 7))
    listed = [(each.identity_id, each.number) for each in keys.keys]
    assert listed == [("agency-1", 1), ("agency-2", 2), ("agency-3", 1)]
    assert VaultKeys.decode(keys.encode()) == keys


TERMS = Terms(purpose="check of residence", fields=("name",), not_after_ms=9, basis=b"\x02" * 32)
UNDER_TERMS = VaultGrant(
    Wrap("agency-6", 1, bytes(32)), "org-3", 4, Authorised(TERMS, Uses(2, 4, 5))
)
WITH_TERMS = replace(KEPT, grants=(*KEPT.grants, UNDER_TERMS))


def test_a_document_is_read_with_the_terms_of_its_grants() -> None:
    assert VaultDocument.decode(WITH_TERMS.encode()) == WITH_TERMS


@pytest.mark.parametrize("items", [0, 2, 5])
def test_a_grant_holds_its_terms_or_nothing_more(items: int) -> None:
    value = [*UNDER_TERMS.to_value(), 1][:items]
    with pytest.raises(DecodeError, match=f"vault grant: expected .* got {items} items"):
        VaultGrant.from_value(value)
    with pytest.raises(DecodeError, match="vault grant: expected an array"):
        VaultGrant.from_value(3)


def test_nodes_of_who_reads_under_terms_keep_no_copy() -> None:
    """They could be read there without a trace."""
    assert not WITH_TERMS.is_entitled("org-3")
    assert WITH_TERMS.is_entitled("org-2"), "whom another grant gives one"


def test_a_grant_is_over_after_the_end_of_its_terms_and_one_without_never() -> None:
    assert WITH_TERMS.at(9) == WITH_TERMS
    assert WITH_TERMS.at(10) == KEPT
