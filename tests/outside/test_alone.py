"""Verification in an environment that has cryptography and cbor2 alone, in our own versions."""

from __future__ import annotations

import tomllib

from tests.outside.environments import ROOT, VERSIONS, python_with
from tests.unit.timestamp.alone import ALLOWED
from tests.unit.timestamp.alone_judge import expect_same_verdicts, run_alone


def test_every_vector_has_its_verdict_and_steps() -> None:
    answer = run_alone(python_with("alone"))
    assert set(answer["packages"]) <= ALLOWED
    expect_same_verdicts(answer["cases"])


def test_the_versions_are_those_of_the_product() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(tomllib.loads(VERSIONS.read_text())["alone"]["packages"]) <= set(
        project["dependencies"]
    )
