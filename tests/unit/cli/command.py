"""Running `govchain` inside a test, and reading what it said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from node.cli.main import cli

ENGLISH = {"LANGUAGE": "en", "NO_COLOR": "1"}
CHINESE = {"LANGUAGE": "zh_CN", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Ran:
    """One run: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Return the one JSON object on standard output."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        assert value["version"] == 1
        assert value["ok"] == (self.code == 0)
        assert value["exit_code"] == self.code
        return value


def run(*arguments: object, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ran:
    """Run the command to its end."""
    result = CliRunner(env=ENGLISH | (env or {})).invoke(cli, [*map(str, arguments)], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)
