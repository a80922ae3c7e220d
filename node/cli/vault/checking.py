"""Having nodes read what they keep, and telling which chunk of which document is not as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from gettext import gettext as _
from typing import Any

from node.cli.screen import Screen
from node.cli.vault.chain import Known, VaultDesk
from node.errors import ClientError
from node.rpc.vault_client import VaultClient
from node.storage.vault_holdings import FaultKind, ObjectRole, PartFault


def check_documents(
    screen: Screen, desk: VaultDesk, documents: Sequence[Known], nodes: Sequence[str]
) -> list[dict[str, Any]]:
    """Check documents at nodes, say what was found, and return it as JSON members."""
    return asyncio.run(_check_all(screen, desk, documents, nodes))


async def _check_all(
    screen: Screen, desk: VaultDesk, documents: Sequence[Known], nodes: Sequence[str]
) -> list[dict[str, Any]]:
    reports = []
    async with desk.network.client() as client:
        for known in documents:
            for node_id in nodes:
                report = await _check_one(screen, VaultClient(client), known, node_id)
                reports.append(report)
    return reports


async def _check_one(
    screen: Screen, vault: VaultClient, known: Known, node_id: str
) -> dict[str, Any]:
    faults: list[dict[str, Any]] = []
    objects = sound = 0
    document = known.document_id.hex()
    report: dict[str, Any] = {"document": document, "node": node_id, "faults": faults}
    try:
        async with aclosing(vault.check(node_id, known.document_id)) as steps:
            async for step in steps:
                objects, sound = step.objects, step.sound
                if step.fault is not None:
                    told = _told(step.fault)
                    said = _("{document} at {node}: {fault}")
                    line = said.format(document=document, node=node_id, fault=told)
                    screen.line(line, style="red")
                    faults.append(_facts(step.fault))
    except ClientError as error:
        said = _("{document} at {node}: not checked: {reason}")
        screen.line(said.format(document=document, node=node_id, reason=error), style="yellow")
        return {**report, "unchecked": str(error), "code": error.code}
    if not faults:
        said = _("{document} at {node}: {count} objects, all sound")
        screen.line(said.format(document=document, node=node_id, count=objects), style="green")
    return {**report, "objects": objects, "sound": sound}


def _told(fault: PartFault) -> str:
    what = {
        ObjectRole.CHUNK: _("chunk {index}").format(index=fault.part.chunk_index),
        ObjectRole.CHUNK_LIST: _("the list of chunks"),
        ObjectRole.WRAPPED_KEY: _("the key wrapped for {recipient}").format(
            recipient=fault.part.recipient
        ),
    }[fault.part.role]
    if fault.kind is FaultKind.MISSING:
        return _("{what} is MISSING").format(what=what)
    return _("{what} is DAMAGED").format(what=what)


def _facts(fault: PartFault) -> dict[str, Any]:
    part = fault.part
    return {
        "kind": fault.kind.name.lower(),
        "role": part.role.name.lower(),
        "object": part.object_id.hex(),
        "chunk": part.chunk_index if part.role is ObjectRole.CHUNK else None,
        "recipient": part.recipient or None,
    }
