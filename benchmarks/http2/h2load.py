"""h2load's command line and what it prints at the end; pure, starts nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


class H2loadError(ValueError):
    """The load had errors, or h2load said nothing that can be read."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What one load brought: all requests were answered with 2xx, over HTTP/2."""

    requests: int
    seconds: float


def command(
    url: str, *, connections: int, streams: int, requests: int, body: Path | None = None
) -> list[str]:
    """h2load with one thread; every request is a POST of `body`, if there is one."""
    return [
        "h2load",
        "--threads=1",
        f"--clients={connections}",
        f"--max-concurrent-streams={streams}",
        f"--requests={requests}",
        *([f"--data={body}"] if body else []),
        url,
    ]


def parse(output: str) -> Summary:
    """Read the lines behind the progress.

    Raises:
        H2loadError: no such lines, another protocol, or a single request that was not answered
            with 2xx: a server that fails requests has a CPU time per request that means nothing.
    """
    protocol = re.search(r"^Application protocol: (.+)$", output, re.MULTILINE)
    finished = re.search(r"^finished in ([\d.]+)(us|ms|s|m|h)\b", output, re.MULTILINE)
    counts = re.search(r"^requests: (\d+) total,.* (\d+) succeeded", output, re.MULTILINE)
    status = re.search(r"^status codes: (\d+) 2xx", output, re.MULTILINE)
    if not (protocol and finished and counts and status):
        raise H2loadError(f"h2load printed no summary; its output was {output!r}")
    if protocol[1] not in ("h2", "h2c"):
        raise H2loadError(f"the server speaks {protocol[1]}, and not HTTP/2")
    total, succeeded, good = int(counts[1]), int(counts[2]), int(status[1])
    if not total or not total == succeeded == good:
        raise H2loadError(f"{succeeded} of {total} requests succeeded, {good} with 2xx")
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}[finished[2]]
    return Summary(total, float(finished[1]) * unit)
