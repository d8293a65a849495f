"""A peer that is gone when its connection is to be closed in one direction, on a real socket."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from pounce.asgi import Receive, Scope, Send
from pounce.worker.connection import PREFACE, Connection
from pounce.worker.wire.h2 import Http2Wire
from tests.h2spec.peer import SETTINGS
from tests.support.h2 import headers, speak_http2
from tests.support.transport import make_service

# Its body never comes, so that the connection ends with the answer.
HTTP1 = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
HTTP2 = PREFACE + SETTINGS + headers(1)


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("said", [HTTP1, HTTP2], ids=["HTTP/1.1", "HTTP/2"])
def test_it_is_closed_without_a_word_in_the_log(
    said: bytes, make_loop: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """On loopback a reset is back before a write returns; asyncio's write_eof() raises then."""
    caplog.set_level(logging.INFO)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        asyncio.Runner(loop_factory=make_loop) as runner,
    ):
        ours, _ = listener.accept()

        async def main() -> None:
            async def app(scope: Scope, receive: Receive, send: Send) -> None:
                (connection,) = service.connections
                connection.drain()
                if isinstance(connection._wire, Http2Wire):  # type: ignore[attr-defined]
                    connection._wire.part()  # type: ignore[attr-defined]
                client.shutdown(socket.SHUT_RDWR)  # a reset for what comes now
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"late"})

            service = make_service(app)
            speak_http2(service)
            ours.setblocking(False)
            connect = service.loop.connect_accepted_socket
            await connect(lambda: Connection(service), ours)
            client.sendall(said)
            while not service.stats.requests:
                await asyncio.sleep(0)
            while service.connections:
                await asyncio.sleep(0)

        runner.run(main())
    assert not caplog.records
