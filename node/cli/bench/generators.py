"""Processes that generate load, seen from outside. Every answer is waited for with a limit."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from node.cli.bench.client import Go, LoadFailed, LoadReady, LoadResult, Prepare, generate_load
from node.cli.verb import CommandError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_ANSWER_TIMEOUT_S: Final = 600.0
"""Signing in advance takes long where many share a machine, above all by SM2."""

_T = TypeVar("_T")


class Generator:
    """One of them."""

    def __init__(self, home: Path) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._ours, theirs = spawn.Pipe()
        self._process = spawn.Process(target=generate_load, args=(home, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid or 0

    @property
    def connection(self) -> Connection:
        """Return what becomes readable when it answers or ends."""
        return self._ours

    def prepare(self, how: Prepare) -> None:
        """Have it sign transactions."""
        self._ours.send(how)

    def ready(self) -> LoadReady:
        """Wait until it is ready; raises `CommandError` if it fails instead."""
        return self._receive(LoadReady)

    def begin(self, go: Go) -> None:
        """Make it submit."""
        self._ours.send(go)

    def result(self) -> LoadResult:
        """Wait for what it saw; raises `CommandError` if it failed instead."""
        return self._receive(LoadResult)

    def end(self) -> None:
        """Make sure that it has ended."""
        self._process.kill()
        self._process.join()
        self._ours.close()

    def _receive(self, expected: type[_T]) -> _T:
        try:
            answer = self._ours.recv() if self._ours.poll(_ANSWER_TIMEOUT_S) else None
        except EOFError:
            answer = None
        if isinstance(answer, LoadFailed):
            raise CommandError(answer.code, answer.message)
        if not isinstance(answer, expected):
            raise CommandError("GC-2205", _("the load generator gave no answer"))
        return answer


@contextmanager
def generators(home: Path, count: int) -> Iterator[list[Generator]]:
    """Yield so many generators for the network in `home`; they end with the context."""
    with ExitStack() as stack:
        started = []
        for _number in range(count):
            started.append(Generator(home))
            stack.callback(started[-1].end)
        yield started


def wait_until(time_s: float, started: Sequence[Generator]) -> None:
    """Wait for a moment; raises `CommandError` if a generator gives up before."""
    connections = [generator.connection for generator in started]
    if multiprocessing.connection.wait(connections, max(time_s - time.monotonic(), 0)):
        for generator in started:
            generator.result()
