"""The commands a newcomer types first, on machines that lack something."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("cat", "chmod", "cmp", "dirname", "mv", "readlink", "rm")
LOCKED = "requirements.txt"


class Machine:
    """A checkout at a path with a space, on a machine with few tools and no python of its own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.root / ".ci").mkdir(parents=True)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        for script in ("run", ".ci/venv"):
            shutil.copy(ROOT / script, self.root / script)
        (self.root / LOCKED).write_text("# nothing to install\n")

    def has(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / command[0]), *command[1:]],
            cwd=cwd or self.root,
            env={"PATH": str(self.bin)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def make_ready(self) -> None:
        """Stand in for an environment made earlier, whose `govchain` prints what it was given."""
        (self.root / ".venv/bin").mkdir(parents=True)
        for name, script in {"python": "exit 1", "govchain": 'pwd; printf "<%s>" "$@"'}.items():
            (self.root / ".venv/bin" / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.root / ".venv/bin" / name).chmod(0o755)
        locked = (self.root / LOCKED).read_text()
        (self.root / ".venv" / LOCKED).write_text(f"{locked}# in {self.root}\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_python_it_says_what_to_install(machine: Machine) -> None:
    done = machine.run("run")
    assert done.returncode == 2
    assert "apt-get install python3 python3-venv" in done.stderr


def test_a_python_too_old_or_too_new_or_broken_is_none(machine: Machine) -> None:
    for name in (
        "python3.11",
        "python3",
    ):  # such as a version manager's shim for a version not there
        machine.has(name, "exit 127")
    done = machine.run("run")
    assert done.returncode == 2
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr


def test_without_ensurepip_it_prints_the_one_line(machine: Machine) -> None:
    machine.has("python3", f'case "$2" in *ensurepip*) exit 1 ;; esac; exec {sys.executable} "$@"')
    done = machine.run("run")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].strip() == "apt-get install python3-venv"
    assert not (machine.root / ".venv").exists()


def test_when_ready_it_starts_at_once_where_the_caller_stands(
    machine: Machine, tmp_path: Path
) -> None:
    machine.make_ready()
    done = machine.run("run", "--once", "two words.pdf", "-", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}\n<quickstart><--once><two words.pdf><->"


@pytest.mark.parametrize("change", ["locked", "moved", "interpreter"])
def test_an_environment_made_from_something_else_is_not_ready(
    machine: Machine, change: str
) -> None:
    machine.make_ready()
    match change:
        case "locked":
            (machine.root / LOCKED).write_text("# something to install\n")
        case "moved":
            machine.root = machine.root.rename(machine.root.with_name("elsewhere"))
        case "interpreter":
            (machine.root / ".venv/bin/python").unlink()
    assert machine.run("run").returncode == 2  # goes looking for a python, and there is none


def test_the_command_runs_the_checkout_from_anywhere(machine: Machine, tmp_path: Path) -> None:
    machine.has("python3", f'exec {sys.executable} "$@"')
    if uv := shutil.which("uv"):  # then this interpreter may have no ensurepip
        (machine.bin / "uv").symlink_to(uv)
    (machine.root / "node/cli").mkdir(parents=True)
    (machine.root / "node/cli/main.py").write_text(
        "import sys\n\ndef main():\n    print(__file__, *sys.argv[1:], sep='\\n')\n    return 5\n"
    )
    (tmp_path / "node").mkdir()  # a folder of that name where the caller stands must not win
    (tmp_path / "node" / "__init__.py").touch()
    done = machine.run("run", "a b", cwd=tmp_path)
    assert done.returncode == 5, done.stderr
    assert done.stdout.splitlines() == [
        str(machine.root / "node/cli/main.py"),
        "quickstart",
        "a b",
    ]
    link = tmp_path / "link"
    link.symlink_to(machine.root / ".venv/bin/govchain")
    again = subprocess.run([link, "x"], capture_output=True, text=True, check=False, cwd="/")
    assert (again.returncode, again.stdout.splitlines()[1:]) == (5, ["x"])


def test_check_refuses_what_it_does_not_know() -> None:
    done = subprocess.run([ROOT / "check", "--fats"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "usage: ./check [--fast]\n")


@pytest.mark.parametrize(("linter", "status", "total"), [("true", 0, "ok"), ("false", 1, "FAILED")])
def test_the_status_of_check_is_its_verdict(
    tmp_path: Path, linter: str, status: int, total: str
) -> None:
    """What runs ./check sees its status alone, and cleaning up must not change it."""
    shutil.copy(ROOT / "check", tmp_path)
    (tmp_path / "tests/unit").mkdir(parents=True)
    stand_ins = {
        ".ci/venv": "true",
        **{f".venv/bin/{name}": "true" for name in ("mypy", "python", "lint-imports")},
        ".venv/bin/ruff": linter,
    }
    for name, script in stand_ins.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    done = subprocess.run([tmp_path / "check"], capture_output=True, text=True, check=False)
    last = done.stdout.splitlines()[-1].split()
    assert (done.returncode, last[:2]) == (status, ["total", total]), done.stderr


@pytest.mark.parametrize(("its_status", "taken"), [(0, "distribution"), (1, "bin")])
def test_the_python_of_the_distribution_is_taken_where_it_makes_environments(
    tmp_path: Path, its_status: int, taken: str
) -> None:
    stand_ins = {
        "checkout/.ci/venv": "command -v python3.11; exit 1",
        "distribution/python3.11": f"exit {its_status}",
        "bin/python3.11": "true",
    }
    for name, script in stand_ins.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    check = tmp_path / "checkout/check"
    check.write_text((ROOT / "check").read_text().replace("/usr/bin", f"{tmp_path}/distribution"))
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = subprocess.run(["bash", check], env=env, capture_output=True, text=True, check=False)
    assert f"{tmp_path}/{taken}/python3.11" in done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("script", ["run", "check", ".ci/run", ".ci/venv", ".ci/lock"])
def test_a_script_is_executable_and_parses(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    shell = path.read_text().splitlines()[0].removeprefix("#!").split()
    subprocess.run([*shell, "-n", str(path)], check=True)
