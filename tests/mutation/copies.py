"""Copies of the source tree to run mutants in: the working tree itself is never touched.

One snapshot is taken at the start, and compiled where many processes are to run it; each mutant
gets a folder of hard links to it, in which only the edited files are files of its own. So a change
of the sources amid a long run is not seen, and a copy costs a few milliseconds.
"""

from __future__ import annotations

import compileall
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from py_compile import PycInvalidationMode

from tests.mutation.mutant import ROOT, Mutant

_COPIED = ("node", "tests", "pyproject.toml", "proto", "README.md")
"""What the simulator and the tests that judge mutants read."""


@contextmanager
def snapshot(commit: str = "", *, is_compiled: bool = True) -> Iterator[Path]:
    """Copy the sources of a commit, or else as they are, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        root = Path(folder) / "sources"
        if commit:
            with tarfile.open(fileobj=io.BytesIO(_git("archive", commit, *_COPIED))) as archive:
                archive.extractall(root, filter="data")
        else:
            _copy_working_tree(root)
        if is_compiled:
            mode = PycInvalidationMode.UNCHECKED_HASH
            compileall.compile_dir(root, quiet=2, invalidation_mode=mode)
        yield root


def _copy_working_tree(root: Path) -> None:
    options = ("-z", "--cached", "--others", "--exclude-standard", "--", *_COPIED)
    for name in filter(None, _git("ls-files", *options).decode().split("\0")):
        if (ROOT / name).is_file():  # a deletion may not be committed yet
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, root / name)


def revision(commit: str = "") -> str:
    """Return the commit of a snapshot, with a `+` for the sources as they are if they differ."""
    name = _git("rev-parse", "--short=12", commit or "HEAD").decode().strip()
    differs = not commit and _git("status", "--porcelain", "--", "node", "tests")
    return f"{name}+" if differs else name


def holds(commit: str, path: str) -> bool:
    """Whether a snapshot of a commit, else of the sources as they are, has a file or folder."""
    if not path.startswith("tests/") or ".." in path:
        return False
    if not commit:
        return (ROOT / path).exists()
    command = ["git", "cat-file", "-e", f"{commit}:{path}"]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == 0


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True).stdout


@contextmanager
def copy_with(mutant: Mutant | None, sources: Path) -> Iterator[Path]:
    """Make a folder with the snapshot `sources`, a mutant planted in it; raises `Stale`."""
    root = Path(tempfile.mkdtemp(dir=sources.parent)) / "copy"
    texts = {} if mutant is None else mutant.texts(sources)
    shutil.copytree(sources, root, copy_function=os.link)
    try:
        for name, text in texts.items():
            path = root / name
            path.unlink()  # the link, not what it leads to
            path.write_text(text)
            for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
                compiled.unlink()
        yield root
    finally:
        shutil.rmtree(root.parent)


def environment(root: Path, *, hash_seed: int) -> dict[str, str]:
    """Return the environment of a process that runs a copy and leaves nothing in it.

    It finds the libraries that this one was told of by PYTHONPATH, and no sources but the copy's.
    """
    told = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    libraries = [path for path in told if Path(path).resolve() != ROOT]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), *libraries]),
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
