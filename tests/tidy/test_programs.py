"""Programs of others that tests run: installed where they may be, and never what a run fails by."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "programs"
TOOLS = ("bash", "grep", "mktemp", "rm", "timeout")
COMMANDS = ("pdftoppm", "node", "chromium", "javac")


class Machine:
    """A machine that has a few tools, and perhaps others."""

    def __init__(self, folder: Path, user: int) -> None:
        self.bin, self.asked = folder / "bin", folder / "asked"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        self.has("id", f"echo {user}")

    def has(self, name: str, script: str = "exit 0") -> None:
        (self.bin / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (self.bin / name).chmod(0o755)

    def has_apt(self, script: str = "exit 0") -> None:
        self.has("apt-get", f'echo "$@" >>"{self.asked}"; {script}')

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the script from the repository, which has a folder `node`."""
        return subprocess.run(
            [SCRIPT],
            cwd=ROOT,
            env={"PATH": str(self.bin)},
            capture_output=True,
            text=True,
            check=False,
        )


def test_what_is_missing_is_downloaded_and_installed_in_one_call(tmp_path: Path) -> None:
    machine = Machine(tmp_path, user=0)
    machine.has_apt()
    machine.has("google-chrome")  # a browser is a browser
    done = machine.run()
    assert (done.returncode, done.stderr) == (0, "")
    update, download, install = machine.asked.read_text().splitlines()
    assert update.startswith("update")
    assert " --download-only " in download
    assert " --no-download " in install
    packages = install.split(" --no-download ")[1].split()
    assert {"poppler-utils", "nodejs", "default-jdk-headless"} <= {*packages}
    assert "chromium" not in packages
    assert done.stdout.rstrip().endswith(f" s: {' '.join(packages)}")


@pytest.mark.parametrize(
    ("apt", "reason"),
    [
        ("echo 'E: no such host' >&2; exit 100", "E: no such host"),
        ('case "$*" in *--no-download*) echo "E: no space"; exit 1 ;; esac', "E: no space"),
        ("exit 1", "took more than"),
    ],
)
def test_what_cannot_be_installed_is_said_and_stops_nothing(
    tmp_path: Path, apt: str, reason: str
) -> None:
    machine = Machine(tmp_path, user=0)
    machine.has_apt(apt)
    done = machine.run()
    assert done.returncode == 0
    assert done.stderr.startswith("== NOT INSTALLED: poppler-utils nodejs ")
    assert reason in done.stderr


def test_only_root_installs_and_others_are_told_how(tmp_path: Path) -> None:
    machine = Machine(tmp_path, user=1_000)
    done = machine.run()
    assert (done.returncode, "this is not Debian" in done.stderr) == (0, True)
    machine.has_apt()
    done = machine.run()
    assert done.returncode == 0
    assert "apt-get install --no-install-recommends poppler-utils" in done.stderr
    assert not machine.asked.exists()


def test_where_all_is_there_nothing_is_asked_for(tmp_path: Path) -> None:
    machine = Machine(tmp_path, user=0)
    machine.has_apt()
    for command in COMMANDS:
        machine.has(command)
    done = machine.run()
    assert done.returncode == 0
    asked = machine.asked.read_text() if machine.asked.exists() else ""
    assert not re.search("poppler|nodejs|chromium|jdk", asked)


def test_every_package_that_a_test_says_it_lacks_is_installed() -> None:
    wanted = set(re.findall(r'^    "([a-z0-9-]+) ', SCRIPT.read_text(), re.MULTILINE))
    named: set[str] = set()
    for path in (ROOT / "tests").rglob("*.py"):
        named |= set(
            re.findall(r"NOT RUN: .*\(Debian(?: package|:) ([a-z0-9-]+)", path.read_text())
        )
    assert named == wanted
