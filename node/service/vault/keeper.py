"""The keeper: brings what is held in line with the chain, whatever was missed while it was away.

For each document, whatever changed it: what this node's organisation is entitled to is fetched from
nodes that are too, each object checked by its id; wrapped keys that no longer stand in the state,
versions replaced, and all of a document shredded or no longer granted here are destroyed. One
document at a time, on connections apart from those of votes; fetching breaks off where something is
to be destroyed. What nobody has yet is asked for again later. Now and then everything is read, and
what is damaged is fetched anew.

A node that is only finding out what the chain says, as its ledger was lost, would take for nobody's
all that it holds. So nothing is done before it is abreast of the others: what an owner's only node
destroys is nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

import structlog

from node.chain.vault import (
    Authorise,
    Grant,
    Keep,
    RegisterKey,
    Revoke,
    Rotate,
    Shred,
    Use,
    Vault,
    VaultDocument,
    Wrap,
    document_id_of,
)
from node.errors import ClientError, NodeError
from node.execution.registry import StateKind, prefix_of
from node.execution.vault import decode_document, read_document
from node.service.engine import CommittedBlock
from node.storage.vault_holdings import (
    CheckStep,
    FaultKind,
    Holdings,
    ObjectDamaged,
    ObjectRole,
    Part,
    PartFault,
)

RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 60.0
AUDIT_INTERVAL_S: Final = 86_400.0
AUDIT_PAUSE_S: Final = 0.05
"""After each object that is read unasked: 20 MiB a second at most."""
UNCOMMITTED_S_MAX: Final = 86_400
"""How long what no transaction commits to is kept."""
STRAY_S_MAX: Final = 1_200
"""How long a wrapped key is kept that does not stand in the state: for a grant under way, whose
transaction lives ten minutes at most; or it was revoked while this node was away."""
CHECK_STEP_OBJECTS: Final = 16
ABREAST_LOOK_S: Final = 1.0
"""How often is looked whether the node is abreast of the others, before it first is."""

log = structlog.get_logger()


class DocumentsState(Protocol):
    """The state at the tip, as far as the vault reads it."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a state key, or None."""

    def entries_under(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values whose keys begin with `prefix`, in their order."""


class Source(Protocol):
    """Other nodes that may hold what is missing."""

    def fetch(
        self, organisations: Sequence[str], document_id: bytes, version: int, ids: Sequence[bytes]
    ) -> AsyncGenerator[bytes]:
        """Yield objects that nodes of these organisations give, in no certain order, unchecked.

        Ends early where they have no more; raises nothing for a node that does not answer.
        """


@dataclass(slots=True)
class VaultFigures:
    """What passed since the start, and how things stand; for metrics."""

    documents: int = 0
    """Kept here."""
    incomplete: int = 0
    """Of these, documents of which something is missing."""
    objects_fetched: int = 0
    bytes_fetched: int = 0
    objects_damaged: int = 0
    """Found not to be what their ids say."""
    documents_destroyed: int = 0
    """Shredded, or no longer granted here."""


class VaultKeeper:
    """Keeps one node's holdings. Use it on one event loop."""

    def __init__(
        self,
        state: DocumentsState,
        holdings: Holdings,
        organisation: str,
        source: Source,
        *,
        read: Callable[[Callable[[], Any]], Awaitable[Any]],
        now_s: Callable[[], int],
        is_abreast: Callable[[], bool],
    ) -> None:
        """`read` calls what waits for a disk, on a thread; `now_s` tells UTC in seconds.

        `is_abreast` says whether the state is that of the others; nothing is done before it is.
        """
        self._state, self._holdings, self._organisation = state, holdings, organisation
        self._source, self._read, self._now_s = source, read, now_s
        self._is_abreast = is_abreast
        self.figures = VaultFigures()
        self._due: dict[bytes, None] = {}
        self._urgent: dict[bytes, None] = {}  # where something is to be destroyed: before fetching
        self._incomplete: dict[bytes, None] = {}
        self._kept: dict[bytes, None] = {}
        self._later: dict[bytes, int] = {}  # when to look again, UTC seconds: keys that end then
        self._wraps: dict[bytes, frozenset[bytes]] = {}  # digests that stand in the state, or did
        self._wake = asyncio.Event()

    def note_commit(self, block: CommittedBlock) -> None:
        """Look at every document that a block may have changed."""
        for verified in block.executed.transactions:
            payload = verified.transaction.body.payload
            if isinstance(payload, Vault) and not isinstance(payload.operation, RegisterKey | Use):
                operation = payload.operation
                if isinstance(operation, Keep | Grant | Rotate | Authorise):
                    # They may be revoked before anybody looks.
                    wraps = frozenset(wrap.digest for wrap in wraps_of(operation))
                    self._wraps[operation.document_id] = wraps | self._wraps.get(
                        operation.document_id, frozenset()
                    )
                if isinstance(operation, Revoke | Rotate | Shred):
                    self._urgent[operation.document_id] = None
                self._look_at(operation.document_id)

    async def run(self) -> None:
        """Keep on until cancelled. What the store refuses is logged, and tried again."""
        loop = asyncio.get_running_loop()
        while not self._is_abreast():
            with suppress(TimeoutError):
                async with asyncio.timeout(ABREAST_LOOK_S):
                    await self._wake.wait()
            self._wake.clear()
        await self._sweep()
        audit_at_s, retry_s = loop.time() + AUDIT_INTERVAL_S, RETRY_S_MIN
        while True:
            await self._work_off()
            if loop.time() >= audit_at_s:
                await self._sweep()
                await self._audit()
                audit_at_s = loop.time() + AUDIT_INTERVAL_S
                continue
            wait_s = audit_at_s - loop.time()
            if self._later:
                wait_s = min(wait_s, max(1.0, min(self._later.values()) - self._now_s()))
            try:
                async with asyncio.timeout(min(wait_s, retry_s) if self._incomplete else wait_s):
                    await self._wake.wait()
                retry_s = RETRY_S_MIN
            except TimeoutError:
                retry_s = min(2 * retry_s, RETRY_S_MAX)
                self._due |= self._incomplete
            now_s = self._now_s()
            self._due |= {each: None for each, at_s in self._later.items() if at_s <= now_s}
            self._wake.clear()

    async def check(self, document_id: bytes) -> AsyncGenerator[CheckStep]:
        """Read all that should be here of a document, and tell how far it is, and each fault.

        What is damaged is destroyed, and fetched again afterwards. Raises `ClientError` where
        nothing of the document is to be kept here.
        """
        document = await self._document(document_id)
        if document is None or not document.is_entitled(self._organisation):
            raise not_kept(document_id)
        document = document.at(self._now_s() * 1_000)
        parts, sound, faults = await self._parts(document_id, document), 0, 0
        for number, part in enumerate(parts, 1):
            fault = await self._check(document_id, document.version, part)
            sound += fault is None
            faults += fault is not None
            if fault is not None or number == len(parts) or not number % CHECK_STEP_OBJECTS:
                yield CheckStep(len(parts), sound, fault)
        if faults:
            self._look_at(document_id)

    def _look_later(self, document_id: bytes, at_s: int | None) -> None:
        """Look at a document again from a time on, UTC seconds; None: not before it changes."""
        if at_s is None:
            self._later.pop(document_id, None)
        else:
            self._later[document_id] = at_s

    def _look_at(self, document_id: bytes) -> None:
        self._due[document_id] = None
        self._wake.set()

    # --- All documents ---

    async def _sweep(self) -> None:
        """Look at every document of the chain, and at everything that lies here."""
        prefix = prefix_of(StateKind.VAULT_DOCUMENT)
        items = await self._read(lambda: [*self._state.entries_under(prefix)])
        known = {document_id_of(key): decode_document(value) for key, value in items}
        try:
            held = await self._read(self._holdings.documents)
            for document_id in held:
                if document_id not in known:
                    await self._drop_uncommitted(document_id, 0)
        except NodeError as error:
            _log_refusal(b"", error)
        else:
            lying = dict.fromkeys(held)
            for document_id, document in known.items():
                if document_id in lying or document.is_entitled(self._organisation):
                    self._due[document_id] = None

    async def _audit(self) -> None:
        """Read everything, slowly; what is damaged is destroyed, and fetched again."""
        for document_id in [*self._kept]:
            try:
                async with aclosing(self.check(document_id)) as steps:
                    async for step in steps:
                        await asyncio.sleep(AUDIT_PAUSE_S * CHECK_STEP_OBJECTS)
                        if step.fault is not None:
                            log.warning("vault-fault", document=document_id.hex())
            except NodeError as error:
                _log_refusal(document_id, error)

    async def _work_off(self) -> None:
        while self._urgent or self._due:
            document_id = next(iter(self._urgent or self._due))
            self._urgent.pop(document_id, None)
            self._due.pop(document_id, None)
            try:
                is_whole = await self._settle(document_id)
            except NodeError as error:
                _log_refusal(document_id, error)
                is_whole = False
            if is_whole:
                self._incomplete.pop(document_id, None)
            else:
                self._incomplete[document_id] = None
                if self._urgent:  # it was broken off for these
                    self._due[document_id] = None
            self.figures.documents = len(self._kept)
            self.figures.incomplete = len(self._incomplete)

    # --- One document ---

    async def _settle(self, document_id: bytes) -> bool:
        """Bring one document in line with the state; say whether nothing is missing any more."""
        document = await self._document(document_id)
        if document is None:  # uploaded, and not committed yet
            return True
        if not document.is_entitled(self._organisation):
            await self._destroy(document_id, document)
            return True
        self._kept[document_id] = None
        now_s = self._now_s()
        ends = [each.authorised.terms.not_after_ms for each in document.grants if each.authorised]
        document = document.at(now_s * 1_000)
        coming = [end_ms // 1_000 + 1 for end_ms in ends if end_ms >= now_s * 1_000]
        self._look_later(document_id, min(coming, default=None))
        await self._drop_the_old(document_id, document)
        for _attempt in ("the list of chunks", "what it lists"):
            missing = await self._missing(document_id, document)
            if not missing:
                return True
            await self._fetch(document_id, document, missing)
        return not await self._missing(document_id, document)

    async def _destroy(self, document_id: bytes, document: VaultDocument) -> None:
        self._kept.pop(document_id, None)
        self._wraps.pop(document_id, None)
        self._later.pop(document_id, None)
        if await self._read(partial(self._holdings.versions, document_id)):
            await self._read(partial(self._holdings.drop, document_id))
            self.figures.documents_destroyed += 1
            reason = "no longer granted here" if document.is_kept else "shredded"
            log.info("vault-destroyed", document=document_id.hex(), reason=reason)

    async def _drop_the_old(self, document_id: bytes, document: VaultDocument) -> None:
        """Destroy versions replaced, and wrapped keys that stood in the state and do no more."""
        for version in await self._read(partial(self._holdings.versions, document_id)):
            if version < document.version:
                drop = partial(self._holdings.drop_version, document_id, version)
                await self._read(drop)
        standing = frozenset(grant.wrap.digest for grant in document.grants)
        revoked = self._wraps.get(document_id, frozenset()) - standing
        self._wraps[document_id] = standing
        parts = await self._parts(document_id, document)
        if any(part.role is ObjectRole.CHUNK for part in parts):  # else the list is not here yet
            held = await self._read(partial(self._holdings.held, document_id, document.version))
            idle_s = await self._idle_s(document_id, document.version)
            known = frozenset(part.object_id for part in parts) | standing
            # What is neither may be for a grant under way, or was revoked while this was away.
            strays = held - known if idle_s > STRAY_S_MAX else held & revoked
            if held - known - strays:
                at_s = self._now_s() + STRAY_S_MAX - idle_s + 1
                self._look_later(document_id, min(at_s, self._later.get(document_id, at_s)))
            for object_id in sorted(strays):
                drop = partial(self._holdings.drop_object, document_id, document.version, object_id)
                await self._read(drop)
        await self._drop_uncommitted(document_id, document.version)

    async def _idle_s(self, document_id: bytes, version: int) -> int:
        idle = partial(self._holdings.idle_s, document_id, version, self._now_s())
        return await self._read(idle)  # type: ignore[no-any-return] # whatever was asked

    async def _drop_uncommitted(self, document_id: bytes, version: int) -> None:
        """Destroy versions above one in force that nothing came to, or committed to, for long."""
        for later in await self._read(partial(self._holdings.versions, document_id)):
            idle_s = await self._idle_s(document_id, later)
            if later > version and idle_s > UNCOMMITTED_S_MAX:
                await self._read(partial(self._holdings.drop_version, document_id, later))

    async def _missing(self, document_id: bytes, document: VaultDocument) -> list[bytes]:
        parts = await self._parts(document_id, document)
        held = await self._read(partial(self._holdings.held, document_id, document.version))
        return [part.object_id for part in parts if part.object_id not in held]

    async def _fetch(
        self, document_id: bytes, document: VaultDocument, missing: Sequence[bytes]
    ) -> None:
        entitled = (document.organisation, *(grant.organisation for grant in document.grants))
        organisations = [*dict.fromkeys(entitled)]
        wanted = dict.fromkeys(missing)
        content = document.content
        root = b"" if content is None else content.root
        objects = self._source.fetch(organisations, document_id, document.version, missing)
        async with aclosing(objects):
            async for data in objects:
                keep = partial(self._holdings.keep_if, document_id, document.version, data, root)
                if await self._read(partial(keep, wanted)):
                    self.figures.objects_fetched += 1
                    self.figures.bytes_fetched += len(data)
                if self._urgent:
                    return

    async def _parts(self, document_id: bytes, document: VaultDocument) -> Sequence[Part]:
        """Return what should be here; a list of chunks that is damaged is destroyed."""
        find = partial(self._holdings.parts, document_id, document, self._organisation)
        try:
            return await self._read(find)  # type: ignore[no-any-return] # whatever was asked
        except ObjectDamaged:
            content = document.content
            root = b"" if content is None else content.root
            await self._check(document_id, document.version, Part(root, ObjectRole.CHUNK_LIST))
            return await self._read(find)  # type: ignore[no-any-return]

    async def _check(self, document_id: bytes, version: int, part: Part) -> PartFault | None:
        check = partial(self._holdings.check_and_drop, document_id, version, part)
        fault: PartFault | None = await self._read(check)
        if fault is not None and fault.kind is FaultKind.DAMAGED:
            self.figures.objects_damaged += 1
            log.error(
                "vault-damaged",
                document=document_id.hex(),
                version=version,
                object=part.object_id.hex(),
                role=part.role.name.lower(),
                chunk=part.chunk_index,
            )
        return fault

    async def _document(self, document_id: bytes) -> VaultDocument | None:
        find = partial(read_document, self._state.get, document_id)
        return await self._read(find)  # type: ignore[no-any-return] # whatever was asked


def wraps_of(operation: Keep | Grant | Rotate | Authorise) -> Sequence[Wrap]:
    """Return the wrapped keys that an operation commits to."""
    return (operation.wrap,) if isinstance(operation, Authorise) else operation.wraps


def not_kept(document_id: bytes) -> ClientError:
    """Return what it means that nothing of a document is to be had at a node."""
    return ClientError(
        f"document {document_id.hex()}: this node keeps nothing of it", code="GC-2601"
    )


def _log_refusal(document_id: bytes, error: NodeError) -> None:
    log.warning("vault-refused", document=document_id.hex(), code=error.code, detail=str(error))
