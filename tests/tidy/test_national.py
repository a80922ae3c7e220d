"""The list of what cannot run on the national suite: all that it names is there, with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.suites import unable_on_national

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("test", "why"), sorted(unable_on_national().items()))
def test_what_is_left_out_is_there_and_has_a_reason(test: str, why: str) -> None:
    file, _, name = test.partition("::")
    assert (ROOT / file).is_file()
    assert not name or f"def {name}(" in (ROOT / file).read_text()
    assert len(why.split()) > 3
