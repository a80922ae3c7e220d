"""The verifier written from proto/EVIDENCE.md alone and ours: one verdict, at one step."""

from __future__ import annotations

import ast
import base64
import json
from pathlib import Path

import pytest

from tests.unit.timestamp.evidence import independent_evidence
from tests.vectors.evidence.generate import ALL_FILES, FOLDER

CASES = sorted((FOLDER / "cases").glob("*.json"))
ROOTS = [path.read_bytes() for path in sorted((FOLDER / "roots").iterdir())]


def test_it_imports_nothing_of_this_product() -> None:
    tree = ast.parse(Path(independent_evidence.__file__).read_text())
    found = [each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
    found += [
        name.name for each in ast.walk(tree) if isinstance(each, ast.Import) for name in each.names
    ]
    assert found
    assert not [name for name in found if name.split(".")[0] in {"node", "tests"}]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_it_gives_every_vector_its_stated_verdict(path: Path) -> None:
    case = json.loads(path.read_bytes())
    verdict = independent_evidence.verify(
        base64.b64decode(case["record"]),
        [ALL_FILES[name] for name in case["files"]],
        ROOTS,
        case["at_ms"],
        lists=[base64.b64decode(each) for each in case["revocations"]],
        weak=case["weak_from_ms"],
    )
    assert verdict == (case["outcome"], case["step"])
