"""The application of the chaos runs. Says with every answer who it is, and how old its code is.

It is copied to a folder of its own, with another version each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

VERSION: Final = "0"
Message = dict[str, Any]


def headers(length: int | None = None) -> list[tuple[bytes, bytes]]:
    found = [(b"x-pid", str(os.getpid()).encode()), (b"x-version", VERSION.encode())]
    return found if length is None else [*found, (b"content-length", str(length).encode())]


async def answer(send: Any, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers(len(body))})
    await send({"type": "http.response.body", "body": body})


async def stream(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers()})
    for number in range(10):
        await send({"type": "http.response.body", "body": b"%d " % number, "more_body": True})
        await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": b"end"})


async def events(notice: Any, send: Any) -> None:
    """Goes on until the server drains."""
    await send({"type": "http.response.start", "status": 200, "headers": headers()})
    while not notice.draining:
        tick = b"data: tick\n\n"
        await send({"type": "http.response.body", "body": tick, "more_body": True})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(notice.wait(), 0.5)
    await send({"type": "http.response.body", "body": b"data: bye\n\n"})


async def talk(scope: Message, receive: Any, send: Any) -> None:
    """An echo that notes how each WebSocket ended. On /heed it says good-bye when told to."""
    await receive()
    await send({"type": "websocket.accept", "headers": headers()})
    leaving = asyncio.create_task(leave(scope, send)) if scope["path"] == "/heed" else None
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
    if leaving is not None:
        leaving.cancel()
    with open(Path(__file__).with_name("ends"), "a") as notes:
        notes.write(f"{message['code']}\n")


async def leave(scope: Message, send: Any) -> None:
    await scope["extensions"]["pounce.drain"]
    await send({"type": "websocket.close", "code": 1012, "reason": "good-bye"})


async def upload(receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    await answer(send, str(size).encode())


async def app(scope: Message, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    if scope["type"] == "websocket":
        await talk(scope, receive, send)
        return
    match scope["path"]:
        case "/slow":
            await asyncio.sleep(1.0)
            await answer(send, b"slow")
        case "/stuck":
            await send({"type": "http.response.start", "status": 200, "headers": headers()})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            await asyncio.Event().wait()
        case "/busy":
            time.sleep(0.003)
            await answer(send, b"busy")
        case "/stream":
            await stream(send)
        case "/events":
            await events(scope["extensions"]["pounce.drain"], send)
        case "/upload":
            await upload(receive, send)
        case "/block":
            query = dict(parse_qsl(scope["query_string"].decode()))
            with open(query["notes"], "a") as notes:
                notes.write(f"{os.getpid()}\n")
            time.sleep(float(query["seconds"]))
            await answer(send, b"blocked")
        case _:
            await answer(send, b"hello")


async def starting() -> None:
    """Runs in every worker before it is ready."""


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        kind = (await receive())["type"]
        if kind == "lifespan.startup":
            await starting()
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
