"""WebSockets in Starlette, as its documentation shows them."""

from __future__ import annotations

import os
from typing import Any

from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


def note(line: str) -> None:
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{line}\n")


async def echo(socket: WebSocket) -> None:
    """Text, bytes and JSON, until the client leaves."""
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
            await socket.send_bytes(await socket.receive_bytes())
            await socket.send_json(await socket.receive_json())
    except WebSocketDisconnect as error:
        note(f"disconnect {error.code} {error.reason}".rstrip())


async def iterate(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text.upper())
    note("iterated")


async def offered(socket: WebSocket) -> None:
    """Accepts the last subprotocol, with headers, and shows what it was asked with."""
    names = socket.scope["subprotocols"]
    await socket.accept(names[-1], [(b"x-own", b"1"), (b"set-cookie", b"a=b")])
    await socket.send_json(
        {
            "offered": names,
            "header": socket.headers["x-asked"],
            "cookies": socket.cookies,
            "query": dict(socket.query_params),
            "path": socket.path_params,
            "url": str(socket.url.replace(netloc="here")),
        }
    )
    await socket.close(4001, "as agreed")


async def late(socket: WebSocket) -> None:
    """Sends to who has left: Starlette makes a WebSocketDisconnect of the server's OSError."""
    await socket.accept()
    message: Any = None
    while message is None or message["type"] == "websocket.receive":
        message = await socket.receive()
    try:
        await socket.send_text("too late")
    except WebSocketDisconnect as error:
        note(f"late {error.code}")


async def reject(socket: WebSocket) -> None:
    await socket.close(4000)


async def deny(socket: WebSocket) -> None:
    await socket.send_denial_response(JSONResponse({"why": "no"}, 402, {"x-own": "1"}))


async def deny_in_parts(socket: WebSocket) -> None:
    async def parts() -> Any:
        yield "one "
        yield "two"

    await socket.send_denial_response(StreamingResponse(parts(), 403, media_type="text/plain"))


async def unknown(socket: WebSocket) -> None:
    raise HTTPException(404, "no such room", {"x-own": "1"})


async def raises(socket: WebSocket) -> None:
    if "after" in socket.query_params:
        await socket.accept()
    raise ValueError("the application's own fault")


class Endpoint(WebSocketEndpoint):
    encoding = "json"

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_json({"twice": 2 * data["number"]})

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        note(f"endpoint {close_code}")


app = Starlette(
    routes=[
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/iterate", iterate),
        WebSocketRoute("/offered/{room}", offered),
        WebSocketRoute("/late", late),
        WebSocketRoute("/reject", reject),
        WebSocketRoute("/deny", deny),
        WebSocketRoute("/deny-in-parts", deny_in_parts),
        WebSocketRoute("/unknown", unknown),
        WebSocketRoute("/raises", raises),
        WebSocketRoute("/endpoint", Endpoint),
    ]
)
