"""The keeper brings two nodes' holdings in line with one state, whatever was missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.chain.authorisation import Authorised, Terms
from node.chain.vault import (
    Content,
    Grant,
    Revoke,
    Shred,
    Vault,
    VaultDocument,
    VaultGrant,
    VaultOperation,
    VaultStanding,
    Wrap,
    chunk_list_root,
    vault_document_key,
)
from node.crypto.envelope import CHUNK_BYTES
from node.crypto.suite import INTERNATIONAL as SUITE
from node.errors import ClientError
from node.service.engine import CommittedBlock
from node.service.vault import keeper as keeping
from node.service.vault.keeper import STRAY_S_MAX, UNCOMMITTED_S_MAX, VaultKeeper
from node.storage.objects import DirectoryObjects
from node.storage.vault_holdings import CheckStep, FaultKind, Holdings, ObjectRole

DOCUMENT = bytes(range(16))
KNOWN = bytes(reversed(DOCUMENT))
KEY = vault_document_key(DOCUMENT)
CHUNKS = [b"one sealed", b"two sealed", b"three sealed"]
WRAPS = [b"wrapped for the owner", b"wrapped for the reader"]
SIZE = 2 * CHUNK_BYTES + 1
DEADLINE_S = 20.0


class DictState(dict[bytes, bytes]):
    """The state in a dict."""

    def entries_under(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return ((key, value) for key, value in sorted(self.items()) if key.startswith(prefix))


class Copies:
    """Another node, by its holdings: a source that gives what it has."""

    def __init__(self, holdings: Holdings) -> None:
        self.holdings = holdings
        self.is_away = False
        self.given = 0
        self.on_given: Callable[[int], None] | None = None
        self.asked: list[tuple[tuple[str, ...], int]] = []

    async def fetch(
        self, organisations: Sequence[str], document_id: bytes, version: int, ids: Sequence[bytes]
    ) -> AsyncGenerator[bytes]:
        self.asked.append((tuple(organisations), len(ids)))
        if self.is_away:
            return
        yield b"what nobody asked for"
        for object_id in ids:
            found = self.holdings.find(document_id, version, object_id)
            if found is not None:
                yield found
                self.given += 1
                if self.on_given is not None:
                    self.on_given(self.given)


class House:
    """One state, the owner's node with all objects, and the reader's node with a keeper."""

    def __init__(self, folder: Path, state: DictState | None = None) -> None:
        self.folder = folder
        self.state = DictState() if state is None else state
        self.owner = Holdings(DirectoryObjects(folder / "owner", 1_000_000), SUITE)
        self.reader = Holdings(DirectoryObjects(folder / "reader", 1_000_000), SUITE)
        self.source = Copies(self.owner)
        self.time_s = 0
        self.is_abreast = True
        self.looked = 0
        self.keeper = VaultKeeper(
            self.state,
            self.reader,
            "org-2",
            self.source,
            read=self._read,
            now_s=lambda: self.time_s,
            is_abreast=self._look,
        )

        self._thread = ThreadPoolExecutor(1)

    def _look(self) -> bool:
        self.looked += 1
        return self.is_abreast

    async def _read(self, question: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is asked
        return await asyncio.get_running_loop().run_in_executor(self._thread, question)

    def keep(self, version: int = 1, *, organisation: str = "org-2") -> VaultDocument:
        ids = b"".join(self.owner.put(DOCUMENT, version, chunk) for chunk in CHUNKS)
        root = self.owner.put_list(DOCUMENT, version, ids)
        assert root == chunk_list_root(ids, SUITE)
        wraps = [self.owner.put(DOCUMENT, version, wrap) for wrap in WRAPS]
        document = VaultDocument(
            standing=VaultStanding.KEPT,
            owner="owner",
            organisation="org-1",
            version=version,
            content=Content(envelope=1, size_bytes=SIZE, root=root),
            changes=version,
            height=version,
            time_ms=1,
            ordered_by="owner",
            grants=(
                VaultGrant(Wrap("owner", 1, wraps[0]), "org-1", 1),
                VaultGrant(Wrap("reader", 1, wraps[1]), organisation, 1),
            ),
        )
        self.state[KEY] = document.encode()
        return document

    def commit(self, operation: VaultOperation | None = None) -> None:
        """Tell the keeper of a block that holds an order about the document."""
        body = SimpleNamespace(payload=Vault(operation or Grant(DOCUMENT, 1, ())))
        verified = SimpleNamespace(transaction=SimpleNamespace(body=body))
        executed = SimpleNamespace(transactions=(verified,))
        self.keeper.note_commit(cast("CommittedBlock", SimpleNamespace(executed=executed)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.keeper.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def held(self, version: int = 1) -> int:
        return len(self.reader.held(DOCUMENT, version))

    async def until(self, question: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not question():  # noqa: ASYNC110 - what lies on a disk tells nobody
                await asyncio.sleep(0.01)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


ALL = 1 + len(CHUNKS) + 1  # list, chunks, the one wrapped key that is theirs


async def test_what_is_granted_is_fetched_and_nothing_else(house: House) -> None:
    async with house.running():
        house.keep()
        house.commit()
        await house.until(lambda: house.keeper.figures.documents == 1)
    figures = house.keeper.figures
    assert (figures.objects_fetched, figures.incomplete) == (ALL, 0)
    parts = house.reader.parts(DOCUMENT, house.keep(), "org-2")
    assert [house.reader.check(DOCUMENT, 1, part) for part in parts] == [None] * ALL
    assert house.source.asked[0] == (("org-1", "org-2"), 2)


async def test_what_was_missed_while_away_is_made_up_for_at_the_start(house: House) -> None:
    house.keep()
    async with house.running():
        await house.until(lambda: house.held() == ALL)
    tombstone = replace(house.keep(), standing=VaultStanding.SHREDDED, content=None, grants=())
    house.state[KEY] = tombstone.encode()
    again = House(house.folder, house.state)
    async with again.running():
        await again.until(lambda: again.keeper.figures.documents_destroyed == 1)
    assert again.reader.documents() == []


async def test_nobody_has_it_yet_and_it_is_asked_for_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "RETRY_S_MIN", 0.01)
    house.keep()
    house.source.is_away = True
    async with house.running():
        await house.until(lambda: len(house.source.asked) > 3)
        assert (house.held(), house.keeper.figures.incomplete) == (0, 1)
        house.source.is_away = False
        await house.until(lambda: house.held() == ALL)
        await house.until(lambda: house.keeper.figures.incomplete == 0)


async def test_what_is_shredded_waits_for_no_fetching(house: House) -> None:
    house.reader.put(KNOWN, 1, b"to be shredded")
    destroyed_after: list[int] = []

    def order_shredding(given: int) -> None:
        if given == 2:
            tombstone = replace(
                house.keep(), standing=VaultStanding.SHREDDED, content=None, grants=()
            )
            house.keep()
            house.state[vault_document_key(KNOWN)] = tombstone.encode()
            house.commit(Shred(KNOWN, None))
        if KNOWN not in house.reader.documents():
            destroyed_after.append(given)

    house.source.on_given = order_shredding
    house.keep()
    async with house.running():
        await house.until(lambda: house.keeper.figures.documents_destroyed == 1)
        await house.until(lambda: house.held() == ALL)
    assert min(destroyed_after) == 3, "before the next object"


async def test_what_is_no_longer_granted_is_destroyed(house: House) -> None:
    async with house.running():
        house.keep()
        house.commit()
        await house.until(lambda: house.held() == ALL)
        house.keep(organisation="org-3")
        house.commit()
        await house.until(lambda: house.reader.documents() == [])


async def test_a_version_replaced_is_destroyed_and_the_new_one_fetched(house: House) -> None:
    async with house.running():
        house.keep()
        house.commit()
        await house.until(lambda: house.held() == ALL)
        house.keep(version=2)
        house.commit()
        await house.until(lambda: house.held(2) == ALL)
        assert house.reader.versions(DOCUMENT) == [2]


async def test_a_wrapped_key_revoked_is_destroyed_and_one_under_way_is_not(house: House) -> None:
    async with house.running():
        document = house.keep()
        house.commit()
        await house.until(lambda: house.held() == ALL)
        under_way = house.reader.put(DOCUMENT, 1, b"wrapped for a grant under way")
        renewed = house.owner.put(DOCUMENT, 1, b"wrapped under a newer key")
        reader = VaultGrant(Wrap("reader", 2, renewed), "org-2", 2)
        house.state[KEY] = replace(document, grants=(document.grants[0], reader)).encode()
        house.commit()
        await house.until(lambda: renewed in house.reader.held(DOCUMENT, 1))
        old = document.grants[1].wrap.digest
        assert old not in house.reader.held(DOCUMENT, 1)
        assert under_way in house.reader.held(DOCUMENT, 1)


async def test_a_wrapped_key_granted_and_revoked_before_anybody_looks_is_destroyed(
    house: House,
) -> None:
    async with house.running():
        house.keep()
        house.commit()
        await house.until(lambda: house.held() == ALL)
        quick = house.reader.put(DOCUMENT, 1, b"wrapped for somebody else")
        house.commit(Grant(DOCUMENT, 1, (Wrap("other", 1, quick),)))
        house.commit(Revoke(DOCUMENT, ("other",)))
        await house.until(lambda: house.held() == ALL)
        assert quick not in house.reader.held(DOCUMENT, 1)


async def test_a_wrapped_key_revoked_while_the_node_was_away_goes_soon_after(
    house: House,
) -> None:
    """Not at once: it may be for a grant under way, whose transaction lives ten minutes."""
    house.keep()
    async with house.running():
        await house.until(lambda: house.held() == ALL)
    stray = house.reader.put(DOCUMENT, 1, b"wrapped for whom it was revoked from")
    began_s = int((house.folder / "reader" / DOCUMENT.hex() / "1").stat().st_mtime)
    again = House(house.folder, house.state)
    again.time_s = began_s + STRAY_S_MAX
    async with again.running():
        await again.until(lambda: again.keeper.figures.documents == 1)
        assert stray in again.reader.held(DOCUMENT, 1)
        again.time_s += 1
        await again.until(lambda: stray not in again.reader.held(DOCUMENT, 1))
    assert again.held() == ALL


async def test_a_wrapped_key_goes_when_its_terms_are_over(house: House) -> None:
    """The owner's node, which keeps the keys of all: nobody need tell it that time has passed."""
    document = house.keep(organisation="org-2")
    reader = document.grant_of("reader")
    assert reader is not None
    terms = Terms(purpose="audit", fields=(), not_after_ms=50_000, basis=None)
    under_terms = replace(reader, organisation="org-3", authorised=Authorised(terms))
    plain = replace(document.grants[0], organisation="org-2")
    document = replace(document, organisation="org-2", grants=(plain, under_terms))
    house.state[KEY] = document.encode()
    assert not document.is_entitled("org-3")
    house.time_s = 49
    async with house.running():
        await house.until(lambda: house.held() == ALL + 1)
        house.time_s = 51
        await house.until(lambda: house.held() == ALL)
    assert reader.wrap.digest not in house.reader.held(DOCUMENT, 1)


