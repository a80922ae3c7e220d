"""The gateway under Schemathesis for a bounded while: no 5xx, nothing but what its page says."""

from __future__ import annotations

from pathlib import Path

from tests.outside.gateway_fuzz import fuzz


def test_the_gateway_answers_as_its_page_says(tmp_path: Path) -> None:
    found = fuzz(tmp_path, "--phases", "examples,coverage,fuzzing", "--max-examples", "10", seed=1)
    assert found.code == 0, found.said
    assert found.complaints == []
    assert not [status for status in found.statuses if status >= 500]
    assert found.statuses[201] > 0  # it got as far as recording
    assert found.statuses[400] > 0
