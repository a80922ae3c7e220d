"""Every room says what lives in it, every module too, and no folder of tests is forgotten."""

from __future__ import annotations

import re
import subprocess
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOM_README_LINES_MAX = 80  # a page
AT_THE_ENTRANCE = {
    *(".dockerignore", ".gitignore", "pyproject.toml", "requirements.txt", "requirements-dev.txt"),
    *("README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "check", "run"),
}
"""Files at the top of the repository; whatever else lies there was left behind by a tool."""


def rooms(root: Path) -> list[Path]:
    """Return the folders under `node/` that hold modules, and the rooms within them."""
    node = root / "node"
    found = [folder for folder in node.iterdir() if next(folder.rglob("*.py"), None)]
    return sorted([*found, *(page.parent for page in node.glob("*/*/README.md"))])


def rooms_without_page(root: Path) -> list[str]:
    """Return the rooms whose README.md is missing, empty or longer than a page."""
    return [
        room.name
        for room in rooms(root)
        if not (page := room / "README.md").is_file()
        or not 0 < len(page.read_text().splitlines()) <= ROOM_README_LINES_MAX
    ]


def modules_not_on_page(root: Path) -> list[str]:
    """Return the modules and packages of rooms that the room's README.md does not name."""
    missing = []
    for room in rooms(root):
        page = (room / "README.md").read_text()
        entries = [module.name for module in room.glob("*.py") if module.name != "__init__.py"]
        entries += [f"{package.parent.name}/" for package in room.glob("*/__init__.py")]
        path = room.relative_to(root / "node")
        missing += [f"{path}/{name}" for name in sorted(entries) if f"`{name}`" not in page]
    return missing


def namespace_folders(root: Path) -> list[str]:
    """Return the folders under `node/` that hold modules but no `__init__.py`."""
    folders = {module.parent for module in (root / "node").rglob("*.py")}
    return sorted(str(f.relative_to(root)) for f in folders if not (f / "__init__.py").exists())


def opens_with_text(module: Path) -> bool:
    """Tell whether the first statement of a module is a text. The rest of it is not read."""
    space = (tokenize.ENCODING, tokenize.COMMENT, tokenize.NL)
    with module.open("rb") as file:
        tokens = (token for token in tokenize.tokenize(file.readline) if token.type not in space)
        text, end = next(tokens), next(tokens, None)  # there is an ENDMARKER at least
    is_text = text.type == tokenize.STRING and text.string.strip("\"' \n") != ""
    return is_text and end is not None and end.type == tokenize.NEWLINE


def modules_without_docstring(root: Path) -> list[str]:
    """Return the hand-written modules that do not open by saying what may live there."""
    return [
        str(module.relative_to(root))
        for folder in ("node", "tests", "bench")
        for module in sorted((root / folder).rglob("*.py"))
        if (root / "node/rpc/pb") not in module.parents and not opens_with_text(module)
    ]


def forgotten_tests(root: Path) -> list[str]:
    """Return the folders under `tests/` that neither `check` nor `.ci/run` runs."""
    commands = (root / "check").read_text() + (root / ".ci/run").read_text()
    run = set(re.findall(r"\btests/(\w+)", commands))
    folders = {
        test.relative_to(root / "tests").parts[0] for test in (root / "tests").rglob("test_*.py")
    }
    return sorted(folders - run)


def test_every_room_has_a_page() -> None:
    assert rooms_without_page(ROOT) == []


def test_every_module_is_on_the_page_of_its_room() -> None:
    assert modules_not_on_page(ROOT) == []


def test_every_folder_of_modules_is_a_package() -> None:
    assert namespace_folders(ROOT) == []


def test_every_module_opens_with_what_lives_there() -> None:
    assert modules_without_docstring(ROOT) == []


def test_every_folder_of_tests_is_run() -> None:
    assert forgotten_tests(ROOT) == []


def test_nothing_is_left_behind_at_the_entrance() -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    assert {name for name in listed.split("\0") if name and "/" not in name} == AT_THE_ENTRANCE


def test_a_room_without_a_page_is_found(tmp_path: Path) -> None:
    for room, page in {"bare": None, "empty": "", "long": "line\n" * 81, "good": "what\n"}.items():
        (tmp_path / "node" / room).mkdir(parents=True)
        (tmp_path / "node" / room / "module.py").touch()
        if page is not None:
            (tmp_path / "node" / room / "README.md").write_text(page)
    (tmp_path / "node" / "adr").mkdir()
    assert rooms_without_page(tmp_path) == ["bare", "empty", "long"]


def test_a_module_that_no_page_names_is_found(tmp_path: Path) -> None:
    room = tmp_path / "node/room"
    for name in ("__init__", "told", "untold", "known/__init__", "unknown/__init__"):
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / f"{name}.py").touch()
    (room / "known/within.py").touch()
    (room / "README.md").write_text("`told.py` and `known/`\n")
    assert modules_not_on_page(tmp_path) == ["room/unknown/", "room/untold.py"]
    (room / "known/README.md").write_text("a room within the room, which has a page of its own\n")
    assert modules_not_on_page(tmp_path)[-1] == "room/known/within.py"


def test_a_namespace_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "node" / "chain").mkdir(parents=True)
    (tmp_path / "node" / "__init__.py").touch()
    (tmp_path / "node" / "chain" / "block.py").touch()
    assert namespace_folders(tmp_path) == ["node/chain"]


def test_a_module_without_docstring_is_found(tmp_path: Path) -> None:
    for folder in ("node/rpc/pb", "tests/unit", "bench"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "node" / "good.py").write_text('"""What lives here."""\n')
    (tmp_path / "node" / "bad.py").write_text("# What lives here.\n")
    (tmp_path / "node/rpc/pb/generated_pb2.py").write_text("VALUE = 1\n")
    (tmp_path / "tests/unit/test_bad.py").write_text("VALUE = 1\n")
    assert modules_without_docstring(tmp_path) == ["node/bad.py", "tests/unit/test_bad.py"]


def test_a_forgotten_folder_of_tests_is_found(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / "check").write_text("fast_tests=(tests/tidy tests/unit)\n")
    (tmp_path / ".ci/run").write_text("python -m pytest tests/docker -rs\n")
    for folder in ("tidy", "unit/chain", "docker", "lost/deep"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / "test_it.py").touch()
    (tmp_path / "tests" / "data").mkdir()
    assert forgotten_tests(tmp_path) == ["lost"]
