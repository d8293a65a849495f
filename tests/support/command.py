"""``pounce`` as a process of its own, and a directory with applications good and bad for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pounce
from pounce import cli

APPS = """
import os, signal, time

async def app(scope, receive, send): ...

table = {}

async def hello(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})

async def lived(scope, receive, send):
    print("import and lifespan ran in process", os.getpid(), flush=True)
    for _ in range(2):
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})

async def failing(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})

async def raising(scope, receive, send):
    await receive()
    raise OSError("no\\ndatabase")

async def hanging(scope, receive, send):
    await receive()
    time.sleep(600)

async def dying(scope, receive, send):
    os.kill(os.getpid(), signal.SIGKILL)

async def leaving(scope, receive, send):
    os._exit(9)

async def stuck_at_the_end(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    time.sleep(600)
"""


def move_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `folder` the working directory, with main.py and broken.py, and no POUNCE_* variable."""
    for name in [name for name in os.environ if name.startswith("POUNCE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    (folder / "main.py").write_text(APPS)
    (folder / "broken.py").write_text("raise ValueError('at import')\n")


def environment(**variables: str) -> dict[str, str]:
    """That of the tests, with this pounce importable from any directory."""
    return {**os.environ, "PYTHONPATH": str(Path(pounce.__file__).parent.parent), **variables}


def run(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``pounce`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "pounce", *args],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


def refusal(capsys: pytest.CaptureFixture[str], *args: str, status: int = 2) -> str:
    """The one line that a command line is refused with."""
    assert cli.main(args) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pounce: ")
    assert err.count("\n") == 1
    return err.removeprefix("pounce: ").rstrip("\n")
