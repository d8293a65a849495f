"""Requests that wait for a gate and WebSockets that echo, for connections that carry both."""

from __future__ import annotations

from typing import Any

from tests.system.apps import probe


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        await probe.app(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