async def test_what_nothing_commits_to_is_kept_for_a_day(house: House) -> None:
    house.reader.put(DOCUMENT, 1, b"uploaded")
    began_s = int((house.folder / "reader" / DOCUMENT.hex() / "1").stat().st_mtime)
    known = house.keep()
    house.state[vault_document_key(KNOWN)] = known.encode()  # looked at after what is uncommitted
    del house.state[KEY]
    for age_s, left in ((UNCOMMITTED_S_MAX, 1), (UNCOMMITTED_S_MAX + 1, 0)):
        again = House(house.folder, house.state)
        again.time_s = began_s + age_s
        async with again.running():
            await again.until(lambda again=again: again.keeper.figures.documents == 1)  # type: ignore[misc]
        assert len(again.reader.held(DOCUMENT, 1)) == left


async def test_nothing_is_destroyed_for_a_ledger_that_is_still_being_fetched(house: House) -> None:
    house.keep()
    house.state[vault_document_key(KNOWN)] = house.state.pop(KEY)  # of version 1, as it once was
    for document_id, version in ((DOCUMENT, 1), (KNOWN, 2)):
        house.reader.put(document_id, version, b"held for long")
    house.time_s = int(house.folder.stat().st_mtime) + 2 * UNCOMMITTED_S_MAX
    house.is_abreast = False
    async with house.running():
        for looked in range(1, 4):
            await house.until(lambda looked=looked: house.looked >= looked)  # type: ignore[misc]
            house.commit()
        assert len(house.reader.held(DOCUMENT, 1)) == len(house.reader.held(KNOWN, 2)) == 1
        house.keep(version=2)
        house.state[vault_document_key(KNOWN)] = house.state[KEY]
        house.is_abreast = True
        house.commit()
        await house.until(lambda: house.keeper.figures.documents == 2)
    assert house.reader.held(KNOWN, 2)
    assert not house.reader.held(DOCUMENT, 1), "replaced"


