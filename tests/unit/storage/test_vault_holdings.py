"""What is held is known by its id, and what is not as it was is named by its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.authorisation import Authorised, Terms
from node.chain.merkle import leaf_hash
from node.chain.vault import (
    Content,
    VaultDocument,
    VaultGrant,
    VaultStanding,
    Wrap,
    chunk_list_root,
)
from node.crypto.envelope import CHUNK_BYTES, SEALED_CHUNK_BYTES_MAX
from node.crypto.suite import INTERNATIONAL as SUITE
from node.errors import ClientError
from node.storage.objects import DirectoryObjects
from node.storage.vault_holdings import (
    FaultKind,
    Holdings,
    ObjectDamaged,
    ObjectRole,
    Part,
    chunk_count,
)

DOCUMENT = bytes(range(16))
CHUNKS = [b"one sealed", b"two sealed", b"three sealed"]
IDS = b"".join(leaf_hash(chunk, SUITE.hash) for chunk in CHUNKS)
ROOT = chunk_list_root(IDS, SUITE)
WRAPS = {"mine": b"wrapped for me", "theirs": b"wrapped for them"}


@pytest.fixture
def holdings(tmp_path: Path) -> Holdings:
    return Holdings(DirectoryObjects(tmp_path, 100_000_000), SUITE)


def grant(name: str, organisation: str) -> VaultGrant:
    return VaultGrant(Wrap(name, 1, leaf_hash(WRAPS[name], SUITE.hash)), organisation, 1)


def document(chunks: int = 3) -> VaultDocument:
    size_bytes = (chunks - 1) * CHUNK_BYTES + 1
    root = ROOT if chunks > 1 else leaf_hash(CHUNKS[0], SUITE.hash)
    return VaultDocument(
        standing=VaultStanding.KEPT,
        owner="mine",
        organisation="org-1",
        version=1,
        content=Content(envelope=1, size_bytes=size_bytes, root=root),
        changes=1,
        height=1,
        time_ms=1,
        ordered_by="mine",
        grants=(grant("mine", "org-1"), grant("theirs", "org-2")),
    )


def fill(holdings: Holdings) -> None:
    for data in (*CHUNKS, *WRAPS.values()):
        holdings.put(DOCUMENT, 1, data)
    assert holdings.put_list(DOCUMENT, 1, IDS) == ROOT


@pytest.mark.parametrize(
    ("size_bytes", "count"),
    [(0, 1), (1, 1), (CHUNK_BYTES, 1), (CHUNK_BYTES + 1, 2), (65_536 * CHUNK_BYTES, 65_536)],
)
def test_chunks_are_counted(size_bytes: int, count: int) -> None:
    assert chunk_count(size_bytes) == count


def test_parts_are_the_list_the_chunks_and_the_keys_of_who_asks(holdings: Holdings) -> None:
    fill(holdings)
    own = holdings.parts(DOCUMENT, document(), "org-1")
    assert [(part.role, part.chunk_index, part.recipient) for part in own] == [
        (ObjectRole.CHUNK_LIST, 0, ""),
        (ObjectRole.WRAPPED_KEY, 0, "mine"),
        (ObjectRole.WRAPPED_KEY, 0, "theirs"),
        *((ObjectRole.CHUNK, index, "") for index in range(3)),
    ]
    others = holdings.parts(DOCUMENT, document(), "org-2")
    keys = [part.recipient for part in others if part.role is ObjectRole.WRAPPED_KEY]
    assert keys == ["theirs"]
    assert all(holdings.check(DOCUMENT, 1, part) is None for part in own)


def test_who_reads_under_terms_has_its_key_at_the_owners_nodes_alone(holdings: Holdings) -> None:
    terms = Terms(purpose="audit", fields=(), not_after_ms=2, basis=None)
    colleague = replace(grant("theirs", "org-2"), authorised=Authorised(terms))
    both = replace(document(), grants=(grant("mine", "org-2"), colleague))
    for organisation, expected in (("org-1", ["mine", "theirs"]), ("org-2", ["mine"])):
        parts = holdings.parts(DOCUMENT, both, organisation)
        keys = [part.recipient for part in parts if part.role is ObjectRole.WRAPPED_KEY]
        assert keys == expected


def test_one_chunk_needs_no_list(holdings: Holdings) -> None:
    parts = holdings.parts(DOCUMENT, document(chunks=1), "org-1")
    roles = [part.role for part in parts]
    assert roles == [ObjectRole.WRAPPED_KEY, ObjectRole.WRAPPED_KEY, ObjectRole.CHUNK]
    assert parts[-1].object_id == leaf_hash(CHUNKS[0], SUITE.hash)


def test_of_what_is_shredded_nothing_is_to_be_kept(holdings: Holdings) -> None:
    tombstone = replace(document(), standing=VaultStanding.SHREDDED, content=None, grants=())
    assert holdings.parts(DOCUMENT, tombstone, "org-1") == []


def test_every_flipped_bit_of_every_object_is_named(holdings: Holdings, tmp_path: Path) -> None:
    fill(holdings)
    for part in holdings.parts(DOCUMENT, document(), "org-1"):
        path = tmp_path / DOCUMENT.hex() / "1" / part.object_id.hex()
        sound = path.read_bytes()
        for bit in range(8 * len(sound)):
            damaged = bytearray(sound)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            found = holdings.check(DOCUMENT, 1, part)
            assert found is not None
            assert (found.part, found.kind) == (part, FaultKind.DAMAGED)
        path.write_bytes(sound[:-1])
        with pytest.raises(ObjectDamaged, match=part.object_id.hex()):
            holdings.find(DOCUMENT, 1, part.object_id)
        path.unlink()
        gone = holdings.check(DOCUMENT, 1, part)
        assert gone is not None
        assert gone.kind is FaultKind.MISSING
        path.write_bytes(sound)
        assert holdings.check(DOCUMENT, 1, part) is None


def test_what_was_not_asked_for_is_not_kept(holdings: Holdings) -> None:
    wanted = dict.fromkeys([IDS[:32], ROOT])
    assert not holdings.keep_if(DOCUMENT, 1, b"something else", ROOT, wanted)
    assert not holdings.keep_if(DOCUMENT, 1, b"", ROOT, wanted)
    assert not holdings.keep_if(DOCUMENT, 1, IDS[:64], ROOT, wanted)
    assert holdings.held(DOCUMENT, 1) == frozenset()
    assert holdings.keep_if(DOCUMENT, 1, CHUNKS[0], ROOT, wanted)
    assert holdings.keep_if(DOCUMENT, 1, IDS, ROOT, wanted)
    assert holdings.held(DOCUMENT, 1) == frozenset(wanted)


def test_objects_and_lists_are_bounded(holdings: Holdings) -> None:
    with pytest.raises(ClientError, match="at most"):
        holdings.put(DOCUMENT, 1, bytes(SEALED_CHUNK_BYTES_MAX + 1))
    for ids in (b"", bytes(32), bytes(65), bytes(32 * 65_537)):
        with pytest.raises(ClientError, match="chunk list"):
            holdings.put_list(DOCUMENT, 1, ids)


def test_versions_and_documents_go_as_a_whole(holdings: Holdings) -> None:
    fill(holdings)
    holdings.put(DOCUMENT, 2, b"another version")
    assert (holdings.documents(), holdings.versions(DOCUMENT)) == ([DOCUMENT], [1, 2])
    holdings.drop_version(DOCUMENT, 1)
    assert holdings.versions(DOCUMENT) == [2]
    holdings.drop(DOCUMENT)
    assert (holdings.documents(), holdings.versions(DOCUMENT)) == ([], [])


def test_a_part_is_found_by_its_id_alone(holdings: Holdings) -> None:
    fill(holdings)
    assert holdings.find(DOCUMENT, 1, ROOT) == IDS
    assert holdings.find(DOCUMENT, 2, ROOT) is None
    unknown = Part(bytes(32), ObjectRole.CHUNK)
    missing = holdings.check(DOCUMENT, 1, unknown)
    assert missing is not None
    assert missing.kind is FaultKind.MISSING


def test_who_reads_second_does_not_destroy_what_came_since(
    holdings: Holdings, tmp_path: Path
) -> None:
    fill(holdings)
    part = holdings.parts(DOCUMENT, document(), "org-1")[-1]
    assert holdings.check_and_drop(DOCUMENT, 1, part) is None
    path = tmp_path / DOCUMENT.hex() / "1" / part.object_id.hex()
    path.write_bytes(b"damaged")
    kinds = [holdings.check_and_drop(DOCUMENT, 1, part) for _reader in range(2)]
    assert [fault and fault.kind for fault in kinds] == [FaultKind.DAMAGED, FaultKind.MISSING]
    holdings.put(DOCUMENT, 1, CHUNKS[-1])
    assert holdings.check_and_drop(DOCUMENT, 1, part) is None
