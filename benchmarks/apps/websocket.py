"""The bare ASGI application of WebSockets: an echo, and a room where all hear each message."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a peer's worker must not load pounce: its memory is measured too
    from pounce.asgi import Receive, Scope, Send

ROOM: set[Send] = set()


async def echo(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        # Servers differ in whether the other key is absent or None.
        text = message.get("text")
        if text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})


async def join(receive: Receive, send: Send) -> None:
    ROOM.add(send)
    try:
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            said = {"type": "websocket.send", "text": message["text"]}
            for member in list(ROOM):
                await member(said)
    finally:
        ROOM.discard(send)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await (join if scope["path"] == "/room" else echo)(receive, send)
    elif scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
