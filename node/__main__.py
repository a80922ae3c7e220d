"""`python -m node`: the command `govchain`, for where its script is not installed."""

from __future__ import annotations

import sys

from node.cli.main import main

if __name__ == "__main__":  # a process it spawns imports this file
    sys.exit(main())
