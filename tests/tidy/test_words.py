"""What no file of the repository may contain: leftovers, places of one machine, foreign subjects.

The patterns are written so that they do not match themselves.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BANNED = {
    "a leftover: do it or drop it": r"\b(?:TO[D]O|FIX[M]E|XX[X]|HAC[K])\b",
    "a path of one machine": r"(?<![\w./-])/(?:wor[k]|roo[t]|hom[e]|Users|tm[p])/[\w.]",
    "a package index: installs use the machine's own": (
        r"pyp[i]\.org|pythonhoste[d]\.org|\b(?:extra-)?index-ur[l]\b|\bfind-link[s]\b"
        r"|crates\.i[o]\b|registry\.npmj[s]|repo1?\.mave[n]|proxy\.golan[g]"
    ),
    "not about the product": (
        r"(?i)\bsub-?agen[t]|\bhelper agen[t]|\bcoding agen[t]|\bthis sessio[n]\b|\bcopilo[t]\b"
        r"|\blanguage mode[l]|\bcla[u]de\b|\bchatgp[t]\b|\b(?:next|later) issu[e]\b"
        r"|\bissu[e] #?\d{1,3}\b"
    ),
}


VENDORED = (Path("node/web/verifier/vendor"), Path("node/cli/bench/page/vendor"))
"""Files of others, unchanged: they speak as they speak."""


def repository_files(root: Path) -> Iterator[Path]:
    """Yield the files that are, or on the next commit would be, part of the repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if (path := root / name).is_file():  # a deletion may not be committed yet
            yield path


def findings(text: str) -> list[tuple[int, str]]:
    """Return the (line number, why) of everything banned in `text`."""
    return sorted(
        (number, why)
        for why, pattern in BANNED.items()
        if re.search(pattern, text)  # a search for each line takes several times as long
        for number, line in enumerate(text.splitlines(), start=1)
        if re.search(pattern, line)
    )


def findings_in(root: Path) -> list[str]:
    """Return `path:line: why` for everything banned in the text files of the repository."""
    return [
        f"{path.relative_to(root)}:{number}: {why}"
        for path in repository_files(root)
        if path.suffix == ".md" or not {*VENDORED} & {*path.relative_to(root).parents}
        if b"\0" not in (data := path.read_bytes())
        for number, why in findings(data.decode(errors="replace"))
    ]


def test_the_repository_holds_nothing_banned() -> None:
    assert findings_in(ROOT) == []


@pytest.mark.parametrize(
    "line",
    [
        f"# {'TO' + 'DO'}: later",
        f"# {'FIX' + 'ME'} now",
        f"cd {'/wo' + 'rk'}/main",
        f'HOME = "{"/ro" + "ot"}/.cache"',
        f"see {'/tm' + 'p'}/out",
        f"--{'index' + '-url'} x",
        f"{'pyp' + 'i.org'}/simple",
        f"written by a {'sub' + 'agent'}",
        f"{'This ses' + 'sion'} adds",
        f"the {'next iss' + 'ue'} does it",
        f"see {'iss' + 'ue'} #12",
    ],
)
def test_a_banned_line_is_found(line: str) -> None:
    assert [number for number, _ in findings(f"first\n{line}\n")] == [2]


@pytest.mark.parametrize(
    "line",
    [
        "a method and a total",
        "node/rpc/server.py and a/work/b, https://example.org/home/page",
        "the index of a block, a session of TLS, agents of an agency",
        "an issue of trust; RFC 9162 section 2.1",
    ],
)
def test_an_ordinary_line_passes(line: str) -> None:
    assert findings(line) == []


def test_files_not_yet_committed_are_read_and_ignored_ones_are_not(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("ignored\n")
    for name in ("new.md", "ignored"):
        (tmp_path / name).write_text(f"{'TO' + 'DO'}\n")
    (tmp_path / "binary").write_bytes(b"\0" + b"TO" + b"DO")
    assert findings_in(tmp_path) == ["new.md:1: a leftover: do it or drop it"]
