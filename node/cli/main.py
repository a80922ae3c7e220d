"""The entry point: a table of verbs, each loaded only when it is used, and how the process ends.

Nothing heavy is imported here, so that `govchain --help` is quick. A new verb is a row of `_VERBS`.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from gettext import gettext as _
from typing import Any, Final

import click

import node
from node.cli.exit_codes import ExitCode
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import PROGRAM


@dataclass(frozen=True, slots=True)
class _Verb:
    """Where a verb lives, and what the list of verbs says of it."""

    module: str
    attribute: str
    summary: str


_VERBS: Final[Mapping[str, _Verb]] = {
    "quickstart": _Verb(
        "node.cli.quickstart",
        "quickstart",
        _("Start a network, notarize files and verify their receipts."),
    ),
    "testnet": _Verb("node.cli.testnet", "testnet", _("A whole network on this machine.")),
    "node": _Verb("node.cli.run_node", "node_group", _("One validator.")),
    "notarize": _Verb("node.cli.notarize", "notarize", _("Record the digests of files.")),
    "watch": _Verb("node.cli.watch", "watch", _("Record the files of a folder as they come.")),
    "supersede": _Verb(
        "node.cli.supersede", "supersede", _("Replace what is in force under a reference.")
    ),
    "withdraw": _Verb(
        "node.cli.withdraw", "withdraw", _("End what is in force under a reference.")
    ),
    "history": _Verb(
        "node.cli.history", "history", _("Show every record under a reference, proved.")
    ),
    "verify": _Verb("node.cli.verify", "verify", _("Verify a document against its receipt.")),
    "timestamp": _Verb(
        "node.cli.timestamp", "timestamp", _("Have the time of a document stamped (RFC 3161).")
    ),
    "vault": _Verb(
        "node.cli.vault.verbs", "vault", _("Keep content sealed for whom it is granted.")
    ),
    "disclose": _Verb(
        "node.cli.disclose.verbs",
        "disclose",
        _("Prove some fields of a record, and show nothing of others."),
    ),
    "watermark": _Verb(
        "node.cli.watermark.verbs",
        "watermark",
        _("Mark copies for whom they are, and find out whose one is."),
    ),
    "evidence": _Verb(
        "node.cli.evidence",
        "evidence",
        _("Keep proof of files alive for decades (RFC 4998)."),
    ),
    "receipt": _Verb("node.cli.receipt", "receipt", _("Show, fetch, export or refresh receipts.")),
    "record": _Verb("node.cli.record", "record", _("Look records up.")),
    "block": _Verb("node.cli.block", "block", _("Look a block up.")),
    "tx": _Verb("node.cli.transaction", "transaction", _("Look a transaction up.")),
    "parameters": _Verb(
        "node.cli.parameters", "parameters", _("What all validators of a chain go by.")
    ),
    "genesis": _Verb(
        "node.cli.genesis", "genesis", _("Found a chain together, each with keys made at home.")
    ),
    "org": _Verb("node.cli.org", "org", _("Organisations of the chain, and their rights.")),
    "identity": _Verb(
        "node.cli.identity", "identity", _("Who may sign on the chain, and their rights.")
    ),
    "policy": _Verb(
        "node.cli.policy", "policy", _("Who may do what, and how many have to approve.")
    ),
    "trust": _Verb("node.cli.trust", "trust", _("What an auditor pins.")),
    "misbehaviour": _Verb(
        "node.cli.misbehaviour",
        "misbehaviour",
        _("Proof that validators signed what no correct one can."),
    ),
    "witness": _Verb(
        "node.cli.witness", "witness", _("Watch a chain's log from outside and cosign it.")
    ),
    "gateway": _Verb(
        "node.cli.gateway", "gateway", _("REST for applications of others, beside gRPC.")
    ),
    "security-log": _Verb(
        "node.cli.security_log", "security_log", _("Verify who did what, allowed or refused.")
    ),
    "anchor": _Verb(
        "node.cli.anchor", "anchor", _("Have authorities outside the chain stamp its checkpoints.")
    ),
    "bench": _Verb("node.cli.bench.verbs", "bench", _("What this machine can do.")),
    "audit": _Verb("node.cli.audit", "audit", _("Check a chain, a ledger, or growth.")),
    "archive": _Verb(
        "node.cli.archive", "archive", _("Keep blocks in files that prove themselves.")
    ),
    "doctor": _Verb("node.cli.doctor", "doctor", _("Find what is wrong with this machine.")),
}


class _Root(click.Group):
    """The command itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs, in the table's order."""
        return [*_VERBS]

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Load one verb."""
        if cmd_name not in _VERBS:
            return None
        row = _VERBS[cmd_name]
        command: click.Command = getattr(importlib.import_module(row.module), row.attribute)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of verbs without loading any."""
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, row.summary) for name, row in _VERBS.items()])

    def format_epilog(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write what the exit codes mean."""
        with formatter.section(_("Exit codes")):
            formatter.write_dl([(str(code.value), code.meaning) for code in ExitCode])

    def main(  # type: ignore[override]  # click has two: one exits, one returns
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's signature
        **extra: Any,  # noqa: ANN401 - click's signature
    ) -> int:
        """Run to the end; exit with the exit code, or return it."""
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(
                arguments, prog_name or PROGRAM, complete_var, standalone_mode=False, **extra
            )
        except click.ClickException as error:
            code = _refuse_usage(error, as_json="--json" in arguments)
        except click.Abort:
            code = ExitCode.INTERRUPTED
        except SystemExit:  # click's way out when nobody reads any more, with 1: not verified
            code = ExitCode.UNREAD
        if standalone_mode:
            sys.exit(code)
        return int(code or 0)


def _refuse_usage(error: click.ClickException, *, as_json: bool) -> ExitCode:
    context = getattr(error, "ctx", None)
    command = PROGRAM if context is None else context.command_path
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        error.show()
        return ExitCode.USAGE
    screen = Screen(command.removeprefix(PROGRAM).strip(), as_json=as_json)
    fix = _("see {command} --help").format(command=command)
    return screen.finish(Answer(fault=Fault("GC-2303", error.format_message(), fix)))


@click.command(
    PROGRAM,
    cls=_Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=_("Notarize documents, agree on time, verify offline."),
)
@click.version_option(node.__version__, "-V", "--version", prog_name=PROGRAM)
def cli() -> None:
    """Do nothing by itself: a verb does."""


def main() -> int:
    """Run the command and return its exit code."""
    from node.operations.process import forbid_dumps

    forbid_dumps()  # any verb may open keys
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a closed one is None
            stream.reconfigure(errors="backslashreplace")  # names of files may be any bytes
    code: int = cli.main(standalone_mode=False)
    return code
