"""More slots, fewer slots, and workers that are exchanged for their age or their requests."""

from __future__ import annotations

import threading
from signal import SIGTTIN, SIGTTOU
from typing import Final

from tests.chaos.outcome import Outcome
from tests.chaos.site import Site, site
from tests.support.clients import ALL_KINDS, Clients
from tests.support.serverlog import wait_until


class Census:
    """Counts the accepting workers, again and again."""

    def __init__(self, one: Site) -> None:
        self._site = one
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count)
        self.counts: list[int] = []

    def __enter__(self) -> Census:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._over.wait(0.02):
            self.counts.append(self._site.accepting())


def scaling(steps: tuple[int, ...], *, rounds: int = 1) -> Outcome:
    """SIGTTIN and SIGTTOU, from one number of workers to the next."""
    path = " -> ".join(str(step) for step in steps)
    times = f", {rounds} times" if rounds > 1 else ""
    outcome = Outcome(f"scaling {path}{times}")
    with site("--shutdown-timeout", "20", workers=steps[0]) as one:
        # So many that somebody comes to a slot, or waits in its queue, at about any time.
        clients = Clients(one.server, {**ALL_KINDS, "steady": 400, "busy": 120})
        present = steps[0]
        with clients.asking():
            for step in (*steps[1:], *(steps * (rounds - 1))):
                while present != step:
                    up = step > present
                    present += 1 if up else -1
                    told = len(one.server.log.find("^scaling ")) + 1
                    one.server.signal(SIGTTIN if up else SIGTTOU)
                    one.server.log.wait_for("^scaling ", times=told)
                wait_until(
                    lambda step=step: len(one.server.workers()) == step and one.serving(),  # type: ignore[misc]
                    f"{step} workers",
                )
                clients.wait_for_more(200)
        outcome.count(clients)
        outcome.note("each number was reached")
    return outcome


EXCHANGES: Final = "worker is to be replaced .* cause={}"


def recycling(cause: str, exchanges: int, *options: str) -> Outcome:
    """Workers reach a limit, all about at the same time."""
    outcome = Outcome(f"{exchanges} workers exchanged for their {cause}")
    with site(*options) as one:
        clients = Clients(one.server, ALL_KINDS)
        with clients.asking(), Census(one) as census:
            one.server.log.wait_for(EXCHANGES.format(cause), times=exchanges)
            clients.wait_for_more(100)
        outcome.count(clients)
        fewest = min(census.counts)
        outcome.promise(fewest >= 4, f"only {fewest} workers accepted")
        outcome.note(f"never fewer than {fewest} of 4 accepted ({len(census.counts)} looks)")
    return outcome
