"""python-socketio over real sockets with its own client: by polling, upgraded, by WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import socketio
from xprocess import XProcess

from tests.support.notes import Notes
from tests.support.server import Server, shared
from tests.support.serverlog import PATIENCE

TRANSPORTS: Final = {
    "polling": ["polling"],
    "websocket": ["websocket"],
    "upgraded": ["polling", "websocket"],
}
MESSAGES: Final = 12  # the library's client takes no more than 16 from one poll


class Site:
    """The application, running in one worker: its rooms reach no further."""

    def __init__(self, server: Server, notes: Notes) -> None:
        self.server = server
        self.notes = notes

    @asynccontextmanager
    async def enter(self, how: str, **options: Any) -> AsyncIterator[Any]:
        client = socketio.AsyncClient(reconnection=False)
        await client.connect(
            self.server.url(), transports=TRANSPORTS[how], wait_timeout=PATIENCE, **options
        )
        try:
            yield client
        finally:
            leaving = asyncio.create_task(client.disconnect())
            if client.connected and client.transport() == "polling":
                # It waits for its last poll, which the library's server leaves to its next ping.
                await client.eio.write_loop_task
                client.eio.read_loop_task.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            await close_session(client)


async def close_session(client: Any) -> None:
    if client.eio.http is not None and not client.eio.http.closed:
        await client.eio.http.close()


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def running(
    request: pytest.FixtureRequest, xprocess: XProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    notes = Notes(tmp_path_factory.mktemp("socketio"))
    options = ["--workers", "1", "--loop", request.param, "--shutdown-timeout", "1"]
    with shared(xprocess, "socketio_app", *options, env={"NOTES": str(notes.path)}) as server:
        server.log.allow("drain is over, cutting what is left")  # last polls, see enter()
        yield Site(server, notes)


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    running.notes.path.unlink(missing_ok=True)
    yield running
    running.server.log.check()


@pytest.mark.parametrize("how", TRANSPORTS)
def test_every_transport_carries_calls_and_their_acknowledgements(site: Site, how: str) -> None:
    async def main() -> None:
        async with site.enter(how) as client:
            assert await client.call("transport", timeout=PATIENCE) == (
                "polling" if how == "polling" else "websocket"
            )
            assert await client.call("upper", "größe", timeout=PATIENCE) == "GRÖSSE"
            for what in (b"\0\xff" * 50_000, {"a": [1, b"in between", None]}, "x" * 200_000):
                assert await client.call("same", what, timeout=PATIENCE) == what

    asyncio.run(main())
    site.notes.wait_for("connect")
    # The library's client closes its WebSocket before it has sent its good-bye.
    reason = "client disconnect" if how == "polling" else "transport close"
    site.notes.wait_for(f"disconnect {reason}")


@pytest.mark.parametrize("how", TRANSPORTS)
def test_a_server_asks_back_while_it_is_asked(site: Site, how: str) -> None:
    async def main() -> None:
        async with site.enter(how) as client:

            @client.on("question")
            def answer() -> str:
                return "yes"

            assert await client.call("ask_back", timeout=PATIENCE) == "you said yes"

    asyncio.run(main())


def test_a_room_hears_what_is_told_by_whatever_transport(site: Site) -> None:
    async def main() -> None:
        async with (
            site.enter("polling") as one,
            site.enter("websocket") as two,
            site.enter("upgraded") as three,
        ):
            heard: dict[str, asyncio.Queue[str]] = {}
            for client in (one, two, three):
                queue = heard[client.sid] = asyncio.Queue()
                client.on("told", queue.put)
            for client in (one, two):
                await client.emit("enter", "blue")
                await client.call("upper", "entered", timeout=PATIENCE)
            for number in range(MESSAGES):
                await three.emit("tell", ("blue", f"{number}"))
            for client in (one, two):
                got = [
                    await asyncio.wait_for(heard[client.sid].get(), PATIENCE)
                    for _ in range(MESSAGES)
                ]
                assert got == [f"{number}" for number in range(MESSAGES)]
            assert heard[three.sid].empty()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["websocket", "upgraded"])
def test_who_is_thrown_out_and_who_is_lost_hear_why(site: Site, how: str) -> None:
    async def main() -> None:
        async with site.enter(how) as client:
            reasons: asyncio.Queue[str] = asyncio.Queue()

            @client.event
            async def disconnect(reason: str) -> None:
                await reasons.put(reason)

            await client.emit("throw_out")
            assert await asyncio.wait_for(reasons.get(), PATIENCE) == "server disconnect"
            await asyncio.to_thread(site.notes.wait_for, "disconnect server disconnect")
        async with site.enter(how) as client:
            client.eio.ws._response.connection.transport.abort()
            await asyncio.to_thread(site.notes.wait_for, "disconnect transport close")

    asyncio.run(main())


def test_who_is_refused_by_the_application_hears_so(site: Site) -> None:
    async def main() -> None:
        client = socketio.AsyncClient(reconnection=False)
        said: list[Any] = []
        client.on("connect_error", said.append)
        try:
            with pytest.raises(socketio.exceptions.ConnectionError):
                await client.connect(
                    site.server.url(), auth="wrong", transports=["websocket"], wait_timeout=PATIENCE
                )
        finally:
            await close_session(client)
        assert said == [{"message": "not you"}]

    asyncio.run(main())
