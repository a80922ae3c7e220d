"""Results of a round as they are measured, without measuring: for tests of what is made of them."""

from __future__ import annotations

from node.cli.bench.figures import Sample, summarise
from node.cli.bench.result import Case, Result, make_case
from tests.unit.cli.bench.test_figures import window


def case(validators: int = 4, *, per_second: int = 100, others_cores: float = 0.0) -> Case:
    """Return a case of two runs of six seconds, so many transactions final in each."""
    samples = [Sample(100.5 + second, 20.0, per_second, "final") for second in range(6)]
    runs = [summarise(window(samples, [others_cores] * 6)) for _run in range(2)]
    settings = {"validators": validators, "kind": "", "batch": 100, "rate_per_s": 0.0}
    return make_case(f"{validators}", settings, runs, {"idle": {"p50_ms": 12.5}})


def result(*cases: Case, cpu: str = "<b>a & b</b>", seed: int = 1) -> Result:
    """Return the result of a saturation."""
    machine = {
        "cpu": cpu,
        "cores": 2,
        "memory_gib": 8.0,
        "file_system": "ext4",
        "fdatasync_ms": 1.0,
        "python": "3.11.7",
        "govchain": "0.1.0",
        "commit": None,
        "packages": {"grpcio": "1.85.1"},
    }
    return Result(
        round="saturate", machine=machine, settings={"seed": seed, "runs": 2}, cases=[*cases]
    )
