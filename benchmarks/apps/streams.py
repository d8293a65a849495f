"""What HTTP/2 is measured with beside the bare application: large bodies, and an echo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.apps import plain

if TYPE_CHECKING:  # as in plain.py
    from pounce.asgi import Receive, Scope, Send

PIECE = b"p" * (64 * 1024)
PIECES = 1600
LARGE = len(PIECE) * PIECES  # 100 MiB


async def download(send: Send) -> None:
    await send(plain.head(LARGE))
    for _ in range(PIECES):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body"})


async def echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message["text"]})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif scope["type"] == "http" and scope["path"] == "/download":
        await download(send)
    else:
        await plain.app(scope, receive, send)
