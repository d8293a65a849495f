"""New code by SIGHUP, and workers that die, while clients go on asking."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGKILL
from typing import Final

import pytest

from tests.support.raw import Raw
from tests.support.server import Server, started
from tests.support.serverlog import wait_until

# These bring load with them, and are not run beside each other.
pytestmark = pytest.mark.xdist_group("load")

APP: Final = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"VERSION"})
"""


class Clients:
    """Threads that ask all the time, on kept connections or on a new one for each request.

    Attributes:
        bodies: every answer so far.
        failures: what went wrong, in words.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.bodies: list[bytes] = []
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(keep,)) for keep in (True, True, False, False)
        ]

    def _ask(self, keep: bool) -> None:
        """A connection may only be closed by an announcement, or while nothing is asked."""
        raw: Raw | None = None
        while not self._over.is_set():
            try:
                if raw is None:
                    raw = self.server.connect()
                answer = raw.get("/")
                self.bodies.append(answer.body)
                if not keep or answer.get("connection") == "close":
                    raw.close()
                    raw = None
            except (OSError, AssertionError, ValueError) as error:
                self.failures.append(repr(error))
                if raw is not None:
                    raw.close()
                raw = None
        if raw is not None:
            raw.close()

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            wait_until(lambda: len(self.bodies) > 20 or self.failures, "first answers")
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()

    def wait_for(self, body: bytes) -> None:
        """Until every answer is this one for a while."""
        wait_until(lambda: body in self.bodies, body)
        count = len(self.bodies)
        wait_until(lambda: len(self.bodies) > count + 20, "more answers")


def write(directory: Path, version: str, *, code: str = APP) -> None:
    (directory / "site_app.py").write_text(code.replace("VERSION", version))


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_new_code_comes_without_a_failed_request(workers: str, loop: str, tmp_path: Path) -> None:
    write(tmp_path, "one")
    options = ("--app-dir", str(tmp_path), "--workers", workers, "--loop", loop)
    with started("site_app:app", *options) as server:
        clients = Clients(server)
        with clients.asking():
            for generation, version in enumerate(("two", "three", "four"), start=2):
                write(tmp_path, version)
                server.signal(SIGHUP)
                server.log.wait_for(f"serving on .* generation={generation} ")
                clients.wait_for(version.encode())
        assert clients.failures == []
        order = [b"one", b"two", b"three", b"four"]
        assert set(clients.bodies) == set(order)
        wait_until(lambda: len(server.workers()) == int(workers), "the old workers' end")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module\n", "template failed: .*no_such_module"),
        ("def app(:\n", "template failed: .*site_app"),
        (
            APP.replace('raise RuntimeError("no lifespan here")', "await receive()\n        1 / 0"),
            "worker failed: .*lifespan",
        ),
    ],
    ids=["import", "syntax", "lifespan"],
)
def test_broken_code_is_refused_and_the_old_serves_on(code: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, "one")
    with started("site_app:app", "--app-dir", str(tmp_path), "--workers", "2") as server:
        wait_until(lambda: len(server.workers()) == 2, "the workers")
        before = server.workers()
        clients = Clients(server)
        with clients.asking():
            write(tmp_path, "two", code=code)
            server.signal(SIGHUP)
            server.log.expect(said, "reload failed, the old code serves on")
            server.log.wait_for("reload failed, the old code serves on")
            wait_until(lambda: server.workers() == before, "only the old workers")
            write(tmp_path, "three")
            server.signal(SIGHUP)
            clients.wait_for(b"three")
        assert clients.failures == []
        assert set(clients.bodies) == {b"one", b"three"}


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_killed_worker_is_replaced_and_its_queue_waits_for_the_next(workers: str) -> None:
    with started("probe", "--workers", workers) as server:
        for _ in range(3):
            victim = min(server.workers())
            os.kill(victim, SIGKILL)
            said = f"worker died .*pid={victim} .*signal=SIGKILL"
            server.log.wait_for(said)
            server.log.expect(said)
            with server.connect() as raw:  # refused by nobody, and answered by the next if need be
                assert raw.get("/").body == b"hello"
            wait_until(lambda: len(server.workers()) == int(workers), "a successor")
        if server.log.find("keep dying"):
            server.log.expect("workers of the slot keep dying")


def test_an_application_that_exits_is_named_by_its_status() -> None:
    with started("probe", "--workers", "2") as server:
        with server.connect() as raw:
            raw.send(b"GET /leave HTTP/1.1\r\nHost: a\r\n\r\n")
            assert raw.rest() == b""
        server.log.expect("worker died .*status=7")
        server.log.wait_for("worker died .*status=7")
        with server.connect() as raw:
            assert raw.get("/").body == b"hello"
