"""`govchain node run`: how it starts. What it runs is shown in tests/network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_logs_come_without_what_draws_tracebacks_on_terminals() -> None:
    program = (
        "import sys; from node.cli.run_node import _load_structlog; _load_structlog(); "
        "print('structlog' in sys.modules, 'rich' in sys.modules); "
        "import rich.console; _load_structlog(); print('rich' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert done.stdout.split() == ["True", "False", "True"]
