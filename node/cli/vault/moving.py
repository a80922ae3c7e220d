"""What the verbs do that move content: put, get, grant, rotate, list."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import aclosing, closing
from gettext import gettext as _
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

from node.chain.encoding import expect_text
from node.chain.vault import (
    DOCUMENT_ID_BYTES,
    VAULT_NAME_BYTES_MAX,
    EncryptionKey,
    Grant,
    Keep,
    Rotate,
    Secret,
    VaultGrant,
)
from node.cli.inputs import open_file
from node.cli.outputs import expect_nothing
from node.cli.screen import Screen
from node.cli.vault.chain import Known, VaultDesk
from node.cli.vault.content import (
    Journal,
    JournalHead,
    Reading,
    Sealing,
    from_thread,
    read_chunks,
    upload,
    upload_wraps,
    write_content,
)
from node.cli.verb import CommandError
from node.crypto.keystore import new_content_key
from node.errors import ClientError, DecodeError
from node.limits import VAULT_DOCUMENT_BYTES_MAX
from node.rpc.vault_client import VaultClient
from node.storage.filesystem import sync_path

_OUTGOING: Final = "vault-outgoing"
_FALLBACK_NAME: Final = "document"


# --- Put ---


def put_file(screen: Screen, desk: VaultDesk, path: Path, names: Sequence[str]) -> Known:
    """Seal a file, have the own node keep it, and order that; go on with what was begun."""
    node_id, own = desk.expect_own_node(), desk.ensure_key()
    keys = _with_own(own, desk.recipients(names))
    try:
        with open_file(path) as file:
            journal, sealing = _begin(screen, desk, path, file, own)
            size_bytes, what = journal.head.size_bytes, _("sealing {path}").format(path=path)
            with closing(journal), screen.progress(what, size_bytes) as advance:

                async def run() -> int:
                    async with desk.network.client() as client:
                        chunk_ids = await upload(
                            client,
                            node_id,
                            sealing,
                            from_thread(read_chunks(file, size_bytes)),
                            size_bytes,
                            note=journal.note,
                            advance=advance,
                        )
                        content = sealing.content(chunk_ids, size_bytes)
                        known = await desk.document(client, sealing.document_id)
                        if known is not None and known.document.content == content:
                            return known.document.height  # ordered by the run that was stopped
                        wraps = await upload_wraps(client, node_id, sealing, keys)
                        order = Keep(sealing.document_id, content, wraps)
                        return (await desk.submit(client, order)).height

                height = asyncio.run(run())
    except OSError as error:
        raise CommandError("GC-2302", f"{path}: {error.strerror}") from error
    journal.end()
    return desk.find(sealing.document_id, height)


def _begin(
    screen: Screen, desk: VaultDesk, path: Path, file: IO[bytes], own: EncryptionKey
) -> tuple[Journal, Sealing]:
    """Return the journal of a put that was stopped, with its key; else begin one."""
    there = os.fstat(file.fileno())
    source = str(path.resolve())
    name = sha256(os.fsencode(source)).hexdigest()
    where = desk.network.credentials / _OUTGOING / f"{name}.put"
    chain_id, suite = desk.network.profile.chain_id, desk.network.suite
    journal = Journal.read(where)
    if journal is not None:
        head = journal.head
        if (head.source, head.size_bytes, head.modified_ns) == (
            source,
            there.st_size,
            there.st_mtime_ns,
        ):
            secret = _own_secret(desk, head)
            screen.note(_("going on with what an earlier run began to put"))
            return journal, Sealing(chain_id, suite, head.document_id, 1, secret)
    where.unlink(missing_ok=True)
    secret = Secret(new_content_key(suite), _name_of(path))
    sealing = Sealing(chain_id, suite, secrets.token_bytes(DOCUMENT_ID_BYTES), 1, secret)
    _wrap, wrapped = sealing.wrap_for(own)
    if there.st_size > VAULT_DOCUMENT_BYTES_MAX:
        said = _("{path}: more than {most} bytes").format(path=path, most=VAULT_DOCUMENT_BYTES_MAX)
        raise CommandError("GC-2302", said, _("put it in parts"))
    head = JournalHead(
        source=source,
        size_bytes=there.st_size,
        modified_ns=there.st_mtime_ns,
        document_id=sealing.document_id,
        key_number=own.number,
        wrapped=wrapped,
    )
    return Journal.begin(where, head), sealing


def _own_secret(desk: VaultDesk, head: JournalHead) -> Secret:
    from node.chain.vault import wrap_context

    network = desk.network
    info = wrap_context(
        network.profile.chain_id, head.document_id, 1, network.identity, head.key_number
    )
    plain = desk.opener(head.key_number).unwrap(head.wrapped, info)
    return Secret.decode(plain, network.suite.aead.key_size)


def _name_of(path: Path) -> str:
    """Return the name of a file as it can be kept; empty where it is no printable text."""
    try:
        return expect_text(path.name, "name", size_max=VAULT_NAME_BYTES_MAX)
    except (DecodeError, UnicodeEncodeError):
        return ""


def name_to_write(given: str) -> str:
    """Return what to call a document here, by the name that whoever put it gave.

    That is not ours to trust: it leads into no other folder, and nothing is hidden, as shells and
    others read files that begin with a dot without being asked.
    """
    return Path(given).name.lstrip(".") or _FALLBACK_NAME


def _with_own(own: EncryptionKey, keys: Sequence[EncryptionKey]) -> list[EncryptionKey]:
    """Return the keys to wrap for, who asks among them: else nobody could grant it later."""
    others = [key for key in keys if key.identity_id != own.identity_id]
    return [own, *others]


# --- Get ---


def get_file(
    screen: Screen, desk: VaultDesk, document_id: bytes, path: Path | None
) -> tuple[Known, Path]:
    """Fetch a document and open it; return where it was written."""
    known = desk.find_kept(document_id)
    grant = expect_grant(desk, known)
    if grant.authorised is not None:
        expect_in_force(known, grant)
        known = desk.record_use(known, grant.authorised)
    reading = reading_of(desk, known)
    target = path

    async def run(part: Path, secret: Secret) -> None:
        with screen.progress(_("opening"), reading.content.size_bytes) as advance:
            async with desk.network.client() as client:
                await write_content(client, reading, secret, part, advance)

    secret = _secret_of(desk, reading)
    if target is None:
        target = Path(name_to_write(secret.name))
        expect_nothing(target)
    mark = f"{document_id.hex()[:8]}.v{known.document.version}"
    part = target.with_name(f".{target.name[:128]}.{mark}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        asyncio.run(run(part, secret))
        expect_nothing(target)
        part.rename(target)
        sync_path(target.parent)
    except OSError as error:
        raise CommandError("GC-2306", f"{target}: {error.strerror}") from error
    return known, target


def reading_of(desk: VaultDesk, known: Known) -> Reading:
    """Return a document as this identity may open it; raises `CommandError` where it may not."""
    grant = expect_grant(desk, known)
    return Reading(
        chain_id=desk.network.profile.chain_id,
        suite=desk.network.suite,
        document_id=known.document_id,
        document=known.document,
        grant=grant,
        opener=desk.opener(grant.wrap.key_number),
        nodes=desk.nodes_for(known.document),
    )


def expect_grant(desk: VaultDesk, known: Known) -> VaultGrant:
    """Return the own grant; raises `CommandError` where there is none."""
    grant = known.document.grant_of(desk.network.identity)
    if grant is None:
        said = _("{document} is not granted to {identity}").format(
            document=known.document_id.hex(), identity=desk.network.identity
        )
        raise CommandError("GC-2605", said)
    return grant


def expect_in_force(known: Known, grant: VaultGrant) -> None:
    """Raise `CommandError` where the terms of a grant are over: nodes would refuse it."""
    now_ms = max(known.proved.time_ms, time.time_ns() // 1_000_000)
    if grant.authorised is not None and grant.is_over(now_ms):
        from node.timestamp.receipt import iso_time

        terms = grant.authorised.terms
        said = _("{document}: authorised until {end}, and that is over")
        told = said.format(document=known.document_id.hex(), end=iso_time(terms.not_after_ms))
        raise CommandError("GC-2613", told)


def _secret_of(desk: VaultDesk, reading: Reading) -> Secret:
    return desk.network.ask(reading.secret)


# --- Grant and rotate ---


def grant_document(desk: VaultDesk, document_id: bytes, names: Sequence[str]) -> tuple[Known, int]:
    """Wrap the content key for more recipients and order the grant; return its block's height."""
    known = desk.find_kept(document_id)
    node_id, keys = desk.expect_own_node(), desk.recipients(names)
    reading = reading_of(desk, known)

    async def run() -> int:
        async with desk.network.client() as client:
            sealing = reading.sealing(await reading.secret(client))
            wraps = await upload_wraps(client, node_id, sealing, keys)
            order = Grant(document_id, known.document.version, wraps)
            return (await desk.submit(client, order)).height

    return known, asyncio.run(run())


