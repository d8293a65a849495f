"""One request as ASGI, on a wire in memory: every message at every stage, every way to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pounce.access_log import AccessLog
from pounce.asgi import App, Headers, Message, Receive, Scope, Send
from pounce.worker.http_stream import ALLOWED, ClientDisconnected, HttpStream, Stage
from pounce.worker.scope import ConnectionInfo
from pounce.worker.sendfile import FileSource
from pounce.worker.wire import RequestHead, ResponseError
from pounce.worker.wire.h1_response import trailer_lines
from tests.support.transport import make_service, settle

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}
BODY: Message = {"type": "http.response.body", "body": b"x"}
MORE: Message = {"type": "http.response.body", "body": b"x", "more_body": True}
Run = Callable[[Receive, Send], Awaitable[None]]


class FakeWire:
    """Notes each call down; takes files or not."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.congested = False
        self.takes_files = False
        self.broken = False

    def send_head(
        self, stream: int, status: int, headers: Headers, body: bytes, *, end: bool
    ) -> None:
        if self.broken:
            raise ResponseError("broken")
        self.calls.append(("head", status, list(headers), body, end))

    def send_data(self, stream: int, data: bytes, *, end: bool) -> None:
        self.calls.append(("data", data, end))

    def send_trailers(self, stream: int, headers: Headers, *, end: bool) -> None:
        trailer_lines(headers)  # raises, as a wire does
        self.calls.append(("trailers", list(headers), end))

    def inform(self, stream: int, status: int, headers: Headers) -> None:
        self.calls.append(("inform", status, list(headers)))

    def sending_file(self, stream: int, size: int) -> bool:
        return self.takes_files

    def continue_body(self, stream: int) -> None:
        self.calls.append(("continue",))

    def consumed(self, stream: int, size: int) -> None:
        self.calls.append(("consumed", size))

    def reset(self, stream: int, code: int) -> None:
        self.calls.append(("reset",))


class FakePeer:
    info = ConnectionInfo(
        scheme="http", client=None, server=None, trusted=False, root_path="", state={}
    )

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.error: Exception | None = None
        self.may_send = asyncio.Event()
        self.may_send.set()

    async def send_file(self, source: FileSource) -> None:
        await self.may_send.wait()
        if self.error is not None:
            raise self.error
        self.files.append(b"".join(source.pieces()))


class Bench:
    """A stream with its wire, and the task that runs an application on it."""

    def __init__(
        self,
        app: App,
        *,
        has_body: bool = False,
        method: str = "GET",
        access: AccessLog | None = None,
    ) -> None:
        self.wire = FakeWire()
        self.peer = FakePeer()
        self.service = make_service(app, access=access)
        head = RequestHead(1, method, b"/a?b", "1.1", [], has_body, False, "")
        self.stream = HttpStream(self.wire, head, self.peer, self.service)  # type: ignore[arg-type]  # a wire's part
        self.task = asyncio.get_running_loop().create_task(self.stream.run(app, {"type": "http"}))
        self.service.running[self.stream] = self.task


def app_of(run: Run) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await run(receive, send)

    return app


