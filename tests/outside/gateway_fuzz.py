"""A gateway asked by Schemathesis all that its OpenAPI page allows, and what it does not.

    python -m tests.outside.gateway_fuzz --minutes 30 --seed 1

The gateway is a process of its own, before a chain of real signatures, all on loopback. It must
never answer 5xx, and only what its page says. Its certificate lets every request in: who is refused
without one is for tests/unit/gateway.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.outside.environments import PROGRAMS, python_with
from tests.unit.cli.command import run
from tests.unit.gateway.rig import Rig

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)
HOOKS = "schemathesis_cbor"
PAGE = Path(__file__).parents[2] / "proto" / "openapi.json"


@dataclass(frozen=True)
class Fuzzed:
    """What came of it."""

    code: int
    said: str
    statuses: dict[int, int]
    """How many answers of each status the security log counts."""
    complaints: list[str]
    """What the gateway said of failures of its own."""


def fuzz(folder: Path, *bounds: str, seed: int) -> Fuzzed:
    """Ask a new gateway in `folder`; `bounds` are options of Schemathesis."""
    schemathesis = python_with("schemathesis").parent / "schemathesis"
    rig = Rig(folder)
    app = rig.app("fuzz", seed=2, p256=True)
    assert run("gateway", "app", "add", rig.home, "fuzz", "--per-minute", 60_000).code == 0
    (certificate,) = (rig.home / "applications").glob("*.pem")
    with rig.running():
        command = [
            *(schemathesis, "run", PAGE, "--url", app.url("")),
            *("--request-cert", certificate, "--request-cert-key", folder / "fuzz.key"),
            *("--tls-verify", rig.home / "ca.pem", "--checks", ",".join(CHECKS)),
            *("--exclude-path", "/v1/events"),  # never ends; its parameters have tests of their own
            *("--request-timeout", "60", "--seed", str(seed), "--continue-on-failure"),
            *("--no-color", "--warnings", "off", *bounds),
        ]
        done = subprocess.run(
            [*map(str, command)],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PROGRAMS), "SCHEMATHESIS_HOOKS": HOOKS},
        )
    statuses: dict[int, int] = {}
    for line in rig.log():
        if (status := line.get("status")) is not None:
            statuses[status] = statuses.get(status, 0) + 1
    complaints = [line for line in rig.errors if not line.startswith("listens on port ")]
    return Fuzzed(done.returncode, done.stdout + done.stderr, statuses, complaints)


def main() -> int:
    """Ask for as long as wanted; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    if wanted.minutes < 1:
        parser.error("--minutes: expected at least 1")
    with tempfile.TemporaryDirectory() as folder:
        seconds = str(60 * wanted.minutes)
        found = fuzz(Path(folder), "--max-time", seconds, seed=wanted.seed)
    print(found.said)  # noqa: T201 - a command's answer
    print(f"answers by status: {dict(sorted(found.statuses.items()))}")  # noqa: T201 - as above
    print("\n".join(found.complaints))  # noqa: T201 - as above
    is_sound = not (found.code or found.complaints or any(s >= 500 for s in found.statuses))
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
