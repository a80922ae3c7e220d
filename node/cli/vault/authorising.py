"""Data authorisation from the command line: terms ordered, uses recorded and found again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import Any

from node.chain.authorisation import (
    AUTHORISED_FIELD_BYTES_MAX,
    AUTHORISED_FIELDS_MAX,
    PURPOSE_BYTES_MAX,
    Terms,
)
from node.chain.block import ResultCode
from node.chain.vault import Authorise, Use, Vault, VaultGrant
from node.cli.notarize import check_text
from node.cli.vault.chain import Known, VaultDesk
from node.cli.vault.content import upload_wraps
from node.cli.vault.moving import reading_of
from node.cli.verb import CommandError
from node.client.blocks import BlockReader, ProvedBlock
from node.rpc.client import LedgerClient
from node.timestamp.receipt import iso_time


@dataclass(frozen=True, slots=True)
class FoundUse:
    """One use, proved by the block that holds it."""

    identity: str
    height: int
    time_ms: int
    tx_id: bytes
    previous_height: int

    @property
    def time(self) -> str:
        """Return T of its block, as it is printed."""
        return iso_time(self.time_ms)

    def to_json(self) -> dict[str, Any]:
        """Return its members."""
        return {
            "identity": self.identity,
            "height": self.height,
            "time": self.time,
            "transaction": self.tx_id.hex(),
        }


def read_terms(purpose: str, until: str, basis: Path | None, fields: Sequence[str]) -> Terms:
    """Return the terms that options say; wrong usage, or `CommandError`, for what cannot be."""
    import click

    from node.cli.inputs import hash_one
    from node.cli.subjects import read_time_ms
    from node.client.recording import DIGEST

    check_text("--purpose", purpose, PURPOSE_BYTES_MAX)
    for field in fields:
        check_text("--field", field, AUTHORISED_FIELD_BYTES_MAX)
    if len(fields) > AUTHORISED_FIELDS_MAX:
        most = AUTHORISED_FIELDS_MAX
        raise click.UsageError(_("--field: {most} at most").format(most=most))
    end_ms = read_time_ms(until)
    if end_ms <= time.time_ns() // 1_000_000:
        raise click.UsageError(_("--until {time}: that is over already").format(time=until))
    digest = None if basis is None else hash_one(str(basis), DIGEST)
    return Terms(purpose=purpose, fields=tuple(fields), not_after_ms=end_ms, basis=digest)


def authorise_document(desk: VaultDesk, document_id: bytes, recipient: str, terms: Terms) -> Known:
    """Wrap the content key for one recipient and order the terms; return the document after it."""
    known, node_id = desk.find_kept(document_id), desk.expect_own_node()
    keys = desk.recipients([recipient])
    if len(keys) != 1:
        said = _("{name}: {count} identities have a key: name one, as ORGANISATION:IDENTITY")
        raise CommandError("GC-2606", said.format(name=recipient, count=len(keys)))
    reading = reading_of(desk, known)

    async def run() -> int:
        async with desk.network.client() as client:
            sealing = reading.sealing(await reading.secret(client))
            (wrap,) = await upload_wraps(client, node_id, sealing, keys)
            order = Authorise(document_id, known.document.version, wrap, terms)
            return (await desk.submit(client, order)).height

    return desk.find(document_id, asyncio.run(run()))


# --- Uses, found again ---


def find_uses(desk: VaultDesk, document_id: bytes) -> list[FoundUse]:
    """Return the uses of a document by who is authorised now, each proved by its block, in order.

    The state names the newest of each, and each names the one before: none can be left out. Raises
    `CommandError` where what a validator gives does not hold that chain together.
    """
    known = desk.find(document_id)
    grants = [grant for grant in known.document.grants if grant.authorised is not None]

    async def run() -> list[FoundUse]:
        async with desk.network.client() as client:
            found: list[FoundUse] = []
            for grant in grants:
                found += await _uses_of(desk, client, document_id, grant)
            return found

    return sorted(asyncio.run(run()), key=lambda each: each.height)


async def _uses_of(
    desk: VaultDesk, client: LedgerClient, document_id: bytes, grant: VaultGrant
) -> list[FoundUse]:
    if grant.authorised is None:
        return []
    reader, uses = BlockReader(desk.network, client), grant.authorised.uses
    found: list[FoundUse] = []
    height = uses.height
    while height and len(found) < uses.count:
        block = await reader.read(height)
        here = [*_uses_in(block, document_id, grant.wrap.recipient)]
        if not here:
            said = _("block {height} holds no use of {document} by {identity}")
            told = said.format(
                height=height, document=document_id.hex(), identity=grant.wrap.recipient
            )
            raise CommandError("GC-2305", told)
        found += reversed(here)
        height = here[0].previous_height
    if len(found) != uses.count:
        said = _("{identity}: {count} uses are on chain, and {found} were found")
        told = said.format(identity=grant.wrap.recipient, count=uses.count, found=len(found))
        raise CommandError("GC-2305", told)
    return found


def _uses_in(block: ProvedBlock, document_id: bytes, identity: str) -> Iterator[FoundUse]:
    header = block.certified.header
    for transaction, result in zip(block.certified.transactions, block.results, strict=True):
        body = transaction.body
        if body.sender != identity or result.code is not ResultCode.OK:
            continue
        match body.payload:
            case Vault(Use() as use) if use.document_id == document_id:
                previous, tx_id = use.previous_height, transaction.tx_id
                yield FoundUse(identity, header.height, header.time_ms, tx_id, previous)
