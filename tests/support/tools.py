"""Clients of HTTP/2 that are programs: nghttp and h2load."""

from __future__ import annotations

import shutil
import subprocess

from tests.support.serverlog import PATIENCE


def tool(*command: str) -> str:
    """What a command prints; fails if it does, or is not installed."""
    assert shutil.which(command[0]), f"{command[0]} is needed (Debian: nghttp2-client)"
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout
