"""Starts that fail, each with its exit status and the reason said once, however many workers."""

from __future__ import annotations

import os
import re
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.support.notes import Notes
from tests.support.raw import request
from tests.support.server import APPS, started
from tests.support.serverlog import wait_until


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(
    ("app", "status", "said", "traceback"),
    [
        ("broken:app", 3, "module .*broken fails to import: ValueError: at import", "at import"),
        ("failing:nothing", 3, "has no attribute nothing", ""),
        ("nowhere:app", 3, "has no module nowhere", ""),
        ("failing:failed", 4, "application startup failed: no database", ""),
        ("failing:raising", 4, "application raised during lifespan startup", "no database"),
        ("failing:leaving", 6, "", ""),
        ("failing:killed", 6, "", ""),
    ],
)
def test_a_start_that_fails_ends_with_its_status_and_says_why_once(
    app: str, status: int, said: str, traceback: str, workers: int
) -> None:
    options = ("--workers", str(workers))
    with started(f"{APPS}.{app}", *options, serving=False) as server:
        assert server.wait() == status, server.log.text
        reason = said or "worker died"
        last = server.log.records()[-1].text
        assert re.search(f"^the server cannot start: .*{reason}.* status={status}$", last), last
        server.log.expect("the server cannot start")
        if said:
            server.log.expect(f"^(template|worker) failed: .*{said}")
            assert len(server.log.find("^(template|worker) failed")) == 1
        else:
            server.log.expect("worker died")
        assert server.log.text.count("Traceback") == (1 if traceback else 0)
        assert traceback in server.log.text
        assert not server.log.find("serving on")


def test_a_worker_that_does_not_boot_in_time_is_killed_and_the_start_ends(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text("import time\ntime.sleep(600)\n")
    options = ("--app-dir", str(tmp_path), "--start-timeout", "0.5", "--workers", "2")
    with started("endless:app", *options, serving=False) as server:
        assert server.wait() == 6
        server.log.expect("template failed: the import is not over", "the server cannot start")


def test_an_application_that_cannot_shut_down_is_told_of_and_the_server_ends_well() -> None:
    with started(f"{APPS}.failing:later") as server:
        assert server.curl("/") == b"hello"
        server.log.expect("application raised during lifespan shutdown")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_worker_that_is_told_to_go_finishes_and_is_replaced(
    loop: str, workers: int, notes: Notes
) -> None:
    with (
        started("probe", "--workers", str(workers), "--loop", loop) as server,
        server.connect() as raw,
    ):
        old = int(raw.get("/whoami").body)
        raw.send(request("GET", f"/hold?{notes.query}"))
        notes.wait_for("begun")
        os.kill(old, SIGTERM)
        # The successor is there before the old one has ended.
        wait_until(lambda: len(server.workers()) == workers + 1, "a successor")
        for _ in range(10):
            with server.connect() as other:
                assert int(other.get("/whoami").body) != old
        notes.open_gate()
        assert raw.answer().body == b"held"
        wait_until(lambda: old not in server.workers(), "the end of the old one")
        assert len(server.workers()) == workers
