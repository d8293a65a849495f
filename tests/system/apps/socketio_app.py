"""A python-socketio server as an ASGI application: rooms, acknowledgements, and their end."""

from __future__ import annotations

import os
from typing import Any

import socketio

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=[])
app = socketio.ASGIApp(server)


def note(line: str) -> None:
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{line}\n")


@server.event
async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
    if auth == "wrong":
        raise socketio.exceptions.ConnectionRefusedError("not you")
    note("connect")


@server.event
async def disconnect(sid: str, reason: str) -> None:
    note(f"disconnect {reason}")


@server.event
async def upper(sid: str, what: str) -> str:
    return what.upper()


@server.event
async def same(sid: str, what: Any) -> Any:
    return what


@server.event
async def enter(sid: str, room: str) -> None:
    await server.enter_room(sid, room)


@server.event
async def tell(sid: str, room: str, what: str) -> None:
    await server.emit("told", what, room=room)


@server.event
async def ask_back(sid: str) -> str:
    """Asks the client for something while the client waits for the answer."""
    answer: str = await server.call("question", to=sid)
    return f"you said {answer}"


@server.event
async def throw_out(sid: str) -> None:
    await server.disconnect(sid)


@server.event
async def transport(sid: str) -> str:
    name: str = server.transport(sid)
    return name
