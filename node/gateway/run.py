"""The gateway as a process: everything built and wired, run until told to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Final, ParamSpec, TypeVar

import uvloop

from node.client import Client
from node.errors import ClientError, ConfigError, NodeError
from node.gateway.api import Api
from node.gateway.applications import Application, Applications
from node.gateway.door import Door
from node.gateway.endpoints import EVENTS, Gateway
from node.gateway.events import EventStreams
from node.gateway.feed import EventFeed
from node.gateway.home import GatewayHome, ServerTls
from node.gateway.notarizing import notarize_head
from node.gateway.openapi import build_page
from node.gateway.outgoing import Sender
from node.gateway.problems import Meaning
from node.gateway.store import GatewayStore
from node.gateway.webhooks import Post, Webhook, WebhookSender, read_webhooks
from node.rpc.certificate_watch import CertificateWatch
from node.storage.security_log import SecurityLog
from node.web.server import HttpServer

_SYNC_S: Final = 1.0
"""How long an entry of the security log may wait to be durable."""
_T = TypeVar("_T")
_P = ParamSpec("_P")


def run_gateway(
    home: GatewayHome,
    meaning: Meaning,
    *,
    started: Callable[[int], None],
    complain: Callable[[Exception], None],
    post: Post | None = None,
) -> None:
    """Serve until told to stop (SIGTERM, SIGINT).

    `started` learns of the port; `complain` of what fails and is not the end. Raises what is.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(_Process(home, meaning, started, complain, post or Sender()).run())


