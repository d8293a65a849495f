"""The end of a server under load, for clients that heed what it announces."""

from __future__ import annotations

import time
from signal import SIGTERM

from tests.chaos.outcome import Outcome
from tests.chaos.site import site
from tests.support.clients import ALL_KINDS, Clients
from tests.support.serverlog import wait_until


def drain_delay(delay_s: float) -> Outcome:
    """SIGTERM; the clients stop asking at 0.6 of the delay, as a load balancer would."""
    outcome = Outcome(f"SIGTERM under load, drain_delay {delay_s:g} s")
    with site("--drain-delay", str(delay_s)) as one:
        clients = Clients(one.server, ALL_KINDS, leave_s=0.6 * delay_s)
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
