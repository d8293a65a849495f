"""WebSockets of Starlette and FastAPI, over real sockets and a real client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from xprocess import XProcess

from tests.support.notes import Notes
from tests.support.server import Server, shared
from tests.support.serverlog import PATIENCE

SITES: Final = [
    ("starlette_sockets", "uvloop", "httptools"),
    ("fastapi_sockets", "uvloop", "httptools"),
    ("starlette_sockets", "asyncio", "h11"),
]


class Site:
    """One framework's application, running."""

    def __init__(self, server: Server, notes: Notes) -> None:
        self.server = server
        self.notes = notes

    @asynccontextmanager
    async def enter(self, path: str, **options: Any) -> AsyncIterator[ClientConnection]:
        url = self.server.url(path).replace("http:", "ws:")
        async with connect(url, open_timeout=PATIENCE, proxy=None, **options) as socket:
            yield socket

    def refused(self, path: str) -> Any:
        """The answer that came in place of a WebSocket."""

        async def main() -> None:
            async with self.enter(path):
                pass

        with pytest.raises(InvalidStatus) as caught:
            asyncio.run(main())
        return caught.value.response


@pytest.fixture(scope="module", params=SITES, ids="-".join)
def running(
    request: pytest.FixtureRequest, xprocess: XProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    app, loop, http = request.param
    notes = Notes(tmp_path_factory.mktemp(app))
    env = {"NOTES": str(notes.path)}
    with shared(xprocess, app, "--loop", loop, "--http", http, env=env) as server:
        yield Site(server, notes)


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    running.notes.path.unlink(missing_ok=True)
    yield running
    running.server.log.check()


def test_text_bytes_and_json_come_and_go(site: Site) -> None:
    async def main() -> None:
        async with site.enter("/echo") as socket:
            for size in (3, 70_000, 400_000):
                await socket.send("ä" * size)
                assert await socket.recv() == "ä" * size
                await socket.send(bytes(size))
                assert await socket.recv() == bytes(size)
                await socket.send(json.dumps({"size": size}))
                assert json.loads(await socket.recv()) == {"size": size}
            await socket.close(4711, "größer")
            assert (socket.close_code, socket.close_reason) == (4711, "größer")

    asyncio.run(main())
    site.notes.wait_for("disconnect 4711 größer")


def test_a_message_in_fragments_and_a_ping_arrive(site: Site) -> None:
    async def main() -> None:
        async with site.enter("/iterate") as socket:
            await (await socket.ping())
            await socket.send(["one ", "two ", "three"])
            assert await socket.recv() == "ONE TWO THREE"

    asyncio.run(main())
    site.notes.wait_for("iterated")


@pytest.mark.parametrize("compression", ["deflate", None])
def test_many_messages_at_once_keep_their_order(site: Site, compression: str | None) -> None:
    async def main() -> None:
        async with site.enter("/iterate", compression=compression) as socket:
            agreed = socket.response is not None and "Sec-WebSocket-Extensions" in (
                socket.response.headers
            )
            assert agreed is (compression is not None)
            words = [f"message {number} " * 10 for number in range(500)]

            async def say() -> None:
                for word in words:
                    await socket.send(word)

            saying = asyncio.create_task(say())
            assert [await socket.recv() for _ in words] == [word.upper() for word in words]
            await saying

    asyncio.run(main())


def test_subprotocol_headers_and_cookies_are_asked_for_and_accepted(site: Site) -> None:
    async def main() -> None:
        async with site.enter(
            "/offered/blue?a=b%20c",
            subprotocols=["one", "two"],
            additional_headers={"X-Asked": "yes", "Cookie": "taste=sweet"},
        ) as socket:
            assert socket.subprotocol == "two"
            assert socket.response is not None
            assert socket.response.headers["x-own"] == "1"
            assert socket.response.headers["set-cookie"] == "a=b"
            assert json.loads(await socket.recv()) == {
                "offered": ["one", "two"],
                "header": "yes",
                "cookies": {"taste": "sweet"},
                "query": {"a": "b c"},
                "path": {"room": "blue"},
                "url": "ws://here/offered/blue?a=b%20c",
            }
            with pytest.raises(ConnectionClosedError) as caught:
                await socket.recv()
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "as agreed")

    asyncio.run(main())


