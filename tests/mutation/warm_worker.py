"""Judges mutants by tests that are imported and collected once; a fork per mutant plants it.

    python -P warm_worker.py SUITE...     (in a snapshot, with PYTHONPATH naming it)

Each line of input is a mutant: the texts of its modules, by their paths. Each line of output is the
test that found it, or nothing. A mutant is planted by exchanging the code of functions, so that
nothing is imported again: one that changes anything else is told to be not planted.

The product as it is comes first and has all the time it needs: what is compiled when first used, as
kernels for hashing are, is then there for the mutants, whose tests are bounded.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import IO

import pytest

TEST_CPU_SECONDS_MAX = 5
TEST_SECONDS_MAX = 60
MEMORY_BYTES_MAX = 3 << 30


NOT_PLANTED = "not planted: "
"""How a verdict begins that is none."""


class NotPlanted(Exception):  # noqa: N818 - what became of the mutant
    """A mutant changes what was done when its module was imported."""


class _NoEnd(BaseException):
    """A test took too long: not an error that the product may take for one of its own."""


class Forks:
    """In place of running the tests: waits for mutants, and runs the tests for each in a fork."""

    def __init__(self, mutants: IO[str], verdicts: IO[str]) -> None:
        """Take the two ends to whoever asks."""
        self._mutants, self._verdicts = mutants, verdicts
        self._failed = self._has_no_end = False
        self._found: list[str] = []
        """Tests that found a mutant, the latest first: neighbours often fall to the same."""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge mutant after mutant."""
        for line in self._mutants:
            test = self._in_a_fork(session.items, json.loads(line))
            if test in {item.nodeid for item in session.items}:
                self._found = [test, *(other for other in self._found if other != test)][:40]
            self._verdicts.write(json.dumps(test) + "\n")
            self._verdicts.flush()
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note that the test being run failed."""
        self._failed = self._failed or report.failed

    def _in_a_fork(self, items: Sequence[pytest.Item], texts: Mapping[str, str]) -> str:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            found = "the worker died"
            try:
                for path, text in texts.items():
                    plant(path, text)
                found = self._judge(self._ordered(items, texts), is_mutant=bool(texts))
            except NotPlanted as error:
                found = f"{NOT_PLANTED}{error}"
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
                found = f"{type(error).__name__}: {error}"
            os.write(writer, found.encode()[:1000])
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as told:
            found = told.read()
        _, status = os.waitpid(child, 0)
        return found or (f"the process ended with {status}" if status else "")

    def _judge(self, items: Sequence[pytest.Item], *, is_mutant: bool) -> str:
        """Return the first test that fails twice: one that fails at times is no judge."""
        if not is_mutant:
            return next((item.nodeid for item in items if self._fails(item)), "")
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        signal.signal(signal.SIGPROF, self._give_up)
        signal.signal(signal.SIGALRM, self._give_up)
        for item in items:
            if self._fails_in_time(item) and (self._has_no_end or self._fails_in_time(item)):
                return item.nodeid
        return ""

    def _fails(self, item: pytest.Item) -> bool:
        self._failed = False
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return self._failed

    def _fails_in_time(self, item: pytest.Item) -> bool:
        signal.setitimer(signal.ITIMER_PROF, TEST_CPU_SECONDS_MAX)
        signal.setitimer(signal.ITIMER_REAL, TEST_SECONDS_MAX)
        try:
            return self._fails(item) or self._has_no_end
        except BaseException:
            if not self._has_no_end:
                raise
            return True  # between two phases of the test, or in what pytest does around them
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _give_up(self, signal_number: int, frame: FrameType | None) -> None:
        del signal_number, frame
        self._has_no_end = True
        raise _NoEnd

    def _ordered(self, items: Sequence[pytest.Item], paths: Collection[str]) -> list[pytest.Item]:
        """Put first what found neighbours, then the modules' own tests."""
        own = {f"test_{path.rpartition('/')[2]}" for path in paths}
        return sorted(
            items,
            key=lambda item: (
                self._found.index(item.nodeid) if item.nodeid in self._found else len(self._found),
                item.path.name not in own,
            ),
        )


def plant(path: str, text: str) -> None:
    """Give the functions of a module the code they have in `text`; raises `NotPlanted`."""
    module = import_module(path.removesuffix(".py").replace("/", "."))
    codes = dict(_codes(compile(text, module.__file__ or path, "exec", dont_inherit=True)))
    changed = 0
    for function in _functions(module):
        code = codes.get(function.__qualname__)
        if code is not None and code != function.__code__:
            function.__code__ = code
            changed += 1
    if not changed:
        raise NotPlanted(f"no function of {path} is changed")


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant.co_qualname, constant
            if "<locals>" not in constant.co_qualname:
                yield from _codes(constant)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for value in vars(module).values():
        if getattr(value, "__module__", "") != module.__name__:
            continue
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in members:
            for name in ("__func__", "fget", "__wrapped__"):
                member = getattr(member, name, member)  # noqa: PLW2901 - layer by layer
            if isinstance(member, FunctionType):
                yield member


def main(suites: Sequence[str]) -> None:
    """Collect the tests, then judge mutants until the input ends."""
    mutants, verdicts = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        with suppress(BrokenPipeError):
            pytest.main([*suites, "-q", "-p", "no:cacheprovider"], [Forks(mutants, verdicts)])


if __name__ == "__main__":
    main(sys.argv[1:])
