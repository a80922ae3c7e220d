"""`govchain archive`: consecutive blocks as a file: made of a ledger, verified, taken in again."""

from __future__ import annotations

import os
from contextlib import contextmanager
from gettext import gettext as _
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Any

import click

from node.cli.choice import HEIGHT_MAX, validator_home
from node.cli.outputs import OutputFile
from node.cli.screen import Answer, Fault, Screen
from node.cli.token_options import FILE
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.crypto.suite import Suite
    from node.service.archived import ArchiveCheck
    from node.storage.archive import ArchiveReader
    from node.timestamp.trust import TrustAnchor


@click.group("archive", cls=VerbGroup, help=_("Keep blocks in files that prove themselves."))
def archive() -> None:
    """Hold the verbs."""


@archive.command(
    "export",
    help=_(
        "Write blocks of a stopped validator to a file, with all it takes to verify them by the "
        "genesis or a trust file alone. An archive best ends with the last block of an epoch, or "
        "in the newest epoch: retired keys could have made up what comes after."
    ),
)
@validator_home
@click.option(
    "--from",
    "first",
    type=click.IntRange(1, HEIGHT_MAX),
    default=1,
    show_default=True,
    help=_("First block."),
)
@click.option(
    "--to", "last", type=click.IntRange(1, HEIGHT_MAX), help=_("Last block, if not the newest.")
)
@click.option("--out", "path", type=OutputFile(), required=True, help=_("File to write."))
@verb("archive export")
def export(screen: Screen, *, home: Path, first: int, last: int | None, path: Path) -> Answer:
    """Write an archive."""
    from node.assembly import open_ledger_at_rest
    from node.cli.network import read_genesis
    from node.config import NodeConfig
    from node.operations.topology import GENESIS_FILE
    from node.service.archived import blocks_of, head_of
    from node.storage.archive import write_archive

    config = NodeConfig.load(home)
    genesis = read_genesis(config.home / GENESIS_FILE)
    with open_ledger_at_rest(config, genesis) as (_database, ledger):
        last = ledger.tip_height if last is None else last
        if not first <= last <= ledger.tip_height:
            message = _("--from {first} --to {last}: the newest block is {tip}")
            said = message.format(first=first, last=last, tip=ledger.tip_height)
            raise click.UsageError(said)
        head = head_of(ledger, genesis, first, last)
        count = last - first + 1
        with screen.progress(_("writing"), count) as advance, _written(path) as file:

            def told() -> Iterator[tuple[bytes, bytes]]:
                for values in blocks_of(ledger, first, last):
                    yield values
                    advance(1)

            write_archive(file, head, told(), genesis.suite)
    size = path.stat().st_size
    said = _("{count} blocks written to {path}, {size} bytes")
    screen.line(said.format(count=count, path=path, size=f"{size:,}"))
    return Answer({"archive": str(path), "first": first, "last": last, "bytes": size})


@archive.command(
    "verify",
    help=_(
        "Verify an archive offline, every block of it: certificates, transactions, results and "
        "records, and the log that they make."
    ),
)
@click.argument("path", metavar="ARCHIVE", type=FILE)
@click.option("--trust", "trust_path", type=FILE, required=True, help=_("Trust file of the chain."))
@verb("archive verify")
def verify(screen: Screen, *, path: Path, trust_path: Path) -> Answer:
    """Verify an archive."""
    from node.cli.trust_file import load_anchor
    from node.errors import ProofError

    _expect_archive(path)
    facts: dict[str, Any] = {"archive": str(path)}
    try:
        check = _check(screen, path, load_anchor(trust_path))
    except ProofError as error:
        fix = _("it was changed, or is of another chain: get it from elsewhere")
        return Answer({**facts, "rule": error.rule}, Fault("GC-2309", str(error), fix))
    facts |= _tell(screen, check)
    if not check.is_rooted:
        cause = _("its newest block is of an epoch whose keys have retired")
        fix = _("have it end with a block that the trust file pins, or use an older trust file")
        return Answer(facts, Fault("GC-2310", cause, fix))
    screen.line(_("VERIFIED"), style="green")
    return Answer(facts)


