"""What is held of documents: every object checked by its id when it is read. No links, no clock.

An object lies under document, version and its own id. So what belongs to one version goes with it,
and no object of one document is part of another: content keys differ, and so do sealed bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from node.chain.merkle import leaf_hash
from node.chain.vault import VaultDocument, chunk_list_root
from node.crypto.envelope import CHUNK_BYTES, CHUNKS_MAX, SEALED_CHUNK_BYTES_MAX
from node.crypto.suite import Suite
from node.errors import ClientError
from node.storage.objects import ObjectStore

ID_BYTES: Final = 32
CHUNK_LIST_BYTES_MAX: Final = CHUNKS_MAX * ID_BYTES


class ObjectRole(IntEnum):
    """What an object is of a document. Numbers are those of the wire."""

    CHUNK = 1
    CHUNK_LIST = 2
    WRAPPED_KEY = 3


class FaultKind(IntEnum):
    """What is wrong with an object. Numbers are those of the wire."""

    MISSING = 1
    DAMAGED = 2


@dataclass(frozen=True, slots=True)
class Part:
    """An object that belongs to a document, and its place in it."""

    object_id: bytes
    role: ObjectRole
    chunk_index: int = 0
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class PartFault:
    """A part that is not there as it was kept."""

    part: Part
    kind: FaultKind


@dataclass(frozen=True, slots=True)
class CheckStep:
    """How far a check of a document is, and what it found last."""

    objects: int
    """To be read, all of them."""
    sound: int
    """Read so far, and what their ids say."""
    fault: PartFault | None = None


class ObjectDamaged(ClientError):  # noqa: N818 - a state of what lies there
    """An object is not what its id says: something changed it where it lies."""

    code = "GC-2603"


def chunk_count(size_bytes: int) -> int:
    """Return how many chunks a content of this size has: one at least."""
    return max(1, -(-size_bytes // CHUNK_BYTES))


class Holdings:
    """The objects of one node."""

    def __init__(self, store: ObjectStore, suite: Suite) -> None:
        self._store, self._suite = store, suite

    def put(self, document_id: bytes, version: int, data: bytes) -> bytes:
        """Keep a sealed chunk or a wrapped key; return its id."""
        if len(data) > SEALED_CHUNK_BYTES_MAX:
            raise ClientError(
                f"vault object: expected at most {SEALED_CHUNK_BYTES_MAX} bytes, got {len(data)}"
            )
        object_id = leaf_hash(data, self._suite.hash)
        self._store.put(_name(document_id, version, object_id), data)
        return object_id

    def put_list(self, document_id: bytes, version: int, chunk_ids: bytes) -> bytes:
        """Keep a list of chunks; return its id, which is the root of its tree."""
        if (
            len(chunk_ids) <= ID_BYTES
            or len(chunk_ids) % ID_BYTES
            or len(chunk_ids) > CHUNK_LIST_BYTES_MAX
        ):
            raise ClientError(f"vault chunk list: expected 2..{CHUNKS_MAX} ids")
        object_id = chunk_list_root(chunk_ids, self._suite)
        self._store.put(_name(document_id, version, object_id), chunk_ids)
        return object_id

    def keep_if(
        self,
        document_id: bytes,
        version: int,
        data: bytes,
        root: bytes,
        wanted: Mapping[bytes, None],
    ) -> bool:
        """Keep an object that somebody sent, if it is one of those wanted; say whether it was.

        `root` is the id of the list of chunks, the only object whose id is no leaf hash.
        """
        if leaf_hash(data, self._suite.hash) in wanted:
            self.put(document_id, version, data)
            return True
        is_list = root in wanted and data and not len(data) % ID_BYTES
        if is_list and len(data) <= CHUNK_LIST_BYTES_MAX:
            is_list = chunk_list_root(data, self._suite) == root
            if is_list:
                self.put_list(document_id, version, data)
            return is_list
        return False

    def find(self, document_id: bytes, version: int, object_id: bytes) -> bytes | None:
        """Return an object that is what its id says, or None; raises `ObjectDamaged`."""
        data = self._store.get(_name(document_id, version, object_id))
        if data is None or leaf_hash(data, self._suite.hash) == object_id:
            return data
        is_list = data and not len(data) % ID_BYTES
        if is_list and chunk_list_root(data, self._suite) == object_id:
            return data
        raise ObjectDamaged(
            f"vault object {object_id.hex()} of document {document_id.hex()}, version {version}: "
            "expected what its id says, got something else",
            fix="have the node fetch it again: govchain vault check",
        )

    def held(self, document_id: bytes, version: int) -> frozenset[bytes]:
        """Return the ids of what is there, unread."""
        names = self._store.names(f"{document_id.hex()}/{version}")
        return frozenset(bytes.fromhex(name) for name in names if len(name) == 2 * ID_BYTES)

    def chunk_ids(self, document_id: bytes, document: VaultDocument) -> bytes | None:
        """Return the list of chunks of a kept document, joined; None where it is not there.

        One chunk needs no list: its id is the root.
        """
        if document.content is None:
            return None
        if chunk_count(document.content.size_bytes) == 1:
            return document.content.root
        return self.find(document_id, document.version, document.content.root)

    def parts(
        self, document_id: bytes, document: VaultDocument, organisation: str
    ) -> Sequence[Part]:
        """Return what an organisation's nodes keep of a document, as far as the list tells.

        Wrapped keys of its own people, but of those under terms, who read at the owner's; or all of
        them where it owns the document. Raises `ObjectDamaged` where the list is.
        """
        if document.content is None:
            return []
        parts = []
        if chunk_count(document.content.size_bytes) > 1:
            parts.append(Part(document.content.root, ObjectRole.CHUNK_LIST))
        owns = organisation == document.organisation
        for grant in document.grants:
            if owns or (grant.organisation == organisation and grant.authorised is None):
                wrap = grant.wrap
                parts.append(Part(wrap.digest, ObjectRole.WRAPPED_KEY, recipient=wrap.recipient))
        ids = self.chunk_ids(document_id, document) or b""
        for index, at in enumerate(range(0, len(ids), ID_BYTES)):
            parts.append(Part(ids[at : at + ID_BYTES], ObjectRole.CHUNK, index))
        return parts

    def check(self, document_id: bytes, version: int, part: Part) -> PartFault | None:
        """Read a part and say what is wrong with it."""
        try:
            found = self.find(document_id, version, part.object_id)
        except ObjectDamaged:
            return PartFault(part, FaultKind.DAMAGED)
        return PartFault(part, FaultKind.MISSING) if found is None else None

    def check_and_drop(self, document_id: bytes, version: int, part: Part) -> PartFault | None:
        """Read a part, say what is wrong with it, and destroy it if it is damaged.

        In one: two who read it at once must not both destroy it, the second one what came since.
        """
        fault = self.check(document_id, version, part)
        if fault is not None and fault.kind is FaultKind.DAMAGED:
            self.drop_object(document_id, version, part.object_id)
        return fault

    def drop_object(self, document_id: bytes, version: int, object_id: bytes) -> None:
        """Destroy one object."""
        self._store.remove(_name(document_id, version, object_id))

    def versions(self, document_id: bytes) -> list[int]:
        """Return the versions of which something is there."""
        return [int(name) for name in self._store.names(document_id.hex()) if name.isdecimal()]

    def drop_version(self, document_id: bytes, version: int) -> None:
        """Destroy all that is held of one version."""
        self._store.remove(f"{document_id.hex()}/{version}")

    def documents(self) -> list[bytes]:
        """Return the ids of the documents of which something is there."""
        return [bytes.fromhex(name) for name in self._store.names() if len(name) == 32]  # noqa: PLR2004 - 16 bytes

    def drop(self, document_id: bytes) -> None:
        """Destroy all that is held of a document."""
        self._store.remove(document_id.hex())

    def idle_s(self, document_id: bytes, version: int, now_s: int) -> int:
        """Return how long ago something last came to a version."""
        return self._store.age_s(f"{document_id.hex()}/{version}", now_s)


def _name(document_id: bytes, version: int, object_id: bytes) -> str:
    return f"{document_id.hex()}/{version}/{object_id.hex()}"