def test_a_client_that_is_lost_is_a_disconnect_1006(site: Site) -> None:
    async def main() -> None:
        async with site.enter("/echo") as socket:
            socket.transport.abort()

    asyncio.run(main())
    site.notes.wait_for("disconnect 1006")


def test_a_close_without_code_is_a_disconnect_1005(site: Site) -> None:
    async def main() -> None:
        async with site.enter("/echo") as socket:
            socket.transport.write(b"\x88\x80\0\0\0\0")
            await socket.wait_closed()

    asyncio.run(main())
    site.notes.wait_for("disconnect 1005")


def test_send_to_who_has_left_is_the_frameworks_disconnect(site: Site) -> None:
    async def main() -> None:
        async with site.enter("/late") as socket:
            await socket.close()

    asyncio.run(main())
    site.notes.wait_for("late 1006")


def test_a_close_before_accept_and_an_unknown_path_are_403(site: Site) -> None:
    assert site.refused("/reject").status_code == 403
    assert site.refused("/no-such-path").status_code == 403


def test_a_denial_response_is_the_applications_own(site: Site) -> None:
    answer = site.refused("/deny")
    assert (answer.status_code, answer.headers["x-own"]) == (402, "1")
    assert json.loads(answer.body) == {"why": "no"}
    answer = site.refused("/deny-in-parts")
    assert (answer.status_code, answer.body) == (403, b"one two")


def test_an_http_exception_before_accept_is_its_answer(site: Site) -> None:
    answer = site.refused("/unknown")
    assert (answer.status_code, answer.headers["x-own"]) == (404, "1")
    assert b"no such room" in answer.body


def test_an_endpoint_that_raises_is_500_or_1011(site: Site) -> None:
    site.server.log.expect("application raised websocket path=/raises")
    assert site.refused("/raises").status_code == 500
    site.server.log.check()
    site.server.log.expect("application raised websocket path=/raises")

    async def main() -> None:
        async with site.enter("/raises?after=1") as socket:
            with pytest.raises(ConnectionClosedError) as caught:
                await socket.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1011

    asyncio.run(main())


def test_starlettes_class_of_endpoints_works(site: Site) -> None:
    async def main() -> None:
        async with site.enter("/endpoint") as socket:
            await socket.send('{"number": 21}')
            assert json.loads(await socket.recv()) == {"twice": 42}
            await socket.close(4002)
        async with site.enter("/endpoint") as socket:
            await socket.send("no json")
            with pytest.raises(ConnectionClosedError) as caught:
                await socket.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1003

    site.server.log.expect("application raised websocket path=/endpoint")
    asyncio.run(main())
    site.notes.wait_for("endpoint 4002")
    site.notes.wait_for("endpoint 1011")


# What FastAPI adds


@pytest.fixture(scope="module")
def guarded(xprocess: XProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    notes = Notes(tmp_path_factory.mktemp("guarded"))
    with shared(xprocess, "fastapi_sockets", env={"NOTES": str(notes.path)}) as server:
        yield Site(server, notes)


def test_a_dependency_lets_in_or_denies(guarded: Site) -> None:
    async def main() -> None:
        async with guarded.enter("/guarded?token=right") as socket:
            assert await socket.recv() == "right"
            with pytest.raises(ConnectionClosedOK):
                await socket.recv()

    asyncio.run(main())
    assert guarded.refused("/guarded").status_code == 403
    answer = guarded.refused("/guarded?token=wrong")
    assert (answer.status_code, json.loads(answer.body)) == (401, {"detail": "wrong token"})
    guarded.server.log.expect("application raised websocket path=/guarded")
    assert guarded.refused("/guarded?token=broken").status_code == 500
    guarded.server.log.check()


def test_a_parameter_that_does_not_fit_is_403(guarded: Site) -> None:
    async def main() -> None:
        async with guarded.enter("/number/7") as socket:
            assert await socket.recv() == "7"

    asyncio.run(main())
    assert guarded.refused("/number/seven").status_code == 403


def test_an_exception_after_accept_says_its_code_and_reason(guarded: Site) -> None:
    async def main() -> None:
        async with guarded.enter("/changes-its-mind") as socket:
            with pytest.raises(ConnectionClosedError) as caught:
                await socket.recv()
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1008, "not for you")

    asyncio.run(main())