def clock_ms() -> int:
    """Return what the clock here says, ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


class _Process:
    def __init__(
        self,
        home: GatewayHome,
        meaning: Meaning,
        started: Callable[[int], None],
        complain: Callable[[Exception], None],
        post: Post,
    ) -> None:
        self._home, self._meaning, self._post = home, meaning, post
        self._started, self._complain = started, complain
        self._worker = ThreadPoolExecutor(1, "gateway-store")
        self._log = SecurityLog(home.security_folder, "gateway", clock_ms)
        self._notarized_size = 0
        self._failures: list[Exception] = []
        self._stopping: asyncio.Event | None = None

    async def run(self) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        self._stopping = stopping
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        async with AsyncExitStack() as stack:
            stack.callback(self._log.close)
            stack.callback(self._worker.shutdown)
            store = await self._run(GatewayStore, self._home.folder)
            stack.push_async_callback(self._run, store.close)
            client = await stack.enter_async_context(Client.open(self._home.profile))
            feed = EventFeed(client, self._complain)
            tls = await asyncio.to_thread(self._home.server_tls)
            server, port = await self._serve(client, store, feed, tls)
            stack.push_async_callback(server.stop)
            tasks = [
                loop.create_task(feed.run()),
                loop.create_task(self._keep_durable()),
                loop.create_task(self._notarize_log(client)),
                *self._bring_webhooks(loop, feed, store),
                *(loop.create_task(each.run()) for each in self._watch_certificates(client, tls)),
            ]
            stack.push_async_callback(_end, tasks)
            for task in tasks:
                task.add_done_callback(self._reap)
            self._log.write("gateway.started", "allowed", port=port)
            self._started(port)
            await stopping.wait()
            self._log.write("gateway.stopped", "allowed")
        if self._failures:
            raise self._failures[0]

    async def _serve(
        self, client: Client, store: GatewayStore, feed: EventFeed, tls: ServerTls | None
    ) -> tuple[HttpServer, int]:
        home = self._home
        api = Api(client, store, feed, run_blocking=self._run, now_ms=clock_ms)

        async def use_nonce(name: str, nonce: str, now_ms: int, until_ms: int) -> bool:
            return await self._run(store.use_nonce, name, nonce, now_ms, until_ms)

        door = Door(
            Applications(home.folder, self._note_applications),
            home.authority,
            use_nonce,
            clock_ms,
            scheme="http" if tls is None else "https",
            names=lambda: home.names(server.port),
        )
        streams = EventStreams(feed, lambda caller: door.may_go_on(caller, EVENTS.right))
        gateway = Gateway(
            api, door, streams, self._log, meaning=self._meaning, on_failure=self._complain
        )
        server = HttpServer(
            gateway.app(build_page()),
            home.address.host,
            home.address.port,
            on_end=self._fail,
            tls=None if tls is None else tls.context,
        )
        return server, await server.start()

    def _bring_webhooks(
        self, loop: asyncio.AbstractEventLoop, feed: EventFeed, store: GatewayStore
    ) -> list[asyncio.Task[None]]:
        webhooks = read_webhooks(self._home.folder)
        if not webhooks:
            return []
        sender = WebhookSender(
            feed,
            store,
            self._home.webhook_signer(),
            run_blocking=self._run,
            post=self._post,
            now_ms=clock_ms,
            note=self._note_delivery,
        )
        return [loop.create_task(sender.run(webhook)) for webhook in webhooks]

    def _watch_certificates(
        self, client: Client, tls: ServerTls | None
    ) -> Iterator[CertificateWatch]:
        """Yield who takes up the certificates that others renew: towards the chain, and its own."""
        chain = client.chain
        files, shown = chain.tls_files, client.ledger.connections
        news = _RenewalNews(self._log, self._complain, "chain", f"identity rotate {chain.identity}")
        yield CertificateWatch(shown, files, chain.load_tls, clock_ms, news)
        if tls is not None:
            home = self._home
            own = _RenewalNews(self._log, self._complain, "server", f"gateway renew {home.folder}")
            yield CertificateWatch(tls, home.tls_files, home.load_tls, clock_ms, own)

    def _note_applications(self, found: tuple[Application, ...]) -> None:
        names = ",".join(each.name for each in found)
        self._log.write("applications.read", "allowed", count=len(found), names=names)

    def _note_delivery(self, webhook: Webhook, event: str, error: Exception | None) -> None:
        if error is None:
            self._log.write("webhook.delivered", "allowed", webhook.name, event=event)
            return
        code = error.code if isinstance(error, NodeError) else ""
        self._log.write("webhook.delivered", "refused", webhook.name, event=event, code=code)
        self._complain(error)

    async def _keep_durable(self) -> None:
        while True:
            await asyncio.sleep(_SYNC_S)
            self._log.sync()

    async def _notarize_log(self, client: Client) -> None:
        """Record the head of the log on the chain, now and then."""
        minutes = self._home.settings.log_minutes
        if not minutes:
            return
        while True:
            self._log.sync()
            head = self._log.head
            if head.size > self._notarized_size:
                try:
                    path = await notarize_head(client, self._home.security_folder, head)
                except ClientError as error:
                    self._complain(error)
                else:
                    self._log.write("log.notarized", "allowed", receipt=path.name)
                    self._notarized_size = self._log.head.size
            await asyncio.sleep(60 * minutes)

    def _run(
        self, call: Callable[_P, _T], /, *args: _P.args, **named: _P.kwargs
    ) -> asyncio.Future[_T]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._worker, partial(call, *args, **named))

    def _reap(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failures.append(error)
        if self._stopping is not None:
            self._stopping.set()


class _RenewalNews:
    """Notes what becomes of one of the certificates, and complains where it is to be renewed."""

    def __init__(
        self, log: SecurityLog, complain: Callable[[Exception], None], which: str, verb: str
    ) -> None:
        """`verb` is how it is renewed."""
        self._log, self._complain, self._which, self._verb = log, complain, which, verb

    def renewed(self, ends_ms: int) -> None:
        """Note what is shown from now on."""
        self._log.write("certificate.renewed", "allowed", which=self._which, ends_ms=ends_ms)

    def not_taken_up(self, error: NodeError | OSError) -> None:
        """Note that the gateway goes on with what it has, and say why."""
        code = error.code if isinstance(error, NodeError) else ""
        self._log.write("certificate.renewed", "refused", which=self._which, code=code)
        self._complain(error)

    def ends(self, days_left: int) -> None:
        """Complain."""
        self._complain(
            ConfigError(
                f"the certificate of this gateway ({self._which}): {days_left} days are left",
                fix=f"renew it: govchain {self._verb}",
            )
        )


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