@archive.command(
    "import",
    help=_(
        "Give a stopped validator what its ledger lacks of the blocks in an archive: pruned, or "
        "from before the snapshot that it began with. All of the archive is verified first."
    ),
)
@click.argument("path", metavar="ARCHIVE", type=FILE)
@validator_home
@verb("archive import")
def import_archive(screen: Screen, *, path: Path, home: Path) -> Answer:
    """Take an archive in."""
    from node.assembly import open_ledger_at_rest
    from node.cli.network import read_genesis
    from node.config import NodeConfig
    from node.errors import ProofError
    from node.operations.topology import GENESIS_FILE
    from node.service.archived import anchor_of, take_in

    _expect_archive(path)
    config = NodeConfig.load(home)
    genesis = read_genesis(config.home / GENESIS_FILE)
    facts: dict[str, Any] = {"archive": str(path), "validator": config.validator_id}
    with open_ledger_at_rest(config, genesis) as (_database, ledger):
        try:
            check = _check(screen, path, anchor_of(ledger, genesis))
            if not check.is_rooted:
                cause = _("its newest block is of an epoch whose keys have retired")
                fix = _("take one that ends with the last block of an epoch")
                return Answer(facts, Fault("GC-2310", cause, fix))
            with _opened(path, genesis.suite) as reader:
                count = reader.head.last - reader.head.first + 1
                with screen.progress(_("importing"), count) as advance:
                    taken = take_in(ledger, reader.blocks(), genesis.suite, advance)
        except ProofError as error:
            fix = _("take an archive of this chain that reaches up to what is held here")
            return Answer({**facts, "rule": error.rule}, Fault("GC-2309", str(error), fix))
        facts |= {"blocks": taken, "pruned_below": ledger.pruned_below}
    screen.line(_("{count} blocks taken in").format(count=taken))
    return Answer(facts)


def _check(screen: Screen, path: Path, trust: TrustAnchor) -> ArchiveCheck:
    """Return a check that all blocks of an archive have passed; raises `ProofError`."""
    from node.service.archived import ArchiveCheck

    with _opened(path, trust.suite) as reader:
        check = ArchiveCheck(reader.head, trust)
        count = reader.head.last - reader.head.first + 1
        with screen.progress(_("verifying"), count) as advance:
            for block in reader.blocks():
                check.take(block)
                advance(1)
    return check


def _tell(screen: Screen, check: ArchiveCheck) -> dict[str, Any]:
    """Say what is in an archive."""
    newest = check.newest
    facts = {
        "first": check.first,
        "last": 0 if newest is None else newest.header.height,
        "transactions": check.transactions,
        "records": check.records,
        "header_digest": check.digest.hex(),
        "rooted": check.is_rooted,
    }
    said = _("blocks {first} to {last}: {transactions} transactions, {records} records")
    screen.line(said.format(**facts))
    return facts


def _expect_archive(path: Path) -> None:
    """Raise `CommandError` for a file of another kind; of an archive only the beginning is read."""
    from node.cli.kinds import ARCHIVE, LOOKED_AT_BYTES, kind_of, read_kind

    with _readable(path) as file:
        start = file.read(LOOKED_AT_BYTES)
    if kind_of(start) is not ARCHIVE:
        read_kind(path, ARCHIVE)  # all of it is read to tell what it is


@contextmanager
def _opened(path: Path, suite: Suite) -> Iterator[ArchiveReader]:
    from node.errors import DecodeError
    from node.storage.archive import ArchiveReader

    with _readable(path) as file:
        try:
            yield ArchiveReader(file, suite)
        except DecodeError as error:
            raise CommandError(error.code, f"{path}: {error}") from error


@contextmanager
def _readable(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise CommandError("GC-2301", f"{path}: {error.strerror}") from error


@contextmanager
def _written(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write, which is there only once it is whole."""
    from node.storage.filesystem import sync_path

    try:
        with NamedTemporaryFile(dir=path.parent, delete=False) as file:
            part = Path(file.name)
            try:
                yield file.file
                file.flush()
                os.fsync(file.fileno())  # who has it may prune what is in it
                part.rename(path)
                sync_path(path.parent)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError("GC-2306", f"{path}: {error.strerror}") from error
