"""The servers as crews of workers: command lines, and what their users must know of each."""

from __future__ import annotations

from typing import Final

from benchmarks.servers import FAST, Server, granian, gunicorn, pounce, uvicorn

WORKERS: Final = 4
APP: Final = "benchmarks.apps.fastapi_big:app"
ROUTES: Final = 60  # of the application, /records/N

CREWS: Final = (
    Server("pounce", "pounce", pounce, ("bengal-pounce", *FAST)),
    Server("gunicorn", "gunicorn (asgi worker)", gunicorn, ("gunicorn", "gunicorn_h1c", "uvloop")),
    Server(
        "gunicorn-preload",
        # Its SIGHUP forks workers of the code that the master has imported once and for all.
        "gunicorn --preload (its reload brings no new code)",
        lambda order: gunicorn(order, "--preload"),
        ("gunicorn",),
    ),
    Server("uvicorn", "uvicorn", uvicorn, ("uvicorn", *FAST)),
    Server(
        "granian",
        "granian",
        # Without the first option the death of a worker ends the whole server.
        lambda order: granian(order, "--respawn-failed-workers", "--no-access-log"),
        ("granian", "uvloop"),
    ),
)
TITLES: Final = {crew.name: crew.title for crew in CREWS}
