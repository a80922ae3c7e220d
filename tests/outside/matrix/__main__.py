"""`python -m tests.outside.matrix`: who says what of good and of broken receipts, in a table."""

from __future__ import annotations

import argparse
import json
import sys

import pytest

from tests.outside.matrix.table import Column, judge, reasons, to_markdown
from tests.outside.matrix.verifiers import VERIFIERS


def main() -> None:
    """Print the matrix."""
    parser = argparse.ArgumentParser(prog="python -m tests.outside.matrix", description=__doc__)
    parser.add_argument("--json", action="store_true", help="as JSON, with reasons of empty cells")
    wants_json = parser.parse_args().json
    columns: dict[str, Column] = {}
    for verifier in VERIFIERS:
        try:
            columns[verifier.title] = judge(verifier)
        except pytest.skip.Exception as skipped:
            sys.stderr.write(f"{verifier.title}: {skipped}\n")
    if wants_json:
        json.dump({"columns": columns, "empty": reasons()}, sys.stdout, indent=2)
    else:
        sys.stdout.write(to_markdown(columns))


main()
