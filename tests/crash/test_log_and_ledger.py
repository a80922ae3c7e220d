"""Log and ledger of a real validator: cut, damaged, lost, put beside one another's past.

Images are taken of one validator's home while the network decides: an early one, frozen in full
flight, and a late one, as kill -9 left it. What is torn is dropped, what is damaged is refused, and
a log that lacks votes this validator cast is refused too: it would vote twice.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.assembly.engines import open_database
from node.chain.genesis import Genesis
from node.cli.exit_codes import ExitCode
from node.config import NodeConfig
from node.errors import StorageError
from node.execution.apply import Executor
from node.operations.process import paused_processes
from node.operations.supervisor import NODE_COMMAND
from node.service.home import log_identity
from node.service.recovery import Recovery, recover
from node.storage.ledger import LedgerStore
from node.storage.segment import HEAD_BYTES, HEADER_BYTES, ParsedSegment, parse_segment
from node.storage.wal import Record, WalCorruption, WriteAheadLog
from tests.network.local_network import Load, LocalNetwork, running_network
from tests.unit.cli.command import ENGLISH

VICTIM = "validator-2"
STRIDE = 211
"""Every so many bytes the log is cut, or damaged, beside every byte of its last records."""
LAST_RECORDS = 2


@dataclass(frozen=True)
class Images:
    """One validator's home at two times."""

    early: Path
    late: Path
    genesis: Genesis

    def identity(self) -> bytes:
        return log_identity(self.genesis, VICTIM)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    folder = tmp_path_factory.mktemp("images")
    with running_network(folder / "network") as network:
        asyncio.run(take_images(network, folder))
        return Images(folder / "early", folder / "late", network.genesis)


async def take_images(network: LocalNetwork, folder: Path) -> None:
    await network.until_ready(network.ids)
    load = Load(network, batch=2)
    loading = asyncio.create_task(load.run())
    home = network.folder(VICTIM)
    await network.until_height(VICTIM, 15)
    with paused_processes([network.process(VICTIM)]):
        shutil.copytree(home, folder / "early")
    await network.until_height(VICTIM, await network.height() + 15)
    network.end(VICTIM, signal.SIGKILL)
    shutil.copytree(home, folder / "late")
    load.stop()
    await loading


@pytest.fixture
def home(images: Images, tmp_path: Path) -> Path:
    """Return a copy of the late image, to be spoilt."""
    return shutil.copytree(images.late, tmp_path / "home")


@pytest.fixture
def ledger(images: Images, home: Path) -> Iterator[LedgerStore]:
    """Open the ledger of that copy."""
    with closing(open_database(home / "data", create=False)) as store:
        genesis_block = Executor(images.genesis).genesis_block()
        yield LedgerStore.open(store, images.genesis.suite, genesis_block)


def segment_of(home: Path) -> Path:
    (segment,) = (home / "wal").glob("*.wal")
    return segment


def ends(parsed: ParsedSegment) -> list[int]:
    """Return where each record ends."""
    offset, found = HEADER_BYTES, []
    for record in parsed.records:
        offset += HEAD_BYTES + len(record.payload)
        found.append(offset)
    return found


