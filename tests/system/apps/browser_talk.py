"""WebSockets for a browser: an echo, and closes with the code and reason that its page asks for."""

from __future__ import annotations

from urllib.parse import parse_qs

from pounce.asgi import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["type"], scope["path"]:
        case "http", _:
            headers = [(b"content-type", b"text/html; charset=utf-8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"<!doctype html><title>x</title>"})
        case "websocket", "/echo":
            await echo(scope, receive, send)
        case "websocket", "/close":
            query = parse_qs(scope["query_string"].decode())
            await receive()
            await send({"type": "websocket.accept"})
            code, reason = int(query["code"][0]), query["reason"][0]
            await send({"type": "websocket.close", "code": code, "reason": reason})
        case "websocket", _:
            await receive()
            await send({"type": "websocket.close"})
        case _:
            raise NotImplementedError(scope["type"])


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The last subprotocol offered is chosen."""
    await receive()
    offered = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": offered[-1] if offered else None})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
