"""One WebSocket of a page: joins a room, stores what the page says, sends what the room says.

A page gets one stream, in the order of the store's numbers, its own messages among them: seeing one
of its own, with its id, tells it that the message is stored. What it has not seen so it sends again
to whatever worker it finds next, and says from which number on it wants to read.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from contextlib import suppress
from typing import Any, Final

from chat.hall import Hall, Room
from chat.store import Guest, Message, Store
from pounce.asgi import Receive, Send

HISTORY: Final = 100  # messages for a page that comes for the first time
AT_ONCE: Final = 100  # messages read from the store in one go
JOIN_S: Final = 10.0  # how long a page may take to say who it is
LONGEST_NAME: Final = 40
LONGEST_TEXT: Final = 4000
VIOLATION: Final = 1008  # RFC 6455 section 7.4.1

# The page is gone: closed, or another one loaded in its place. Whoever ends with another code, our
# 1012 or none at all, is expected back.
GONE_FOR_GOOD: Final = (1000, 1001, 1005)


class LeftError(Exception):
    """The WebSocket has ended, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class NonsenseError(Exception):
    """The page sent what no page of ours sends."""


async def talk(hall: Hall, receive: Receive, send: Send) -> None:
    """From ``websocket.connect`` to the end."""
    await receive()
    await send({"type": "websocket.accept"})
    try:
        async with asyncio.timeout(JOIN_S):
            said = await hear(receive, "join")
        guest = Guest(
            client=text_of(said, "client", LONGEST_NAME),
            talk=secrets.token_hex(8),
            worker=hall.worker,
            room=text_of(said, "room", LONGEST_NAME),
            name=text_of(said, "name", LONGEST_NAME),
        )
        if not isinstance(last := said.get("last"), int | None):
            raise NonsenseError("last is a number, or null")
        await converse(hall, guest, last, receive, send)
    except* LeftError:
        pass
    except* TimeoutError:
        await close(send, "nobody joined")
    except* NonsenseError as nonsense:
        await close(send, str(nonsense.exceptions[0]))


async def converse(
    hall: Hall, guest: Guest, last: int | None, receive: Receive, send: Send
) -> None:
    """Both directions, until the page leaves or one of them fails."""
    try:
        async with hall.inside(guest) as room, asyncio.TaskGroup() as both:
            both.create_task(tell(hall, guest, room, last, send))
            both.create_task(listen(hall, guest, receive))
    except* LeftError as left:
        [one] = left.exceptions
        if isinstance(one, LeftError) and one.code in GONE_FOR_GOOD:
            await hall.strike(guest)


async def listen(hall: Hall, guest: Guest, receive: Receive) -> None:
    """Stores what the page says, one message after the other, until it leaves."""
    while True:
        said = await hear(receive, "say")
        message_id = text_of(said, "id", LONGEST_NAME)
        text = text_of(said, "text", LONGEST_TEXT)
        await hall.ask(
            Store.add,
            guest.room,
            client=guest.client,
            message_id=message_id,
            name=guest.name,
            text=text,
            now=time.time(),
        )
        hall.look()


async def tell(hall: Hall, guest: Guest, room: Room, last: int | None, send: Send) -> None:
    """Sends what is said in the room after the message numbered `last`, and who is here.

    It returns when the page has left; listen() hears why.
    """
    with suppress(OSError):
        await read_on(hall, guest, room, await beginning(hall, guest, last), send)


async def beginning(hall: Hall, guest: Guest, last: int | None) -> int:
    """The number after which a page reads on."""
    if last is None:
        return await hall.ask(Store.before_last, guest.room, HISTORY)
    newest = await hall.ask(Store.newest)  # less than `last` when the file was removed
    return max(0, min(last, newest))


async def read_on(hall: Hall, guest: Guest, room: Room, number: int, send: Send) -> None:
    await send(packed({"type": "joined", "last": number, "worker": os.getpid()}))
    told: object = None
    while True:
        news = room.news  # what comes while we read sets this one
        messages = await hall.ask(Store.after, guest.room, number, most=AT_ONCE)
        for message in messages:
            await send(packed(as_seen_by(guest, message)))
            number = message.number
        if hall.here is not told:
            told = hall.here
            rooms = {name: len(names) for name, names in hall.here.items()}
            names = hall.here.get(guest.room, [])
            await send(packed({"type": "here", "names": names, "rooms": rooms}))
        if len(messages) < AT_ONCE:
            await news.wait()


def as_seen_by(guest: Guest, message: Message) -> dict[str, object]:
    """What a page is told of a message. The id is for its author, who waits for it."""
    seen: dict[str, object] = {
        "type": "message",
        "number": message.number,
        "name": message.name,
        "text": message.text,
        "said_at": message.said_at,
    }
    if message.client == guest.client:
        seen["id"] = message.id
    return seen


async def hear(receive: Receive, expected: str) -> dict[str, Any]:
    """The next thing that the page says."""
    message = await receive()
    if message["type"] == "websocket.disconnect":
        raise LeftError(message["code"])
    try:
        said = json.loads(message.get("text") or "null")
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or said.get("type") != expected:
        raise NonsenseError(f"expected JSON with the type {expected}")
    return said


def text_of(said: dict[str, Any], name: str, longest: int) -> str:
    text = said.get(name)
    if not isinstance(text, str) or not 0 < len(text) <= longest:
        raise NonsenseError(f"{name} is a text of 1 to {longest} characters")
    # JSON can spell half a surrogate pair, which no encoding of text can.
    return text.encode("utf-8", "replace").decode()


def packed(content: dict[str, object]) -> dict[str, str]:
    return {"type": "websocket.send", "text": json.dumps(content, ensure_ascii=False)}


async def close(send: Send, reason: str) -> None:
    with suppress(OSError):  # it has left by itself
        await send({"type": "websocket.close", "code": VIOLATION, "reason": reason})
