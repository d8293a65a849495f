"""``python -m tests.chaos [WORD ...]``: every promise under load, in its long form, as a table.

With words, only the scenarios whose names hold one of them. The exit status is 1 when a promise was
broken. Each scenario has a short form among the tests (tests/system/test_chaos.py).
"""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.chaos.deaths import crash_loop, kills, master_killed
from tests.chaos.hangs import all_stopped, blocked, hung, stopped
from tests.chaos.outcome import Outcome, table
from tests.chaos.reloads import broken_reload, reload_storm, reloads
from tests.chaos.site import BROKEN
from tests.chaos.slots import recycling, scaling
from tests.chaos.stops import bounded_stop, busy_master, drain_delay, good_bye
from tests.chaos.talks import CAUSES, fairness, spread, talks
from tests.chaos.upgrades import upgrades

SCENARIOS: Final[dict[str, Callable[[], Outcome]]] = {
    "reloads": partial(reloads, 20),
    "reloads-asyncio": partial(reloads, 5, "--loop", "asyncio"),
    "reloads-surge": partial(reloads, 5, "--max-surge", "1"),
    "reloads-shared": partial(reloads, 5, "--listen-mode", "shared"),
    **{
        f"broken-{kind.replace(' ', '-')}": partial(broken_reload, kind, probation=5.0)
        for kind in BROKEN
    },
    "reload-storm": partial(reload_storm, 50),
    "kills": partial(kills, 10),
    "crash-loop": partial(crash_loop, 15.0),
    "master-killed": partial(master_killed, 10),
    "stopped": partial(stopped, 2.0),
    "blocked": partial(blocked, 2.0),
    "hung": partial(hung, 5.0),
    "all-stopped": partial(all_stopped, 6.0, 4.0),
    "scaling": partial(scaling, (2, 4, 1, 3), rounds=3),
    "recycling-requests": partial(recycling, "requests", 12, "--max-requests", "1000"),
    "recycling-age": partial(recycling, "age", 12, "--max-worker-age", "5"),
    "upgrades": partial(upgrades, 5),
    "drain-delay": partial(drain_delay, 5.0, leave_s=4.0),
    "good-bye": partial(good_bye, 100),
    "bounded-stop": partial(bounded_stop, 500, 50, 10, shutdown_timeout=5.0),
    **{
        f"websockets-{cause}": partial(talks, cause, 100, timeout_s=10.0, over_s=3.0)
        for cause in CAUSES
    },
    "websockets-heed": partial(talks, "SIGTERM", 100, timeout_s=10.0, over_s=3.0, heed=True),
    "websockets-spread": partial(spread, 2000, 8.0),
    "websockets-even": partial(fairness, 640, 300),
    "busy-master": partial(busy_master, 5.0),
}


def machine() -> str:
    """What the figures depend on."""
    setting = Path("/proc/sys/net/ipv4/tcp_migrate_req")
    migrate = setting.read_text().strip() if setting.exists() else "none"
    return (
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, tcp_migrate_req={migrate}"
    )


def chosen(words: Sequence[str]) -> list[str]:
    """The scenarios whose names hold one of these words; all of them, if there are none."""
    return [name for name in SCENARIOS if not words or any(word in name for word in words)]


def main(words: list[str]) -> int:
    outcomes = []
    for name in (names := chosen(words)):
        begun = time.monotonic()
        try:
            outcome = SCENARIOS[name]()
        except Exception:
            outcome = Outcome(name, broken=[traceback.format_exc()])
        outcomes.append(outcome)
        verdict = "BROKEN" if outcome.broken or outcome.late else "kept"
        print(f"{name:32} {verdict} ({time.monotonic() - begun:.0f} s)", flush=True)
        for what in (*outcome.broken, *outcome.late):
            print(f"    {what}", flush=True)
    print(f"\n{machine()}\n\n{table(outcomes)}")
    return int(any(one.broken or one.late for one in outcomes) or not names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
