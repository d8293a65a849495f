"""How an application can end, and what the client and the log get of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from pounce.access_log import AccessLog, LineWriter
from pounce.asgi import App, Message, Receive, Scope, Send
from pounce.worker.connection import Connection
from pounce.worker.http_stream import ClientDisconnected
from pounce.worker.wire.h1_request import Limits
from tests.support.transport import MemoryTransport, connect, make_service, settle
from tests.worker.test_http_stream import BODY, MORE, START, Bench, app_of, play, sends

# How an application can end.


def raises(error: BaseException, *before: Message) -> App:
    async def run(receive: Receive, send: Send) -> None:
        for message in before:
            await send(message)
        raise error

    return app_of(run)


@pytest.mark.parametrize("error", [ValueError("oops"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [(), (START,)])
def test_raising_before_anything_is_out_is_a_500(
    error: BaseException, before: tuple[Message, ...], caplog: pytest.LogCaptureFixture
) -> None:
    ((what, status, headers, _, end),) = play(raises(error, *before))
    assert (what, status, end) == ("head", 500, True)
    assert (b"connection", b"close") in headers
    assert "application raised method=GET path=/a" in caplog.text
    assert type(error).__name__ in caplog.text


def test_raising_in_the_middle_cuts_the_response(caplog: pytest.LogCaptureFixture) -> None:
    assert play(raises(ValueError("oops"), START, MORE))[-1] == ("reset",)
    assert "ValueError: oops" in caplog.text


def test_raising_after_the_response_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert play(raises(ValueError("background"), START, BODY))[-1][0] == "head"
    assert "ValueError: background" in caplog.text


@pytest.mark.parametrize(
    ("before", "last"), [((), "head"), ((START,), "head"), ((START, MORE), "reset")]
)
def test_returning_too_early_says_what_was_expected(
    before: tuple[Message, ...], last: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert play(sends(*before))[-1][0] == last
    assert "application returned, expected" in caplog.text


def test_a_wire_that_has_broken_the_response_off_is_reset() -> None:
    async def main() -> list[tuple[Any, ...]]:
        bench = Bench(sends(START, BODY))
        bench.wire.broken = True
        await bench.task
        return bench.wire.calls

    assert asyncio.run(main()) == [("reset",)]


@pytest.mark.parametrize(
    "error",
    [
        ClientDisconnected("left"),
        ExceptionGroup("group", [ClientDisconnected("left")]),
        ExceptionGroup("group", [ExceptionGroup("inner", [ClientDisconnected("left")])]),
    ],
)
def test_letting_a_disconnect_pass_is_no_error(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        gone = asyncio.Event()

        async def run(receive: Receive, send: Send) -> None:
            await gone.wait()
            raise error

        bench = Bench(app_of(run))
        await settle()
        bench.stream.gone("reset by peer")
        gone.set()
        await bench.task

    asyncio.run(main())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_group_with_another_error_in_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    play(raises(ExceptionGroup("group", [ClientDisconnected("left"), ValueError("oops")])))
    assert "ValueError: oops" in caplog.text


@pytest.mark.parametrize(
    "error", [ClientDisconnected("another"), ExceptionGroup("", [ClientDisconnected("another")])]
)
@pytest.mark.parametrize(
    ("before", "last"),
    [((), ("head", 500)), ((START,), ("head", 500)), ((START, MORE), ("reset",))],
)
def test_a_disconnect_of_another_client_leaves_nobody_without_an_answer(
    error: Exception,
    before: tuple[Message, ...],
    last: tuple[Any, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert play(raises(error, *before))[-1][:2] == last
    assert "application raised" in caplog.text


def test_a_disconnect_of_another_client_after_the_answer_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    play(raises(ClientDisconnected("another"), START, BODY))
    assert not caplog.records


def test_a_cancelled_application_is_cut() -> None:
    async def main() -> list[tuple[Any, ...]]:
        async def run(receive: Receive, send: Send) -> None:
            await send(START)
            await send(MORE)
            await asyncio.Event().wait()

        bench = Bench(app_of(run))
        await settle()
        bench.task.cancel()
        await bench.task
        return bench.wire.calls

    assert asyncio.run(main())[-1] == ("reset",)


def test_requests_are_counted_once_however_they_end() -> None:
    async def main() -> int:
        bench = Bench(sends(START, BODY))
        await bench.task
        bench.stream.gone("closed")
        return bench.service.stats.requests

    assert asyncio.run(main()) == 1


# One request, one line in the access log, whoever answers it

UPLOAD: Final = b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

REFUSALS: dict[int, Callable[[Connection], None]] = {
    400: lambda one: one.data_received(b"nonsense\r\n"),
    408: lambda one: one._wire.refuse(408, "request body did not come in time"),
    413: lambda one: one.data_received(b"b\r\nhello world\r\n"),
}


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize(
    ("before", "out"), [((), False), ((START,), False), ((START, MORE), True)], ids=str
)
def test_a_refused_upload_has_one_line_with_what_the_client_got(
    status: int, before: tuple[Message, ...], out: bool, tmp_path: Path
) -> None:
    raised: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in before:
            await send(message)
        while (await receive())["type"] != "http.disconnect":
            pass
        try:
            await send(MORE)
        except OSError as error:
            raised.append(error)
            raise

    async def main() -> tuple[int, list[str]]:
        access = AccessLog(LineWriter(str(tmp_path / "log")), worker=1, form="text")
        service = make_service(app, access=access, limits=Limits(max_body_size=10))
        transport = MemoryTransport()
        connection = connect(service, transport)
        connection.data_received(UPLOAD)
        await settle()
        REFUSALS[status](connection)
        await settle()
        connection.connection_lost(None)
        await settle()
        assert not service.running
        assert transport.output.count(b"HTTP/1.1 ") == 1
        assert transport.output.startswith(b"HTTP/1.1 200 " if out else b"HTTP/1.1 %d " % status)
        access.flush()
        return service.stats.requests, (tmp_path / "log").read_text().splitlines()

    requests, lines = asyncio.run(main())
    assert (requests, len(lines)) == (1, 1)
    assert f'"POST /up HTTP/1.1" {200 if out else status} ' in lines[0]
    assert [type(error) for error in raised] == [ClientDisconnected]
