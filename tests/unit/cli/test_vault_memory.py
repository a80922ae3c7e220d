"""Content through a node's vault, out and in: as much memory for a long file as for a short one."""

from __future__ import annotations

import hashlib
import secrets
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from node.chain.vault import Content, Secret, VaultDocument, VaultGrant, VaultStanding, Wrap
from node.cli.vault.content import Reading, Sealing, from_thread, upload, write_content
from node.crypto.certificate_profile import CertificateIdentity
from node.crypto.envelope import CHUNK_BYTES, HpkeOpener
from node.crypto.keystore import new_content_key
from node.crypto.suite import INTERNATIONAL
from node.rpc.client import LedgerClient
from node.rpc.server import ClientServer
from node.storage.objects import DirectoryObjects
from node.storage.vault_holdings import CheckStep, Holdings
from tests.unit.rpc.fake_node import FakeNetwork
from tests.unit.rpc.pki import CHAIN_ID

DOCUMENT_ID, NODE = bytes(16), "validator-1"
SHORT_CHUNKS, LONG_CHUNKS = 8, 48
GROWTH_BYTES_MAX = 4 * CHUNK_BYTES
"""By which the peak may differ, of 40 chunks more: what is on its way varies by one or two."""
PEAK_BYTES_MAX = 16 * CHUNK_BYTES


class KeepingNode:
    """A node that keeps what it is given, in its store, and gives it to whoever asks."""

    def __init__(self, folder: Path) -> None:
        self._holdings = Holdings(DirectoryObjects(folder, 1 << 30), INTERNATIONAL)

    async def proof_of_document(self, document_id: bytes) -> bytes | None:
        raise AssertionError(document_id)

    async def proof_of_keys(self, organisation: str) -> bytes | None:
        raise AssertionError(organisation)

    async def proof_of_status(self, identity: str) -> bytes | None:
        raise AssertionError(identity)

    async def documents(
        self, caller: CertificateIdentity, after: bytes, limit: int
    ) -> Sequence[bytes]:
        raise AssertionError(caller, after, limit)

    async def put(
        self,
        _caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        objects: Sequence[bytes],
        chunk_list: bytes,
    ) -> Sequence[bytes]:
        kept = [self._holdings.put(document_id, version, each) for each in objects]
        if chunk_list:
            kept.append(self._holdings.put_list(document_id, version, chunk_list))
        return kept

    async def held(
        self,
        caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        object_ids: Sequence[bytes],
    ) -> Sequence[bool]:
        raise AssertionError(caller, document_id, version, object_ids)

    async def objects(
        self,
        _caller: CertificateIdentity,
        document_id: bytes,
        version: int,
        object_ids: Sequence[bytes],
    ) -> AsyncGenerator[bytes]:
        for object_id in object_ids:
            yield self._holdings.find(document_id, version, object_id) or b""

    def check(self, caller: CertificateIdentity, document_id: bytes) -> AsyncGenerator[CheckStep]:
        raise AssertionError(caller, document_id)


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[LedgerClient]:
    network = FakeNetwork(1)
    network.servers = [
        ClientServer(
            network.nodes[0],
            ["127.0.0.1:0"],
            tls=network.pki.validator(1),
            gatekeeper=network.pki.gatekeeper(),
            chain_id=CHAIN_ID,
            on_failure=network.failures.append,
            vault=KeepingNode(folder),
        )
    ]
    await network.start()
    try:
        async with network.client() as client:
            yield client
    finally:
        await network.stop()
    assert network.failures == []


def contents(count: int, digest: hashlib._Hash) -> Iterator[bytes]:
    """Yield chunks, the last one short, and hash them on the way."""
    for index in range(count):
        chunk = secrets.token_bytes(CHUNK_BYTES if index < count - 1 else 1_000)
        digest.update(chunk)
        yield chunk


async def peaks(folder: Path, count: int) -> tuple[int, int]:
    """Return the most memory in use, bytes, while a content of so many chunks goes out and in."""
    digest, size_bytes = hashlib.sha256(), (count - 1) * CHUNK_BYTES + 1_000
    secret = Secret(new_content_key(INTERNATIONAL), "content")
    sealing = Sealing(CHAIN_ID, INTERNATIONAL, DOCUMENT_ID, 1, secret)
    out = folder / "out"
    async with connected(folder / "vault") as client:
        tracemalloc.start()
        try:
            ids = await upload(
                client,
                NODE,
                sealing,
                from_thread(contents(count, digest)),
                size_bytes,
                note=lambda _index, _ids: None,
                advance=lambda _bytes: None,
            )
            _now, putting = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            reading = reading_of(sealing.content(ids, size_bytes))
            await write_content(client, reading, secret, out, lambda _bytes: None)
            _now, getting = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    with out.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == digest.digest()
    return putting, getting


def reading_of(content: Content) -> Reading:
    grant = VaultGrant(Wrap("agency-1", 1, bytes(32)), "org-1", 1)
    document = VaultDocument(
        standing=VaultStanding.KEPT,
        owner="agency-1",
        organisation="org-1",
        version=1,
        content=content,
        changes=1,
        height=1,
        time_ms=1,
        ordered_by="agency-1",
        grants=(grant,),
    )
    opener = HpkeOpener(b"", ec.generate_private_key(ec.SECP256R1()))
    return Reading(CHAIN_ID, INTERNATIONAL, DOCUMENT_ID, document, grant, opener, [NODE])


@pytest.mark.parametrize("way", ["put", "get"])
async def test_memory_does_not_grow_with_the_content(tmp_path: Path, way: str) -> None:
    """Of client and node, both in this process."""
    found = []
    for count in (SHORT_CHUNKS, LONG_CHUNKS):
        folder = tmp_path / str(count)
        folder.mkdir()
        putting, getting = await peaks(folder, count)
        found.append(putting if way == "put" else getting)
    short, long = found
    assert long < PEAK_BYTES_MAX
    assert long - short < GROWTH_BYTES_MAX
