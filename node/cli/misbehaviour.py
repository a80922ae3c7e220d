"""`govchain misbehaviour`: proof that a validator equivocated, shown, and verified offline."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.outputs import OutputFile, write_anew
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.chain.evidence import Evidence
    from node.chain.membership import ValidatorSet
    from node.cli.network import Network
    from node.timestamp.trust import TrustAnchor


@click.group(
    "misbehaviour", cls=VerbGroup, help=_("Proof that validators signed what no correct one can.")
)
def misbehaviour() -> None:
    """Hold the verbs."""


@misbehaviour.command("list", help=_("List every proof that a validator that answers holds."))
@network_options
@verb("misbehaviour list")
def list_all(screen: Screen, *, network: NetworkChoice) -> Answer:
    """List the proofs that the validators hold."""
    found = network.open()
    held, silent = _gather(found)
    rows = [
        {**_describe(found, evidence), "held_by": sorted(holders)} for evidence, holders in held
    ]
    titles = (_("name"), _("validator"), _("organisation"), _("offence"), _("view"), _("block"))
    if rows:
        screen.table(
            (*titles, _("held by")),
            [
                [
                    *(row[key] for key in ("name", "validator", "organisation")),
                    *(row[key] for key in ("offence", "view", "height")),
                    len(row["held_by"]),
                ]
                for row in rows
            ],
        )
    else:
        screen.line(_("no validator that answers holds proof of misbehaviour"))
    for name, why in silent.items():
        screen.note(_("{node} does not answer: {why}").format(node=name, why=why))
    return Answer({"evidence": rows, "silent": sorted(silent)})


@misbehaviour.command("show", help=_("Show one proof; with --out, write it to a file."))
@click.argument("name")
@click.option(
    "--out",
    type=OutputFile(),
    help=_("File to write the proof to, for anybody to verify."),
)
@network_options
@verb("misbehaviour show")
def show(screen: Screen, *, name: str, out: Path | None, network: NetworkChoice) -> Answer:
    """Show one proof."""
    found = network.open()
    held, _silent = _gather(found)
    for evidence, _holders in held:
        facts = _describe(found, evidence)
        if facts["name"] != name:
            continue
        _tell(screen, facts)
        if out is not None:
            write_anew(out, evidence.encode())
            screen.line(_("written to {path}").format(path=out))
        return Answer({"evidence": facts, "file": None if out is None else str(out)})
    raise CommandError(
        "GC-2203",
        _("no validator that answers holds proof {name}").format(name=name),
        _("list what there is: govchain misbehaviour list"),
    )


@misbehaviour.command(
    "verify",
    help=_("Verify a proof offline: 0 if it proves that the validator equivocated, 1 if not."),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--trust",
    "trust_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("Trust file that pins the chain.") + "  [" + _("that of the network") + "]",
)
@network_options
@verb("misbehaviour verify")
def verify(
    screen: Screen, *, file: Path, trust_path: Path | None, network: NetworkChoice
) -> Answer:
    """Verify a proof by what the trust file pins; nothing is connected to."""
    from node.chain.evidence import Evidence
    from node.cli.kinds import MISBEHAVIOUR, read_kind
    from node.cli.trust_file import load_anchor
    from node.errors import PeerError

    anchor: TrustAnchor = network.open().pinned if trust_path is None else load_anchor(trust_path)
    evidence = Evidence.decode(read_kind(file, MISBEHAVIOUR), anchor.suite)
    facts: dict[str, Any] = {"file": str(file), "proven": False}
    if evidence.epoch > anchor.epoch:
        cause = _("it is of epoch {epoch}, the trust file leads to epoch {known}").format(
            epoch=evidence.epoch, known=anchor.epoch
        )
        return Answer(facts, Fault("GC-2310", cause, _("use a newer trust file of this chain")))
    validators = anchor.validator_sets[evidence.epoch]
    try:
        evidence.check(anchor.chain_id, validators)
    except PeerError as error:
        fix = _("accuse nobody by it; get the file again from a validator that holds it")
        return Answer(facts, Fault("GC-2317", f"{file}: {error}", fix))
    facts |= {"proven": True, "evidence": _describe_in(validators, evidence)}
    screen.line(
        _("PROVEN  {validator} {offence}").format(
            validator=facts["evidence"]["validator"],
            offence=_crime(facts["evidence"]["offence"]),
        ),
        style="red",
    )
    _tell(screen, facts["evidence"])
    return Answer(facts)


def _gather(network: Network) -> tuple[list[tuple[Evidence, set[str]]], dict[str, str]]:
    """Return one proof of each offence, with who holds one, and who does not answer and why."""
    from node.chain.evidence import Charge, Evidence
    from node.cli.network import decode_answer
    from node.errors import ClientError, PeerError

    answers = network.ask(lambda client: client.evidence())
    silent = {name: str(said) for name, said in answers.items() if isinstance(said, ClientError)}
    failures = [said for said in answers.values() if isinstance(said, ClientError)]
    if len(failures) == len(answers):
        raise failures[0]
    held: dict[Charge, tuple[Evidence, set[str]]] = {}
    for name, said in answers.items():
        if isinstance(said, ClientError):
            continue
        for encoded in said:
            evidence = decode_answer(lambda data: Evidence.decode(data, network.suite), encoded)
            try:
                evidence.check(network.profile.chain_id, _validators_of(network, evidence))
            except PeerError as error:
                raise CommandError("GC-2305", f"{name}: {error}") from error
            held.setdefault(evidence.charge, (evidence, set()))[1].add(name)
    return [found for _charge, found in sorted(held.items())], silent


def _describe(network: Network, evidence: Evidence) -> dict[str, Any]:
    return _describe_in(_validators_of(network, evidence), evidence)


def _validators_of(network: Network, evidence: Evidence) -> ValidatorSet:
    return network.follow(evidence.epoch).validator_sets[evidence.epoch]


def _describe_in(validators: ValidatorSet, evidence: Evidence) -> dict[str, Any]:
    charge = evidence.charge
    accused = validators.validators[charge.validator]
    offence = charge.offence.name.lower().replace("_", "-")
    return {
        "name": f"{charge.epoch}.{offence}.{accused.validator_id}",
        "validator": accused.validator_id,
        "organisation": accused.organisation,
        "epoch": charge.epoch,
        "offence": offence,
        "view": evidence.view,
        "height": evidence.height,
        "statements": [
            {
                "digest": digest.hex(),
                "time_ms": statement.time_ms,
                "signature": statement.signature.hex(),
            }
            for statement, digest in zip(
                (evidence.first, evidence.second), evidence.digests(validators.suite), strict=True
            )
        ],
    }


def _crime(offence: str) -> str:
    """Say what an offence is."""
    return {
        "prepare": _("signed PREPARE for two blocks in one place"),
        "commit": _("signed COMMIT for two blocks in one place"),
        "view-change": _("signed two VIEW-CHANGEs for one view"),
        "new-view": _("signed two NEW-VIEWs for one view"),
        "checkpoint": _("stated two headers for one height"),
        "false-checkpoint": _("stated a header that is not the certified one of its height"),
    }[offence]


def _tell(screen: Screen, facts: dict[str, Any]) -> None:
    from node.timestamp.receipt import iso_time

    lines: list[tuple[str, object]] = [
        (_("name"), facts["name"]),
        (_("validator"), facts["validator"]),
        (_("organisation"), facts["organisation"]),
        (_("offence"), _crime(facts["offence"])),
        (_("epoch"), facts["epoch"]),
        (_("view"), facts["view"]),
        (_("block"), facts["height"]),
    ]
    for stated in facts["statements"]:
        lines.append((_("digest signed"), stated["digest"]))
        if stated["time_ms"]:
            lines.append((_("signed at"), iso_time(stated["time_ms"])))
        lines.append((_("signature"), stated["signature"] or _("of a quorum")))
    screen.table((_("field"), _("value")), lines)
