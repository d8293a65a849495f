"""The servers that the suite is run against, by name: their command lines.

pounce is there with each of its event loops, each way to take off the mask, and each kind of
compression that its settings know; its peers with each WebSocket implementation that they have.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

APP: Final = "tests.conformance.echo:app"
ROOT: Final = Path(__file__).parent.parent.parent
OURS: Final = "pounce"

# Cases 9.3.1 and 9.4.1 are messages of 65,536 fragments. All else is as users get it.
POUNCE: Final = ("--websocket-max-fragments", "0", "--no-access-log")
SERVERS: Final[dict[str, tuple[str, ...]]] = {
    "pounce-uvloop": ("pounce", *POUNCE, "--loop", "uvloop"),
    "pounce-asyncio": ("pounce", *POUNCE, "--loop", "asyncio", "--websocket-deflate-window", "15"),
    "pounce-uvloop-python": (
        *("pounce", *POUNCE, "--loop", "uvloop", "--no-websocket-deflate-takeover"),
    ),
    "pounce-asyncio-python": (
        *("pounce", *POUNCE, "--loop", "asyncio", "--websocket-deflate-window", "9"),
    ),
    "uvicorn-websockets": ("uvicorn", "--ws", "websockets", "--no-access-log"),
    "uvicorn-websockets-sansio": ("uvicorn", "--ws", "websockets-sansio", "--no-access-log"),
    "uvicorn-wsproto": ("uvicorn", "--ws", "wsproto", "--no-access-log"),
    "hypercorn": ("hypercorn", "--worker-class", "uvloop"),
    "granian": ("granian", "--interface", "asgi", "--loop", "uvloop", "--no-access-log"),
}
IN_PYTHON: Final = "-python"  # ends the names of those without a helper in C for the mask


def command(name: str, port: int, hidden: Path) -> list[str]:
    """The command line of a server.

    Args:
        hidden: a folder for modules that hide installed ones.
    """
    module, *options = SERVERS[name]
    where = ["--bind", f"127.0.0.1:{port}"] if module == "hypercorn" else ["--port", str(port)]
    path = [str(ROOT)]
    if name.endswith(IN_PYTHON):
        hidden.mkdir(parents=True, exist_ok=True)
        (hidden / "websockets.py").write_text('raise ImportError("hidden from this server")\n')
        path.insert(0, str(hidden))
    return [
        *("env", f"PYTHONPATH={os.pathsep.join(path)}"),
        *(sys.executable, "-m", module, APP, *where, *options),
    ]


def chosen(words: Sequence[str]) -> list[str]:
    """The servers whose names hold one of these words; all of pounce's, if there are none."""
    return [name for name in SERVERS if any(word in name for word in words or (OURS,))]
