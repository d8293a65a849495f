"""wrk's command line and its last line; pure, starts nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCRIPT: Final = Path(__file__).with_name("wrk.lua")
TROUBLES: Final = ("connect", "read", "write", "status", "timeout")


class WrkError(ValueError):
    """The load had errors, or wrk said nothing that can be read."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What one load brought: all requests were answered with 2xx or 3xx."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float


def command(
    url: str,
    *,
    method: str,
    body: int,
    depth: int,
    connections: int,
    seconds: float,
    different: int = 1,
) -> list[str]:
    """wrk with one thread; it takes whole seconds only, so less than one counts as one."""
    return [
        "wrk",
        "--threads=1",
        f"--connections={connections}",
        f"--duration={max(1, round(seconds))}s",
        "--timeout=10s",
        f"--script={SCRIPT}",
        url,
        "--",
        method,
        str(body),
        str(depth),
        str(different),
    ]


def parse(output: str) -> Summary:
    """Read the line that wrk.lua prints at the end.

    Raises:
        WrkError: no such line, no request answered, or any error: a server that fails requests
            has a CPU time per request that means nothing.
    """
    lines = [line for line in output.splitlines() if line.startswith("summary ")]
    if len(lines) != 1:
        raise WrkError(f"wrk printed {len(lines)} summary lines; its output was {output!r}")
    told = json.loads(lines[0].removeprefix("summary "))
    if wrong := {name: told[name] for name in TROUBLES if told[name]}:
        raise WrkError(f"the load had errors: {wrong}, in {told['requests']} requests")
    if not told["requests"]:
        raise WrkError("no request was answered")
    return Summary(told["requests"], told["us"] / 1e6, told["p50_us"], told["p99_us"])
