"""What is shipped and installed: the wheel, and the locked requirements."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def declared(*, dev: bool) -> list[str]:
    """Return the `name==version` entries of pyproject.toml, without the markers of platforms."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra: list[str] = project["optional-dependencies"]["dev"] if dev else []
    return [entry.partition(";")[0] for entry in (*project["dependencies"], *extra)]


def unlocked(requirements: list[str], locked: str) -> list[str]:
    """Return the entries of `requirements` that the locked text does not hold."""
    pins = {f"{name}=={version}" for name, version in PIN.findall(locked)}
    return [entry for entry in requirements if entry not in pins]


def unhashed(locked: str) -> list[str]:
    """Return the packages of the locked text that carry no SHA-256 hash."""
    return [
        name
        for name, block in re.findall(r"^([A-Za-z0-9._-]+)==(.*(?:\n[ ].*)*)", locked, re.MULTILINE)
        if "--hash=sha256:" not in block
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return zipfile.ZipFile(built)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    parts = {Path(name).parts for name in wheel.namelist()}
    assert {part[0] for part in parts if not part[0].endswith(".dist-info")} == {"node"}
    assert not [part for part in parts if part[:2] == ("node", "adr")]


@pytest.mark.parametrize(("room", "least"), [("web/verifier", 40), ("cli/bench/page", 8)])
def test_the_wheel_holds_what_pages_are_made_of(
    wheel: zipfile.ZipFile, room: str, least: int
) -> None:
    folder = ROOT / "node" / room
    made_of = [path for path in folder.rglob("*") if path.suffix in {".js", ".css", ".html"}]
    made_of += folder.rglob("LICENSE")
    assert {str(path.relative_to(ROOT)) for path in made_of} <= set(wheel.namelist())
    assert len(made_of) >= least


def test_the_wheel_is_typed_licensed_and_has_the_command(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert "node/py.typed" in names
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "govchain = node.cli.main:main" in wheel.read(entry_points).decode()


@pytest.mark.parametrize(
    ("file", "dev"), [("requirements.txt", False), ("requirements-dev.txt", True)]
)
def test_the_lock_follows_the_project(file: str, *, dev: bool) -> None:
    locked = (ROOT / file).read_text()
    assert unlocked(declared(dev=dev), locked) == []
    assert unhashed(locked) == []


def test_development_installs_what_production_runs() -> None:
    production, development = (
        set(PIN.findall((ROOT / file).read_text()))
        for file in ("requirements.txt", "requirements-dev.txt")
    )
    assert production <= development


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
@pytest.mark.parametrize(
    ("machine", "python", "has_leveldb"),
    [
        ("x86_64", "3.11.2", True),
        ("x86_64", "3.12.0", True),
        ("x86_64", "3.13.0", False),
        ("aarch64", "3.11.2", False),
        ("aarch64", "3.13.0", False),
    ],
)
def test_a_host_is_given_the_engine_that_has_wheels_for_it(
    file: str, machine: str, python: str, *, has_leveldb: bool
) -> None:
    host = {
        "platform_machine": machine,
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
    }
    entries = re.findall(r"^(?:plyvel|rocksdict)==[^\\]*", (ROOT / file).read_text(), re.MULTILINE)
    given = {
        entry.name
        for entry in map(Requirement, entries)
        if entry.marker is None or entry.marker.evaluate(host)
    }
    assert ("plyvel" in given) == has_leveldb
    assert ("rocksdict" in given) == (not has_leveldb or file == "requirements-dev.txt")


def test_every_dependency_is_pinned() -> None:
    assert [entry for entry in declared(dev=True) if not PIN.fullmatch(entry)] == []


def test_a_lagging_or_unhashed_lock_is_found() -> None:
    locked = "click==8.5.1 \\\n    --hash=sha256:00\n    # via govchain\nrich==15.0.0 ; x == 'y'\n"
    assert unlocked(["click==8.5.1", "rich==15.0.0"], locked) == []
    assert unlocked(["click==8.5.2", "cbor2==6.2.1"], locked) == ["click==8.5.2", "cbor2==6.2.1"]
    assert unhashed(locked) == ["rich"]
