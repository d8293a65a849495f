"""What keeps clients on https: plain HTTP is redirected, and browsers are told to remember (HSTS).

Source: RFC 9110 §15.4.9 (308); RFC 6797.
"""

from __future__ import annotations

import re
from typing import Final

from pounce.asgi import App, Message, Receive, Scope, Send
from pounce.worker.connection import Connection
from pounce.worker.service import Service
from pounce.worker.wire import Receiver, RequestHead, Wire

HTTP: Final = 80
HTTPS: Final = 443
HOST: Final = re.compile(rb"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?")
HSTS: Final = b"strict-transport-security"


class RedirectedConnection(Connection):
    """Plain HTTP beside https: nothing but a redirect is served on it, and no WebSocket."""

    __slots__ = ()

    def __init__(self, service: Service, port: int) -> None:
        super().__init__(service, app=redirect(port))

    def open(self, head: RequestHead, wire: Wire) -> Receiver:
        return super().open(head._replace(tunnel=""), wire)


def redirect(port: int) -> App:
    """An application that sends every request to the same place by https.

    Args:
        port: where https is served. Where the client came by the usual port for HTTP, and that is
            not ours, both are mapped, and so https has its usual one as well.
    """

    async def redirected(scope: Scope, receive: Receive, send: Send) -> None:
        host, own_port = scope["server"]
        named = next((value for name, value in scope["headers"] if name == b"host"), b"")
        found = HOST.fullmatch(named)
        if found is not None and found[1]:
            authority = found[1]
            is_mapped = int(found[2] or HTTP) == HTTP != own_port
        else:  # HTTP/1.0 need not say
            host = "localhost" if own_port is None else host  # it is a unix socket's path
            authority = (f"[{host}]" if ":" in host else host).encode()
            is_mapped = False
        if not is_mapped and port not in (0, HTTPS):
            authority += b":%d" % port
        path = scope["raw_path"] if scope["raw_path"].startswith(b"/") else b"/"  # OPTIONS *
        query = scope["query_string"]
        location = b"https://" + authority + path + (b"?" + query if query else b"")
        headers = [(b"location", location), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 308, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return redirected


def with_hsts(app: App, seconds: int) -> App:
    """An application whose answers carry Strict-Transport-Security, where it sends none itself."""
    field = (HSTS, b"max-age=%d" % seconds)

    async def secured(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if not any(name.lower() == HSTS for name, _ in headers):
                    headers.append(field)
                    message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, send_secured)

    return secured
