"""Processes that are killed under load: workers, one slot's workers again and again, the master."""

from __future__ import annotations

import contextlib
import socket
import time
from signal import SIGKILL

import psutil

from tests.chaos.outcome import Outcome
from tests.chaos.site import site
from tests.support.clients import ALL_KINDS, Clients
from tests.support.serverlog import wait_until


def kills(times: int) -> Outcome:
    """SIGKILL to one worker after the other."""
    outcome = Outcome(f"{times} workers killed (SIGKILL)")
    with site() as one:
        clients = Clients(one.server, ALL_KINDS)
        took = []
        one.server.log.allow("worker died .* signal=SIGKILL", "workers of the slot keep dying")
        with clients.asking():
            for number in range(times):
                victim = one.worker_of(number % 4)
                clients.casualties.kill(victim)
                killed_at = time.monotonic()
                one.server.log.wait_for(f"worker died .*pid={victim} ")
                wait_until(one.serving, "its successor")
                took.append(time.monotonic() - killed_at)
                clients.wait_for_more(100)
        outcome.count(clients)
        outcome.note(f"the victims held {clients.casualties.connections} connections")
        outcome.within(max(took), 1.0, "slowest successor after")
        outcome.promise(clients.excused <= clients.casualties.connections, "more than it held")
    return outcome


def crash_loop(seconds: float) -> Outcome:
    """Every worker of one slot is killed as soon as it is seen."""
    outcome = Outcome(f"one slot's workers die for {seconds:g} s")
    with site() as one:
        clients = Clients(one.server, ALL_KINDS)
        one.server.log.allow("worker died .* signal=SIGKILL", "workers of the slot keep dying")
        with clients.asking():
            healthy = one.server.workers() - {one.worker_of(1)}
            master = psutil.Process(one.server.pid)
            begun, used = time.monotonic(), sum(master.cpu_times()[:2])
            while time.monotonic() < begun + seconds:
                for victim in one.server.workers() - healthy:
                    with contextlib.suppress(psutil.Error, ProcessLookupError):
                        clients.casualties.kill(victim)
                time.sleep(0.01)
            took = time.monotonic() - begun
            share = (sum(master.cpu_times()[:2]) - used) / took
            deaths = len(one.server.log.find("worker died"))
            wait_until(one.serving, "the slot's worker that lives")
            outcome.promise(healthy <= one.server.workers(), "healthy workers were replaced")
        outcome.count(clients)
        # At once, after 0.1, 0.2, 0.4 ... 10 s: as many as that leaves room for, and one.
        most, pause, room = 2, 0.1, took
        while room > 0:
            most, room, pause = most + 1, room - pause, min(10.0, pause * 2)
        outcome.promise(deaths <= most, f"{deaths} workers in {took:.1f} s, at most {most}")
        outcome.note(f"{deaths} workers died, the master used {share:.1%} of a core")
    return outcome


def master_killed(times: int) -> Outcome:
    """SIGKILL to the master: what was in flight may fail, but nobody may stay."""
    outcome = Outcome(f"master killed (SIGKILL), {times} times")
    took = []
    for _ in range(times):
        with site() as one:
            clients = Clients(one.server, {"keep": 4, "slow": 4, "upload": 1}, leave_s=0.0)
            with clients.asking():
                clients.wait_for_more(50)
                one.server.log.allow("master is gone", "cutting what is left")
                orphans = psutil.Process(one.server.pid).children(recursive=True)
                one.server.signal(SIGKILL)
                killed_at = time.monotonic()
                one.server.process.wait()
                wait_until(
                    lambda orphans=orphans: not any(map(lives, orphans)),  # type: ignore[misc]
                    "the end of the workers",
                )
                took.append(time.monotonic() - killed_at)
                with socket.socket() as listener:  # a start takes the address like this
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    listener.bind(("127.0.0.1", one.server.port))
                    listener.listen()
            outcome.requests += clients.answered.total()
    outcome.note("no process left, port free")
    outcome.within(max(took), 2.0, "slowest end after")
    return outcome


def lives(process: psutil.Process) -> bool:
    """Not so one that has ended, though nobody may have asked for its status yet."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
