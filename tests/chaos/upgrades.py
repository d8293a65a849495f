"""Another master in place of the one that runs, under load; and one that does not come to serve."""

from __future__ import annotations

import time

from tests.chaos.outcome import Outcome
from tests.chaos.site import site
from tests.support.clients import ALL_KINDS, Clients
from tests.support.masters import Masters


def upgrades(times: int, *options: str, workers: int = 4) -> Outcome:
    """SIGUSR2s, one after the other, each with new code and a broken one before it."""
    outcome = Outcome(f"{times} upgrades by SIGUSR2, each after one that fails")
    with site(*options, workers=workers) as one:
        masters = Masters(one.server)
        clients = Clients(one.server, ALL_KINDS)
        took = []
        with clients.asking():
            for version in range(1, times + 1):
                one.write("broken", broken="import error")
                failed = "upgrade failed, this master serves on: .* status=3"
                one.server.log.expect(
                    failed, "template failed: .*no_such_module", "the server cannot start"
                )
                masters.ask()
                one.server.log.wait_for(failed, times=version)
                one.write(str(version))
                begun = time.monotonic()
                masters.upgrade()
                took.append(time.monotonic() - begun)
                clients.wait_for_only(str(version))
        masters.stop()
        outcome.count(clients)
        outcome.note(f"the old master is gone after {sorted(took)[len(took) // 2]:.2f} s (median)")
        expected = {str(version) for version in range(times + 1)}
        outcome.promise(clients.versions() == expected, f"served: {clients.versions()}")
    return outcome
