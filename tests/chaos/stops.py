"""The end of a server under load, for clients that heed what it announces."""

from __future__ import annotations

import contextlib
import os
import time
from signal import SIGHUP, SIGKILL, SIGTERM

from tests.chaos.outcome import Outcome
from tests.chaos.site import RELOADING, Site, site
from tests.support.clients import ALL_KINDS, Clients
from tests.support.raw import CLOSED, Raw, request
from tests.support.serverlog import wait_until


def drain_delay(delay_s: float, *, leave_s: float) -> Outcome:
    """SIGTERM; the clients stop asking a while after they hear of it, as a load balancer would."""
    outcome = Outcome(f"SIGTERM under load, drain_delay {delay_s:g} s")
    with site("--drain-delay", str(delay_s)) as one:
        clients = Clients(one.server, ALL_KINDS, leave_s=leave_s)
        with clients.asking():
            clients.wait_for_more(200)
            told_at = time.monotonic()
            one.server.signal(SIGTERM)
            wait_until(lambda: clients.announced, "Connection: close")
            asked = clients.requests
            outcome.within(clients.announced - told_at, 1.0, "first Connection: close after")
            assert one.server.wait() == 0, one.server.log.text
        outcome.count(clients)
        meanwhile = clients.requests - asked
        outcome.promise(meanwhile > 20, f"{meanwhile} requests were served during the delay")
        outcome.note(f"{meanwhile} requests served after it")
    return outcome


def good_bye(streams: int) -> Outcome:
    """SIGTERM to an application that hears of it and ends its streams."""
    outcome = Outcome(f"SIGTERM, {streams} event streams that say good-bye")
    with site(workers=2) as one:
        clients = Clients(one.server, {"events": streams})
        with clients.asking():
            wait_until(lambda: clients.begun["events"] == streams, "all streams")
            told_at = time.monotonic()
            one.server.signal(SIGTERM)
            assert one.server.wait() == 0, one.server.log.text
            took = time.monotonic() - told_at
        outcome.count(clients)
        ended = clients.answered["events"]
        outcome.promise(ended == streams, f"{ended} of {streams} streams ended well")
        outcome.within(took, 1.0, "exit after")
    return outcome


def connections(one: Site, count: int, stack: contextlib.ExitStack, target: str = "") -> list[Raw]:
    """Kept connections that have had an answer, and then ask for `target`, if there is one."""
    made = []
    for _ in range(count):
        raw = stack.enter_context(one.server.connect())
        assert raw.get("/").status == 200
        if target:
            raw.send(request("GET", target))
        made.append(raw)
    return made


def bounded_stop(idle: int, in_flight: int, stuck: int, *, shutdown_timeout: float) -> Outcome:
    """SIGTERM with clients that do nothing, clients that wait, and streams that never end."""
    outcome = Outcome(
        f"SIGTERM, {idle} idle, {in_flight} in flight, {stuck} stuck, "
        f"shutdown_timeout {shutdown_timeout:g} s"
    )
    options = ("--shutdown-timeout", str(shutdown_timeout))
    with site(*options) as one, contextlib.ExitStack() as stack:
        for raw in connections(one, stuck, stack, "/stuck"):
            assert raw.head().status == 200
        resting = connections(one, idle, stack)
        waiting = connections(one, in_flight, stack, "/slow")
        told_at = time.monotonic()
        one.server.signal(SIGTERM)
        one.server.log.expect("drain is over, cutting what is left")
        answered = sum(raw.answer().body == b"slow" for raw in waiting)
        closed = sum(raw.end() == CLOSED for raw in resting)
        assert one.server.wait() == 0, one.server.log.text
        took = time.monotonic() - told_at
        outcome.requests = idle + in_flight + stuck
        outcome.failed = in_flight - answered
        outcome.promise(answered == in_flight, f"{answered} of {in_flight} in flight were answered")
        outcome.promise(closed == idle, f"{closed} of {idle} idle ones were closed in order")
        outcome.within(took, shutdown_timeout + 1.0, "exit 0 after")
    return outcome


def busy_master(shutdown_timeout: float) -> Outcome:
    """While old workers drain for long: a new one is killed, a reload and a stop are asked for."""
    outcome = Outcome("a kill, a reload and a stop while old workers drain")
    options = ("--shutdown-timeout", str(shutdown_timeout), "--probation", "0.3")
    with site(*options) as one, contextlib.ExitStack() as stack:
        for raw in connections(one, 16, stack, "/stuck"):
            assert raw.head().status == 200
        one.server.signal(SIGHUP)
        wait_until(
            lambda: (status := one.status())["state"] == "serving" and status["generation"] == 2,
            "the second generation",
        )
        outcome.promise(len(one.server.workers()) > 4, "no old worker drained any more")
        victim = one.worker_of(1)
        one.server.log.expect(f"worker died .*pid={victim} .*signal=SIGKILL")
        os.kill(victim, SIGKILL)
        killed_at = time.monotonic()
        wait_until(lambda: one.worker_of(1, default=victim) != victim, "a successor")
        outcome.within(time.monotonic() - killed_at, 1.0, "successor of a killed one after")
        one.write("1")
        one.server.signal(SIGHUP)
        one.server.log.wait_for(RELOADING, times=2)
        wait_until(lambda: one.status()["generation"] == 3, "the third generation")
        told_at = time.monotonic()
        one.server.signal(SIGTERM)
        one.server.log.allow("drain is over, cutting what is left")
        assert one.server.wait() == 0, one.server.log.text
        outcome.within(time.monotonic() - told_at, shutdown_timeout + 1.0, "exit 0 after")
    return outcome
