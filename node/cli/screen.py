"""What a verb says, and to whom: lines for people, or one JSON object for programs.

Standard output carries the answer, standard error what goes on meanwhile. Colours and moving bars
appear on a terminal only, and no colours where NO_COLOR is set.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from gettext import gettext as _
from typing import Any, Final
from unicodedata import category

import click

from node.cli.exit_codes import ExitCode
from node.cli.remedies import remedy_of
from node.cli.sentences.telling import tell_refusal
from node.errors import NodeError

JSON_VERSION: Final = 1

_PLAIN_PROGRESS_S: Final = 5.0
_GAP: Final = "  "
_UNPRINTABLE: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of control and format characters, of bytes that are no text, and of line ends."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as it is told: stable code, cause and fix."""

    code: str
    message: str
    fix: str

    @classmethod
    def of(cls, error: NodeError) -> Fault:
        """Return how an error of the rooms below is told: they speak English only.

        Where the user reads another language, what the table says comes first. The message stays
        as it is, for programs; to people it is told by `sentences/`.
        """
        general = remedy_of(error.code).fix
        fix = _(error.fix) if error.fix else general
        if fix == error.fix and _("fix") != "fix":  # a particular fix that no catalogue can hold
            fix = f"{general} ({error.fix})"
        return cls(error.code, str(error), fix)

    @property
    def summary(self) -> str:
        """Return what it amounts to, in the user's language."""
        return remedy_of(self.code).summary

    @property
    def sentence(self) -> str:
        """Return it in one line: code, summary and cause, in the user's language."""
        return f"{self.code} {self.summary}: {tell_refusal(self.message)}"

    @property
    def exit_code(self) -> ExitCode:
        """Return how a command ends for it."""
        return remedy_of(self.code).exit_code

    def to_json(self) -> dict[str, str]:
        """Return the member `error` of the JSON object."""
        return {
            "code": self.code,
            "summary": self.summary,
            "message": self.message,
            "fix": self.fix,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb found. `facts` are the members of its JSON object beyond the common ones."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    fault: Fault | None = None
    """Why it is not wholly done, if so; the facts still hold."""

    @property
    def exit_code(self) -> ExitCode:
        """Return how the command ends."""
        return ExitCode.DONE if self.fault is None else self.fault.exit_code


class Screen:
    """Where one run of a verb speaks."""

    def __init__(self, verb: str, *, as_json: bool) -> None:
        self._verb = verb
        self.as_json = as_json

    def line(self, text: str = "", *, style: str = "") -> None:
        """Say part of the answer to a person. `style` is a colour, shown on a terminal."""
        if not self.as_json:
            _answer(_styled(_printable(text), style))

    def note(self, text: str) -> None:
        """Say what goes on, to a person."""
        if not self.as_json:
            click.echo(_printable(text), err=True, color=_colour_of(sys.stderr))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Say a table as aligned lines: nothing is cut, so that all of it can be copied."""
        if self.as_json:
            return
        cells = [[_printable(str(cell)) for cell in row] for row in (columns, *rows)]
        heading, *lines = _align(cells)
        self.line(heading, style="cyan")
        for line in lines:
            self.line(line)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Yield a function to call with each amount done: a bar, or a line now and then."""
        if self.as_json:
            yield lambda _amount: None
        elif sys.stderr.isatty():
            with _bar(what, total) as advance:
                yield advance
        else:
            yield _PlainProgress(what, total, self.note)

    def confirm(self, question: str, refusal: str) -> None:
        """Go on if the user says so; where nobody can be asked, wrong usage: `refusal`."""
        if self.as_json or not sys.stdin.isatty():
            raise click.UsageError(refusal)
        click.confirm(question, abort=True, err=True)

    def finish(self, answer: Answer) -> ExitCode:
        """Give the answer, with its fault if it has one, and return how the command ends."""
        if self.as_json:
            try:
                self._print_json(answer)
            except NodeError as error:  # no room for the answer: what it was is not known then
                answer = Answer(fault=Fault.of(error))
                with _silent_on_full_disk():
                    _explain(Fault.of(error))
        elif answer.fault is not None:
            with _silent_on_full_disk():
                _explain(answer.fault)
        return answer.exit_code

    def _print_json(self, answer: Answer) -> None:
        common = {
            "version": JSON_VERSION,
            "verb": self._verb,
            "ok": answer.fault is None,
            "exit_code": int(answer.exit_code),
        }
        error = {} if answer.fault is None else {"error": answer.fault.to_json()}
        _answer(json.dumps({**common, **answer.facts, **error}, ensure_ascii=False))


def _answer(text: str) -> None:
    """Write to standard output; raises `NodeError` where that is closed or has no room."""
    if sys.stdout is None:
        raise NodeError(_("standard output is closed"), code="GC-2306")
    try:
        click.echo(text, color=_colour_of(sys.stdout))
    except BrokenPipeError:  # nobody reads any more: click's way out
        raise
    except OSError as error:
        sys.stdout = None  # what it still holds would be tried again at the end, and fail
        message = _("standard output: {reason}").format(reason=error.strerror)
        raise NodeError(message, code="GC-2306") from error


@contextmanager
def _silent_on_full_disk() -> Iterator[None]:
    """Let the exit code tell alone what the file behind standard error has no room for."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.stderr = None  # what it still holds would be tried again at the end, and fail


def _explain(fault: Fault) -> None:
    """Say on standard error what is wrong, why, and what to do."""
    message = tell_refusal(fault.message)
    headline = _("error {code}: {summary}").format(code=fault.code, summary=fault.summary)
    colour = _colour_of(sys.stderr)
    click.echo(_styled(headline, "red"), err=True, color=colour)
    for label, text in ((_("cause"), message), (_("fix"), fault.fix)):
        click.echo(f"  {label}: {_printable(text)}", err=True, color=colour)


def _colour_of(stream: Any) -> bool | None:  # noqa: ANN401 - whatever stands for a standard stream
    """Return whether to colour: click removes colours where the stream is no terminal (None)."""
    return None if stream and stream.isatty() and not os.environ.get("NO_COLOR") else False


def _printable(text: str) -> str:
    """Return a text as one line that steers no terminal, whatever names of files it holds."""
    return "".join(
        each.encode("unicode_escape").decode() if category(each) in _UNPRINTABLE else each
        for each in text
    )


def _styled(text: str, style: str) -> str:
    return click.style(text, fg=style, bold=True) if style else text


def _align(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        )
        yield _GAP.join(padded).rstrip()


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total or None)
        yield lambda amount: progress.advance(task, amount)


class _PlainProgress:
    """Says how far it is when that took a while, one line each time."""

    def __init__(self, what: str, total: int, say: Callable[[str], None]) -> None:
        self._what = what
        self._total = total
        self._say = say
        self._done = 0
        self._said_s = time.monotonic()

    def __call__(self, amount: int) -> None:
        self._done += amount
        now_s = time.monotonic()
        if now_s - self._said_s >= _PLAIN_PROGRESS_S:
            self._said_s = now_s
            self._say(f"{self._what}: {100 * self._done // max(self._total, 1)} %")
