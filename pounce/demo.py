"""The built-in demo, ``pounce pounce.demo:app``: a page, JSON, a clock, echo, and a chat.

A plain ASGI application without dependencies. It knows nothing of the server but what a scope
tells, and would run on any other.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Final, TypeAlias
from urllib.parse import parse_qs

from pounce.asgi import Headers, Receive, Scope, Send
from pounce.demo_page import PAGE

Handler: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

# A clock that never ended would hold up every shutdown; EventSource comes back by itself.
CLOCK_TICKS: Final = 10
SLOWEST_S: Final = 30.0
LONGEST_TALK: Final = 500  # characters of one chat message
BACKLOG: Final = 32  # messages that wait for a slow reader of the chat; past it they are dropped


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The application; see the module for what it offers."""
    match scope["type"]:
        case "http":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            await ROUTES.get(path, nothing_here)(scope, receive, send)
        case "websocket" if scope["path"].removeprefix(scope.get("root_path", "")) == "/chat":
            await chat(scope, receive, send)
        case "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        case "lifespan":
            await lifespan(receive, send)
        case other:
            raise NotImplementedError(f"the demo does not know the scope type {other!r}")


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, PAGE.encode(), "text/html; charset=utf-8")


async def greeting(scope: Scope, receive: Receive, send: Send) -> None:
    await answer_json(send, {"message": "Hello, World!"})


async def whoami(scope: Scope, receive: Receive, send: Send) -> None:
    """Who answered whom: the worker's process, and the client as the server sees it."""
    client = scope.get("client")
    await answer_json(
        send,
        {
            "pid": os.getpid(),
            **scope.get("extensions", {}).get("pounce.worker", {}),  # slot and generation
            "http_version": scope["http_version"],
            "scheme": scope["scheme"],
            "client": list(client) if client else None,
        },
    )


async def clock(scope: Scope, receive: Receive, send: Send) -> None:
    """Server-sent events, one a second, until the client goes or CLOCK_TICKS are told."""
    headers = [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # nginx would hold the events back
    ]
    gone = asyncio.create_task(_gone(receive))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _tick(send, "retry: 500\n")
        for _ in range(CLOCK_TICKS - 1):
            await asyncio.wait([gone], timeout=1 - time.time() % 1)
            if gone.done():
                return
            await _tick(send)
        await send({"type": "http.response.body", "body": b""})
    except OSError:
        pass  # the client left between two ticks
    finally:
        gone.cancel()


async def _tick(send: Send, before: str = "") -> None:
    event = json.dumps({"pid": os.getpid(), "time": time.strftime("%H:%M:%S")})
    body = f"{before}data: {event}\n\n".encode()
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The request's body, given back piece by piece as it comes in."""
    if scope["method"] != "POST":
        headers = [(b"allow", b"POST")]
        await answer(send, b"POST a body to /echo\n", status=405, more_headers=headers)
        return
    # Never the request's own content type: an echo of HTML would run in the page's origin.
    headers = [(b"content-type", b"text/plain; charset=utf-8"), NOSNIFF]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        body = message.get("body", b"")
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers after ``?s=`` seconds, at most SLOWEST_S; 1 if it says none."""
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("s", ["1"])[0]
    try:
        wait_s = min(max(float(asked), 0.0), SLOWEST_S)
    except ValueError:
        wait_s = math.nan
    if math.isnan(wait_s):  # which float() reads as well
        await answer(send, b"s must be a number of seconds\n", status=400)
        return
    await asyncio.sleep(wait_s)
    await answer_json(send, {"slept_s": wait_s, "pid": os.getpid()})


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    known = ", ".join(ROUTES)
    text = f"nothing here; there are {known}, and by WebSocket /chat\n"
    await answer(send, text.encode(), status=404)


NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
ROUTES: Final[Mapping[str, Handler]] = {
    "/": page,
    "/json": greeting,
    "/whoami": whoami,
    "/sse": clock,
    "/echo": echo,
    "/slow": slow,
}


async def answer(
    send: Send,
    body: bytes,
    content_type: str = "text/plain; charset=utf-8",
    *,
    status: int = 200,
    more_headers: Headers = (),
) -> None:
    headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        NOSNIFF,
        *more_headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_json(send: Send, value: object) -> None:
    await answer(send, json.dumps(value).encode() + b"\n", "application/json")


members: dict[str, asyncio.Queue[str]] = {}  # of this worker; other workers have their own room
numbers = count(1)


async def chat(scope: Scope, receive: Receive, send: Send) -> None:
    """One guest of the chat: what it says goes to everybody in this worker, itself included."""
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    name = f"guest {next(numbers)}"
    mail: asyncio.Queue[str] = asyncio.Queue(BACKLOG)
    members[name] = mail
    writer = asyncio.create_task(_deliver(mail, send))
    tell(name, "is here")
    try:
        while (message := await receive())["type"] == "websocket.receive":
            if text := (message.get("text") or "").strip()[:LONGEST_TALK]:
                tell(name, text)
    finally:
        del members[name]
        writer.cancel()
        tell(name, "has left")


def tell(name: str, text: str) -> None:
    """Put a line into the mail of every guest; one who does not read loses it."""
    line = json.dumps({"from": name, "text": text, "here": len(members), "pid": os.getpid()})
    for mail in members.values():
        with suppress(asyncio.QueueFull):
            mail.put_nowait(line)


async def _deliver(mail: asyncio.Queue[str], send: Send) -> None:
    with suppress(OSError):  # the guest left; its receive() says so to chat()
        while True:
            await send({"type": "websocket.send", "text": await mail.get()})
