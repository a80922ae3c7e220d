"""What a round found, told to a person: a table with a column per case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from gettext import gettext as _
from typing import Any, Final

from node.cli.bench.result import Case, Result
from node.cli.remedies import N_
from node.cli.screen import Screen

KINDS: Final = {
    "pressure": N_("pressure"),
    "spike": N_("spike"),
    "stability": N_("stability"),
}

_Find = Callable[[Case], Any]


def label(case: Case) -> str:
    """Return what a case is called, in the user's language."""
    said = [_("{count} validators").format(count=case.settings.get("validators"))]
    kind = str(case.settings.get("kind", ""))
    if kind.startswith("batch-"):
        said.append(_("batches of {count}").format(count=case.settings.get("batch")))
    elif kind.startswith("records-"):
        said.append(_("{count} records each").format(count=case.settings.get("records")))
    elif kind in KINDS:
        said.append(_(KINDS[kind]))
    return ", ".join(said)


def tell(screen: Screen, result: Result) -> None:
    """Say what was found. Rows that no case has a value for are left out."""
    rows = []
    for said, find in _rows(result):
        values = [find(case) for case in result.cases]
        if any(value not in {None, "-"} for value in values):
            rows.append((said, *("-" if value is None else value for value in values)))
    screen.table((_("figure"), *map(label, result.cases)), rows)
    machine = result.machine
    screen.table(
        (_("where"), ""),
        [
            (_("machine"), f"{machine['cores']} x {machine['cpu']}"),
            (_("disk"), f"{machine['file_system']}, fdatasync {machine['fdatasync_ms']} ms"),
            (_("versions"), f"govchain {machine['govchain']}, Python {machine['python']}"),
        ],
    )
    for case in result.cases:
        if not case.load["is_quiet"]:
            said = _("{case}: not measured quietly, other programs used the machine meanwhile")
            screen.note(said.format(case=label(case)))


def _rows(result: Result) -> list[tuple[str, _Find]]:
    names = dict.fromkeys(
        name for case in result.cases for name in case.load["cpu_us_per_transaction"]
    )
    stages = dict.fromkeys(
        name for case in result.cases for name in case.load["stage_cpu_us_per_transaction"]
    )
    return [
        (_("transactions final per second"), _load("transactions_per_s")),
        (_("records final per second"), _records),
        (_("CPU us to fetch and verify a receipt"), _receipts),
        (_("transactions due per second"), lambda case: case.settings["rate_per_s"] or None),
        (_("for how long nothing was final once the primary was killed, ms"), _load("outage_ms")),
        (_("transactions caught up per second"), _load("catch_up", "transactions_per_s")),
        (_("the same against the live rate"), _load("catch_up", "ratio_to_live")),
        (_("all caught up after a start, ms"), _load("catch_up", "whole_after_ms")),
        (_("medians of turns: all / some dead / ratio"), _dead),
        (_("not accepted or not final"), _failures),
        (_("view changes, which no quiet machine has"), lambda c: c.load["view_changes"] or None),
        (_("submit to final, p50 / p95 / p99 ms"), lambda case: _three(case.load["latency"])),
        (
            _("single one on the idle chain, p50 / p95 / p99 ms"),
            lambda case: _three(case.figures.get("idle", {})),
        ),
        *(
            (
                _("CPU us per transaction, {name}").format(name=name),
                _load("cpu_us_per_transaction", name),
            )
            for name in names
        ),
        *(
            (
                _("of that, all validators together, stage {name}").format(name=name),
                _load("stage_cpu_us_per_transaction", name),
            )
            for name in stages
        ),
        (_("blocks per second"), _load("blocks_per_s")),
        (_("transactions per block"), _load("transactions_per_block")),
        (_("messages between validators per block"), _load("messages_per_block")),
        (_("frames they came in"), _load("frames_per_block")),
        (_("signatures of validators per block"), _load("signatures_per_block")),
        (_("vote checks per block"), _load("vote_checks_per_block")),
        (
            _("CPU ms per block of core, messages and votes, all validators"),
            _load("consensus_cpu_ms_per_block"),
        ),
        (_("syncs of the logs per block"), _load("log_fsyncs_per_block")),
        (
            _("bytes on disk per record and validator"),
            lambda case: case.figures.get("disk", {}).get("ledger_bytes_per_record"),
        ),
        (_("most memory of one validator, MiB"), _load("memory_mib", "most")),
        (_("most growth of it, percent"), _load("memory_mib", "growth_percent")),
        (
            _("CPU us per transaction to sign it, in advance"),
            lambda case: case.figures.get("signing", {}).get("us_per_transaction"),
        ),
        (
            _("cores used by it / by others"),
            lambda c: f"{c.load['cpu_cores_used']} / {c.load['cpu_cores_used_by_others']}",
        ),
        (
            _("quiet seconds of a run / of all its seconds"),
            lambda case: f"{case.load['quiet_s']:g} / {case.load['window_s']:g}",
        ),
        (_("runs counted"), _load("runs_counted")),
    ]


def _load(*path: str) -> _Find:
    def find(case: Case) -> Any:  # noqa: ANN401 - JSON
        value: Any = case.load
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return find


def _records(case: Case) -> float | None:
    found: float | None = case.load.get("records_per_s")
    return found if case.settings.get("records", 1) > 1 else None


def _receipts(case: Case) -> float | None:
    found: float | None = case.figures.get("receipts", {}).get("cpu_us_each")
    return found


def _failures(case: Case) -> str | None:
    failures = case.load["failures"]
    return ", ".join(f"{name} {count}" for name, count in failures.items()) or None


def _dead(case: Case) -> str | None:
    dead = case.figures.get("dead")
    return dead and f"{dead['median_of_all']} / {dead['median']} / {dead['ratio']}"


def _three(percentiles: Mapping[str, Any]) -> str | None:
    if not percentiles:
        return None
    return " / ".join("-" if value is None else str(value) for value in percentiles.values())
