"""WebSockets in FastAPI; their paths and what they do are those of starlette_sockets.py."""

from __future__ import annotations

from typing import Annotated

from fastapi import (
    APIRouter,
    Depends,
    FastAPI,
    HTTPException,
    Query,
    WebSocket,
    WebSocketException,
    status,
)

from tests.system.apps import starlette_sockets as same

app = FastAPI()
router = APIRouter()


def may_enter(token: Annotated[str | None, Query()] = None) -> str:
    if token is None:
        raise WebSocketException(status.WS_1008_POLICY_VIOLATION, "no token")
    if token == "wrong":
        raise HTTPException(401, "wrong token")
    if token == "broken":
        raise ValueError("the dependency's own fault")
    return token


@router.websocket("/guarded")
async def guarded(socket: WebSocket, token: Annotated[str, Depends(may_enter)]) -> None:
    await socket.accept()
    await socket.send_text(token)
    await socket.close()


@router.websocket("/changes-its-mind")
async def changes_its_mind(socket: WebSocket) -> None:
    await socket.accept()
    raise WebSocketException(status.WS_1008_POLICY_VIOLATION, "not for you")


@router.websocket("/number/{number}")
async def number(socket: WebSocket, number: int) -> None:
    await socket.accept()
    await socket.send_json(number)
    await socket.close()


for path, endpoint in {
    "/echo": same.echo,
    "/iterate": same.iterate,
    "/offered/{room}": same.offered,
    "/late": same.late,
    "/reject": same.reject,
    "/deny": same.deny,
    "/deny-in-parts": same.deny_in_parts,
    "/unknown": same.unknown,
    "/raises": same.raises,
}.items():
    router.add_api_websocket_route(path, endpoint)
app.include_router(router)
app.router.routes += [route for route in same.app.routes if "endpoint" in str(route)]
