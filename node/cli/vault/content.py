"""Content on its way: sealed chunk by chunk and handed to a node, or fetched, checked and opened.

One chunk or two are in memory at a time, whatever the size. What goes out is noted before
(`Journal`), so that a put that was stopped goes on; and so that no nonce ever seals two different
chunks: one that was noted and would now be sealed to other bytes is not sent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import IO, Final, Self

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_uint,
    expect_version,
)
from node.chain.merkle import leaf_hash
from node.chain.vault import (
    Content,
    EncryptionKey,
    Secret,
    VaultDocument,
    VaultGrant,
    Wrap,
    chunk_list_root,
    content_context,
    wrap_context,
)
from node.cli.verb import CommandError
from node.crypto.envelope import CHUNK_BYTES, ContentCipher, Opener, wrap_key
from node.crypto.suite import Suite
from node.errors import ClientError, CryptoError, DecodeError
from node.rpc.client import LedgerClient
from node.rpc.vault_client import VaultClient
from node.storage.filesystem import sync_path
from node.storage.vault_holdings import ID_BYTES, chunk_count

CHUNKS_AT_ONCE: Final = 2
FETCHED_AT_ONCE: Final = 64
_JOURNAL_BYTES_MAX: Final = 65_536
_TIMEOUT_MS: Final = 120_000
_MODE: Final = 0o600

Advance = Callable[[int], None]
"""Is told of each amount of content done, in bytes."""


@dataclass(frozen=True, slots=True)
class Sealing:
    """A content to be sealed: of what document and version, with which key, for whom."""

    chain_id: bytes
    suite: Suite
    document_id: bytes
    version: int
    secret: Secret

    @property
    def cipher(self) -> ContentCipher:
        """What seals and opens its chunks."""
        context = content_context(self.chain_id, self.document_id, self.version)
        return ContentCipher(self.suite.aead, self.secret.content_key, context)

    def wrap_for(self, key: EncryptionKey) -> tuple[Wrap, bytes]:
        """Return the grant of a recipient and the wrapped key, which stays off chain."""
        info = wrap_context(
            self.chain_id, self.document_id, self.version, key.identity_id, key.number
        )
        wrapped = wrap_key(self.suite, key.public_key, self.secret.encode(), info)
        digest = leaf_hash(wrapped, self.suite.hash)
        return Wrap(key.identity_id, key.number, digest), wrapped

    def content(self, chunk_ids: bytes, size_bytes: int) -> Content:
        """Return the commitment to what was sealed."""
        root = chunk_list_root(chunk_ids, self.suite)
        return Content(envelope=self.suite.suite_id, size_bytes=size_bytes, root=root)


class Journal:
    """What a put has sent: a file whose head says of what, followed by the ids of its chunks."""

    def __init__(self, path: Path, head: JournalHead, noted: bytes) -> None:
        self.path, self.head, self.noted = path, head, bytearray(noted)
        self._file: IO[bytes] | None = None

    @classmethod
    def begin(cls, path: Path, head: JournalHead) -> Self:
        """Write a new one, durably."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        encoded = head.encode()
        journal = cls(path, head, b"")
        journal._append(len(encoded).to_bytes(4) + encoded)
        sync_path(path.parent)
        return journal

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the one that a put left, without a torn end; None where there is none of use."""
        try:
            data = path.read_bytes()
            size = int.from_bytes(data[:4])
            head = JournalHead.decode(data[4 : 4 + size])
        except (OSError, DecodeError):
            return None
        ids = data[4 + size :]
        whole = len(ids) - len(ids) % ID_BYTES
        os.truncate(path, 4 + size + whole)
        return cls(path, head, ids[:whole])

    def note(self, index: int, chunk_ids: bytes) -> None:
        """Note chunks before they are sent, durably; raises `CommandError` where others were."""
        at = index * ID_BYTES
        known = bytes(self.noted[at : at + len(chunk_ids)])
        if known != chunk_ids[: len(known)]:
            said = _("{path} changed since an earlier run began to put it").format(
                path=self.head.source
            )
            raise CommandError("GC-2608", said)
        new = chunk_ids[len(known) :]
        if new:
            self._append(new)
            self.noted += new

    def close(self) -> None:
        """Leave it for a run that goes on."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def end(self) -> None:
        """Forget it: the content is kept, or nobody will go on."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _append(self, data: bytes) -> None:
        if self._file is None:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _MODE)
            self._file = os.fdopen(descriptor, "ab", buffering=0)
        self._file.write(data)
        os.fdatasync(self._file.fileno())


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalHead:
    """What a put is of. The content key is wrapped for who puts, as for any recipient."""

    source: str
    """Absolute path of the file."""
    size_bytes: int
    modified_ns: int
    document_id: bytes
    key_number: int
    wrapped: bytes

    def encode(self) -> bytes:
        """Return canonical CBOR."""
        return encode(
            [
                1,
                os.fsencode(self.source),
                self.size_bytes,
                self.modified_ns,
                self.document_id,
                self.key_number,
                self.wrapped,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> JournalHead:
        """Read a head; raises `DecodeError`."""
        version, source, size, modified, document_id, number, wrapped = expect_array(
            decode(data, what="journal", size_max=_JOURNAL_BYTES_MAX), 7, "journal"
        )
        expect_version(version, "journal")
        return cls(
            source=os.fsdecode(expect_blob(source, "journal source", size_max=4_096)),
            size_bytes=expect_uint(size, "journal size"),
            modified_ns=expect_uint(modified, "journal time"),
            document_id=expect_bytes(document_id, "journal document", size=16),
            key_number=expect_uint(number, "journal key"),
            wrapped=expect_blob(wrapped, "journal wrapped key", size_max=1_024),
        )


# --- Out ---


def read_chunks(file: IO[bytes], size_bytes: int) -> Iterator[bytes]:
    """Yield a file's content in chunks; raises `CommandError` where it has not this size."""
    left = size_bytes
    for _index in range(chunk_count(size_bytes)):
        chunk = file.read(min(left, CHUNK_BYTES))
        left -= len(chunk)
        if len(chunk) != min(CHUNK_BYTES, left + len(chunk)):
            raise CommandError("GC-2608", _("the file became shorter while it was read"))
        yield chunk
    if file.read(1):
        raise CommandError("GC-2608", _("the file became longer while it was read"))


