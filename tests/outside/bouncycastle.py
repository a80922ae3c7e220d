"""Java programs on BouncyCastle, compiled when a test first asks for one, and run on many cases.

A program is a class of `java/` whose `main` calls `Verdicts.answer`. The jars are those of Debian's
package libbcpkix-java, or those in the folder that GOVCHAIN_BOUNCYCASTLE names. Where there is no
Java or no BouncyCastle, tests that need them are skipped, and say so.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.outside.environments import ROOT, RUN_TIMEOUT_S

SOURCES = Path(__file__).parent / "java"
FOLDER_VARIABLE = "GOVCHAIN_BOUNCYCASTLE"
DEBIAN_FOLDER = "/usr/share/java"
BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Of a virtual machine that runs for a second: spend none of it on what pays off later."""
JARS = ("bcpkix", "bcprov", "bcutil")


def verdicts(program: str, cases: Iterable[Sequence[str | Path]]) -> list[str]:
    """Run `java/PROGRAM.java` once; return what it objects to in each case, "" where it accepts."""
    lines = ["\t".join(map(str, case)) for case in cases]
    done = subprocess.run(
        ["java", *BRIEF, "-cp", _class_path(), program],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == len(lines), done.stderr
    assert all(line == "accepted" or line.startswith("refused: ") for line in said)
    return ["" if line == "accepted" else line for line in said]


@cache
def _class_path() -> str:
    """Return where classes are: ours, compiled if they were not yet, and BouncyCastle's."""
    for command in ("java", "javac"):
        if shutil.which(command) is None:
            pytest.skip(f"NOT RUN: {command} is not installed (Debian: default-jdk-headless)")
    folder = Path(os.environ.get(FOLDER_VARIABLE, DEBIAN_FOLDER))
    jars = sorted({jar.resolve() for name in JARS for jar in folder.glob(f"{name}*.jar")})
    if not all(any(jar.name.startswith(name) for jar in jars) for name in JARS):
        pytest.skip(
            f"NOT RUN: no BouncyCastle in {folder} (Debian: libbcpkix-java; or {FOLDER_VARIABLE})"
        )
    libraries = os.pathsep.join(map(str, jars))
    sources = sorted(SOURCES.glob("*.java"))
    made_of = hashlib.sha256(libraries.encode())
    for source in sources:
        made_of.update(source.read_bytes())
    classes = ROOT / ".outside" / f"java-{made_of.hexdigest()[:12]}"
    classes.parent.mkdir(exist_ok=True)
    with (classes.parent / "java.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (classes / "ready").exists():
            shutil.rmtree(classes, ignore_errors=True)
            options = ["-Xlint:all,-path", "-Werror", "-encoding", "UTF-8", "-cp", libraries]
            compiled = subprocess.run(
                ["javac", *options, "-d", classes, *sources],
                capture_output=True,
                text=True,
                check=False,
                timeout=RUN_TIMEOUT_S,
            )
            assert compiled.returncode == 0, compiled.stderr
            (classes / "ready").touch()
    return os.pathsep.join([str(classes), libraries])