def open_log(images: Images, folder: Path, data: bytes) -> tuple[Record, ...]:
    """Open a log of one segment with this content."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    number = parse_segment(segment_of(images.late).read_bytes()).header.number
    (folder / f"{number:016d}.wal").write_bytes(data)
    log, replay = WriteAheadLog.open(folder, images.identity())
    log.close()
    return replay.records


def recovered(images: Images, ledger: LedgerStore, records: tuple[Record, ...]) -> Recovery:
    executor = Executor(images.genesis)
    return recover(images.genesis, executor, ledger, records, validator_id=VICTIM)


def test_a_log_cut_anywhere_opens_with_what_is_whole_or_not_at_all(
    images: Images, tmp_path: Path, ledger: LedgerStore
) -> None:
    data = segment_of(images.late).read_bytes()
    parsed = parse_segment(data)
    boundaries = ends(parsed)
    base_end = [HEADER_BYTES, *boundaries][parsed.header.base_records]
    near = range(boundaries[-1 - LAST_RECORDS], len(data))
    everywhere = sorted({*near, *boundaries, *range(0, len(data), STRIDE)})
    on_disk = {*near[:: len(near) // 5], *boundaries[-3:], base_end, base_end - 1}
    opened = refused = 0
    for cut in everywhere:
        if cut < base_end:
            with pytest.raises(WalCorruption):
                parse_segment(data[:cut]).require_sound()
            refused += 1
            continue
        whole = sum(end <= cut for end in boundaries)
        found_there = parse_segment(data[:cut])
        found_there.require_sound()
        assert found_there.records == parsed.records[:whole]
        opened += 1
    assert opened > len(near)
    assert refused
    for cut in on_disk:
        if cut < base_end:
            with pytest.raises(WalCorruption):
                open_log(images, tmp_path / "wal", data[:cut])
        else:
            whole = sum(end <= cut for end in boundaries)
            assert open_log(images, tmp_path / "wal", data[:cut]) == parsed.records[:whole]
    found = recovered(images, ledger, parsed.records)
    assert found.consensus.tip.height == ledger.tip_height


def test_a_log_damaged_before_its_last_record_is_refused_and_left_as_it_is(
    images: Images, tmp_path: Path
) -> None:
    data = segment_of(images.late).read_bytes()
    last = ends(parse_segment(data))[-2]
    for offset in (*range(0, last, STRIDE), last - 1):
        damaged = bytearray(data)
        damaged[offset] ^= 0x40
        with pytest.raises(StorageError) as caught:
            open_log(images, tmp_path / "wal", bytes(damaged))
        assert caught.value.code == "GC-3006"
        (segment,) = (tmp_path / "wal").iterdir()
        assert segment.read_bytes() == damaged


def test_a_ledger_behind_its_log_is_brought_forward(images: Images, tmp_path: Path) -> None:
    home = shutil.copytree(images.early, tmp_path / "home")
    records = parse_segment(segment_of(images.late).read_bytes()).records
    with closing(open_database(home / "data", create=False)) as store:
        genesis_block = Executor(images.genesis).genesis_block()
        ledger = LedgerStore.open(store, images.genesis.suite, genesis_block)
        before = ledger.tip_height
        found = recovered(images, ledger, records)
        assert ledger.tip_height == before + found.recommitted > before


# ---------------------------------------------------------------------- what must not start


def lose_the_log(home: Path, _images: Images) -> None:
    shutil.rmtree(home / "wal")


def empty_the_log(home: Path, _images: Images) -> None:
    segment_of(home).unlink()


def begin_the_log_anew(home: Path, images: Images) -> None:
    shutil.rmtree(home / "wal")
    WriteAheadLog.create(home / "wal", images.identity())


def put_an_old_log_back(home: Path, images: Images) -> None:
    shutil.rmtree(home / "wal")
    shutil.copytree(images.early / "wal", home / "wal")


def damage_the_log(home: Path, _images: Images) -> None:
    segment = segment_of(home)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lose_the_log, "GC-3005"),
        (empty_the_log, "GC-3005"),
        (begin_the_log_anew, "GC-3012"),
        (put_an_old_log_back, "GC-3012"),
        (damage_the_log, "GC-3006"),
    ],
)
def test_a_validator_that_may_have_forgotten_votes_is_told_to_take_a_new_key(
    images: Images,
    home: Path,
    ledger: LedgerStore,
    spoil: Callable[[Path, Images], None],
    code: str,
) -> None:
    spoil(home, images)
    with pytest.raises(StorageError) as caught:
        recovered(images, ledger, WriteAheadLog.open(home / "wal", images.identity())[1].records)
    assert caught.value.code == code
    assert "govchain node rotate" in caught.value.fix


def test_the_program_ends_and_says_so(images: Images, home: Path) -> None:
    secret = images.late.parent / "network" / "secret.key"
    settings = home / "node.toml"
    settings.write_text(settings.read_text().replace("../../secret.key", str(secret)))
    put_an_old_log_back(home, images)
    ended = subprocess.run(
        [*NODE_COMMAND, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **ENGLISH},
    )
    assert ended.returncode == ExitCode.UNAVAILABLE
    headline, cause, fix = ended.stderr.splitlines()[-3:]
    assert headline == "error GC-3012: the log is older than the database"
    assert f"a vote of {VICTIM} that its log does not hold" in cause
    assert "govchain node rotate" in fix


def test_the_home_that_was_not_spoilt_would_have_started(
    images: Images, home: Path, ledger: LedgerStore
) -> None:
    assert NodeConfig.load(home).validator_id == VICTIM
    log, replay = WriteAheadLog.open(home / "wal", images.identity())
    log.close()
    assert recovered(images, ledger, replay.records).consensus.tip.height == ledger.tip_height
