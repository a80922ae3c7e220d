"""No network: what opens a connection raises, or the whole process is where there is no network.

As a program, `python -m tests.unit.cli.offline PORT`, it reads a JSON list of command lines from
standard input, runs each, and tries to connect to the port; it prints a JSON object: whether it
could connect, and of each command the exit code and what it said.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc
import pytest

from tests.unit.cli.command import run

ROOT: Final = Path(__file__).parents[3]
RUN_TIMEOUT_S: Final = 120
_OPENERS: Final = (
    (socket, "socket"),
    (socket, "create_connection"),
    (socket, "create_server"),
    (socket, "getaddrinfo"),
    (socket, "gethostbyname"),
    (asyncio, "run"),  # before any connection a loop opens sockets for itself
    (asyncio, "open_connection"),
    (asyncio, "start_server"),
    (asyncio, "open_unix_connection"),
    (grpc, "insecure_channel"),  # its core opens sockets that Python never sees
    (grpc, "secure_channel"),
    (grpc.aio, "insecure_channel"),
    (grpc.aio, "secure_channel"),
)


class ConnectedError(Exception):
    """A connection was about to be opened."""


def forbid_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make everything that opens one raise `ConnectedError`, which no command expects."""

    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        raise ConnectedError

    for module, name in _OPENERS:
        monkeypatch.setattr(module, name, refuse)


def run_without_network(commands: Sequence[Sequence[str]], port: int) -> dict[str, Any]:
    """Run commands in a network namespace without interfaces; skip where that is not permitted."""
    unshare = ["unshare", "--map-root-user", "--net"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*unshare, "true"], check=False).returncode
    ):
        pytest.skip("NOT RUN: no network namespace can be made here (unshare --net)")
    return _answer([*unshare, *_program(port)], commands)


def run_with_network(commands: Sequence[Sequence[str]], port: int) -> dict[str, Any]:
    """Run the same where the network is: the counter-proof."""
    return _answer(_program(port), commands)


def _program(port: int) -> list[str]:
    return [sys.executable, "-m", "tests.unit.cli.offline", str(port)]


def _answer(command: list[str], commands: Sequence[Sequence[str]]) -> dict[str, Any]:
    done = subprocess.run(
        command,
        input=json.dumps(commands),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except OSError:
        return False
    return True


def main() -> None:
    """Run the commands."""
    ran = [run(*command) for command in json.load(sys.stdin)]
    answer = {
        "connected": _can_connect(int(sys.argv[1])),
        "ran": [[each.code, each.out, each.err] for each in ran],
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
