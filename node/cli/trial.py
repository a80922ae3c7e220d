"""A transaction tried before it is handed in: what its operations would come to, and by which rule.

The state is the newest, as f + 1 validators say it alike and as is proved of references and
documents; or that after an earlier block, made again from the blocks, as nobody keeps it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from gettext import gettext as _
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from node.chain.admission import AdmissionCode
from node.chain.block import CertifiedBlock, ResultCode
from node.chain.epoch import Epoch
from node.chain.governance import Governance
from node.chain.record import Notarization
from node.chain.reference import ReferenceName
from node.chain.transaction import Payload, Transaction, TransactionBody, verify_transaction
from node.chain.vault import RegisterKey, Vault, vault_document_key, vault_keys_key
from node.cli.audit_run import BLOCKS_PER_REQUEST, ask_blocks, scratch_database
from node.cli.network import decode_answer
from node.cli.outcomes import explain
from node.cli.proposal import sentences
from node.cli.rights import read_rights
from node.cli.rules import describe_bound, tell_rule
from node.cli.screen import Answer, Screen
from node.cli.standing import ask_standing
from node.cli.vault.chain import VaultDesk
from node.cli.verb import CommandError
from node.errors import ClientError, CryptoError, DecodeError, ProofError
from node.execution.governance import Ground
from node.execution.lifetime import is_within_lifetime
from node.execution.notary import Position
from node.execution.policy import Founding, find_rule, rule_of
from node.execution.registry import epoch_in_force, read_identity
from node.execution.trial import OperationTrial, Trial, try_payload
from node.service.admission import personal_in
from node.service.audit.replay import Replay
from node.timestamp.receipt import iso_time

if TYPE_CHECKING:
    from node.chain.genesis import Identity
    from node.cli.network import Network

_REFERENCES_ASKED_MAX: Final = 64
"""Each is asked of every validator, and proved."""
_SIGNED, _UNSIGNED = b"\x82", b"\x87"
"""How an array of two, and of seven, begins: a transaction, and the body of one."""
_LINES_TOLD_MAX: Final = 20
_PRUNED: Final = "GC-2210"


@dataclass(frozen=True, slots=True)
class Asked:
    """A transaction as it was handed over."""

    body: TransactionBody
    signed: Transaction | None
    """None where it is the body alone, that nobody signed yet."""


@dataclass(frozen=True, slots=True)
class Standpoint:
    """The state that a transaction is tried on, as if it were in the next block."""

    at: Position
    """Where it would land. T is the least there could be; of the newest state now, if later."""
    read: Callable[[bytes], bytes | None]
    ground: Ground
    is_newest: bool


def is_transaction(data: bytes) -> bool:
    """Say whether a file begins as a transaction, or as the body of one."""
    return data[:1] in (_SIGNED, _UNSIGNED)


def try_transaction(
    screen: Screen, network: Network, name: str, data: bytes, *, height: int | None, scratch: Path
) -> Answer:
    """Try a transaction on the newest state, or on that after a block; say what comes of it.

    There is room in `scratch` for a second ledger up to that block.

    Raises `CommandError` for what is none, or where the state is not to be had.
    """
    asked = _read(network, name, data)
    if height is None:
        return _answer(screen, network, asked, _newest(network, asked.body))
    with _after(screen, network, height, scratch) as then:
        return _answer(screen, network, asked, then)


def _read(network: Network, name: str, data: bytes) -> Asked:
    try:
        if data[:1] == _UNSIGNED:
            return Asked(TransactionBody.decode(data), None)
        signed = Transaction.decode(data, network.suite)
    except DecodeError as error:
        fix = _("name a proposal, or a transaction in CBOR: signed, or its body alone")
        raise CommandError("GC-1001", f"{name}: {error}", fix) from error
    return Asked(signed.body, signed)


# ---------------------------------------------------------------------- states


def _newest(network: Network, body: TransactionBody) -> Standpoint:
    """Return the newest state, as far as such a transaction is judged on it."""
    rights = read_rights(network)
    status = network.ask(lambda client: client.status())
    time_ms = status.reckoned_ms(time.time_ns() // 1_000_000)
    asking = _questions(network, body, [each.organisation_id for each in rights.organisations()])

    def read(key: bytes) -> bytes | None:
        return asking[key]() if key in asking else rights.read(key)

    epoch = Epoch(network.profile.chain_id, network.validators, rights.parameters)
    return Standpoint(
        Position(status.height + 1, time_ms, 0), read, ground_of(network, epoch), is_newest=True
    )


def _questions(
    network: Network, body: TransactionBody, organisations: list[str]
) -> Mapping[bytes, Callable[[], bytes | None]]:
    """Return by state key how to learn, proved, what no list of rights holds."""
    payload, desk = body.payload, VaultDesk(network)

    def standing(name: ReferenceName) -> bytes | None:
        anchor = network.follow(network.validators.epoch)
        _proof, verdict = ask_standing(network, name, anchor)
        attested = verdict.attestation
        return None if attested is None or not attested.status else attested.status.encode()

    def document(document_id: bytes) -> bytes | None:
        known = network.ask(lambda client: desk.document(client, document_id))
        return None if known is None else known.document.encode()

    def keys(organisation: str) -> bytes | None:
        return desk.keys_of(organisation).encode()

    if isinstance(payload, Notarization):
        references = dict.fromkeys(each for each in payload.references or () if each is not None)
        if len(references) > _REFERENCES_ASKED_MAX:
            message = _("{count} references: at most {most} can be asked for at a time")
            told = message.format(count=len(references), most=_REFERENCES_ASKED_MAX)
            raise CommandError("GC-2303", told, _("try it at a height: --at-height"))
        names = [ReferenceName(body.sender, payload.type_code, each) for each in references]
        return {name.key: partial(standing, name) for name in names}
    if isinstance(payload, Vault):
        found: dict[bytes, Callable[[], bytes | None]] = {
            vault_keys_key(each): partial(keys, each) for each in organisations
        }
        if not isinstance(payload.operation, RegisterKey):
            document_id = payload.operation.document_id
            found[vault_document_key(document_id)] = partial(document, document_id)
        return found
    return {}


@contextmanager
def _after(screen: Screen, network: Network, height: int, scratch: Path) -> Iterator[Standpoint]:
    """Make the state after a block again: every block up to it is fetched, checked and executed."""

    def read(data: bytes) -> CertifiedBlock:
        return CertifiedBlock.decode(data, network.suite)

    with (
        scratch_database(scratch) as empty,
        ThreadPoolExecutor(1) as workers,
        screen.progress(_("executing again"), height) as advance,
    ):
        replay = Replay(network.genesis, empty, workers)
        try:
            for start in range(1, height + 1, BLOCKS_PER_REQUEST):
                heights = range(start, min(start + BLOCKS_PER_REQUEST, height + 1))
                for each, block in zip(
                    heights, network.ask(partial(ask_blocks, heights=heights)), strict=True
                ):
                    replay.take(each, decode_answer(read, block))
                    advance(1)
        except ClientError as error:
            if error.code != _PRUNED:
                raise
            message = _(
                "the state after block {height} is not kept any more: nodes keep the newest, and "
                "no validator asked has all blocks still that would make it again"
            )
            fix = _("try it on the newest state, or ask a validator that prunes nothing: --profile")
            raise CommandError(_PRUNED, message.format(height=height), fix) from error
        except ProofError as error:
            raise CommandError("GC-2305", str(error)) from error
        state = replay.state
        at = Position(height + 1, state.header.time_ms + 1, state.log_frontier.size + 1)
        epoch = epoch_in_force(state, network.suite)
        yield Standpoint(at, state.get, ground_of(network, epoch), is_newest=False)


def ground_of(network: Network, epoch: Epoch) -> Ground:
    """Return what governed operations are judged on; statements of headers are not gathered yet."""
    return Ground(
        epoch=epoch,
        tx_id=bytes(32),
        founding=Founding.of(network.genesis),
        next_epoch=None,
        digest_at=lambda _height: None,
    )


# ---------------------------------------------------------------------- verdicts


def _answer(screen: Screen, network: Network, asked: Asked, on: Standpoint) -> Answer:
    body = asked.body
    state = _("{sender} asks for {kind}; tried after block {height}, at {time}")
    screen.line(
        state.format(
            sender=body.sender,
            kind=body.kind.name.lower(),
            height=on.at.height - 1,
            time=iso_time(on.at.time_ms),
        )
    )
    sender = read_identity(on.read, body.sender)
    refusal = _why_refused(network, asked, sender, on)
    facts: dict[str, Any] = {
        "height": on.at.height - 1,
        "time_ms": on.at.time_ms,
        "sender": body.sender,
        "kind": body.kind.name.lower(),
        "is_signed": asked.signed is not None,
        "admission": AdmissionCode.ACCEPTED.name if refusal is None else refusal[0].name,
        "admission_message": None if refusal is None else refusal[1],
    }
    if refusal is not None:
        screen.line(f"{refusal[0].name}: {refusal[1]}", style="yellow")
    if sender is None:
        return Answer({**facts, "outcome": None, "operation": 0, "operations": []})
    trial = try_payload(body.payload, sender, on.at, on.read, on.ground)
    rules = dict.fromkeys(name for each in trial.operations for name in each.rules)
    _tell(screen, body.payload, trial, on)
    return Answer(
        {
            **facts,
            "outcome": trial.code.name,
            "operation": trial.operation_index,
            "operations": [
                {"outcome": each.code.name, "rules": [*each.rules]} for each in trial.operations
            ],
            "rules": {
                name: describe_bound(
                    name, rule_of(on.read, name), is_default=find_rule(on.read, name) is None
                )
                for name in rules
            },
        }
    )


def _why_refused(
    network: Network, asked: Asked, sender: Identity | None, on: Standpoint
) -> tuple[AdmissionCode, str] | None:
    """Return why no validator would take it in, as far as the state tells; None where all would."""
    body, chain_id = asked.body, network.profile.chain_id
    if body.chain_id != chain_id:
        said = _("it is for chain {got}, this is {expected}")
        told = said.format(got=body.chain_id.hex(), expected=chain_id.hex())
        return AdmissionCode.WRONG_CHAIN, told
    if on.is_newest and not is_within_lifetime(body.not_after_ms, on.at.time_ms):
        is_over = body.not_after_ms < on.at.time_ms
        code = AdmissionCode.EXPIRED if is_over else AdmissionCode.TOO_FAR_AHEAD
        said = _("it is good until {time}, at most ten minutes ahead")
        return code, said.format(time=iso_time(body.not_after_ms))
    if sender is None:
        said = _("{name} is no identity of this chain")
        return AdmissionCode.UNKNOWN_SENDER, said.format(name=body.sender)
    personal = personal_in(body.payload)
    if personal is not None:
        return personal.code, personal.message
    if asked.signed is not None:
        try:
            verify_transaction(asked.signed, network.suite.load_public_key(sender.public_key))
        except CryptoError as error:
            return AdmissionCode.BAD_SIGNATURE, str(error)
    return None


def _tell(screen: Screen, payload: Payload, trial: Trial, on: Standpoint) -> None:
    """Say what comes of each operation, those alike beside each other in one line."""
    governed = sentences(payload.operations) if isinstance(payload, Governance) else []
    numbered = enumerate(trial.operations)
    groups = [
        (each, [number for number, _trial in alike])
        for each, alike in groupby(numbered, key=lambda pair: (pair[0] if governed else 0, pair[1]))
    ]
    for (_number, each), numbers in groups[:_LINES_TOLD_MAX]:
        told = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
        said = f" {governed[numbers[0]]}" if governed else ""
        screen.line(f"  {told}{said}: {_verdict(each)}", style=_style(each.code))
    if len(groups) > _LINES_TOLD_MAX:
        more = _("{count} more lines: --json has all")
        screen.note(more.format(count=len(groups) - _LINES_TOLD_MAX))
    for name in dict.fromkeys(name for each in trial.operations for name in each.rules):
        decides = _("decided by {name}: {rule}")
        screen.line(decides.format(name=name, rule=tell_rule(name, rule_of(on.read, name))))
    if trial.code is ResultCode.OK:
        screen.line(_("it would be carried out"))
        return
    cause, fix = explain(trial.code)
    whole = _("as a whole it would have no effect: {code}: {cause}")
    screen.line(whole.format(code=trial.code.name, cause=cause), style="yellow")
    screen.line(_("what helps: {fix}").format(fix=fix))


def _verdict(each: OperationTrial) -> str:
    if each.code is ResultCode.OK:
        return _("passes")
    return f"{each.code.name}: {explain(each.code)[0]}"


def _style(code: ResultCode) -> str:
    return "green" if code is ResultCode.OK else "yellow"
