"""What a worker says when it is asked what it does: in memory, and by SIGQUIT to a real one."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
from pathlib import Path
from signal import SIGQUIT
from types import FrameType
from typing import Final

import pytest

from pounce.worker import confession
from pounce.worker.confession import MOST, describe, where
from tests.support.notes import Notes
from tests.support.server import started
from tests.support.transport import connect, make_service, settle
from tests.worker.test_connection import waits
from tests.worker.test_websocket_opening import Client, ask, serve

SITE: Final = """
import asyncio, time
from pathlib import Path
from urllib.parse import parse_qsl

def blocking(gate):
    while not gate.exists():
        time.sleep(0.01)  # here it stands

async def app(scope, receive, send):
    query = dict(parse_qsl(scope["query_string"].decode()))
    gate = Path(query["gate"])
    with open(query["notes"], "a") as notes:
        notes.write("begun\\n")
    if scope["path"] == "/block":
        blocking(gate)
    while not gate.exists():
        await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
"""


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def described(*targets: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """With a request for each of the targets in flight, begun a second after the one before."""
    now = 1000.0

    async def main() -> str:
        nonlocal now
        service = make_service(waits)
        monkeypatch.setattr(confession, "monotonic", lambda: now)
        for target in targets:
            before = set(service.running)
            connect(service).data_received(get(target))
            await settle()
            (stream,) = set(service.running) - before
            stream.begun = now
            now += 1.0
        text = describe(service)
        tasks = list(service.running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return text

    return asyncio.run(main())


def test_nothing_in_flight_is_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    assert described(monkeypatch=monkeypatch) == "requests=0"


def test_requests_in_flight_are_named_with_their_age_the_longest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = described("/slow?page=2", "/b", "/c%20d", monkeypatch=monkeypatch)
    assert text == "requests=3 GET /slow?page=2 3.0s, GET /b 2.0s, GET /c%20d 1.0s"


def test_of_many_requests_the_longest_are_named_and_the_rest_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = described(*(f"/{number}" for number in range(MOST + 5)), monkeypatch=monkeypatch)
    assert text.startswith(f"requests={MOST + 5} GET /0 {MOST + 5}.0s, GET /1 ")
    assert text.endswith(f"GET /{MOST - 1} 6.0s, and 5 more")


def test_without_an_access_log_nobody_knows_their_age() -> None:
    async def main() -> str:
        service = make_service(waits)
        connect(service).data_received(get("/"))
        await settle()
        text = describe(service)
        (task,) = service.running.values()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return text

    assert asyncio.run(main()) == "requests=1 GET /"


def test_websockets_are_counted_and_hide_no_request() -> None:
    async def main() -> str:
        service = serve(waits)
        clients = [Client(service) for _ in range(MOST + 1)]
        for client in clients:
            client.connection.data_received(client.wsproto.send(ask()))
        connect(service).data_received(get("/hangs"))
        await settle()
        text = describe(service)
        tasks = list(service.running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return text

    assert asyncio.run(main()) == f"requests=1 GET /hangs websockets={MOST + 1}"


def test_a_failure_to_say_it_does_not_hit_what_runs_just_now(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(service: object) -> str:
        raise KeyError("a bug")

    async def main() -> None:
        confession.confess_when_asked(make_service(waits))
        os.kill(os.getpid(), SIGQUIT)

    monkeypatch.setattr(confession, "describe", fail)
    before = signal.getsignal(SIGQUIT)
    try:
        asyncio.run(main())
    finally:
        signal.signal(SIGQUIT, before)
    assert caplog.messages == ["cannot say what it does error=KeyError('a bug')"]


def test_the_stack_begins_below_the_loop_and_ends_where_the_code_stands() -> None:
    stacks = []

    def innermost() -> None:
        frame: FrameType | None = inspect.currentframe()
        stacks.append(where(frame))

    async def main() -> None:
        innermost()

    asyncio.run(main())
    (stack,) = stacks
    assert stack.splitlines()[0].endswith("in main")
    assert stack.splitlines()[-2].endswith("in innermost")


# A real worker


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site_app.py").write_text(SITE)
    return tmp_path


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_worker_that_blocks_says_which_requests_it_has_and_where_it_stands(
    site: Path, notes: Notes, loop: str
) -> None:
    # Only with an access log the time at which each has begun is known.
    options = ("--app-dir", str(site), "--loop", loop, "--lifespan", "off", "--access-log")
    with started("site_app:app", *options) as server:
        (worker,) = server.workers()
        with server.connect() as one, server.connect() as other:
            one.send(get(f"/wait?{notes.query}"))
            notes.wait_for("begun")
            other.send(get(f"/block?{notes.query}"))
            notes.wait_for("begun", times=2)
            os.kill(worker, SIGQUIT)
            said = server.log.wait_for("asked what it does, ")
            notes.open_gate()
            assert [one.answer().body, other.answer().body] == [b"done"] * 2
        server.log.expect("asked what it does, requests=2 GET /wait.*s, GET /block.*s$")
        assert said.pid == worker
        lines = [line.strip() for line in said.trace.splitlines()]
        assert lines[-1] == "time.sleep(0.01)  # here it stands"
        assert any(line.endswith("in blocking") for line in lines)
        assert "asyncio" not in said.trace, "nothing of the loop"
        assert "main.py" not in said.trace, "nothing of what lies above it"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_idle_worker_has_no_stack_to_show_and_serves_on(
    site: Path, notes: Notes, loop: str
) -> None:
    options = ("--app-dir", str(site), "--loop", loop, "--lifespan", "off")
    with started("site_app:app", *options) as server:
        (worker,) = server.workers()
        os.kill(worker, SIGQUIT)
        said = server.log.wait_for("asked what it does, ")
        server.log.expect("asked what it does, requests=0$")
        assert said.trace == ""
        notes.open_gate()
        with server.connect() as raw:
            assert raw.get(f"/wait?{notes.query}").body == b"done"
        assert server.workers() == {worker}
