"""The applications that the fuzzer's peers talk to: good ones, slow ones, and broken ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final

from pounce.asgi import Message, Receive, Scope, Send

ACCEPT: Final[Message] = {"type": "websocket.accept"}
BIG: Final = b"0123456789" * 300


class Ledger:
    """What an application saw and did.

    Attributes:
        received: messages of the client.
        sent: messages that were sent without an error.
        ends: the websocket.disconnect messages.
        over: set by the player at the end of the story.
        meant: the application was to raise, or to break the rules.
    """

    def __init__(self) -> None:
        self.accepted = False
        self.received: list[str | bytes] = []
        self.sent: list[str | bytes] = []
        self.ends: list[Message] = []
        self.over = asyncio.Event()
        self.meant = False
        self.closed = False

    async def __call__(self, app: str, scope: Scope, receive: Receive, send: Send) -> None:
        async def receives() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive":
                text = message.get("text")
                self.received.append(message["bytes"] if text is None else text)
            elif message["type"] == "websocket.disconnect":
                self.ends.append(message)
            return message

        async def sends(message: Message) -> None:
            kind = message["type"]
            if kind == "websocket.send":
                # Noted first: it is on the wire before send() returns, or not at all.
                data = message.get("bytes")
                self.sent.append(message.get("text", b"") if data is None else data)
                try:
                    await send(message)
                except BaseException as error:
                    if not isinstance(error, asyncio.CancelledError):
                        self.sent.pop()
                    raise
            else:
                self.closed = self.closed or kind == "websocket.close"
                await send(message)
                self.accepted = self.accepted or kind == "websocket.accept"

        if scope["type"] == "http":
            await http(receive, send)
        else:
            await APPS[app](self, receives, sends)


async def http(receive: Receive, send: Send) -> None:
    """Reads what there is, and answers."""
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello", "more_body": True})
    await send({"type": "http.response.body", "body": b""})


App = Callable[[Ledger, Receive, Send], Awaitable[None]]


async def listens(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def echo(ledger: Ledger, receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    left = False
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        answer = {"bytes": message["bytes"]} if text is None else {"text": text}
        try:
            if not left:
                await send({"type": "websocket.send", **answer})
        except OSError:
            left = True  # and what it sent before is still to be read


async def reader(ledger: Ledger, receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    await listens(receive)


async def slow(ledger: Ledger, receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    while (await receive())["type"] != "websocket.disconnect":
        for _ in range(7):
            await asyncio.sleep(0)


async def late(ledger: Ledger, receive: Receive, send: Send) -> None:
    await receive()
    for _ in range(11):
        await asyncio.sleep(0)
    await send(ACCEPT)
    await listens(receive)


async def deaf(ledger: Ledger, receive: Receive, send: Send) -> None:
    """Never asks for a message."""
    await send(ACCEPT)
    await ledger.over.wait()


async def undecided(ledger: Ledger, receive: Receive, send: Send) -> None:
    """Neither accepts nor denies."""
    ledger.meant = True
    await receive()
    await ledger.over.wait()


async def talker(ledger: Ledger, receive: Receive, send: Send) -> None:
    """Sends without ever listening; after much of it, once in a while."""
    await send(ACCEPT)
    for number in count():
        await send({"type": "websocket.send", "bytes": BIG})
        if number > 300:
            for _ in range(10):
                await asyncio.sleep(0)


async def crowd(ledger: Ledger, receive: Receive, send: Send) -> None:
    """Several that receive and several that send, at the same time."""

    async def talk(words: str) -> None:
        for _ in range(50):
            await send({"type": "websocket.send", "text": words})
            await asyncio.sleep(0)

    await send(ACCEPT)
    tasks = [asyncio.create_task(listens(receive)) for _ in range(3)]
    tasks += [asyncio.create_task(talk(words)) for words in ("ä" * 200, "b", "c" * 5000)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks.clear()  # their errors know this frame, and would keep it for the garbage collector


async def closes(ledger: Ledger, receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    await receive()
    await send({"type": "websocket.send", "text": "enough"})
    await send({"type": "websocket.close", "code": 4000, "reason": "ü" * 200})
    await listens(receive)


async def returns(ledger: Ledger, receive: Receive, send: Send) -> None:
    await send(ACCEPT)
    await receive()
    await receive()


async def denies(ledger: Ledger, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})
    await listens(receive)


async def refuses(ledger: Ledger, receive: Receive, send: Send) -> None:
    """An answer of its own in place of a WebSocket."""
    start: Message = {"type": "websocket.http.response.start", "status": 401, "headers": []}
    await send(start)
    for _ in range(20):
        await send({"type": "websocket.http.response.body", "body": BIG, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "websocket.http.response.body"})


async def raises_early(ledger: Ledger, receive: Receive, send: Send) -> None:
    ledger.meant = True
    raise ValueError("meant")


async def raises(ledger: Ledger, receive: Receive, send: Send) -> None:
    ledger.meant = True
    await receive()
    await send(ACCEPT)
    await receive()
    raise ValueError("meant")


WRONG: Final[tuple[dict[str, Any], ...]] = (
    {"type": "websocket.http.response.body"},
    {"type": "websocket.send"},
    {"type": "websocket.send", "text": b"bytes"},
    {"type": "websocket.send", "bytes": "text"},
    {"type": "websocket.send", "text": "\ud800"},
    {"type": "websocket.close", "code": 1006},
    {"type": "websocket.close", "reason": "\ud800"},
    {"type": "websocket.accept", "subprotocol": "none"},
    {"type": "websocket.accept", "headers": [(b"a", b"b\r\nc")]},
    {"type": "no such message"},
)


async def clumsy(ledger: Ledger, receive: Receive, send: Send) -> None:
    """Sends what it may not, and goes on."""
    ledger.meant = True
    accepted = False
    for message in (*WRONG, ACCEPT, *WRONG):
        if message["type"] == "websocket.close" and not accepted:
            continue  # which would deny it
        try:
            await send(message)
            accepted = accepted or message["type"] == "websocket.accept"
        except OSError:
            return
        except Exception:
            continue
    await listens(receive)


APPS: Final[dict[str, App]] = {
    name.__name__: name
    for name in (
        echo,
        reader,
        slow,
        late,
        deaf,
        undecided,
        talker,
        crowd,
        closes,
        returns,
        denies,
        refuses,
        raises_early,
        raises,
        clumsy,
    )
}
READS_ALL: Final = ("echo", "reader", "slow", "late")
