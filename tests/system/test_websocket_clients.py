"""The echo of the documentation's first page, unchanged, with every client, loop and parser."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from itertools import product
from typing import Final

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import connect
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Ping,
    Pong,
    TextMessage,
)
from xprocess import XProcess

from tests.support.server import Server, shared
from tests.support.serverlog import PATIENCE
from tests.support.wsproto_client import WsprotoClient, wsproto_client

APP: Final = "tests.system.apps.page_app:websocket_app"
SIZES: Final = (0, 1, 125, 126, 65_535, 65_536, 300_000)


@pytest.fixture(
    scope="module",
    params=product(["uvloop", "asyncio"], ["httptools", "h11"], ["on", "off"]),
    ids="-".join,
)
def server(request: pytest.FixtureRequest, xprocess: XProcess) -> Iterator[Server]:
    loop, http, deflate = request.param
    options = ["--loop", loop, "--http", http]
    if deflate == "off":
        options.append("--no-websocket-deflate")
    with shared(xprocess, APP, *options) as one:
        yield one


def url(server: Server) -> str:
    return server.url("/").replace("http:", "ws:")


def text_of(size: int) -> str:
    return "".join(random.Random(size).choices("aäßあ𝄞", k=size))  # no size but of letters


def test_the_asyncio_client_of_websockets(server: Server) -> None:
    async def talk(number: int) -> None:
        async with connect_async(url(server), open_timeout=PATIENCE, proxy=None) as socket:
            for size in SIZES[:-1]:
                await socket.send(text_of(size))
                assert await socket.recv() == text_of(size)
            await socket.send(f"{number}")
            await (await socket.ping())
            assert await socket.recv() == f"{number}"
        assert socket.close_code == 1000

    async def main() -> None:
        await asyncio.gather(*(talk(number) for number in range(20)))

    asyncio.run(main())


def test_the_threaded_client_of_websockets(server: Server) -> None:
    with connect(url(server), open_timeout=PATIENCE, proxy=None) as socket:
        for size in SIZES[:-1]:
            socket.send(text_of(size))
            assert socket.recv(timeout=PATIENCE) == text_of(size)


def whole_text(client: WsprotoClient) -> str:
    text = ""
    while True:
        event = client.next()
        assert isinstance(event, TextMessage), event
        text += event.data
        if event.message_finished:
            return text


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
def test_the_client_of_wsproto(server: Server, deflate: bool) -> None:
    with wsproto_client(server, "/", deflate=deflate) as client:
        accepted = client.next()
        assert isinstance(accepted, AcceptConnection)
        for size in SIZES:
            client.send(TextMessage(data=text_of(size)))
            assert whole_text(client) == text_of(size)
        parts = [
            TextMessage(data="one ", message_finished=False),
            TextMessage(data="", message_finished=False),
            TextMessage(data="two", message_finished=True),
        ]
        for part in parts:
            client.send(part)
        assert whole_text(client) == "one two"
        client.send(Ping(payload=b"there?"))
        assert client.next() == Pong(payload=b"there?")
        client.send(CloseConnection(code=3000, reason="done"))
        closed = client.next()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 3000
