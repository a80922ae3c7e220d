"""Nothing forks a process that speaks gRPC: node/rpc/README.md says what comes of that."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "node"
FORKING = {
    "create_subprocess_exec", "create_subprocess_shell", "subprocess_exec", "subprocess_shell",
    "fork", "forkpty", "Pool", "ProcessPoolExecutor",
}  # fmt: skip
"""Names, of whatever they are attributes, that stand for a fork."""
FORKING_WORDS = {"preexec_fn", "process_group", "user", "group", "extra_groups", "umask"}
"""What has `subprocess` fork instead of `vfork`, if it is given."""


def forks(source: str) -> Iterator[str]:
    """Yield what a module would fork by."""
    for each in ast.walk(ast.parse(source)):
        match each:
            case ast.Attribute(attr=name) | ast.alias(name=name) | ast.Name(id=name):
                if name in FORKING:
                    yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id="subprocess")), keywords=keywords):
                yield from (word.arg for word in keywords if word.arg in FORKING_WORDS)
            case ast.Call(func=ast.Attribute(attr="get_context"), args=[ast.Constant(value=kind)]):
                if kind != "spawn":
                    yield f"get_context({kind!r})"


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path)[-60:])
def test_no_module_forks(path: Path) -> None:
    assert list(forks(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "await asyncio.create_subprocess_exec('true')",
        "os.fork()",
        "from os import fork",
        "await loop.subprocess_shell(Protocol, 'true')",
        "subprocess.run(['true'], preexec_fn=quiet)",
        "multiprocessing.get_context('fork')",
        "with ProcessPoolExecutor() as workers: pass",
    ],
)
def test_a_fork_is_seen(source: str) -> None:
    module = f"async def main():\n    {source}\n"
    assert len(list(forks(module))) == 1


def test_what_does_not_fork_is_let_be() -> None:
    source = (
        "subprocess.Popen(['x'], start_new_session=True)\nget_context('spawn')\nos.posix_spawn()"
    )
    assert list(forks(source)) == []
