"""A log file of bounded size: everything a process says lands in it, and the old part goes away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SPEAKER = """
import os, sys, threading
from pathlib import Path
from node.service.log_file import LogFile
from node.service.logs import configure_logs
import structlog

stream = LogFile(Path(sys.argv[1]), size_max=10_000)
configure_logs("info", validator="validator-7", stream=stream)

def speak():
    for number in range(100):
        structlog.get_logger().info("line", number=number)

threads = [threading.Thread(target=speak) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.write(2, b"from a library\\n")
print("the last word", file=sys.stderr)
print("the answer")
"""


def speak(path: Path, *, apart: bool) -> bytes:
    """Run a process that says 400 lines and more to its log; return its standard output."""
    with path.open("ab") as log:
        ended = subprocess.run(
            [sys.executable, "-c", SPEAKER, path],
            stdout=subprocess.PIPE if apart else log,
            stderr=log,
            check=True,
        )
    return ended.stdout or b""


def test_it_never_outgrows_its_bound_and_the_newest_is_kept(tmp_path: Path) -> None:
    path, previous = tmp_path / "node.log", tmp_path / "node.log.1"
    assert speak(path, apart=True) == b"the answer\n"
    assert {each.name for each in tmp_path.iterdir()} == {path.name, previous.name}
    assert path.stat().st_size <= 10_100  # what others say is not held back
    assert 9_000 < previous.stat().st_size <= 10_000
    lines = path.read_bytes().splitlines()
    assert lines[-2:] == [b"from a library", b"the last word"]
    assert all(line.startswith(b"{") and line.endswith(b"}") for line in lines[:-2])
    assert all(line.startswith(b"{") for line in previous.read_bytes().splitlines())


def test_standard_output_goes_along_where_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    speak(path, apart=False)
    assert b"the answer" in path.read_bytes()


def test_what_is_there_is_continued_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    path.write_bytes(b"earlier\n")
    mode = path.stat().st_mode & 0o777
    program = "from node.service.log_file import LogFile; from pathlib import Path; import sys; "
    program += "LogFile(Path(sys.argv[1]), size_max=20).write('now \\udcff\\n')"
    subprocess.run([sys.executable, "-c", program, path], check=True, cwd=Path.cwd())
    assert path.read_bytes() == b"earlier\nnow \\udcff\n"
    assert path.stat().st_mode & 0o777 == mode  # the file keeps its rights
