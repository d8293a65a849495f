"""What runs in templates and workers, for a master that imports none of it.

The worker's side brings asyncio, ssl and the protocols: megabytes that a master never uses. The
template imports them, and its workers share them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pounce import ipc
from pounce.config import Config
from pounce.https import Https
from pounce.scoreboard import Scoreboard

if TYPE_CHECKING:
    from pounce.asgi import App


def load(config: Config) -> App:
    """In a template; see pounce.worker.main.load()."""
    from pounce.worker import main

    return main.load(config)


def run_loaded(
    config: Config, scoreboard: Scoreboard, app: App, seat: ipc.Seat, *, https: Https | None
) -> int:
    """In a worker that a template has forked; see pounce.worker.main.run_loaded()."""
    from pounce.worker import main

    return main.run_loaded(config, scoreboard, app, seat, https=https)


def run(config: Config, scoreboard: Scoreboard, seat: ipc.Seat, *, https: Https | None) -> int:
    """In a worker that the master has forked; see pounce.worker.main.run()."""
    from pounce.worker import main

    return main.run(config, scoreboard, seat, https=https)
