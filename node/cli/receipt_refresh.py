"""`govchain receipt refresh`: receipts of retired epochs joined to a block that still counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.outputs import expect_nothing, name_after, write_over
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, Verb, verb

if TYPE_CHECKING:
    from node.cli.network import Network
    from node.timestamp.receipt import Receipt
    from node.timestamp.trust import TrustAnchor
    from node.timestamp.verify import Verdict

_Judge = Callable[[Callable[["TrustAnchor"], "Verdict"]], "Verdict"]
"""Gives the verdict of what verifies by an anchor."""

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    "refresh",
    cls=Verb,
    help=_(
        "Join receipts to the newest block, so that they verify by trust files that pin a later "
        "epoch than theirs: its quorum signed a log that holds their blocks, and the retired keys "
        "no longer matter. Old blocks need not be kept anywhere. Each is verified and written "
        "beside its receipt as .refreshed, which govchain verify takes like the receipt."
    ),
)
@click.argument("paths", type=_FILE, metavar="RECEIPT...", nargs=-1, required=True)
@click.option(
    "--trust",
    "trust_path",
    type=_FILE,
    help=_("Trust file to verify by, instead of what the network's own folder pins."),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Folder to write to. Default: beside each receipt."),
)
@network_options
@verb("receipt refresh")
def refresh(
    screen: Screen,
    *,
    paths: tuple[Path, ...],
    trust_path: Path | None,
    out: Path | None,
    network: NetworkChoice,
) -> Answer:
    """Refresh receipts."""
    from node.cli.trust_file import load_anchor
    from node.cli.verdict import tell_verdict
    from node.cli.wording import describe_verdict, tell_unchecked
    from node.errors import ClientError
    from node.timestamp.refreshed import REFRESHED_SUFFIX

    found = network.open()
    judge: _Judge = (
        partial(found.judge_by, found.pinned)
        if trust_path is None
        else partial(_judge_by, load_anchor(trust_path))
    )
    proofs = _Proofs(found)
    made: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for path in paths:
        target = (out or path.parent) / name_after(path.stem, REFRESHED_SUFFIX)
        try:
            receipt = _read(path)
            if proofs.is_newest(receipt):
                verdict = _verify(receipt.encode(), receipt, judge)
            else:
                data, verdict = _refresh(receipt, proofs, judge)
            facts = {"receipt": str(path), "path": None, **describe_verdict(verdict)}
            made.append(facts)
            if verdict.attestation is None:  # a withdrawal is attested as well
                tell_verdict(screen, str(path), verdict)
                faults += [fault for fault in (_fault_of(verdict),) if fault is not None]
                continue
            if proofs.is_newest(receipt):
                screen.line(_("{path}: nothing to join yet: no block is newer").format(path=path))
                continue
            _write(target, data, receipt)
        except (CommandError, ClientError) as error:  # of this receipt: the others may be sound
            faults.append(error.fault if isinstance(error, CommandError) else Fault.of(error))
            screen.note(faults[-1].sentence)
            continue
        facts["path"] = str(target)
        said = _("{path}: joined to block {height} of epoch {epoch} ({time}); written to {target}")
        joined = proofs.newest(receipt)
        facts["ends_epoch"] = joined.pop("ends_epoch")
        screen.line(said.format(path=path, target=target, **joined))
        if facts["ends_epoch"]:
            screen.note(
                _(
                    "{target}: block {height} ends epoch {epoch}: trust files of the next one will "
                    "not take it; refresh again once that epoch has a block"
                ).format(target=target, height=joined["height"], epoch=joined["epoch"])
            )
        tell_unchecked(screen, verdict.steps)
    return Answer({"refreshed": made}, faults[0] if faults else None)


class _Proofs:
    """What joins blocks to the newest one, asked for once per block."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._by_height: dict[int, bytes] = {}

    @cached_property
    def _newest_height(self) -> int:
        from node.chain.block import Header
        from node.cli.network import decode_answer

        sent = self._network.ask(lambda client: client.certified_header())
        return decode_answer(Header.decode, sent.header).height

    def is_newest(self, receipt: Receipt) -> bool:
        """Tell whether there was no later block when this was asked first."""
        return receipt.block.header.height >= self._newest_height

    def of(self, receipt: Receipt) -> bytes:
        height = receipt.block.header.height
        if height not in self._by_height:
            self._by_height[height] = self._network.ask(
                lambda client: client.consistency_proof(height)
            )
        return self._by_height[height]

    def newest(self, receipt: Receipt) -> dict[str, Any]:
        """Return what to say of the block that a receipt, verified by now, was joined to."""
        from node.timestamp.consistency import ConsistencyProof
        from node.timestamp.history import is_barrier
        from node.timestamp.receipt import iso_time

        block = ConsistencyProof.decode(self.of(receipt)).block
        header = block.header
        return {
            "height": header.height,
            "epoch": header.epoch,
            "time": iso_time(header.time_ms),
            "ends_epoch": is_barrier(block),
        }


def _judge_by(anchor: TrustAnchor, verify: Callable[[TrustAnchor], Verdict]) -> Verdict:
    return verify(anchor)


def _refresh(receipt: Receipt, proofs: _Proofs, judge: _Judge) -> tuple[bytes, Verdict]:
    from node.cli.network import decode_answer
    from node.timestamp.consistency import ConsistencyProof
    from node.timestamp.refreshed import RefreshedReceipt

    joined = decode_answer(ConsistencyProof.decode, proofs.of(receipt))
    data = RefreshedReceipt(receipt, joined).encode()
    return data, _verify(data, receipt, judge)


def _verify(data: bytes, receipt: Receipt, judge: _Judge) -> Verdict:
    """Verify a receipt, joined or not, against the digest that it tells itself."""
    from node.crypto.suite import document_digest_by_id
    from node.timestamp.verify import NamedDigest, verify_receipt

    record = receipt.leaf.record  # the document is not at hand
    digest = NamedDigest(document_digest_by_id(record.digest_algorithm), record.digest)
    return judge(lambda anchor: verify_receipt(data, anchor, digest))


def _read(path: Path) -> Receipt:
    from node.cli.kinds import RECEIPTS, read_kind
    from node.errors import DecodeError, ProofError
    from node.timestamp.opening import open_receipt
    from node.timestamp.steps import NotRootedError

    try:
        return open_receipt(read_kind(path, *RECEIPTS)).receipt
    except (DecodeError, ProofError, NotRootedError) as error:
        fix = _("name a file made by govchain notarize or govchain receipt export")
        raise CommandError("GC-1001", f"{path}: {error}", fix) from error


def _write(target: Path, data: bytes, receipt: Receipt) -> None:
    """Write it where nothing is yet, or what this very receipt was refreshed to before."""
    from node.cli.subjects import read_file
    from node.errors import DecodeError
    from node.timestamp.refreshed import RefreshedReceipt

    try:
        is_own = RefreshedReceipt.decode(read_file(target)).receipt == receipt
    except (CommandError, DecodeError):
        is_own = False
    if not is_own:
        expect_nothing(target)
    write_over(target, data)


def _fault_of(verdict: Verdict) -> Fault | None:
    from node.cli.wording import step_fault
    from node.timestamp.verify import Step

    return step_fault(
        verdict,
        Step.DOCUMENT,
        rooting=_("use the network, or the trust file, of the receipt's chain"),
        refreshing=_(
            "the newest block there is of an earlier epoch than the trust file: ask a validator "
            "that has caught up"
        ),
        matching=_("use the receipt as it was handed out"),
        renewing=_("fetch the receipt again: if it fails too, its block is not on the chain"),
    )
