"""A plain ASGI application that does what the path says, well or badly, and notes what it met."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from tests.system.apps.messages import CASES

Message = dict[str, Any]
Headers = list[tuple[bytes, bytes]]

PIECE: Final = bytes(range(256)) * 256  # 64 KiB


class Call:
    """One request, with shorter words for what ASGI asks for."""

    def __init__(self, scope: Message, receive: Any, send: Any) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.query = dict(parse_qsl(scope["query_string"].decode()))

    def note(self, line: str) -> None:
        note(self.query.get("notes"), line)

    async def gate(self) -> None:
        """Waits until the test opens the gate."""
        gate = Path(self.query["gate"])
        while not gate.exists():
            await asyncio.sleep(0.01)

    async def start(self, status: int = 200, headers: Headers | None = None, **more: Any) -> None:
        await self.send(
            {"type": "http.response.start", "status": status, "headers": headers or [], **more}
        )

    async def body(self, data: bytes = b"", *, more: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(self, data: bytes, status: int = 200, headers: Headers | None = None) -> None:
        await self.start(status, headers)
        await self.body(data)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The request's body as it comes."""
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                self.note("disconnected")
                raise asyncio.CancelledError
            yield message["body"]
            more = message["more_body"]


def note(path: str | None, line: str) -> None:
    if path:
        with open(path, "a") as file:
            file.write(f"{line}\n")


async def hello(call: Call) -> None:
    await call.answer(b"hello", headers=[(b"content-type", b"text/plain")])


async def whoami(call: Call) -> None:
    await call.answer(str(os.getpid()).encode())


async def scope(call: Call) -> None:
    """The parts of the scope that JSON can show."""
    shown = {key: call.scope[key] for key in ("scheme", "client", "server", "path", "http_version")}
    shown["headers"] = [[part.decode("latin-1") for part in pair] for pair in call.scope["headers"]]
    shown["raw_path"] = call.scope["raw_path"].decode("latin-1")
    await call.answer(json.dumps(shown).encode())


async def tls(call: Call) -> None:
    """The TLS extension, or null."""
    await call.answer(json.dumps(call.scope["extensions"].get("tls")).encode())


async def echo(call: Call) -> None:
    """Every piece of the body goes back before the next is taken."""
    await call.start()
    async for piece in call.pieces():
        await call.body(piece, more=True)
    await call.body()


async def digest(call: Call) -> None:
    """Length and SHA-256 of the body."""
    size, sha = 0, hashlib.sha256()
    call.note("begun")
    async for piece in call.pieces():
        size += len(piece)
        sha.update(piece)
        call.note("piece")
    await call.answer(f"{size} {sha.hexdigest()}".encode())


async def ignore(call: Call) -> None:
    """Answers without a look at the body."""
    await call.answer(b"ignored")


async def hold(call: Call) -> None:
    """Answers once the gate is open."""
    call.note("begun")
    try:
        await call.gate()
    except asyncio.CancelledError:
        call.note("cancelled")
        raise
    await call.answer(b"held")
    call.note("finished")


async def stream(call: Call) -> None:
    """One part before the gate and one behind it."""
    await call.start()
    await call.body(b"first", more=True)
    call.note("begun")
    await call.gate()
    await call.body(b"last")
    call.note("finished")


async def flood(call: Call) -> None:
    """Body without end, until send() or somebody else ends it."""
    await call.start()
    call.note("begun")
    try:
        while True:
            await call.body(PIECE, more=True)
    except OSError:
        call.note("OSError")
        raise
    except asyncio.CancelledError:
        call.note("cancelled")
        raise


async def big(call: Call) -> None:
    """So many bytes, in pieces."""
    left = int(call.query["size"])
    await call.start()
    call.note("begun")
    while left:
        piece = PIECE[:left]
        left -= len(piece)
        await call.body(piece, more=left > 0)
    call.note("finished")


async def file(call: Call) -> None:
    """A file, by the extension that `how` names; `offset` and `count` for zerocopysend."""
    message: Message = {"type": f"http.response.{call.query['how']}"}
    length: Headers = []
    if call.query["how"] == "pathsend":
        message["path"] = call.query["path"]
    else:
        opened = open(call.query["path"], "rb")  # noqa: SIM115
        message["file"] = opened
        for name in ("offset", "count"):
            if name in call.query:
                message[name] = int(call.query[name])
    if "length" in call.query:
        length = [(b"content-length", call.query["length"].encode())]
    await call.start(headers=length)
    call.note("begun")
    try:
        await call.send(message)
    except OSError:
        call.note("OSError")
        raise
    finally:
        if "file" in message:
            opened.close()
    call.note("finished")


async def until_gone(call: Call) -> None:
    """Notes when the client has left."""
    call.note("begun")
    while (await call.receive())["type"] != "http.disconnect":
        pass
    call.note("disconnected")


async def raises(call: Call) -> None:
    raise ValueError("the application's own fault")


async def leave(call: Call) -> None:
    os._exit(7)


async def killed(call: Call) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def block(call: Call) -> None:
    """Never gives the loop back."""
    call.note("begun")
    time.sleep(600)


async def stubborn(call: Call) -> None:
    """Takes no cancellation for an answer."""
    call.note("begun")
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            call.note("cancelled")


async def messages(call: Call) -> None:
    """Sends what the case says."""
    for message in CASES[call.query["case"]]:
        await call.send(message)


async def missing(call: Call) -> None:
    await call.answer(b"no such path", 404)


ROUTES: Final[dict[str, Callable[[Call], Awaitable[None]]]] = {
    "/": hello,
    "/whoami": whoami,
    "/scope": scope,
    "/tls": tls,
    "/echo": echo,
    "/digest": digest,
    "/ignore": ignore,
    "/hold": hold,
    "/stream": stream,
    "/flood": flood,
    "/big": big,
    "/file": file,
    "/until-gone": until_gone,
    "/raises": raises,
    "/leave": leave,
    "/killed": killed,
    "/block": block,
    "/stubborn": stubborn,
    "/messages": messages,
}


async def lifespan(receive: Any, send: Any) -> None:
    notes = os.environ.get("PROBE_NOTES")
    while True:
        kind = (await receive())["type"]
        note(notes, kind)
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def app(scope: Message, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await ROUTES.get(scope["path"], missing)(Call(scope, receive, send))
