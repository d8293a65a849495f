"""An application that talks: echoes on WebSockets, denies some, and answers HTTP as well."""

from __future__ import annotations

import asyncio
from typing import Any

Message = dict[str, Any]


async def talk(scope: Message, receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] == "/deny":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text = message["text"]
        if text.startswith("close "):
            await send({"type": "websocket.close", "code": int(text[6:])})
            return
        await send({"type": "websocket.send", "text": text})


async def answer(scope: Message, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while scope["path"] == "/wait":
        await send({"type": "http.response.body", "body": b".", "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b"hello"})


async def app(scope: Message, receive: Any, send: Any) -> None:
    match scope["type"]:
        case "websocket":
            await talk(scope, receive, send)
        case "http":
            await answer(scope, send)
        case _:
            raise RuntimeError("no lifespan here")
