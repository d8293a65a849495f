"""Backpressure, fairness and files: when send() waits, and for whom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pounce.asgi import Receive, Send
from pounce.worker.http_stream import ALLOWED, SENDS_IN_A_ROW, ClientDisconnected, Stage
from pounce.worker.wire import ResponseError
from tests.support.transport import settle
from tests.worker.test_http_stream import BODY, MORE, START, Bench, app_of, play


def test_send_waits_while_the_wire_is_congested() -> None:
    async def main() -> None:
        async def run(receive: Receive, send: Send) -> None:
            await send(START)
            await send(MORE)
            await send(MORE)
            await send(BODY)

        bench = Bench(app_of(run))
        bench.wire.congested = True
        await settle()
        assert len(bench.wire.calls) == 1
        bench.stream.resumed()  # a wake-up without room changes nothing
        await settle()
        assert len(bench.wire.calls) == 1
        bench.wire.congested = False
        bench.stream.resumed()
        await bench.task
        assert len(bench.wire.calls) == 3

    asyncio.run(main())


def test_a_client_that_leaves_frees_the_send_that_waits() -> None:
    async def main() -> None:
        async def run(receive: Receive, send: Send) -> None:
            await send(START)
            await send(MORE)
            with pytest.raises(ClientDisconnected):
                await send(MORE)

        bench = Bench(app_of(run))
        bench.wire.congested = True
        await settle()
        bench.stream.gone("stopped reading")
        await bench.task

    asyncio.run(main())


def test_a_send_that_never_has_to_wait_gives_way_now_and_then() -> None:
    async def main() -> tuple[int, int]:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def run(receive: Receive, send: Send) -> None:
            await send(START)
            for _ in range(10 * SENDS_IN_A_ROW):
                await send(MORE)
            await send(BODY)

        neighbour = asyncio.ensure_future(other())
        bench = Bench(app_of(run))
        await bench.task
        seen = turns
        neighbour.cancel()
        return seen, len(bench.wire.calls)

    turns, calls = asyncio.run(main())
    assert calls == 10 * SENDS_IN_A_ROW + 1
    assert turns >= 10


# Files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 20_000)
    return path


def content(calls: list[tuple[Any, ...]]) -> bytes:
    return b"".join(call[1] for call in calls if call[0] == "data")


def test_a_path_is_sent_in_pieces_where_the_wire_takes_no_file(path: Path) -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.pathsend", "path": str(path)})

    calls = play(app_of(run))
    assert calls[0] == ("head", 200, [(b"a", b"b"), (b"content-length", b"200000")], b"", False)
    assert content(calls) == path.read_bytes()
    assert calls[-1] == ("data", b"", True)


def test_a_length_that_the_application_gave_stands(path: Path) -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"Content-Length", b"200000")]})
        await send({"type": "http.response.pathsend", "path": str(path)})

    assert play(app_of(run))[0][2] == [(b"Content-Length", b"200000")]


def test_a_wire_that_takes_files_gets_it_whole(path: Path) -> None:
    async def main() -> tuple[list[tuple[Any, ...]], list[bytes], int]:
        async def run(receive: Receive, send: Send) -> None:
            await send(START)
            with path.open("rb") as file:
                message = {"type": "http.response.zerocopysend", "file": file}
                await send({**message, "offset": 5, "count": 10, "more_body": True})
                await send({**message, "offset": 199_990})

        bench = Bench(app_of(run))
        bench.wire.takes_files = True
        await bench.task
        return bench.wire.calls, bench.peer.files, bench.stream.sent

    calls, files, sent = asyncio.run(main())
    assert files == [b"5678901234", b"0123456789"]
    assert sent == 20
    assert calls == [("head", 200, [(b"a", b"b")], b"", False), ("data", b"", True)]


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError("Broken pipe"), ConnectionResetError("reset"), TimeoutError("timed out")],
)
def test_a_client_that_leaves_a_file_is_a_disconnect_and_the_connection_is_cut(
    error: Exception, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async def run(receive: Receive, send: Send) -> None:
            await send(START)
            with pytest.raises(ClientDisconnected) as caught:
                await send({"type": "http.response.pathsend", "path": str(path)})
            assert (await receive())["type"] == "http.disconnect"
            raise caught.value

        bench = Bench(app_of(run))
        bench.wire.takes_files = True
        bench.peer.error = error
        await bench.task
        assert bench.wire.calls[-1] == ("reset",), "the transport may never hear of it"
        assert bench.service.stats.requests == 1

    asyncio.run(main())
    assert not caplog.records


def test_a_disk_that_fails_is_an_error(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def run(receive: Receive, send: Send) -> None:
            await send(START)
            await send({"type": "http.response.pathsend", "path": str(path)})

        bench = Bench(app_of(run))
        bench.wire.takes_files = True
        bench.peer.error = OSError(5, "Input/output error")
        await bench.task
        assert bench.wire.calls[-1] == ("reset",)

    asyncio.run(main())
    assert "Input/output error" in caplog.text


def test_for_a_head_request_no_file_is_read(path: Path) -> None:
    async def main() -> None:
        async def run(receive: Receive, send: Send) -> None:
            await send(START)
            await send({"type": "http.response.pathsend", "path": str(path)})

        bench = Bench(app_of(run), method="HEAD")
        await bench.task
        head, *rest = bench.wire.calls
        assert head[2][-1] == (b"content-length", b"200000")
        assert rest == [("data", b"", True)]

    asyncio.run(main())


def test_trailers_may_follow_a_file(path: Path) -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send({**START, "trailers": True})
        await send({"type": "http.response.pathsend", "path": str(path)})
        await send({"type": "http.response.trailers", "headers": [(b"x", b"1")]})

    assert play(app_of(run))[-1] == ("trailers", [(b"x", b"1")], True)


@pytest.mark.parametrize("bad", ["relative/path", 7, None])
def test_a_path_that_is_not_absolute_is_the_applications_error(
    bad: object, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.pathsend", "path": bad})

    assert play(app_of(run))[-1][1] == 500
    assert "pathsend takes an absolute path" in caplog.text


def test_a_missing_file_is_the_applications_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.pathsend", "path": str(tmp_path / "nothing")})

    assert play(app_of(run))[-1][1] == 500
    assert "FileNotFoundError" in caplog.text


def test_a_client_that_leaves_within_a_file_ends_it(path: Path) -> None:
    async def main() -> int:
        async def run(receive: Receive, send: Send) -> None:
            await send(START)
            with pytest.raises(ClientDisconnected):
                await send({"type": "http.response.pathsend", "path": str(path)})

        bench = Bench(app_of(run))
        bench.wire.congested = True
        await settle()
        bench.stream.gone("closed")
        await bench.task
        return len(content(bench.wire.calls))

    assert asyncio.run(main()) < 200_000


@pytest.mark.parametrize("kind", [*ALLOWED])
@pytest.mark.parametrize("takes_files", [True, False])
def test_nothing_can_be_sent_while_a_file_is(kind: str, takes_files: bool, path: Path) -> None:
    async def main() -> str:
        said: list[str] = []

        async def run(receive: Receive, send: Send) -> None:
            await send(START)
            sending = asyncio.ensure_future(
                send({"type": "http.response.pathsend", "path": str(path)})
            )
            await asyncio.sleep(0)
            with pytest.raises(ResponseError) as caught:
                await send({"type": kind})
            said.append(str(caught.value))
            bench.wire.congested = False
            bench.peer.may_send.set()
            bench.stream.resumed()
            await sending

        bench = Bench(app_of(run))
        bench.wire.takes_files = takes_files
        bench.wire.congested = True
        bench.peer.may_send.clear()
        await bench.task
        assert bench.wire.calls[-1] == ("data", b"", True), "it goes on all the same"
        return said[0]

    assert asyncio.run(main()) == f"{kind!r} was sent, expected {Stage.FILE.value}"
