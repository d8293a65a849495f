"""What the connections of a worker share: the access log between requests and its reader."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pounce.access_log import AccessLog, LineWriter
from pounce.asgi import App, Receive, Scope, Send
from pounce.worker.service import FLUSH_DELAY, RETRY_DELAY
from tests.support.transport import make_service, settle
from tests.worker.test_connection import GET, Swept, hello

HUNG = 30.0  # seconds: nothing here takes one


def logged(
    story: Callable[[Swept, AccessLog], Awaitable[None]], path: Path, *, app: App = hello
) -> None:
    async def main() -> None:
        log = AccessLog(LineWriter(str(path)), worker=7, form="json")
        one = Swept(make_service(app, access=log))
        await story(one, log)
        one.finish()
        await settle()
        log.writer.close()

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(HUNG):
        while not condition():  # turns of the loop are what is waited for
            await asyncio.sleep(0)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_each_response_and_each_refusal_has_its_line_before_long(tmp_path: Path) -> None:
    path = tmp_path / "log"

    async def story(one: Swept, log: AccessLog) -> None:
        one.connection.data_received(GET)
        await settle()
        one.connection.data_received(b"nonsense\r\n\r\n")
        assert log.writer.holding or log._batch
        assert path.read_bytes() == b"", "no write for each request"
        await until(lambda: path.stat().st_size)

    logged(story, path)
    first, second = lines(path)
    assert (first["client"], first["status"], first["bytes"]) == ("127.0.0.1:50000", 200, 5)
    assert 0 <= first["duration_us"] < 1e6 * HUNG
    assert (second["client"], second["status"], second["target"]) == ("127.0.0.1:50000", 400, "-")


async def leaves(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})
    await asyncio.Event().wait()


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})
    raise ValueError("oops")


@pytest.mark.parametrize(("app", "status", "size"), [(leaves, 200, 4), (fails, 200, 4)])
def test_a_response_that_was_cut_has_one_line_with_what_was_sent(
    app: App, status: int, size: int, tmp_path: Path
) -> None:
    path = tmp_path / "log"

    async def story(one: Swept, log: AccessLog) -> None:
        one.connection.data_received(GET)
        await settle()
        one.connection.connection_lost(ConnectionResetError("reset"))
        one.service.connections.add(one.connection)  # the story's end takes it out again
        await settle()
        one.service.flush_access()

    logged(story, path, app=app)
    assert [(line["status"], line["bytes"]) for line in lines(path)] == [(status, size)]


def test_lines_that_nobody_takes_are_tried_again_and_their_loss_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    async def story(one: Swept, log: AccessLog) -> None:
        log.writer.lines += ["x" * 999 + "\n"] * 200
        log.writer.dropped = 3
        one.service.flush_access()
        assert log.writer.holding, "a pipe takes 64 KiB"
        assert not caplog.records, "not all is out yet"
        timers = [one.service._flush_timer]
        one.service._flush_later()
        timers.append(one.service._flush_timer)
        assert timers[0] is timers[1] is not None, "one is enough"
        taken = 0

        def all_taken() -> bool:
            nonlocal taken
            with contextlib.suppress(BlockingIOError):
                taken += len(os.read(reader, 1 << 20))
            return taken == 200_000

        await until(all_taken)
        assert one.service._flush_timer is None
        assert not log.writer.holding

    logged(story, fifo)
    os.close(reader)
    assert [record.getMessage() for record in caplog.records] == [
        "access log was not taken, lines were dropped lines=3"
    ]
    assert FLUSH_DELAY < RETRY_DELAY


def test_without_a_log_nothing_is_flushed() -> None:
    async def main() -> None:
        service = make_service(hello)
        service.flush_access()
        assert service._flush_timer is None

    asyncio.run(main())
