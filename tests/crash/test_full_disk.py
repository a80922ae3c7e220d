"""A validator whose disk is full, all of it: log, database, and the file it writes its words to.

It is a real disk, a small tmpfs: LevelDB's writes cannot be made to fail otherwise. Mounting takes
rights that not everybody has; the log alone is filled without any in the crash matrix (`no-space`).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import pytest

from node.cli.exit_codes import ExitCode
from node.errors import StorageError
from node.operations.supervisor import NODE_COMMAND
from node.storage.kv import KeyValueStore, WriteBatch
from tests.network.local_network import Load, LocalNetwork, running_network
from tests.unit.cli.command import ENGLISH
from tests.unit.storage.engines import DISK_ENGINES, DiskEngine

VICTIM: Final = "validator-3"
DISK_BYTES: Final = 64 << 20
ROOM_BYTES: Final = 100_000
END_S: Final = 60


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a small disk, or skip the test where that is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    said = subprocess.run(mount, capture_output=True, text=True, check=False)
    if said.returncode:
        pytest.skip(f"no small disk can be mounted here: {said.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave little room on a disk; return what takes it."""
    ballast = disk / "ballast"
    free = shutil.disk_usage(disk).free
    ballast.write_bytes(bytes(max(0, free - ROOM_BYTES)))
    return ballast


def start(home: Path, log: Path, words: Path) -> subprocess.Popen[bytes]:
    with words.open("ab") as stream:
        return subprocess.Popen(
            [*NODE_COMMAND, "--home", str(home), "--log", str(log)],
            stdout=stream,
            stderr=stream,
            env={**os.environ, **ENGLISH},
        )


def write_on(store: KeyValueStore, synced: list[int]) -> NoReturn:
    """Write numbers, and keep those that were synced, until the store refuses."""
    while True:
        batch = WriteBatch()
        batch.put(b"%06d" % len(synced), os.urandom(4_000))
        store.write(batch, sync=True)
        synced.append(len(synced))


@pytest.mark.parametrize("engine", DISK_ENGINES, ids=lambda engine: engine.name)
def test_an_engine_names_the_disk_and_keeps_all_it_had_synced(
    tmp_path: Path, engine: DiskEngine
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = engine.open(disk / "db", create=True)
        ballast = fill(disk)
        synced: list[int] = []
        with pytest.raises(StorageError) as caught:
            write_on(store, synced)
        assert caught.value.code == "GC-3004"
        store.close()
        ballast.unlink()
        with closing(engine.open(disk / "db", create=False)) as reopened:
            kept = [int(key) for key, _ in reopened.scan(b"")]
        assert kept in (synced, [*synced, len(synced)])


def test_it_ends_names_the_disk_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, running_network(tmp_path / "net") as network:
        asyncio.run(run_out_of_space(network, disk))


async def run_out_of_space(network: LocalNetwork, disk: Path) -> None:
    await network.until_ready(network.ids)
    network.end(VICTIM, signal.SIGTERM)
    home = shutil.copytree(network.folder(VICTIM), disk / "home")
    settings = home / "node.toml"
    secret = network.home / "secret.key"
    settings.write_text(settings.read_text().replace("../../secret.key", str(secret)))
    log, words = disk.parent / "node.log", disk.parent / "words"
    others = [name for name in network.ids if name != VICTIM]
    load = Load(network, batch=20, pause_ms=20)
    loading = asyncio.create_task(load.run(*others))
    try:
        await end_for_want_of_room(network, disk, partial(start, home, log, words))
        *_, headline, cause, fix = log.read_text().splitlines()
        assert headline == "error GC-3004: the disk is full"
        assert str(disk) in cause
        assert "free space" in fix
        await network.until_height(others[0], await network.height() + 3)
        await end_for_want_of_room(network, disk, partial(start, home, home / "node.log", words))
        with start(home, log, words) as process:
            try:
                await network.until_ready([VICTIM])
                await network.until_voting(VICTIM)
                await network.until_height(VICTIM, await network.height() + 3)
            finally:
                process.send_signal(signal.SIGTERM)
    finally:
        load.stop()
        await loading
    assert process.returncode == 0


async def end_for_want_of_room(
    network: LocalNetwork, disk: Path, start_it: Callable[[], subprocess.Popen[bytes]]
) -> None:
    """Have the validator start and vote, and end by itself once its disk is full."""
    with start_it() as process:
        try:
            await network.until_ready([VICTIM])
            await network.until_voting(VICTIM)
            ballast = fill(disk)
            await asyncio.to_thread(process.wait, END_S)
        finally:
            process.kill()
    ballast.unlink()
    assert process.returncode == ExitCode.UNAVAILABLE
