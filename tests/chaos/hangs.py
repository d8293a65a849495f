"""Workers that live but do not answer: stopped, blocked by their application, or all of them
because the machine stood still.
"""

from __future__ import annotations

import os
import re
import threading
import time
from signal import SIGCONT, SIGSTOP

from tests.chaos.outcome import Outcome
from tests.chaos.site import Site, site
from tests.support.clients import ALL_KINDS, Clients
from tests.support.serverlog import wait_until

FRESH = {"steady": 200.0, "new": 4, "keep": 4, "slow": 4, "upload": 2}


def _judge_waits(outcome: Outcome, clients: Clients, since: float, until: float) -> None:
    waits = clients.waited(since, until)
    p99 = waits[int(len(waits) * 0.99)]
    slow = sum(wait > 1.0 for wait in waits)
    outcome.note(f"{len(waits)} new connections meanwhile, {slow} of them took over 1 s")
    outcome.within(p99, 1.0, "their p99")


def _block(one: Site, seconds: float) -> tuple[int, threading.Thread]:
    """Has one worker's event loop blocked by a request; that worker, and who waits for it."""

    def ask() -> None:
        with one.server.connect() as raw:
            raw.send(f"GET /block?seconds={seconds}&notes={one.notes} HTTP/1.1\r\n".encode())
            raw.send(b"Host: test\r\nConnection: close\r\n\r\n")
            raw.rest()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    wait_until(lambda: one.notes.exists() and one.notes.read_text().endswith("\n"), "a blocked one")
    return int(one.notes.read_text().split()[-1]), thread


def stopped(seconds: float) -> Outcome:
    """SIGSTOP to one worker, SIGCONT to it later."""
    outcome = Outcome(f"one worker of 4 stopped for {seconds:g} s (SIGSTOP)")
    with site() as one:
        clients = Clients(one.server, FRESH)
        with clients.asking():
            clients.wait_for_more(200)
            before, victim = one.server.workers(), one.worker_of(1)
            since = time.monotonic()
            os.kill(victim, SIGSTOP)
            try:
                clients.go_on_for(seconds)
            finally:
                os.kill(victim, SIGCONT)
            until = time.monotonic()
            clients.wait_for_more(200)
            wait_until(lambda: victim in clients.pids(since=until), "answers of it again")
            outcome.promise(one.server.workers() == before, "a worker was replaced")
            steered = one.server.log.find("worker is stalled, others take its connections")
            outcome.promise(steered, "nobody noticed")
        outcome.count(clients)
        _judge_waits(outcome, clients, since, until)
    return outcome


def blocked(seconds: float) -> Outcome:
    """A request handler that keeps its event loop."""
    outcome = Outcome(f"the event loop of one worker of 4 blocked for {seconds:g} s")
    with site() as one:
        clients = Clients(one.server, FRESH)
        with clients.asking():
            clients.wait_for_more(200)
            before = one.server.workers()
            since = time.monotonic()
            _, asked = _block(one, seconds)
            asked.join(60.0)
            until = time.monotonic()
            clients.wait_for_more(200)
            outcome.promise(one.server.workers() == before, "a worker was replaced")
            steered = one.server.log.find("worker is stalled, others take its connections")
            outcome.promise(steered, "nobody noticed")
        outcome.count(clients)
        _judge_waits(outcome, clients, since, until)
    return outcome


def hung(worker_timeout: float) -> Outcome:
    """A handler that never gives its event loop back."""
    outcome = Outcome(f"an event loop that never comes back, worker_timeout {worker_timeout:g} s")
    with site("--worker-timeout", str(worker_timeout)) as one:
        clients = Clients(one.server, ALL_KINDS)
        with clients.asking():
            clients.wait_for_more(200)
            log = one.server.log
            log.expect("worker does not answer, replacing it", "asked what it does.*GET /block")
            log.allow(
                "worker still does not answer, aborting it",
                "worker died of SIGABRT, its stacks",
                "worker does not go, killing it",
            )
            since = time.monotonic()
            victim, asked = _block(one, 600.0)
            log.wait_for("worker does not answer, replacing it")
            noticed_s = time.monotonic() - since
            clients.casualties.note(victim)
            log.wait_for(f"worker (is gone|died) .*pid={victim} ")
            wait_until(one.serving, "its successor")
            until = time.monotonic()
            asked.join(60.0)
            clients.wait_for_more(200)
            confession = log.find("asked what it does")
            told = any(re.search(r"time\.sleep", one.trace + one.text) for one in confession)
            outcome.promise(told, f"the log does not say where it stood:\n{log.text}")
            outcome.note("log names the request and the line")
        outcome.count(clients)
        outcome.within(noticed_s, worker_timeout + 2.0, "noticed after")
        outcome.within(until - since, worker_timeout + 5.0, "replaced after")
        _judge_waits(outcome, clients, since, until)
    return outcome


def all_stopped(seconds: float, worker_timeout: float) -> Outcome:
    """The whole tree stands still, as with a machine that was suspended."""
    outcome = Outcome(
        f"master and workers stopped for {seconds:g} s, worker_timeout {worker_timeout:g} s"
    )
    with site("--worker-timeout", str(worker_timeout)) as one:
        clients = Clients(one.server, ALL_KINDS)
        one.server.log.allow("stood still, taking nobody for dead")
        with clients.asking():
            before = one.server.workers()
            os.killpg(one.server.pid, SIGSTOP)
            try:
                clients.go_on_for(seconds)
            finally:
                os.killpg(one.server.pid, SIGCONT)
            clients.wait_for_more(500)
            clients.go_on_for(worker_timeout)
            outcome.promise(one.server.workers() == before, "a worker was killed")
            outcome.note("nobody was killed")
        outcome.count(clients)
    return outcome
