"""The application: its page, its WebSocket, and what it opens and closes with each worker."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from chat.hall import Hall
from chat.talk import talk
from pounce.asgi import Receive, Scope, Send

PAGE: Final = Path(__file__).with_name("page.html").read_bytes()
PAGE_HEADERS: Final = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # The one file and its own WebSocket, nothing else: whatever somebody says is text.
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        b"img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'",
    ),
]
TEXT: Final = [(b"content-type", b"text/plain; charset=utf-8")]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["type"]:
        case "lifespan":
            await live(scope, receive, send)
        case "http" if scope["path"] != "/":
            await answer(send, 404, TEXT, b"see /\n")
        case "http" if scope["method"] not in ("GET", "HEAD"):
            await answer(send, 405, [(b"allow", b"GET, HEAD"), *TEXT], b"only GET\n")
        case "http":
            await answer(send, 200, PAGE_HEADERS, PAGE)
        case "websocket" if scope["path"] == "/talk":
            await talk(scope["state"]["hall"], receive, send)
        case "websocket":
            await receive()
            await send({"type": "websocket.close"})  # 403


async def live(scope: Scope, receive: Receive, send: Send) -> None:
    """Runs once in each worker."""
    await receive()
    path = Path(os.environ.get("CHAT_FILE", "chat.sqlite3"))
    hall = Hall()
    try:
        async with hall.open(path):
            scope["state"]["hall"] = hall
            await send({"type": "lifespan.startup.complete"})
            await receive()
    except (OSError, sqlite3.Error) as error:
        await send({"type": "lifespan.startup.failed", "message": f"{path}: {error}"})
    else:
        await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
