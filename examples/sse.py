"""Server-sent events without a framework: ``pounce --app-dir examples sse:app``.

``curl -N http://127.0.0.1:8000/events`` shows one event a second, until one side has enough.
"""

from __future__ import annotations

import asyncio
from itertools import count

from pounce.asgi import Receive, Scope, Send

HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    if scope["path"] != "/events":
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"see /events\n"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    left = asyncio.create_task(client_left(receive))
    try:
        for number in count(1):
            event = f"id: {number}\ndata: tick {number}\n\n".encode()
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await asyncio.wait([left], timeout=1)
            if left.done():
                break
        await send({"type": "http.response.body", "body": b""})
    except OSError:
        pass  # it left while we sent
    finally:
        left.cancel()


async def client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