async def upload(
    client: LedgerClient,
    node_id: str,
    sealing: Sealing,
    chunks: AsyncIterator[bytes],
    size_bytes: int,
    *,
    note: Callable[[int, bytes], None],
    advance: Advance,
) -> bytes:
    """Seal chunks and hand them to a node; return their ids, joined. `note` comes before that."""
    vault, ids = VaultClient(client), bytearray()
    count, index = chunk_count(size_bytes), 0
    batch: list[bytes] = []
    sizes: list[int] = []

    async def send() -> None:
        nonlocal batch, sizes, index
        if not batch:
            return
        joined = b"".join(leaf_hash(each, sealing.suite.hash) for each in batch)
        note(index, joined)
        await _keep(vault, node_id, sealing, batch, joined)
        ids.extend(joined)
        index += len(batch)
        advance(sum(sizes))
        batch, sizes = [], []

    async for chunk in chunks:
        at = index + len(batch)
        batch.append(sealing.cipher.seal(at, chunk, is_last=at == count - 1))
        sizes.append(len(chunk))
        if len(batch) == CHUNKS_AT_ONCE:
            await send()
    await send()
    chunk_ids = bytes(ids)
    if count == 1:
        return chunk_ids  # its id is the root: it needs no list
    root = chunk_list_root(chunk_ids, sealing.suite)
    found = await vault.put(node_id, sealing.document_id, sealing.version, (), chunk_list=chunk_ids)
    _expect_ids(node_id, found, root)
    return chunk_ids


