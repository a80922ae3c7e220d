"""The switch that writes the traces of scenarios anew, to be read as a diff."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite", action="store_true", help="write the traces of tests/scenario anew"
    )
