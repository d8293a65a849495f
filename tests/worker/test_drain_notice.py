"""What an application sees of a drain: it can wait for it, and knows how long it still has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pounce import ipc
from pounce.asgi import Receive, Scope, Send
from pounce.worker import drain_notice
from pounce.worker.drain_notice import DrainNotice
from pounce.worker.lifespan import Lifespan
from tests.support.at_work import LOOPS, MakeLoop, at_work, connected, listener, read, run
from tests.support.transport import make_service


class Hand:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hand:
    hand = Hand()
    monkeypatch.setattr(drain_notice, "monotonic", hand)
    return hand


def test_while_nothing_drains_there_is_no_deadline() -> None:
    notice = DrainNotice()
    assert not notice.draining
    assert notice.reason == ""
    assert notice.deadline is None
    assert notice.remaining is None


def test_what_remains_counts_down_to_nothing(clock: Hand) -> None:
    notice = DrainNotice()
    notice.begin("reload", 30.0)
    assert notice.draining
    assert (notice.reason, notice.deadline, notice.remaining) == ("reload", 130.0, 30.0)
    clock.now = 112.0
    assert notice.remaining == 18.0
    clock.now = 131.0
    assert notice.remaining == 0.0
    assert notice.draining


def test_a_second_beginning_only_brings_the_deadline_nearer(clock: Hand) -> None:
    notice = DrainNotice()
    notice.begin("reload", 30.0)
    notice.begin("exit", 40.0)
    assert (notice.reason, notice.deadline) == ("reload", 130.0)
    notice.begin("exit", 1.0)
    assert (notice.reason, notice.deadline) == ("reload", 101.0)


@pytest.mark.parametrize(
    "wait", [lambda notice: notice.wait(), lambda notice: notice], ids=["wait()", "await"]
)
def test_any_number_of_tasks_can_wait_and_be_cancelled(
    wait: Callable[[DrainNotice], object],
) -> None:
    async def main() -> None:
        notice = DrainNotice()

        async def waits() -> str:
            await wait(notice)  # type: ignore[misc]
            return notice.reason

        tasks = [asyncio.create_task(waits()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        assert tasks[1].cancelled()
        assert not tasks[0].done()
        notice.begin("scale", 5.0)
        assert list(await asyncio.gather(tasks[0], tasks[2])) == ["scale", "scale"]
        assert await waits() == "scale", "who comes late waits for nothing"

    asyncio.run(main())


@pytest.mark.parametrize("make_loop", LOOPS)
def test_a_stream_without_end_can_say_good_bye(make_loop: MakeLoop) -> None:
    async def streams(scope: Scope, receive: Receive, send: Send) -> None:
        notice = scope["extensions"]["pounce.drain"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await notice
        last = f"{notice.reason} {0.0 < notice.remaining <= 20.0}".encode()
        await send({"type": "http.response.body", "body": last})

    async def main() -> None:
        with listener() as own:
            service = make_service(streams)
            async with at_work(service, Lifespan(streams, mode="off"), listeners=[own]) as master:
                with connected(own) as client:
                    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    data = b""
                    while b"begun" not in data:
                        data += await read(client)
                    master.say(ipc.Drain("recycle", 20.0))
                    rest = b""
                    while piece := await read(client):
                        rest += piece
                    assert rest.endswith(b"recycle True\r\n0\r\n\r\n")
                    assert (await master.hear(ipc.Drained)).cut == 0

    run(main(), make_loop)
