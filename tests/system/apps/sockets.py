"""A plain ASGI application whose WebSockets do what the path says, well or badly.

It notes what it met; to requests over HTTP it says hello.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

Message = dict[str, Any]

PIECE: Final = bytes(range(256)) * 256  # 64 KiB
ACCEPT: Final = {"type": "websocket.accept"}
SEND: Final = {"type": "websocket.send", "text": "too early or too late"}
CLOSE: Final = {"type": "websocket.close"}
START: Final = {"type": "websocket.http.response.start", "status": 401, "headers": []}
BODY: Final = {"type": "websocket.http.response.body", "body": b"no"}

# What may not be sent, each with what stands before it.
WRONG: Final[dict[str, list[Message]]] = {
    "send-before-accept": [SEND],
    "second-accept": [ACCEPT, ACCEPT],
    "http": [{"type": "http.response.start", "status": 200, "headers": []}],
    "body-without-start": [BODY],
    "denial-after-accept": [ACCEPT, START],
    "accept-after-denial": [START, ACCEPT],
    "send-after-close": [ACCEPT, CLOSE, SEND],
    "second-close": [ACCEPT, CLOSE, CLOSE],
    "subprotocol": [{**ACCEPT, "subprotocol": "not-offered"}],
    "header": [{**ACCEPT, "headers": [(b"sec-websocket-extensions", b"x")]}],
    "split-header": [{**ACCEPT, "headers": [(b"x-a", b"1\r\nInjected: yes")]}],
    "empty-send": [ACCEPT, {"type": "websocket.send"}],
    "code": [ACCEPT, {**CLOSE, "code": 1006}],
}


class Call:
    """One WebSocket, with shorter words for what ASGI asks for."""

    def __init__(self, scope: Message, receive: Any, send: Any) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.query = dict(parse_qsl(scope["query_string"].decode()))

    def note(self, line: str) -> None:
        if path := self.query.get("notes"):
            with open(path, "a") as file:
                file.write(f"{line}\n")

    async def gate(self) -> None:
        """Waits until the test opens the gate."""
        gate = Path(self.query["gate"])
        while not gate.exists():
            await asyncio.sleep(0.01)

    async def accept(self, **more: Any) -> None:
        message = await self.receive()
        assert message == {"type": "websocket.connect"}
        await self.send({**ACCEPT, **more})

    async def say(self, what: str | bytes) -> None:
        kind = "text" if isinstance(what, str) else "bytes"
        await self.send({"type": "websocket.send", kind: what})

    async def next(self) -> str | bytes | None:
        """The next message; None, and a note of code and reason, when there is none."""
        message = await self.receive()
        if message["type"] == "websocket.disconnect":
            self.note(f"disconnect {message['code']} {message['reason']}".rstrip())
            return None
        text = message.get("text")
        what: str | bytes = message["bytes"] if text is None else text
        return what


async def echo(call: Call) -> None:
    await call.accept()
    while (what := await call.next()) is not None:
        await call.say(what)


async def scope(call: Call) -> None:
    """Says what of the scope JSON can show, and echoes the offered subprotocols' last."""
    offered = call.scope["subprotocols"]
    await call.accept(
        subprotocol=offered[-1] if offered else None,
        headers=[(b"x-own", b"1"), (b"set-cookie", b"a=b"), (b"set-cookie", b"c=d")],
    )
    keys = ("type", "scheme", "path", "http_version", "subprotocols", "root_path")
    shown = {key: call.scope[key] for key in keys}
    shown["query_string"] = call.scope["query_string"].decode("latin-1")
    shown["denial"] = "websocket.http.response" in call.scope["extensions"]
    await call.say(json.dumps(shown))
    await call.next()


async def reject(call: Call) -> None:
    await call.receive()
    await call.send({**CLOSE, "code": 4000})
    await call.next()


async def deny(call: Call) -> None:
    """An answer of its own, one part before the gate and one behind it."""
    await call.receive()
    headers = [(b"www-authenticate", b"Basic"), (b"content-type", b"text/plain")]
    await call.send({**START, "headers": headers})
    await call.send({**BODY, "body": b"first ", "more_body": True})
    await call.gate()
    await call.send({**BODY, "body": b"last"})
    await call.next()


async def raises(call: Call) -> None:
    """At the stage that the query says."""
    await call.receive()
    if call.query["when"] != "before":
        await call.send(ACCEPT)
    if call.query["when"] == "later":
        await call.next()
    raise ValueError("the application's own fault")


async def returns(call: Call) -> None:
    """At the stage that the query says."""
    await call.receive()
    if call.query["when"] == "after":
        await call.send(ACCEPT)
        await call.say("that is all")


async def leave(call: Call) -> None:
    """Closes when it is told to, as the query says."""
    await call.accept()
    await call.next()
    code = {"code": int(call.query["code"])} if "code" in call.query else {}
    await call.send({**CLOSE, **code, "reason": call.query.get("reason")})
    await call.next()


async def wrong(call: Call) -> None:
    await call.receive()
    for message in WRONG[call.query["case"]]:
        await call.send(message)


async def late(call: Call) -> None:
    """Sends although the client has left."""
    await call.accept()
    while await call.next() is not None:
        pass
    try:
        await call.say("is anybody there?")
    except Exception as error:
        call.note(f"OSError={isinstance(error, OSError)}")
        raise


async def flood(call: Call) -> None:
    """Sends without end, until send() or somebody else ends it; of zeros if it is to be small."""
    await call.accept()
    piece = bytes(len(PIECE)) if "zeros" in call.query else PIECE
    try:
        while True:
            await call.say(piece)
    except OSError:
        call.note("OSError")
        raise
    finally:
        call.note("ended")


async def slow(call: Call) -> None:
    """Asks for messages once the gate is open, and says how many bytes came."""
    await call.accept()
    call.note("begun")
    await call.gate()
    size = 0
    while (what := await call.next()) not in (None, "how much?"):
        assert what is not None
        size += len(what)
    if what is not None:
        await call.say(str(size))


async def hold(call: Call) -> None:
    """Takes its time with the answer."""
    await call.receive()
    call.note("begun")
    if await call.next() is None:
        try:
            await call.send(ACCEPT)
        except Exception as error:
            call.note(f"OSError={isinstance(error, OSError)}")
            raise


async def at_the_gate(call: Call) -> None:
    """Accepts once the gate is open, then echoes."""
    await call.receive()
    call.note("begun")
    await call.gate()
    await call.send(ACCEPT)
    while (what := await call.next()) is not None:
        await call.say(what)


ROUTES: Final[dict[str, Callable[[Call], Awaitable[None]]]] = {
    "/echo": echo,
    "/scope": scope,
    "/reject": reject,
    "/deny": deny,
    "/raises": raises,
    "/returns": returns,
    "/leave": leave,
    "/wrong": wrong,
    "/late": late,
    "/flood": flood,
    "/slow": slow,
    "/hold": hold,
    "/at-the-gate": at_the_gate,
}


async def app(scope: Message, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await ROUTES[scope["path"]](Call(scope, receive, send))
        return
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
