"""Deliveries out of the gateway: to an address that is looked up, judged and then connected to.

The address that was judged is the one that is connected to: a name that answers otherwise the next
time changes nothing. No redirection is followed, no proxy asked, and what is answered is not read
beyond its status: whoever registers a URL learns nothing of the network the gateway stands in.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from node.gateway.webhooks import DeliveryError, Webhook

TIMEOUT_S: Final = 10.0
_SUCCESS: Final = range(200, 300)

Resolve = Callable[[str, int], list[str]]
"""Returns the addresses of a name, as numbers."""


def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Sender:
    """Brings deliveries; see `node.gateway.webhooks.Post`."""

    def __init__(self, tls: ssl.SSLContext | None = None, look_up: Resolve = resolve) -> None:
        """Believe the authorities of `tls`, of the system unless told."""
        self._tls = ssl.create_default_context() if tls is None else tls
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._look_up = look_up

    def __call__(self, webhook: Webhook, headers: dict[str, str], body: bytes) -> None:
        """Bring one delivery; raises `DeliveryError` unless it was taken."""
        parts = urlsplit(webhook.url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            address = self._judged(webhook, host, port)
            connection = _Pinned(host, port, address, self._tls_for(parts.scheme))
            watch = threading.Timer(TIMEOUT_S, connection.abort)  # each read alone is bounded
            watch.start()
            try:
                connection.request("POST", target, body, headers)
                status = connection.getresponse().status
            finally:
                watch.cancel()
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DeliveryError(f"{webhook.name}: {type(error).__name__}: {error}") from error
        if status not in _SUCCESS:
            raise DeliveryError(f"{webhook.name}: answered {status}; expected 2xx")

    def _tls_for(self, scheme: str) -> ssl.SSLContext | None:
        return self._tls if scheme == "https" else None

    def _judged(self, webhook: Webhook, host: str, port: int) -> str:
        """Return the address to connect to; every one of the name must be allowed."""
        addresses = self._look_up(host, port)
        for each in addresses:
            if not (webhook.allow_private or is_public(each)):
                raise DeliveryError(
                    f"{webhook.name}: {host} is at {each}, which is no public address",
                    fix="register it with --allow-private where that is meant",
                )
        if not addresses:
            raise DeliveryError(f"{webhook.name}: {host} has no address")
        return addresses[0]


def is_public(address: str) -> bool:
    """Tell whether an address is one of the public internet, and nobody's own network."""
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        embedded = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if embedded is not None:
            return is_public(str(embedded))
        if found in _NAT64:
            return is_public(str(IPv4Address(int(found) & 0xFFFFFFFF)))
        if found.is_site_local:  # withdrawn (RFC 3879), and still somebody's own
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved)


class _Network:
    def __init__(self, prefix: str) -> None:
        self._prefix = int(IPv6Address(prefix)) >> 32

    def __contains__(self, address: IPv6Address) -> bool:
        return int(address) >> 32 == self._prefix


_NAT64: Final = _Network("64:ff9b::")


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, over TLS if given, where the certificate must bear the name."""

    def __init__(self, host: str, port: int, address: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S)
        self._address, self._tls = address, tls

    def abort(self) -> None:
        """End it, whatever it waits for."""
        held = self.sock
        if held is not None:
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    def connect(self) -> None:
        """Connect to the address, not to the name."""
        plain: Any = socket.create_connection((self._address, self.port), self.timeout)
        try:
            self.sock = (
                plain
                if self._tls is None
                else self._tls.wrap_socket(plain, server_hostname=self.host)
            )
        except BaseException:
            plain.close()
            raise
