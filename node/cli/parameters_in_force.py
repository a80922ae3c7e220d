"""The parameters in force, as enough validators tell them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from gettext import gettext as _
from typing import TYPE_CHECKING, Final

from node.cli.verb import CommandError

if TYPE_CHECKING:
    from node.chain.genesis import Parameters
    from node.cli.network import Network
    from node.rpc.port import Diagnosis

_ASK_MS: Final = 2_000


def read_parameters(network: Network) -> Parameters:
    """Return the parameters in force for the next height, by the word of f + 1 validators.

    One of these at least is correct. Raises `CommandError` where not so many say the same: GC-2205
    where not so many answer, GC-2211 where an epoch begins, or somebody says what is not so.
    """
    from node.rpc.client import HeardDiagnosis

    validators = network.validators
    answers = network.ask(lambda client: client.diagnoses(_ASK_MS))
    heard = {
        each.validator_id: answer.diagnosis
        for each in validators.validators
        if isinstance(answer := answers.get(each.validator_id), HeardDiagnosis)
    }
    said = [each.parameters for each in heard.values() if each.epoch == validators.epoch]
    needed = validators.faults + 1
    for each in said:
        if said.count(each) >= needed:
            return each
    if len(heard) < needed:
        message = _("{needed} validators have to say the same of the parameters, {count} answer")
        raise CommandError("GC-2205", message.format(needed=needed, count=len(heard)))
    message = _("{needed} validators have to say the same of epoch {epoch}; {answers}")
    answered = _tell_apart(heard)
    raise CommandError(
        "GC-2211", message.format(needed=needed, epoch=validators.epoch, answers=answered)
    )


def _tell_apart(heard: Mapping[str, Diagnosis]) -> str:
    """Return who says what, of the parameters those alone in which they differ."""
    values = {name: asdict(said.parameters) for name, said in heard.items()}
    names = next(iter(values.values()))
    differing = [name for name in names if len({each[name] for each in values.values()}) > 1]
    told = [
        ", ".join((f"epoch {said.epoch}", *(f"{each} {values[name][each]}" for each in differing)))
        for name, said in heard.items()
    ]
    return "; ".join(f"{name}: {said}" for name, said in zip(heard, told, strict=True))
