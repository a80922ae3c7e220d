"""Every file of vectors made by others is run by a named test, or tests/vectors says why not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "tests" / "vectors" / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([^`]+)` \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[^`]+\.py)`")
ROWS = dict(ROW.findall(PAGE))
NO_VECTORS = {"README.md", "LICENSE"}


def files_of(pattern: str, folder: Path) -> set[Path]:
    """Return the files that a line speaks of."""
    found = folder.glob(f"{pattern}/*" if pattern.endswith("**") else pattern)
    return {path for path in found if path.is_file()}


def unlisted(folder: Path) -> list[str]:
    """Return the files that no line, or more than one, speaks of."""
    lines = {pattern: files_of(pattern, folder) for pattern in ROWS}
    return [
        f"{path.relative_to(folder)}: {count} lines"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NO_VECTORS
        if (count := sum(path in found for found in lines.values())) != 1
    ]


def unnamed() -> list[str]:
    """Return the lines whose test does not name their files."""
    found = []
    for pattern, says in ROWS.items():
        *folders, name = pattern.removesuffix("/**").split("/")
        literal = name.removeprefix("*") if "/" in pattern else pattern
        for test in TEST.findall(says):
            path = ROOT / test
            if not path.is_file() or literal not in path.read_text(encoding="utf-8"):
                found.append(f"{test} does not name {literal} of {'/'.join(folders)}")
        if not TEST.search(says) and not says.startswith("not used"):
            found.append(f"{pattern}: neither a test nor a reason")
    return found


def test_every_line_names_a_test_that_names_its_files_or_a_reason() -> None:
    assert len(ROWS) > 20
    assert unnamed() == []


def test_every_file_has_one_line_and_every_line_a_file() -> None:
    folder = os.environ.get("GOVCHAIN_VECTORS")
    if folder is None:
        pytest.skip("GOVCHAIN_VECTORS is not set: the list of published vectors was not checked")
    assert unlisted(Path(folder)) == []
    assert [pattern for pattern in ROWS if not files_of(pattern, Path(folder))] == []


def test_a_file_without_a_line_is_found(tmp_path: Path) -> None:
    (tmp_path / "wycheproof").mkdir()
    (tmp_path / "wycheproof" / "new_test.json").touch()
    (tmp_path / "wycheproof" / "ed25519_test.json").touch()
    assert unlisted(tmp_path) == ["wycheproof/new_test.json: 0 lines"]
