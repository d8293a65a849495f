"""Requests that wait for a gate and WebSockets that echo, for connections that carry both.

A WebSocket to /scope is told of its scope first.
"""

from __future__ import annotations

import json
from typing import Any

from tests.system.apps import probe


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        await probe.app(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/scope":
        shown = {key: scope[key] for key in ("type", "scheme", "http_version")}
        shown["tls"] = scope["extensions"].get("tls")
        await send({"type": "websocket.send", "text": json.dumps(shown)})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
