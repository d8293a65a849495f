"""Drains with WebSockets: talks end as they would have, the silent are seen off evenly spread."""

from __future__ import annotations

import os
import time
from signal import SIGHUP, SIGKILL, SIGTERM, SIGTTOU
from typing import Final

from tests.chaos.outcome import Outcome
from tests.chaos.site import Site, site
from tests.support.serverlog import wait_until
from tests.support.talks import Talks, longest_wave

MESSAGES: Final = 10
EVEN: Final = 1.25  # most by fewest
PER_SECOND: Final = 200  # the master hears of who came 4 times a second
# Why a worker drains: the signal to the master, none where it happens by itself, and the code that
# its WebSockets are to hear.
CAUSES: Final = {
    "SIGTERM": (SIGTERM, 1001),
    "SIGHUP": (SIGHUP, 1012),
    "scale-down": (SIGTTOU, 1012),
    "recycling": (None, 1012),
}


def talks(
    cause: str, count: int, *, timeout_s: float, over_s: float, heed: bool = False
) -> Outcome:
    """So many that talk for some seconds, and as many silent ones, while a worker drains."""
    quiet = "/heed" if heed else "/echo"
    outcome = Outcome(f"{cause} with {2 * count} WebSockets{', heeded' if heed else ''}")
    signal, code = CAUSES[cause]
    options = ["--shutdown-timeout", str(timeout_s), "--probation", "0.1"]
    if cause == "recycling":
        options += ["--max-worker-age", str(over_s / 2)]
    with site(*options, workers=2) as one:
        clients = Talks(one.server.addresses[0])
        with clients.running():
            clients.listen(count, quiet)
            clients.talk(count, messages=MESSAGES, every_s=over_s / MESSAGES)
            told_at = time.monotonic()
            if signal is not None:
                one.server.signal(signal)
            clients.wait_for_ends("talk", count)
            if cause == "scale-down":
                wait_until(lambda: len(one.server.workers()) == 1, "one worker")
                code_counts = clients.codes(quiet)
                outcome.promise(0 < code_counts[code] < count, f"of one worker: {code_counts}")
            else:
                clients.wait_for_ends(quiet, count)
            if cause != "SIGTERM":
                outcome.note(f"silent ones gone after {time.monotonic() - told_at:.1f} s")
                one.server.signal(SIGTERM)
            assert one.server.wait() == 0, one.server.log.text
            if cause == "SIGTERM":
                limit = over_s + 1.0 if heed else timeout_s + 0.5
                outcome.within(time.monotonic() - told_at, limit, "exit 0 after")
        judge(outcome, one, clients, quiet, {code, 1012 if heed else code}, count)
    return outcome


def judge(
    outcome: Outcome, one: Site, clients: Talks, quiet: str, codes: set[int], count: int
) -> None:
    outcome.requests = clients.asked
    outcome.failed = clients.asked - clients.answered + len(clients.refused)
    whole = count * MESSAGES
    outcome.promise(
        clients.answered == whole, f"{clients.answered} of {whole} messages were answered"
    )
    talked, silent = clients.codes("talk"), clients.codes(quiet)
    outcome.promise(talked == {1000: count}, f"talks ended with {dict(talked)}")
    if outcome.name.startswith("scale-down"):
        codes = {*codes, 1001}  # those of the worker that stayed, at the end
    outcome.promise(set(silent) <= codes, f"the silent were closed with {dict(silent)}")
    outcome.note(f"closed with {', '.join(f'{n} x {code}' for code, n in silent.items())}")
    heard = (one.folder / "ends").read_text().split()
    outcome.promise(len(heard) == 2 * count, f"{len(heard)} of {2 * count} applications heard")
    outcome.promise("1006" not in heard, "an application heard of a loss")


def spread(count: int, window_s: float) -> Outcome:
    """A reload closes many silent WebSockets one after the other, and all come back."""
    outcome = Outcome(f"SIGHUP closes {count} idle WebSockets over {window_s:g} s")
    options = ("--websocket-drain", "close", "--probation", "0.1")
    with site(*options, "--shutdown-timeout", str(window_s / 0.9)) as one:
        clients = Talks(one.server.addresses[0])
        with clients.running():
            clients.listen(count, come_back=True)
            one.server.signal(SIGHUP)
            clients.wait_for_ends("/echo", count)
            wait_until(lambda: len(clients.returned) == count, "all of them back")
            codes = clients.codes("/echo")
            outcome.promise(codes == {1012: count}, f"closed with {dict(codes)}")
            outcome.promise(not clients.refused, f"refused: {clients.refused[:3]}")
            wait_until(lambda: one.serving(2), "the new workers alone")
        wave = longest_wave([at for at, _ in clients.ends["/echo"]])
        back = longest_wave(clients.returned)
        outcome.requests = count
        outcome.promise(
            wave <= count * max(0.2, 1.2 / window_s), f"{wave} of {count} closed in one second"
        )
        outcome.note(f"at most {wave} closed and {back} back within a second")
    return outcome


def fairness(first: int, then: int) -> Outcome:
    """WebSockets are even over the workers, also after one was exchanged."""
    outcome = Outcome(f"{first} WebSockets, a worker killed, {then} more")
    with site() as one:
        clients = Talks(one.server.addresses[0])
        with clients.running():
            clients.listen(first, every_s=1 / PER_SECOND)
            uneven = unevenness(one, first)
            outcome.note(f"of the first {first} most/fewest {uneven:.2f}")
            judge_evenness(outcome, uneven)
            victim = one.worker_of(1)
            one.server.log.expect(f"worker died .*pid={victim} .*signal=SIGKILL")
            before = first - len(clients.ends.get("/echo", ()))
            os.kill(victim, SIGKILL)
            wait_until(lambda: one.worker_of(1, default=victim) != victim, "a successor")
            clients.listen(then, every_s=1 / PER_SECOND)
            left = before + then - clients.codes("/echo")[1006]
            uneven = unevenness(one, left)
            outcome.note(f"after the kill and {then} more {uneven:.2f}")
            judge_evenness(outcome, uneven)
    outcome.requests = first + then
    return outcome


def judge_evenness(outcome: Outcome, uneven: float) -> None:
    """On a busy machine the master hears late of who came where, and can be as late in steering."""
    if uneven > EVEN:
        outcome.late.append(f"most/fewest {uneven:.2f}, promised {EVEN}")


def unevenness(one: Site, count: int) -> float:
    """Most connections of a worker by the fewest, once all are seen."""
    held: list[int] = []

    def seen() -> bool:
        held[:] = [worker["connections"] for worker in one.status()["workers"]]
        return sum(held) >= count

    wait_until(seen, f"{count} connections in the heartbeats")
    return max(held) / max(1, min(held))