def rotate_document(
    screen: Screen, desk: VaultDesk, known: Known, path: Path | None, gone: Sequence[str]
) -> int:
    """Seal a document anew for its recipients, less `gone` and who lost its rights.

    Returns the height of its block.
    """
    node_id, own = desk.expect_own_node(), desk.ensure_key()
    left = [
        each
        for each in known.document.grants
        if each.wrap.recipient not in gone
        and not each.is_over(known.proved.time_ms)
        and desk.has_rights(each.wrap.recipient)
    ]
    keys = _with_own(
        own, desk.recipients([f"{each.organisation}:{each.wrap.recipient}" for each in left])
    )
    reading = reading_of(desk, known)
    suite = desk.network.suite

    async def run(file: IO[bytes] | None) -> int:
        async with desk.network.client() as client:
            old = await reading.secret(client)
            name = old.name if path is None else _name_of(path)
            sealing = Sealing(
                desk.network.profile.chain_id,
                suite,
                known.document_id,
                known.document.version + 1,
                Secret(new_content_key(suite), name),
            )
            if file is None:
                size_bytes = reading.content.size_bytes
                ids = await reading.chunk_ids(client)
                chunks = reading.chunks(client, reading.sealing(old).cipher, ids)
            else:
                size_bytes = os.fstat(file.fileno()).st_size
                chunks = from_thread(read_chunks(file, size_bytes))
            with screen.progress(_("sealing anew"), size_bytes) as advance:
                async with aclosing(chunks):
                    chunk_ids = await upload(
                        client,
                        node_id,
                        sealing,
                        chunks,
                        size_bytes,
                        note=lambda _index, _ids: None,  # of a key that no later run goes on with
                        advance=advance,
                    )
            wraps = await upload_wraps(client, node_id, sealing, keys)
            content = sealing.content(chunk_ids, size_bytes)
            order = Rotate(known.document_id, sealing.version, content, wraps)
            return (await desk.submit(client, order)).height

    if path is None:
        return asyncio.run(run(None))
    try:
        with open_file(path) as file:
            return asyncio.run(run(file))
    except OSError as error:
        raise CommandError("GC-2302", f"{path}: {error.strerror}") from error


# --- List ---


def find_documents(screen: Screen, desk: VaultDesk) -> tuple[list[Known], list[bytes]]:
    """Return the documents that concern this identity, proved, and those that could not be."""
    nodes = desk.nodes
    proved: list[Known] = []
    unproved: list[bytes] = []

    async def run() -> None:
        async with desk.network.client() as client:
            ids = await _document_ids(nodes, VaultClient(client))
            with screen.progress(_("proving"), len(ids)) as advance:
                for document_id in ids:
                    known = await desk.document(client, document_id)
                    if known is None:
                        unproved.append(document_id)
                    else:
                        proved.append(known)
                    advance(1)

    asyncio.run(run())
    return proved, unproved


async def _document_ids(nodes: Sequence[str], vault: VaultClient) -> list[bytes]:
    failure: ClientError | None = None
    for node_id in nodes:
        try:
            return await vault.documents(node_id)
        except ClientError as error:
            failure = error
    raise failure or CommandError("GC-2205", _("the profile names no node"))