async def upload_wraps(
    client: LedgerClient, node_id: str, sealing: Sealing, keys: Sequence[EncryptionKey]
) -> tuple[Wrap, ...]:
    """Wrap the content key for recipients and hand that to a node; return the grants."""
    wrapped = [sealing.wrap_for(key) for key in keys]
    objects = [each for _wrap, each in wrapped]
    expected = b"".join(wrap.digest for wrap, _object in wrapped)
    await _keep(VaultClient(client), node_id, sealing, objects, expected)
    return tuple(wrap for wrap, _object in wrapped)


async def _keep(
    vault: VaultClient, node_id: str, sealing: Sealing, objects: Sequence[bytes], expected: bytes
) -> None:
    found = await vault.put(
        node_id, sealing.document_id, sealing.version, objects, timeout_ms=_TIMEOUT_MS
    )
    _expect_ids(node_id, found, expected)


def _expect_ids(node_id: str, found: Sequence[bytes], expected: bytes) -> None:
    if b"".join(found) != expected:
        raise CommandError(
            "GC-2305", _("{node} keeps other bytes than it was sent").format(node=node_id)
        )


# --- In ---


@dataclass(frozen=True, slots=True)
class Reading:
    """A document that one identity may open, and the nodes to ask."""

    chain_id: bytes
    suite: Suite
    document_id: bytes
    document: VaultDocument
    grant: VaultGrant
    opener: Opener
    nodes: Sequence[str]

    async def secret(self, client: LedgerClient) -> Secret:
        """Fetch the own wrapped key and open it."""
        wrap = self.grant.wrap
        wrapped = await self._fetch_one(client, wrap.digest, self._is_leaf(wrap.digest))
        return self.open_secret(wrapped)

    def open_secret(self, wrapped: bytes) -> Secret:
        """Open the own wrapped key; raises `CommandError` where it is not what it should be."""
        wrap, version = self.grant.wrap, self.document.version
        info = wrap_context(
            self.chain_id, self.document_id, version, wrap.recipient, wrap.key_number
        )
        try:
            return Secret.decode(self.opener.unwrap(wrapped, info), self.suite.aead.key_size)
        except (CryptoError, DecodeError) as error:
            raise CommandError("GC-2603", str(error)) from error

    def sealing(self, secret: Secret) -> Sealing:
        """Return what seals the version in force."""
        return Sealing(self.chain_id, self.suite, self.document_id, self.document.version, secret)

    @property
    def content(self) -> Content:
        """The commitment to the version in force."""
        content = self.document.content
        if content is None:
            raise CommandError("GC-2604", _("the document was shredded"))
        return content

    async def chunk_ids(self, client: LedgerClient) -> list[bytes]:
        """Fetch the list of chunks, which must be as long as the size says."""
        root = self.content.root
        if chunk_count(self.content.size_bytes) == 1:
            return [root]
        data = await self._fetch_one(
            client, root, lambda found: chunk_list_root(found, self.suite) == root
        )
        ids = [data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES)]
        if len(ids) != chunk_count(self.content.size_bytes):
            said = _("{document}: {count} chunks do not hold {size} bytes")
            raise CommandError(
                "GC-2603",
                said.format(
                    document=self.document_id.hex(), count=len(ids), size=self.content.size_bytes
                ),
            )
        return ids

    async def chunks(
        self, client: LedgerClient, cipher: ContentCipher, ids: Sequence[bytes], first: int = 0
    ) -> AsyncGenerator[bytes]:
        """Yield the content, chunk by chunk, from one on.

        A node that breaks off, or sends what is no such chunk, is left for the next.
        """
        index, failure = first, ""
        for node_id in self.nodes:
            try:
                async with aclosing(self._from(client, node_id, ids, index)) as sealed_chunks:
                    async for sealed in sealed_chunks:
                        if leaf_hash(sealed, self.suite.hash) != ids[index]:
                            said = _("chunk {index} from {node} is damaged")
                            failure = said.format(index=index, node=node_id)
                            break
                        yield cipher.open(index, sealed, is_last=index == len(ids) - 1)
                        index += 1
            except CryptoError as error:
                raise CommandError("GC-2603", str(error)) from error
            except ClientError as error:
                failure = failure or str(error)
            if index == len(ids):
                return
        said = _("chunk {index} of {count} is not to be had: {reason}")
        raise CommandError(
            "GC-2603", said.format(index=index, count=len(ids), reason=failure or _("no node"))
        )

    async def _from(
        self, client: LedgerClient, node_id: str, ids: Sequence[bytes], first: int
    ) -> AsyncGenerator[bytes]:
        vault = VaultClient(client)
        for at in range(first, len(ids), FETCHED_AT_ONCE):
            objects = vault.objects(
                node_id,
                self.document_id,
                self.document.version,
                ids[at : at + FETCHED_AT_ONCE],
                timeout_ms=_TIMEOUT_MS,
            )
            async with aclosing(objects):
                async for sealed in objects:
                    yield sealed

    def _is_leaf(self, digest: bytes) -> Callable[[bytes], bool]:
        return lambda found: leaf_hash(found, self.suite.hash) == digest

    async def _fetch_one(
        self, client: LedgerClient, object_id: bytes, is_right: Callable[[bytes], bool]
    ) -> bytes:
        vault, failures = VaultClient(client), list[str]()
        for node_id in self.nodes:
            objects = vault.objects(node_id, self.document_id, self.document.version, [object_id])
            try:
                async with aclosing(objects):
                    async for found in objects:
                        if is_right(found):
                            return found
                        said = _("object {object} from {node} is damaged")
                        failures.append(said.format(object=object_id.hex(), node=node_id))
            except ClientError as error:
                failures.append(str(error))
        said = _("nothing that can be used is to be had: {reasons}")
        raise CommandError("GC-2603", said.format(reasons="; ".join(failures)))


