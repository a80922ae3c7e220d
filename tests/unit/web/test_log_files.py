"""The public log over HTTP: every file and how long it may be kept, and nothing else."""

from __future__ import annotations

import base64
import json

import pytest

from node.chain.merkle import TreeHead, verify_consistency
from node.timestamp.log.note import Note
from node.timestamp.log.policy import parse_policy
from node.timestamp.log.proof import sha256
from node.web.log_files import FOR_A_MOMENT, FOR_EVER, routes
from tests.unit.operations.served_log import ServedLog
from tests.unit.timestamp.log.bundles import read_bundle
from tests.unit.web.http_client import ask, serving
from tests.vectors.receipt.chain import Chain, record_of, validator_set
from tests.vectors.receipt.cosigned import checkpoint_at


def build() -> Chain:
    chain = Chain.found()
    chain.append(*(record_of(f"{at}".encode()) for at in range(300)))
    chain.append(record_of(b"last"), next_set=validator_set(1, (1, 2, 3, 4)))
    return chain


CHAIN = build()
SIZE = len(CHAIN.leaves)
"""303: one full tile and 47 more."""


@pytest.mark.parametrize(
    ("path", "kept", "media_type", "size"),
    [
        ("/checkpoint", FOR_A_MOMENT, "text/plain; charset=utf-8", None),
        ("/checkpoint/5", FOR_EVER, "text/plain; charset=utf-8", None),
        ("/policy", FOR_A_MOMENT, "text/plain; charset=utf-8", None),
        ("/policy/1", FOR_EVER, "text/plain; charset=utf-8", None),
        ("/tile/0/000", FOR_EVER, "application/octet-stream", 8_192),
        ("/tile/0/001.p/47", FOR_EVER, "application/octet-stream", 47 * 32),
        ("/tile/0/001.p/3", FOR_EVER, "application/octet-stream", 3 * 32),
        ("/tile/1/000.p/1", FOR_EVER, "application/octet-stream", 32),
        ("/tile/entries/000", FOR_EVER, "application/octet-stream", None),
        ("/handover/0", FOR_EVER, "application/octet-stream", None),
        ("/consistency/5/303", FOR_EVER, "application/json", None),
    ],
)
async def test_what_there_is_is_served_and_says_how_long_it_may_be_kept(
    path: str, kept: dict[str, str], media_type: str, size: int | None
) -> None:
    async with serving(routes(ServedLog(CHAIN))) as found:
        reply = await ask(found.port, path)
        assert reply.status == 200
        assert reply.headers["cache-control"] == kept["Cache-Control"]
        assert reply.headers["content-type"] == media_type
        assert size is None or len(reply.body) == size
        assert not found.failures


@pytest.mark.parametrize(
    "path",
    [
        "/checkpoint/",
        "/checkpoint/05",
        "/checkpoint/-1",
        "/checkpoint/x",
        f"/checkpoint/{2**64}",
        "/policy/9",
        "/tile/0/001",
        "/tile/0/001.p/48",
        "/tile/0/001.p/0",
        "/tile/0/0",
        "/tile/entries/002",
        "/tile/64/000",
        "/tile/..%2f..%2fsecret",
        "/tile/",
        "/handover/1",
        "/consistency/5",
        "/consistency/5/x",
        "/",
    ],
)
async def test_nothing_else_is_there(path: str) -> None:
    async with serving(routes(ServedLog(CHAIN))) as found:
        reply = await ask(found.port, path)
        assert reply.status in {404, 307}
        assert not found.failures


async def test_what_is_served_fits_together() -> None:
    async with serving(routes(ServedLog(CHAIN))) as found:

        async def read(path: str) -> bytes:
            return (await ask(found.port, path)).body

        policy = parse_policy(await read("/policy/1"))
        head = policy.check(Note.decode(await read("/checkpoint"))).checkpoint.head
        assert head.size == SIZE
        assert read_bundle(await read("/tile/entries/000")) == CHAIN.leaves[:256]
        answer = json.loads(await read(f"/consistency/5/{SIZE}"))
        assert (answer["old_size"], answer["new_size"]) == (5, SIZE)
        path = [base64.b64decode(each) for each in answer["consistency"]]
        verify_consistency(TreeHead(5, checkpoint_at(CHAIN, 5).head.root), head, path, sha256)
