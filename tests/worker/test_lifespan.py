"""The lifespan scope, with applications of every kind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pounce.asgi import App, Receive, Scope, Send
from pounce.errors import LifespanError
from pounce.worker.lifespan import Lifespan

Step = Callable[[Receive, Send], Awaitable[None]]


def app_of(*steps: Step) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
        scope["state"]["seen"] = True
        for step in steps:
            await step(receive, send)

    return app


def takes(kind: str) -> Step:
    async def step(receive: Receive, send: Send) -> None:
        message = await receive()
        assert message == {"type": kind}

    return step


def says(kind: str, **more: str) -> Step:
    async def step(receive: Receive, send: Send) -> None:
        await send({"type": kind, **more})

    return step


def fails(text: str) -> Step:
    async def step(receive: Receive, send: Send) -> None:
        raise ValueError(text)

    return step


STARTS = (takes("lifespan.startup"), says("lifespan.startup.complete"))
STOPS = (takes("lifespan.shutdown"), says("lifespan.shutdown.complete"))


def life(mode: str, *steps: Step) -> Lifespan:
    """A whole life, start and stop; raises what start() raises."""

    async def main() -> Lifespan:
        one = Lifespan(app_of(*steps), mode=mode)
        await one.start()
        await one.stop()
        await one.stop()  # only the first counts
        return one

    return asyncio.run(main())


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_an_application_starts_and_stops(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    one = life(mode, *STARTS, *STOPS)
    assert one.state == {"seen": True}
    assert not caplog.records


def test_off_never_calls_the_application() -> None:
    assert life("off", fails("must not be called")).state == {}


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_a_failed_startup_carries_the_reason(mode: str) -> None:
    failed = says("lifespan.startup.failed", message="no database")
    with pytest.raises(LifespanError, match="startup failed: no database"):
        life(mode, takes("lifespan.startup"), failed)


def test_a_reason_of_many_lines_is_shown_by_its_last_and_whole_as_a_traceback() -> None:
    reason = (
        'Traceback (most recent call last):\n  File "main.py", line 3\nValueError: no database\n'
    )
    failed = says("lifespan.startup.failed", message=reason)
    with pytest.raises(LifespanError) as caught:
        life("auto", takes("lifespan.startup"), failed)
    assert str(caught.value) == "application startup failed: ValueError: no database"
    assert caught.value.traceback == reason


def test_a_failed_startup_without_a_reason_says_so() -> None:
    with pytest.raises(LifespanError, match="it gave no reason"):
        life("auto", takes("lifespan.startup"), says("lifespan.startup.failed"))


def test_auto_goes_on_without_lifespan_where_the_application_does_not_know_the_scope() -> None:
    life("auto", fails("unknown scope"))


def test_on_takes_an_application_without_lifespan_for_broken() -> None:
    with pytest.raises(LifespanError, match="raised during lifespan startup") as caught:
        life("on", fails("unknown scope"))
    assert "ValueError: unknown scope" in caught.value.traceback


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_raising_after_startup_was_taken_up_is_a_failure(mode: str) -> None:
    with pytest.raises(LifespanError) as caught:
        life(mode, takes("lifespan.startup"), fails("cannot connect"))
    assert "ValueError: cannot connect" in caught.value.traceback


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_exit_within_startup_ends_nothing_but_the_startup(error: BaseException) -> None:
    async def exits(receive: Receive, send: Send) -> None:
        raise error

    with pytest.raises(LifespanError, match="raised during lifespan startup"):
        life("auto", takes("lifespan.startup"), exits)
    life("auto", *STARTS, takes("lifespan.shutdown"), exits)


def test_a_lifespan_that_is_cancelled_from_outside_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        one = Lifespan(app_of(*STARTS, takes("lifespan.shutdown")), mode="auto")
        await one.start()
        assert one._task is not None
        one._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one._task
        await one.stop()  # there is nobody left to ask

    asyncio.run(main())
    assert "ended before its time" in caplog.text


def test_a_traceback_given_as_the_reason_is_shown_as_one() -> None:
    trace = 'Traceback (most recent call last):\n  File "a.py"\nValueError: no database\n'
    with pytest.raises(LifespanError) as caught:
        life("auto", takes("lifespan.startup"), says("lifespan.startup.failed", message=trace))
    assert str(caught.value).endswith("startup failed: ValueError: no database")
    assert caught.value.traceback == trace


def test_shutdown_may_end_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    life("auto", *STARTS, takes("lifespan.shutdown"))
    assert not caplog.records


def test_returning_without_an_answer_fails_where_lifespan_must_be() -> None:
    life("auto")
    with pytest.raises(LifespanError, match="returned during lifespan startup"):
        life("on")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (says("lifespan.shutdown.failed", message="disk full"), "shutdown failed: disk full"),
        (fails("too late"), "raised during lifespan shutdown"),
    ],
)
def test_a_failed_shutdown_is_said_and_does_not_hang(
    step: Step, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    life("auto", *STARTS, takes("lifespan.shutdown"), step)
    assert said in caplog.text


def test_an_application_that_stops_early_is_not_asked_to_shut_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    life("auto", *STARTS)
    assert not caplog.records


def test_dying_between_start_and_stop_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        one = Lifespan(app_of(*STARTS, fails("leaked")), mode="auto")
        await one.start()
        for _ in range(5):
            await asyncio.sleep(0)
        await one.stop()

    asyncio.run(main())
    assert "ended before its time" in caplog.text


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((takes("lifespan.startup"), says("lifespan.shutdown.complete")), "startup.complete"),
        ((*STARTS, says("lifespan.startup.complete")), "nothing before lifespan.shutdown"),
        ((says("http.response.start"),), "startup.complete"),
    ],
)
def test_a_message_out_of_order_is_told_what_was_expected(
    steps: tuple[Step, ...], expected: str
) -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app_of(*steps)(scope, receive, send)
        except RuntimeError as error:
            heard.append(str(error))
            raise

    async def main() -> None:
        one = Lifespan(app, mode="auto")
        try:
            await one.start()
        except LifespanError:
            return
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert len(heard) == 1
    assert expected in heard[0]