async def write_content(
    client: LedgerClient, reading: Reading, secret: Secret, part: Path, advance: Advance
) -> None:
    """Write the content to `part`, going on with what an earlier run left there, durably.

    What is there already counts only as far as it is sealed again to the very chunks listed.
    """
    cipher = reading.sealing(secret).cipher
    ids = await reading.chunk_ids(client)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT, _MODE)
    with os.fdopen(descriptor, "r+b") as file:
        first = await asyncio.to_thread(_count_right, file, cipher, ids, reading.suite)
        file.seek(first * CHUNK_BYTES)
        file.truncate()
        advance(first * CHUNK_BYTES)
        async for chunk in reading.chunks(client, cipher, ids, first):
            await asyncio.to_thread(file.write, chunk)
            advance(len(chunk))
        size_bytes = file.tell()
        if size_bytes != reading.content.size_bytes:
            said = _("expected {expected} bytes, got {got}")
            told = said.format(expected=reading.content.size_bytes, got=size_bytes)
            raise CommandError("GC-2603", told)
        file.flush()
        os.fsync(file.fileno())


def _count_right(file: IO[bytes], cipher: ContentCipher, ids: Sequence[bytes], suite: Suite) -> int:
    """Return how many whole chunks of a file are those listed; the last one is fetched again."""
    for index, object_id in enumerate(ids[:-1]):
        chunk = file.read(CHUNK_BYTES)
        if len(chunk) < CHUNK_BYTES:
            return index
        if leaf_hash(cipher.seal(index, chunk, is_last=False), suite.hash) != object_id:
            return index
    return len(ids) - 1


async def from_thread(chunks: Iterator[bytes]) -> AsyncGenerator[bytes]:
    """Yield what an iterator gives that waits for a disk."""
    end = object()
    while (chunk := await asyncio.to_thread(next, chunks, end)) is not end:
        yield chunk  # type: ignore[misc] # the end is no chunk