async def test_a_check_names_what_is_wrong_and_has_it_fetched_again(house: House) -> None:
    async with house.running():
        house.keep()
        house.commit()
        await house.until(lambda: house.held() == ALL)
        parts = house.reader.parts(DOCUMENT, house.keep(), "org-2")
        for part in parts:
            path = house.folder / "reader" / DOCUMENT.hex() / "1" / part.object_id.hex()
            path.write_bytes(path.read_bytes()[:-1] + b"?")
            steps = [step async for step in house.keeper.check(DOCUMENT)]
            faults = [step.fault for step in steps if step.fault is not None]
            assert part in [fault.part for fault in faults] or part.role is ObjectRole.CHUNK_LIST
            kinds = {fault.kind for fault in faults}
            is_list = part.role is ObjectRole.CHUNK_LIST
            assert kinds == ({FaultKind.MISSING} if is_list else {FaultKind.DAMAGED})
            await house.until(lambda: house.held() == ALL)
        assert house.keeper.figures.objects_damaged == len(parts)
        last = [step async for step in house.keeper.check(DOCUMENT)][-1]
        assert last == CheckStep(ALL, ALL)


async def test_of_what_is_not_kept_here_nothing_is_checked(house: House) -> None:
    house.keep(organisation="org-3")
    with pytest.raises(ClientError, match="keeps nothing") as raised:
        [step async for step in house.keeper.check(DOCUMENT)]
    assert raised.value.code == "GC-2601"
