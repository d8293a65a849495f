"""Reloads under load: good ones, broken ones, too many at once."""

from __future__ import annotations

import time
from signal import SIGHUP

from tests.chaos.outcome import Outcome
from tests.chaos.site import BROKEN, site
from tests.support.clients import ALL_KINDS, Clients
from tests.support.serverlog import wait_until

LAST = "the last"


def reloads(times: int, *options: str, workers: int = 4) -> Outcome:
    """SIGHUPs, one after the other."""
    outcome = Outcome(f"{times} reloads by SIGHUP {' '.join(options)}".rstrip())
    with site(*options, workers=workers) as one:
        clients = Clients(one.server, ALL_KINDS)
        took = []
        with clients.asking():
            for version in range(1, times + 1):
                took.append(one.reload(str(version)))
                clients.wait_for_only(str(version))
        outcome.count(clients)
        outcome.note(f"new code accepts after {sorted(took)[len(took) // 2]:.2f} s (median)")
        expected = {str(version) for version in range(times + 1)}
        outcome.promise(clients.versions() == expected, f"served: {clients.versions()}")
    return outcome


def broken_reload(kind: str, *, probation: float, dies_after: float = 1.0) -> Outcome:
    """New code that does not start, or does not live; then code that does."""
    outcome = Outcome(f"broken reload: {kind}")
    limit = ("--start-timeout", "4") if kind == "too long a start" else ()
    with site("--probation", str(probation), *limit) as one:
        clients = Clients(one.server, ALL_KINDS)
        with clients.asking():
            before = one.server.workers()
            one.write("broken", broken=kind, dies_after=dies_after)
            one.server.log.expect("reload failed, the old code serves on")
            one.server.log.allow(
                "template failed: .*no_such_module",
                "worker failed: application raised during lifespan startup",
                "worker is booting for too long, killing it",
                "worker does not go, killing it",
                "worker died .* status=9",
                "worker died while it drained .* status=9",
            )
            one.server.signal(SIGHUP)
            one.server.log.wait_for("reload failed, the old code serves on")
            wait_until(one.serving, "the old code alone")
            same = one.server.workers() == before
            outcome.promise(same, f"other workers: {one.server.workers()}, before {before}")
            clients.wait_for_only("0")
            settled_at = time.monotonic()
            clients.wait_for_more(100)
            outcome.promise(
                clients.versions(since=settled_at) == {"0"}, "a mix of codes after the end"
            )
            one.reload("good")
            clients.wait_for_only("good")
        if one.notes.exists():
            ports = [int(port) for port in one.notes.read_text().split()]
            clients.casualties.note_ports(ports)
        outcome.count(clients)
        if BROKEN[kind][1] != BROKEN["death soon after the start"][1]:
            served = clients.versions()
            outcome.promise("broken" not in served, f"served: {served}")
        outcome.note("old workers served on, the next good code came")
    return outcome


def reload_storm(signals: int) -> Outcome:
    """Many SIGHUPs within a second; the code changes before the last."""
    outcome = Outcome(f"{signals} SIGHUPs within a second")
    with site("--probation", "1", workers=2) as one:
        clients = Clients(one.server, ALL_KINDS)
        with clients.asking():
            one.reload("1")  # what a first reload leaves is not counted as growth
            descriptors, processes = one.descriptors(), one.processes()
            generation = one.status()["generation"]
            asked_at = time.monotonic()
            for number in range(signals):
                if number == signals - 1:
                    one.write(LAST)
                one.server.signal(SIGHUP)
                time.sleep(1.0 / signals)
            most = 2 + int(time.monotonic() - asked_at)  # one at once, then one a second
            clients.wait_for_only(LAST)
            wait_until(one.serving, "one generation alone")
            begun = one.status()["generation"] - generation
            wait_until(lambda: one.processes() == processes, f"{processes} processes again")
            more = one.descriptors() - descriptors
            outcome.promise(more <= 0, f"{more} descriptors more")
            outcome.promise(begun <= most, f"{begun} reloads were begun, at most {most}")
            outcome.note(f"{begun} reloads, newest code in the end, descriptors {more:+d}")
        outcome.count(clients)
    return outcome
