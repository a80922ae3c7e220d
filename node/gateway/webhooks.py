"""Webhooks: what happens on the chain, brought to addresses that the operator registered.

Each delivery is one POST by Standard Webhooks 1.0, signed by Ed25519 (`v1a`): receivers hold a
public key, and no secret is shared. An event is delivered at least once, in order, across whatever
ends the gateway: what a webhook took last is on disk, and the chain itself is the queue. Its id is
the event's place on the chain, so a receiver knows what it has seen.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from node.client.events import KINDS, Event, EventId, kind_of
from node.crypto.signature import Signer
from node.errors import ClientError, ConfigError, NodeError
from node.gateway.exchange import Blocking
from node.gateway.feed import EventFeed, describe_event
from node.gateway.store import GatewayStore
from node.operations.topology import write_file

WEBHOOKS_FILE: Final = "webhooks.json"
WEBHOOKS_MAX: Final = 64
URL_BYTES_MAX: Final = 2_048
RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 300.0

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")


class DeliveryError(NodeError):
    """A webhook was not taken: it is brought again."""

    code = "GC-2707"


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An address that is told of events."""

    name: str
    url: str
    types: tuple[str, ...] = tuple(KINDS)
    allow_private: bool = False
    """Whether it may be an address of loopback or of a private network, or clear text."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: int
    webhooks: tuple[Webhook, ...]


class Post(Protocol):
    """Brings one delivery, blocking; raises `DeliveryError` unless it was taken (2xx)."""

    def __call__(self, webhook: Webhook, headers: dict[str, str], body: bytes) -> None:
        """Bring it."""


def read_webhooks(home: Path) -> tuple[Webhook, ...]:
    """Return the webhooks that were registered, none where there is no file."""
    path = home / WEBHOOKS_FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File).webhooks
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path}: {error}", fix="restore the file") from error
    _check(found)
    return found


def write_webhooks(home: Path, webhooks: tuple[Webhook, ...]) -> None:
    """Replace the file; raises `ConfigError` for what cannot be."""
    _check(webhooks)
    data = msgspec.json.format(msgspec.json.encode(_File(version=1, webhooks=webhooks)))
    write_file(home / WEBHOOKS_FILE, data + b"\n", mode=0o600)


class WebhookSender:
    """Brings events to the webhooks of a gateway."""

    def __init__(
        self,
        feed: EventFeed,
        store: GatewayStore,
        signer: Signer,
        *,
        run_blocking: Blocking,
        post: Post,
        now_ms: Callable[[], int],
        note: Callable[[Webhook, str, Exception | None], None],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`note` learns of each event that was taken, and of each attempt that failed."""
        self._feed, self._store, self._signer = feed, store, signer
        self._run, self._post, self._now_ms = run_blocking, post, now_ms
        self._note, self._pause = note, pause

    async def run(self, webhook: Webhook) -> None:
        """Deliver to one webhook until cancelled, from where it was left."""
        place = await self._run(self._store.place_of, webhook.name)
        after = None if place is None else EventId.parse(place)
        while True:
            try:
                async with aclosing(self._feed.listen(after)) as events:
                    async for event in events:
                        if after is None:  # so that a restart goes on before what comes first
                            await self._keep(webhook, EventId(event.id.height - 1, 2**31 - 1))
                        if kind_of(event) in webhook.types:
                            await self._deliver(webhook, event)
                        after = event.id
                        await self._keep(webhook, after)
            except ClientError as error:
                self._note(webhook, "", error)
                await self._pause(RETRY_FIRST_S)

    async def _keep(self, webhook: Webhook, place: EventId) -> None:
        await self._run(self._store.move, webhook.name, str(place))

    async def _deliver(self, webhook: Webhook, event: Event) -> None:
        """Bring one event until it is taken."""
        body = msgspec.json.encode(describe_event(event))
        wait_s = RETRY_FIRST_S
        while True:
            headers = sign_delivery(self._signer, f"evt_{event.id}", self._now_ms() // 1_000, body)
            try:
                await asyncio.to_thread(self._post, webhook, headers, body)
            except DeliveryError as error:
                self._note(webhook, str(event.id), error)
            else:
                self._note(webhook, str(event.id), None)
                return
            await self._pause(wait_s)
            wait_s = min(2 * wait_s, RETRY_MAX_S)


def sign_delivery(signer: Signer, message_id: str, sent_s: int, body: bytes) -> dict[str, str]:
    """Return the header fields of a delivery (Standard Webhooks 1.0)."""
    signed = b"%b.%d.%b" % (message_id.encode(), sent_s, body)
    signature = base64.b64encode(signer.sign(signed)).decode()
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_s),
        "webhook-signature": f"v1a,{signature}",
    }


def _check(webhooks: tuple[Webhook, ...]) -> None:
    names = [each.name for each in webhooks]
    if len(webhooks) > WEBHOOKS_MAX or len(frozenset(names)) != len(names):
        raise ConfigError(f"webhooks: expected at most {WEBHOOKS_MAX}, each name once")
    for webhook in webhooks:
        if not _NAME.fullmatch(webhook.name):
            raise ConfigError(f"webhook {webhook.name!r:.60}: expected a-z, digits and hyphens")
        unknown = [each for each in webhook.types if each not in KINDS]
        if unknown or not webhook.types:
            raise ConfigError(f"{webhook.name}: expected types of {', '.join(KINDS)}")
        check_url(webhook)


def check_url(webhook: Webhook) -> None:
    """Check what a URL says by itself; raises `ConfigError`."""
    try:
        parts = urlsplit(webhook.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    schemes = ("https", "http") if webhook.allow_private else ("https",)
    is_sound = (
        host
        and len(webhook.url) <= URL_BYTES_MAX
        and webhook.url.isascii()
        and webhook.url.isprintable()
        and " " not in webhook.url
        and parts.scheme in schemes
        and "@" not in parts.netloc
        and not parts.fragment
        and port != 0
    )
    if not is_sound:
        raise ConfigError(
            f"{webhook.url[:120]!r}: expected a URL such as https://host.example/path",
            code=DeliveryError.code,
            fix="without user, password and fragment; clear text needs --allow-private",
        )
