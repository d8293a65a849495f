"""Upgrades under load: a new master beside the one that runs, in its place once it serves."""

from __future__ import annotations

import time

from tests.chaos.outcome import Outcome
from tests.chaos.site import BROKEN, site
from tests.support.clients import ALL_KINDS, Clients
from tests.support.masters import Masters
from tests.support.serverlog import wait_until


def upgrades(times: int) -> Outcome:
    """SIGUSR2, one after the other, at first to a master that does not come up."""
    outcome = Outcome(f"{times} upgrades by SIGUSR2, after one that fails")
    with site() as one:
        masters = Masters(one.server)
        clients = Clients(one.server, ALL_KINDS)
        took = []
        with clients.asking():
            one.write("broken", broken=next(iter(BROKEN)))
            one.server.log.expect("template failed", "cannot start", "upgrade failed")
            masters.ask()
            one.server.log.wait_for("upgrade failed")
            clients.wait_for_more(100)
            outcome.promise(clients.versions() == {"0"}, f"served: {clients.versions()}")
            for version in range(1, times + 1):
                one.write(str(version))
                begun = time.monotonic()
                masters.upgrade()
                took.append(time.monotonic() - begun)
                clients.wait_for_only(str(version))
            wait_until(lambda: len(masters.workers()) == 4, "the workers")
        masters.stop()
        outcome.count(clients)
        outcome.note(f"old master gone after {sorted(took)[len(took) // 2]:.2f} s (median)")
    return outcome
