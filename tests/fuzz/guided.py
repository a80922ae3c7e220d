"""One target under libFuzzer, guided by what of the product an input reaches: a process of its own.

    python -m tests.fuzz.guided NAME FOLDER [libFuzzer's own options]

Atheris instruments the product as it is imported, so nothing of it may be imported before.
"""

from __future__ import annotations

import shlex
import sys

import atheris

with atheris.instrument_imports(include=["node"]):
    from tests.fuzz.targets import TARGETS, function

    function(sys.argv[1])  # its module, which only some targets are imported with


def main() -> None:
    """Run until an option or a find ends it."""
    target = TARGETS[sys.argv[1]]

    def attempt(data: bytes) -> None:
        target.attempt(data)

    # To reduce a corpus libFuzzer starts itself again, by a shell and what it takes for its name.
    itself = shlex.join([sys.executable, "-m", "tests.fuzz.guided", target.name])
    atheris.Setup([itself, *sys.argv[2:]], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
