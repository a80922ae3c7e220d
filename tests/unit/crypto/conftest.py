"""Where the vectors made by others are found; tests that need them say so when they are absent."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def read_vectors() -> Callable[[str], Any]:
    """Return a reader of JSON files by their path inside the folder GOVCHAIN_VECTORS."""
    folder = os.environ.get("GOVCHAIN_VECTORS")
    if not folder:
        pytest.skip("GOVCHAIN_VECTORS is not set: the published crypto vectors were not run")

    def read(name: str) -> Any:  # noqa: ANN401 - each file has a shape of its own
        return json.loads((Path(folder) / name).read_text(encoding="utf-8"))

    return read
