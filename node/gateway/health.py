"""Whether the gateway of a folder serves, asked where it listens and by its own authority."""

from __future__ import annotations

import http.client
import ssl
from typing import Final

from node.gateway.home import GatewayHome

TIMEOUT_S: Final = 3.0
_OK: Final = 200
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - who listens everywhere


def ask_health(home: GatewayHome) -> str | None:
    """Return why it does not serve; None where it does."""
    host = _LOOPBACK.get(home.address.host, home.address.host)
    port = home.address.port
    connection: http.client.HTTPConnection
    if home.settings.tls:
        context = ssl.create_default_context(cadata=home.authority.decode())
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{home.settings.listen}: {error}"
    finally:
        connection.close()
    return None if status == _OK else f"{home.settings.listen}: expected {_OK}, got {status}"
