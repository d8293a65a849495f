"""Every setting of WebSockets gets to where it is obeyed."""

from __future__ import annotations

import asyncio
from dataclasses import fields

import pytest

from pounce.asgi import Receive, Scope, Send
from pounce.config import Config
from pounce.config_websockets import WEBSOCKETS, WebSocketSettings
from pounce.worker.websocket_assembly import deflate_rules, new_opening, websocket_rules
from pounce.worker.websocket_deadlines import WebSocketTimeouts
from pounce.worker.websocket_rules import WebSocketRules
from pounce.worker.wire.extensions import DeflateRules
from pounce.worker.wire.websocket import FrameLimits
from tests.support.transport import MemoryTransport, connect, make_service, settle

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ALL = Config(
    body_timeout=31.0,
    body_min_rate=32,
    keep_alive_timeout=33.0,
    websocket_max_message=1,
    websocket_max_frame=2,
    websocket_max_fragments=3,
    websocket_max_rate=4,
    websocket_queue=5,
    websocket_handshake_timeout=6.0,
    websocket_ping_interval=7.0,
    websocket_ping_timeout=8.0,
    websocket_close_timeout=9.0,
    websocket_deflate_level=1,
    websocket_deflate_window=11,
    websocket_deflate_takeover=False,
    websocket_deflate_smallest=12,
)


def test_limits_and_deadlines_are_those_that_were_set() -> None:
    assert websocket_rules(ALL) == WebSocketRules(
        limits=FrameLimits(max_message=1, max_frame=2, max_fragments=3),
        timeouts=WebSocketTimeouts(
            handshake=6.0,
            ping_interval=7.0,
            ping_timeout=8.0,
            idle=33.0,
            frame=31.0,
            frame_min_rate=32,
            max_rate=4,
        ),
        queue=5,
        close_timeout=9.0,
        level=1,
        smallest=12,
    )


def test_idle_websockets_are_left_alone_where_that_was_asked_for() -> None:
    assert websocket_rules(Config(websocket_idle_close=False)).timeouts.idle == 0.0


def test_compression_is_what_was_set_or_none() -> None:
    assert deflate_rules(ALL) == DeflateRules(11, 11, False, False)
    assert deflate_rules(Config(websocket_deflate=False)) is None


async def stay(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


def opened(config: Config, *, origin: str = "http://a", count: int = 1) -> list[float]:
    """When the lifetimes of those who came are over; the others were denied."""

    async def main() -> list[float]:
        service = make_service(stay)
        service.rules.websockets = True
        service.open_websocket = new_opening(config, service)
        ends = []
        for _ in range(count):
            transport = MemoryTransport()
            connection = connect(service, transport)
            field = b"Origin: %b\r\n\r\n" % origin.encode()
            connection.data_received(HANDSHAKE.removesuffix(b"\r\n") + field)
            await settle()
            if b" 101 " in transport.output:
                (websocket,) = service.websockets
                ends.append(websocket._deadlines._until)
            connection.connection_lost(None)
            await settle()
        return ends

    return asyncio.run(main())


@pytest.mark.parametrize(("origin", "count"), [("http://A.example", 1), ("http://b", 0)])
def test_origins_are_compared_without_regard_to_case(origin: str, count: int) -> None:
    config = Config(websocket_origins=("HTTP://a.Example",))
    assert len(opened(config, origin=origin)) == count


def test_lifetimes_are_shortened_by_up_to_a_tenth_each_by_its_own() -> None:
    ends = opened(Config(websocket_max_age=100.0), count=50)
    assert all(90.0 <= end <= 100.0 for end in ends)
    assert max(ends) - min(ends) > 1.0
    assert opened(Config()) == [0.0]


def test_no_setting_of_websockets_is_forgotten_here() -> None:
    elsewhere = {"websockets", "websocket_drain"}  # which say whether, and how they end
    here = {"websocket_origins", "websocket_max_age", "websocket_deflate", "websocket_idle_close"}
    changed = {each.name for each in fields(Config) if getattr(ALL, each.name) != each.default}
    ours = {f.name for f in fields(WebSocketSettings) if f.metadata.get("group") == WEBSOCKETS}
    assert ours == (ours & changed) | here | elsewhere
