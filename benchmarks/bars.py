"""The bars that pounce must clear, and whether a run cleared them; pure."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from benchmarks import samples
from benchmarks.samples import Sample

Relation: TypeAlias = Literal["<", "<=", ">="]
HOLDS: Final[Mapping[Relation, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise about one figure; with ``against`` the figure is a ratio, else the value."""

    case: str
    text: str
    metric: str
    relation: Relation
    limit: float
    server: str = "pounce"
    against: str = ""
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar and the figure of a run: the median over the rounds, and the range they spanned."""

    bar: Bar
    figure: float | None  # None: not measured in this run
    least: float = 0.0
    most: float = 0.0

    @property
    def passed(self) -> bool | None:
        if self.figure is None:
            return None
        return HOLDS[self.bar.relation](self.figure, self.bar.limit)


def ahead_of(peer: str, case: str, what: str) -> Bar:
    return Bar(case, f"{what}: CPU per request / {peer}'s", "cpu_us", "<", 1.0, against=peer)


BARS: Final = (
    Bar(
        "get13",
        "13-byte GET: CPU per request / uvicorn's",
        "cpu_us",
        "<=",
        0.58,
        against="uvicorn",
        aim=0.50,
    ),
    Bar(
        "get13",
        "13-byte GET: CPU per request / granian's",
        "cpu_us",
        "<=",
        0.63,
        against="granian",
    ),
    Bar(
        "get13",
        "13-byte GET: requests/s / the floor's",
        "rps",
        ">=",
        0.50,
        against="floor",
        aim=0.60,
    ),
    # The same in CPU: where the load generator cannot fill the floor's core, requests/s flatter us.
    Bar(
        "get13",
        "13-byte GET: the floor's CPU per request / pounce's",
        "cpu_us",
        ">=",
        0.50,
        server="floor",
        against="pounce",
        aim=0.60,
    ),
    *(
        ahead_of(peer, case, what)
        for case, what in [
            ("browser", "browser GET"),
            ("get10k", "10 KiB GET"),
            ("post1k", "1 KiB POST"),
            ("stream10", "ten-chunk stream"),
            ("fastapi", "FastAPI JSON"),
        ]
        for peer in ("uvicorn", "granian")
    ),
    Bar("idle_memory", "idle keep-alive connection, KiB of PSS", "idle_pss_kib", "<=", 5.0),
    Bar("worker_pss", "worker with the bare application, MiB of PSS", "worker_pss_mib", "<=", 25.0),
    Bar(
        "access_log",
        "access log on: CPU per request / with it off",
        "cpu_us",
        "<=",
        1.10,
        server="pounce-log",
        against="pounce",
    ),
)

# Of crews of four workers; see benchmarks/processes.
PROCESS_BARS: Final = (
    Bar(
        "processes_pss",
        "four workers and all other processes: PSS / gunicorn's",
        "pss_mib",
        "<=",
        0.60,
        against="gunicorn",
    ),
    Bar(
        "processes_reload",
        "SIGHUP until all workers are new: time / gunicorn's",
        "reload_s",
        "<=",
        0.50,
        against="gunicorn",
    ),
    Bar(
        "processes_replace",
        "killed worker until its successor answers, ms",
        "replace_ms",
        "<=",
        50.0,
    ),
)

_AHEAD: Final[tuple[tuple[str, str, Relation], ...]] = (
    ("cpu_ms", "CPU", "<"),
    ("mib_s", "MiB/s", ">="),
)
# Of HTTP/2; see benchmarks/http2.
HTTP2_BARS: Final = (
    *(
        Bar(
            case,
            f"{what}: CPU per request / {peer}'s",
            "cpu_us",
            "<=",
            limit,
            against=peer,
            aim=aim,
        )
        for case, what in [
            ("h2_get13", "13-byte GET"),
            ("h2_get13_tls", "13-byte GET over TLS"),
        ]
        for peer, limit, aim in [("hypercorn", 0.5, 0.4), ("granian", 1.0, None)]
    ),
    *(
        Bar(case, f"{what}: {ratio} / hypercorn's", metric, relation, 1.0, against="hypercorn")
        for case, what in [
            ("h2_download", "download of 100 MiB"),
            ("h2_upload", "upload of 100 MiB"),
        ]
        for metric, ratio, relation in _AHEAD
    ),
    Bar(
        "h2_websocket",
        "WebSocket echo: CPU per message / hypercorn's",
        "cpu_us",
        "<=",
        0.40,
        against="hypercorn",
    ),
)


def per_message(
    case: str, what: str, peer: str, relation: Relation, limit: float, *, aim: float | None = None
) -> Bar:
    text = f"{what}: CPU per message / {peer}'s"
    return Bar(case, text, "cpu_us", relation, limit, against=peer, aim=aim)


# Of WebSockets; see benchmarks/websockets.
WEBSOCKET_BARS: Final = (
    per_message("echo64", "echo of 64 B", "uvicorn", "<=", 0.70, aim=0.55),
    per_message("echo64", "echo of 64 B", "granian", "<=", 0.45),
    per_message("echo16k", "echo of 16 KiB", "uvicorn", "<=", 0.85),
    per_message("echo16k", "echo of 16 KiB", "granian", "<=", 0.60),
    per_message("echo1m", "echo of 1 MiB", "uvicorn", "<=", 1.00),
    per_message("echo1m", "echo of 1 MiB", "granian", "<=", 1.00),
    per_message("deflate64", "echo of 64 B, compressed", "uvicorn", "<", 1.00),
    per_message("broadcast", "64 B to each of 1,000", "uvicorn", "<", 1.00),
    per_message("broadcast", "64 B to each of 1,000", "granian", "<", 1.00),
    Bar("idle", "idle WebSocket, KiB of PSS", "idle_pss_kib", "<=", 10.0),
    Bar("idle_deflate", "idle WebSocket with compression, KiB of PSS", "idle_pss_kib", "<=", 16.0),
)


def judge(bar: Bar, measured: Sequence[Sample]) -> Verdict:
    if bar.against:
        figures = samples.ratios(measured, bar.case, bar.metric, bar.server, bar.against)
    else:
        figures = [*samples.by_round(measured, bar.case, bar.server, bar.metric).values()]
    if not figures:
        return Verdict(bar, None)
    return Verdict(bar, statistics.median(figures), min(figures), max(figures))
