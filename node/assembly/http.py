"""The HTTP side of the node: which subjects it serves, and what each of them is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from node.assembly.api import Parts
from node.assembly.publication import PublishedLog
from node.chain.genesis import Genesis
from node.config import Address, NodeConfig
from node.rpc import port
from node.service.stamping.requests import Client, StampDesk
from node.web import health, log_files, tsa, tsa_policy, verifier_page
from node.web.app import make_app
from node.web.server import HttpServer


def make_http_server(
    address: Address, config: NodeConfig, genesis: Genesis, parts: Parts
) -> HttpServer:
    """Return a server, not started, of everything this node serves over HTTP at `address`."""

    def vitals() -> health.Vitals:
        header, known = parts.ledger.header, parts.health.known
        return health.Vitals(
            is_ready=known is port.Health.READY,
            health=known.name,
            detail=parts.health.detail,
            height=header.height,
            time_ms=header.time_ms,
        )

    published = PublishedLog(parts.public_log, parts.reader)
    subjects = [health.routes(vitals), verifier_page.routes()]
    if genesis.suite.has_public_forms:
        subjects.append(log_files.routes(published))
    if parts.stamping is not None and parts.stamping.desk is not None:
        certificates = parts.stamping.stamper.certificates
        subjects.append(tsa.routes(_answerer(parts.stamping.desk), certificates))
        subjects.append(tsa_policy.routes(partial(_policy, config, genesis, parts)))
    app = make_app(subjects, parts.peering.on_failure)
    return HttpServer(app, address.host, address.port, on_end=parts.runner.stop)


def _answerer(desk: StampDesk) -> Callable[[bytes, str], Awaitable[tsa.Reply]]:
    async def answer(request: bytes, client: str) -> tsa.Reply:
        given = await desk.answer(request, Client(f"address {client}"))
        return tsa.Reply(given.reply, given.retry_after_ms)

    return answer


def _policy(config: NodeConfig, genesis: Genesis, parts: Parts) -> tsa_policy.PolicyFacts:
    epoch = parts.engine.term.epoch
    return tsa_policy.PolicyFacts(
        chain_id=genesis.chain_id,
        node_id=config.validator_id,
        identity_id=config.timestamp_identity or "",
        epoch=epoch.number,
        parameters=epoch.parameters,
        requests_per_minute=config.timestamps_per_minute,
        is_testnet=genesis.testnet,
    )
