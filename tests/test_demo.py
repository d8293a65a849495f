"""The built-in demo, driven by ASGI calls alone: any server could serve it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pounce import demo
from pounce.demo import app

Message = dict[str, Any]


def http(path: str, *, method: str = "GET", query: str = "", **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": query.encode(),
        "root_path": "",
        "headers": [],
        "client": ("127.0.0.1", 5000),
        "extensions": {},
        **more,
    }


class Peer:
    """The other side of one ASGI call: what it says is queued, what it hears is kept."""

    def __init__(self, *said: Message) -> None:
        self.mail: asyncio.Queue[Message] = asyncio.Queue()
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        for message in said:
            self.mail.put_nowait(message)

    async def receive(self) -> Message:
        return await self.mail.get()

    async def send(self, message: Any) -> None:
        self.heard.put_nowait(message)

    async def call(self, scope: dict[str, Any]) -> None:
        await app(scope, self.receive, self.send)

    def all(self) -> list[Message]:
        return [self.heard.get_nowait() for _ in range(self.heard.qsize())]


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(limited())


def ask(scope: dict[str, Any], *said: Message) -> tuple[int, dict[bytes, bytes], bytes]:
    """One request and its whole answer; the messages must come in their order."""
    heard: list[Message] = []

    async def test() -> None:
        peer = Peer(*(said or ({"type": "http.request", "body": b"", "more_body": False},)))
        await peer.call(scope)
        heard.extend(peer.all())

    run(test)
    start, *bodies = heard
    assert start["type"] == "http.response.start"
    assert [body.get("more_body", False) for body in bodies] == [True] * (len(bodies) - 1) + [False]
    return start["status"], dict(start["headers"]), b"".join(body["body"] for body in bodies)


def test_the_page_stands_on_its_own() -> None:
    status, headers, body = ask(http("/"))
    assert (status, headers[b"content-type"]) == (200, b"text/html; charset=utf-8")
    assert headers[b"content-length"] == str(len(body)).encode()
    text = body.decode()
    assert "<title>pounce</title>" in text
    for outside in ("src=", "https://", "//cdn", "@import"):
        assert outside not in text


def test_json_says_hello() -> None:
    status, headers, body = ask(http("/json"))
    assert (status, headers[b"content-type"]) == (200, b"application/json")
    assert json.loads(body) == {"message": "Hello, World!"}


def test_whoami_names_process_and_client() -> None:
    worker = {"pounce.worker": {"slot": 1, "generation": 3}}
    _, _, body = ask(http("/whoami", extensions=worker))
    assert json.loads(body) == {
        "pid": os.getpid(),
        "slot": 1,
        "generation": 3,
        "http_version": "1.1",
        "scheme": "http",
        "client": ["127.0.0.1", 5000],
    }
    scope = http("/whoami", client=None)
    del scope["extensions"]  # another server may have none
    assert json.loads(ask(scope)[2])["client"] is None


def test_echo_gives_the_body_back_piece_by_piece_and_never_as_html() -> None:
    status, headers, body = ask(
        http("/echo", method="POST", headers=[(b"content-type", b"text/html")]),
        {"type": "http.request", "body": b"<script>", "more_body": True},
        {"type": "http.request", "more_body": True},
        {"type": "http.request", "body": b"\xff", "more_body": False},
    )
    assert (status, body) == (200, b"<script>\xff")
    assert headers[b"content-type"].startswith(b"text/plain")
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_echo_ends_when_the_client_is_gone() -> None:
    async def test() -> None:
        peer = Peer({"type": "http.disconnect"})
        await peer.call(http("/echo", method="POST"))
        assert [message["type"] for message in peer.all()] == ["http.response.start"]

    run(test)


def test_echo_wants_a_post() -> None:
    status, headers, _ = ask(http("/echo"))
    assert (status, headers[b"allow"]) == (405, b"POST")


@pytest.mark.parametrize(
    ("query", "status", "slept_s"),
    [("s=0", 200, 0.0), ("s=-5", 200, 0.0), ("s=x", 400, None), ("s=nan", 400, None)],
)
def test_slow_sleeps_as_long_as_asked_within_reason(
    query: str, status: int, slept_s: float | None
) -> None:
    got, _, body = ask(http("/slow", query=query))
    assert got == status
    if slept_s is not None:
        assert json.loads(body)["slept_s"] == slept_s


def test_slow_has_a_default_and_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SLOWEST_S", 0.01)
    assert json.loads(ask(http("/slow"))[2])["slept_s"] == 0.01
    assert json.loads(ask(http("/slow", query="s=inf"))[2])["slept_s"] == 0.01


def test_an_unknown_path_is_told_the_known_ones() -> None:
    status, _, body = ask(http("/nowhere"))
    assert status == 404
    assert b"/whoami" in body


def test_paths_are_those_below_the_root_path() -> None:
    assert ask(http("/demo/json", root_path="/demo"))[0] == 200


def test_the_clock_ticks_and_ends_so_that_a_shutdown_need_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo, "CLOCK_TICKS", 2)
    status, headers, body = ask(http("/sse"))
    assert (status, headers[b"content-type"]) == (200, b"text/event-stream")
    retry, *events = body.decode().split("data: ")
    assert retry == "retry: 500\n"
    assert [json.loads(event)["pid"] for event in events] == [os.getpid()] * 2
    assert all(event.endswith("\n\n") for event in events)


def test_the_clock_stops_when_the_client_goes() -> None:
    async def test() -> None:
        peer = Peer()
        call = asyncio.create_task(peer.call(http("/sse")))
        assert (await peer.heard.get())["type"] == "http.response.start"
        assert (await peer.heard.get())["more_body"]
        peer.mail.put_nowait({"type": "http.disconnect"})
        await call

    run(test)


def test_the_clock_stops_when_the_server_says_that_the_client_has_gone() -> None:
    async def test() -> None:
        async def send(message: Any) -> None:
            raise BrokenPipeError

        await app(http("/sse"), Peer().receive, send)

    run(test)


def test_lifespan_is_answered() -> None:
    async def test() -> None:
        peer = Peer({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
        await peer.call({"type": "lifespan"})
        assert [message["type"] for message in peer.all()] == [
            "lifespan.startup.complete",
            "lifespan.shutdown.complete",
        ]

    run(test)


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="'gopher'"):
        run(lambda: Peer().call({"type": "gopher"}))


class Guest(Peer):
    """One WebSocket of the chat."""

    def __init__(self) -> None:
        super().__init__({"type": "websocket.connect"})
        self.task = asyncio.create_task(self.call({"type": "websocket", "path": "/chat"}))

    async def enter(self) -> None:
        assert await self.heard.get() == {"type": "websocket.accept"}
        assert (await self.hear())["text"] == "is here"

    def say(self, text: str) -> None:
        self.mail.put_nowait({"type": "websocket.receive", "text": text})

    async def hear(self) -> dict[str, Any]:
        message = await self.heard.get()
        assert message["type"] == "websocket.send"
        said: dict[str, Any] = json.loads(message["text"])
        return said

    async def leave(self) -> None:
        self.mail.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self.task


def test_what_a_guest_says_reaches_every_guest() -> None:
    async def test() -> None:
        first, second = Guest(), Guest()
        await first.enter()
        await second.enter()
        assert (await first.hear())["here"] == 2
        first.say("  ")
        first.mail.put_nowait({"type": "websocket.receive", "text": None, "bytes": b"\0"})
        first.say("hello <b>")
        for guest in (first, second):
            said = await guest.hear()
            assert (said["text"], said["here"], said["pid"]) == ("hello <b>", 2, os.getpid())
        await first.leave()
        assert (await second.hear())["text"] == "has left"
        await second.leave()
        assert demo.members == {}

    run(test)


def test_a_message_of_the_chat_is_cut_to_a_length() -> None:
    async def test() -> None:
        guest = Guest()
        await guest.enter()
        guest.say("x" * 5000)
        assert (await guest.hear())["text"] == "x" * demo.LONGEST_TALK
        await guest.leave()

    run(test)


def test_a_guest_who_reads_nothing_holds_up_nobody_and_fills_no_memory() -> None:
    async def test() -> None:
        talker = Guest()
        await talker.enter()
        demo.members["deaf"] = deaf = asyncio.Queue[str](demo.BACKLOG)  # nobody takes from it
        for number in range(demo.BACKLOG + 5):
            talker.say(f"line {number}")
            assert (await talker.hear())["text"] == f"line {number}"
        assert deaf.full()
        del demo.members["deaf"]
        await talker.leave()

    run(test)


def test_a_guest_whose_socket_broke_is_removed_when_it_is_told() -> None:
    async def test() -> None:
        guest = Guest()
        await guest.enter()

        async def broken(message: Any) -> None:
            raise ConnectionResetError

        guest.send = broken  # type: ignore[method-assign]
        guest.say("anybody?")
        await guest.leave()
        assert demo.members == {}

    run(test)


def test_another_websocket_path_is_refused() -> None:
    async def test() -> None:
        peer = Peer({"type": "websocket.connect"})
        await peer.call({"type": "websocket", "path": "/other"})
        assert [message["type"] for message in peer.all()] == ["websocket.close"]

    run(test)
