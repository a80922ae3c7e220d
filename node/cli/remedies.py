"""What each stable error code means, how the command ends for it, and what to do: in one table.

The messages of errors say what was expected and what was got, in English, where they are raised.
This table says in the user's language what that amounts to. Codes are never reused.
"""

from __future__ import annotations

from dataclasses import dataclass
from gettext import gettext as _
from typing import Final

from node.cli.exit_codes import ExitCode

DEFECT_CODE: Final = "GC-9001"


@dataclass(frozen=True, slots=True)
class Remedy:
    """One row."""

    exit_code: ExitCode
    summary: str
    fix: str


def remedy_of(code: str) -> Remedy:
    """Return the row of a code; the row of a defect for one that is not known."""
    table = remedies()
    return table.get(code, table[DEFECT_CODE])


def remedies() -> dict[str, Remedy]:
    """Return the table, in the user's language."""
    usage, unavailable = ExitCode.USAGE, ExitCode.UNAVAILABLE
    refused, failed = ExitCode.REFUSED, ExitCode.NOT_VERIFIED
    rows = (
        ("GC-1001", usage, _("data is not in its canonical form"), _("get the file again")),
        ("GC-1002", usage, _("a key or certificate cannot be used"), _("check the key files")),
        ("GC-1003", failed, _("a certificate does not hold"), _("get the data from elsewhere")),
        ("GC-1004", failed, _("a proof does not hold"), _("get the data from elsewhere")),
        ("GC-2001", usage, _("the request cannot be served"), _("correct the request")),
        ("GC-2002", usage, _("a setting cannot be used"), _("correct the named field")),
        ("GC-2101", usage, _("there is no network here"), _("make one: govchain testnet up")),
        (
            "GC-2102",
            usage,
            _("the folder holds something else than a whole network"),
            _("look into it, then remove it, or name another folder with --home"),
        ),
        (
            "GC-2103",
            usage,
            _("the folder cannot be made"),
            _("check the rights and the space where it is to be"),
        ),
        ("GC-2104", usage, _("no free ports"), _("stop what holds the ports, or change --host")),
        (
            "GC-2105",
            usage,
            _("another command is changing this network"),
            _("wait until it has finished, then try again"),
        ),
        (
            "GC-2106",
            unavailable,
            _("too few validators serve"),
            _("mend what the log of the node says, then run again: govchain testnet up"),
        ),
        (
            "GC-2107",
            usage,
            _("the record of a process is damaged"),
            _("stop the node if it runs, then remove its node.pid"),
        ),
        (
            "GC-2108",
            usage,
            _("a validator's folder is not whole"),
            _("restore it from a backup; never start with an empty log under an old key"),
        ),
        (
            "GC-2201",
            refused,
            _("the certificate gives no access"),
            _("use the certificate of a member that is valid now"),
        ),
        (
            "GC-2202",
            usage,
            _("the validators serve another chain"),
            _("use the profile of the chain you mean"),
        ),
        (
            "GC-2203",
            ExitCode.NO_SUCH_RECORD,
            _("there is no such record"),
            _("check what you asked for"),
        ),
        (
            "GC-2204",
            unavailable,
            _("a port is in use"),
            _("stop what holds it; govchain testnet up finds free ports by itself"),
        ),
        (
            "GC-2205",
            unavailable,
            _("no validator answers"),
            _("see that the network runs: govchain testnet status"),
        ),
        ("GC-2206", refused, _("the validators refused it"), _("correct what the message names")),
        (
            "GC-2207",
            ExitCode.NOT_FINAL,
            _("accepted, but not final yet"),
            _("fetch the receipt later: govchain receipt fetch"),
        ),
        ("GC-2301", usage, _("input cannot be read"), _("check the path and its rights")),
        ("GC-2302", ExitCode.SOME_FAILED, _("some items failed"), _("see the items listed")),
        ("GC-2303", usage, _("wrong usage"), _("see --help")),
        ("GC-2304", usage, _("there is nothing to notarize"), _("name at least one file")),
        (
            "GC-2305",
            failed,
            _("a validator gave a receipt that does not verify"),
            _("fetch it from another validator, and look into this one"),
        ),
        (
            "GC-2306",
            usage,
            _("output cannot be written"),
            _("check the rights and the space where it is to be"),
        ),
        (
            "GC-2307",
            refused,
            _("the chain refused it"),
            _("correct what the message names, then submit again"),
        ),
        (
            "GC-2308",
            usage,
            _("the trust file cannot be used"),
            _("get it again from someone you trust: govchain trust export makes one"),
        ),
        ("GC-2309", failed, _("not verified"), _("see the step that failed")),
        (
            "GC-2310",
            ExitCode.NOT_ROOTED,
            _("not rooted in the trust file"),
            _("use the trust file of the receipt's chain"),
        ),
        (
            "GC-2311",
            usage,
            _("no secret to open the key"),
            _("set GOVCHAIN_PASSPHRASE, or name a key_file in the settings"),
        ),
        ("GC-2312", failed, _("withdrawn"), _("ask the issuer which record is in force")),
        ("GC-2313", ExitCode.INTERRUPTED, _("interrupted"), _("run it again")),
        ("GC-2315", unavailable, _("the node does not serve"), _("wait, or see what its log says")),
        (
            "GC-2316",
            failed,
            _("a ledger is damaged"),
            _("move the folder data of that validator away and start it: the others rebuild it"),
        ),
        (
            "GC-2317",
            failed,
            _("the evidence proves nothing"),
            _("accuse nobody by it; get the file again from a validator that holds it"),
        ),
        (
            "GC-2318",
            refused,
            _("this network is not to be disturbed"),
            _("disturb only networks that are for trials: govchain testnet up makes one"),
        ),
        (
            "GC-2319",
            failed,
            _("the network did not do what was expected"),
            _("look into it: govchain doctor, and the logs of the validators"),
        ),
        ("GC-3001", unavailable, _("the disk refused"), _("check path, rights and disk")),
        (
            "GC-3002",
            usage,
            _("in use by a running process"),
            _("stop that process, or use another folder and key"),
        ),
        (
            "GC-3003",
            unavailable,
            _("the database is damaged"),
            _("move it away; it is rebuilt from the other validators"),
        ),
        (
            "GC-3004",
            unavailable,
            _("the disk is full"),
            _("free space, then start again; nothing synced is lost"),
        ),
        (
            "GC-3005",
            unavailable,
            _("the log is missing"),
            _("put it back; if it is lost, vote again only under a new key"),
        ),
        (
            "GC-3006",
            unavailable,
            _("the log is damaged"),
            _("keep it for examination; vote again only under a new key"),
        ),
        (
            "GC-3007",
            unavailable,
            _("the log is another validator's"),
            _("point the node at its own folder"),
        ),
        ("GC-3008", usage, _("a log exists already"), _("start the node as it is")),
        (
            "GC-3009",
            unavailable,
            _("the log has another format"),
            _("run the version that wrote it"),
        ),
        (
            "GC-3010",
            unavailable,
            _("the database has another format"),
            _("run the version that wrote it"),
        ),
        (
            "GC-3011",
            unavailable,
            _("the database is another chain's"),
            _("point the node at its own folder"),
        ),
        (DEFECT_CODE, ExitCode.DEFECT, _("a defect of this program"), _("report it, with its log")),
        (
            "GC-9002",
            ExitCode.DEFECT,
            _("the node stopped itself"),
            _("keep its folder and report it, with its log"),
        ),
    )
    return {code: Remedy(exit_code, summary, fix) for code, exit_code, summary, fix in rows}
