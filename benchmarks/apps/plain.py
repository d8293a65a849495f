"""The bare ASGI application: one small handler per path, no framework, no shared state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a peer's worker must not load pounce: its memory is measured too
    from collections.abc import Awaitable, Callable

    from pounce.asgi import Message, Receive, Scope, Send

GREETING = b"Hello, World!"  # 13 bytes
PAGE = b"0123456789abcdef" * 640  # 10 KiB
CHUNK = b"c" * 1024
CHUNKS = 10


def head(size: int) -> Message:
    return {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"text/plain"), (b"content-length", b"%d" % size)],
    }


async def read(receive: Receive) -> bytes:
    """The whole request body."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    parts = [body]
    while message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


async def greet(receive: Receive, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")],
        }
    )
    await send({"type": "http.response.body", "body": GREETING})


async def page(receive: Receive, send: Send) -> None:
    await send(head(len(PAGE)))
    await send({"type": "http.response.body", "body": PAGE})


async def echo(receive: Receive, send: Send) -> None:
    body = await read(receive)
    await send(head(len(body)))
    await send({"type": "http.response.body", "body": body})


async def upload(receive: Receive, send: Send) -> None:
    """Take the body piece by piece, keep none of it, answer with its size."""
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    answer = b"%d" % size
    await send(head(len(answer)))
    await send({"type": "http.response.body", "body": answer})


async def stream(receive: Receive, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain")],
        }
    )
    for _ in range(CHUNKS):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body"})


HANDLERS: dict[str, Callable[[Receive, Send], Awaitable[None]]] = {
    "/13": greet,
    "/10k": page,
    "/echo": echo,
    "/upload": upload,
    "/stream": stream,
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await HANDLERS[scope["path"]](receive, send)
    elif scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