def sends(*messages: Message) -> App:
    async def run(receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app_of(run)


def play(app: App) -> list[tuple[Any, ...]]:
    """What reaches the wire of a whole request without body."""

    async def main() -> list[tuple[Any, ...]]:
        bench = Bench(app)
        await bench.task
        assert not bench.service.running
        return bench.wire.calls

    return asyncio.run(main())


def test_head_and_body_reach_the_wire_together() -> None:
    assert play(sends(START, BODY)) == [("head", 200, [(b"a", b"b")], b"x", True)]


def test_a_stream_is_passed_on_piece_by_piece() -> None:
    assert play(sends(START, MORE, MORE, {"type": "http.response.body"})) == [
        ("head", 200, [(b"a", b"b")], b"x", False),
        ("data", b"x", False),
        ("data", b"", True),
    ]


def test_a_buffer_that_the_application_uses_again_is_sent_as_it_was() -> None:
    async def run(receive: Receive, send: Send) -> None:
        buffer = bytearray(b"one")
        await send(START)
        await send({**MORE, "body": memoryview(buffer)})
        buffer[:] = b"two"
        await send({**BODY, "body": buffer})
        buffer[:] = b"xxx"

    (_, _, _, first, _), (_, second, _) = play(app_of(run))
    assert (first, second) == (b"one", b"two")
    assert type(first) is type(second) is bytes


@pytest.mark.parametrize("body", ["text", None, 5, [b"x"]])
@pytest.mark.parametrize("before", [(START,), (START, MORE)])
def test_a_body_that_is_no_bytes_never_reaches_the_wire(
    before: tuple[Message, ...], body: object, caplog: pytest.LogCaptureFixture
) -> None:
    *_, last = play(sends(*before, {**MORE, "body": body}, BODY))
    assert last[:2] == (("head", 500) if before == (START,) else ("reset",))
    assert f"body is {type(body).__name__}, expected bytes" in caplog.text


def test_early_hints_go_before_the_head() -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    assert (
        play(sends(hint, hint, START, BODY))[:2]
        == [("inform", 103, [(b"link", b"</a.css>; rel=preload")])] * 2
    )


def test_trailers_end_the_response_and_may_come_in_parts() -> None:
    trailers = {"type": "http.response.trailers", "headers": [(b"x", b"1")], "more_trailers": True}
    last = {"type": "http.response.trailers", "headers": [(b"y", b"2")]}
    assert play(sends({**START, "trailers": True}, BODY, trailers, last)) == [
        ("head", 200, [(b"a", b"b")], b"x", False),
        ("trailers", [(b"x", b"1")], False),
        ("trailers", [(b"y", b"2")], True),
    ]


@pytest.mark.parametrize("more", [False, True])
def test_a_trailer_that_was_refused_does_not_stand_in_the_way_of_others(more: bool) -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send({**START, "trailers": True})
        await send(BODY)
        trailers = {"type": "http.response.trailers", "more_trailers": more}
        with pytest.raises(ResponseError):
            await send({**trailers, "headers": [(b"x", b"a\r\nb")]})
        await send({"type": "http.response.trailers", "headers": [(b"x", b"a b")]})

    assert play(app_of(run))[-1] == ("trailers", [(b"x", b"a b")], True)


# Every message at every stage.

WAY: dict[Stage, tuple[Message, ...]] = {
    Stage.START: (),
    Stage.HELD: (START,),
    Stage.BODY: (START, MORE),
    Stage.TRAILERS: ({**START, "trailers": True}, BODY),
    Stage.DONE: (START, BODY),
}


def message_of(kind: str, path: Path) -> Message:
    more: Message = {
        "http.response.start": dict(START),
        "http.response.early_hint": {"links": []},
        "http.response.pathsend": {"path": str(path)},
        "http.response.zerocopysend": {"file": path.open("rb")} if "zero" in kind else {},
    }.get(kind, {})
    return {**more, "type": kind}


@pytest.mark.parametrize("kind", [*ALLOWED, "http.response.nonsense", "websocket.send"])
@pytest.mark.parametrize("stage", [*WAY])
def test_a_message_out_of_order_is_told_what_was_expected(
    stage: Stage, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"f")
    outcome: list[str] = []
    message = message_of(kind, path)

    async def run(receive: Receive, send: Send) -> None:
        for before in WAY[stage]:
            await send(before)
        try:
            await send(message)
        except ResponseError as error:
            outcome.append(str(error))
        else:
            outcome.append("")

    play(app_of(run))
    if "file" in message:
        message["file"].close()
    if stage in ALLOWED.get(kind, ()):
        assert outcome == [""]
    else:
        assert outcome == [f"{kind!r} was sent, expected {stage.value}"]


@pytest.mark.parametrize("kind", [*ALLOWED])
def test_after_the_client_has_left_every_send_raises_an_oserror(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"f")
    message = message_of(kind, path)

    async def main() -> BaseException | None:
        raised: list[BaseException] = []
        gone = asyncio.Event()

        async def run(receive: Receive, send: Send) -> None:
            await gone.wait()
            try:
                await send(message)
            except OSError as error:
                raised.append(error)

        bench = Bench(app_of(run))
        await settle()
        bench.stream.gone("reset by peer")
        gone.set()
        await bench.task
        assert bench.wire.calls == []
        return raised[0] if raised else None

    error = asyncio.run(main())
    if "file" in message:
        message["file"].close()
    assert isinstance(error, ClientDisconnected)


# receive()


def receiving(bench_body: Callable[[Bench], Awaitable[None]], times: int) -> list[Message]:
    got: list[Message] = []

    async def main() -> None:
        async def run(receive: Receive, send: Send) -> None:
            while len(got) < times:
                got.append(await receive())
            await send(START)
            await send(BODY)

        bench = Bench(app_of(run), has_body=True)
        await settle()
        await bench_body(bench)
        await bench.task

    asyncio.run(main())
    return got


def test_the_body_comes_in_parts_and_then_the_end() -> None:
    async def feed(bench: Bench) -> None:
        assert ("continue",) in bench.wire.calls
        bench.stream.data(b"ab")
        await settle()
        bench.stream.data(b"cd")
        bench.stream.data(b"ef")
        bench.stream.end()
        assert ("consumed", 2) in bench.wire.calls

    assert receiving(feed, 2) == [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"cdef", "more_body": False},
    ]


def test_an_end_after_the_last_data_is_told_by_itself() -> None:
    async def feed(bench: Bench) -> None:
        bench.stream.data(b"ab")
        await settle()
        bench.stream.end()

    assert receiving(feed, 2)[1] == {"type": "http.request", "body": b"", "more_body": False}


def test_a_client_that_leaves_within_the_body_is_a_disconnect() -> None:
    async def feed(bench: Bench) -> None:
        bench.stream.data(b"ab")
        bench.stream.gone("lost")

    got: list[Message] = []

    async def main() -> None:
        async def run(receive: Receive, send: Send) -> None:
            got.append(await receive())
            got.append(await receive())

        bench = Bench(app_of(run), has_body=True)
        await settle()
        await feed(bench)
        await bench.task

    asyncio.run(main())
    assert got == [{"type": "http.disconnect"}] * 2


def test_without_a_body_the_first_receive_says_so_and_the_next_waits_for_the_end() -> None:
    async def main() -> list[Message]:
        got: list[Message] = []
        may_answer = asyncio.Event()

        async def run(receive: Receive, send: Send) -> None:
            got.append(await receive())
            waiting = asyncio.ensure_future(receive())
            await may_answer.wait()
            assert not waiting.done()
            await send(START)
            await send(BODY)
            got.append(await waiting)
            got.append(await receive())

        bench = Bench(app_of(run))
        await settle()
        may_answer.set()
        await bench.task
        return got

    assert asyncio.run(main()) == [
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]


def test_a_half_closed_client_reads_as_gone_and_still_gets_its_answer() -> None:
    async def main() -> list[tuple[Any, ...]]:
        async def run(receive: Receive, send: Send) -> None:
            assert (await receive())["type"] == "http.request"
            assert (await receive())["type"] == "http.disconnect"
            await send(START)
            await send(BODY)

        bench = Bench(app_of(run))
        await settle()
        bench.stream.half_closed()
        await bench.task
        return bench.wire.calls

    assert asyncio.run(main()) == [("head", 200, [(b"a", b"b")], b"x", True)]
