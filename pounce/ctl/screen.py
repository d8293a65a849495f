"""One sample of a server as one screen, drawn with rich. Asks nobody, and knows no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from pounce.ctl import words
from pounce.ctl.sample import Sample
from pounce.log import escape

DIM: Final = "dim"
TRACK: Final = "bright_black"  # what a bar has before it
STATE_STYLES: Final = {
    "serving": "bold green",
    "starting": "bold cyan",
    "reloading": "bold cyan",
    "probation": "bold yellow",
    "stopping": "bold magenta",
}
STAGE_STYLES: Final = {
    "booting": "cyan",
    "ready": "cyan",
    "opening": "cyan",
    "serving": "green",
    "paused": "blue",
    "stalled": "bold red",
    "hung": "bold red",
    "leaving": "magenta",
    "draining": "magenta",
    "aborted": "bold red",
    "doomed": "bold red",
    "empty": "bold yellow",
}
WIDE: Final = 100  # columns from which on there is air between them
HEAD_ROWS: Final = 14  # rows that are no worker's, at most
BAR: Final = 24  # columns of a bar
_NO_BAR: Final[RenderableType] = Text()


def screen(
    sample: Sample, *, width: int = WIDE, height: int = 0, plain: bool = False
) -> RenderableType:
    """All there is to see.

    Args:
        width, height: of the terminal; 0: as high as need be.
        plain: no characters beyond ASCII.
    """
    gap = 2 if width >= WIDE else 1
    status = sample.status
    parts: list[RenderableType] = [
        _headline(sample, plain),
        _facts(sample),
        *_last_reload(status),
        *_progress(status, plain),
        *_curve(sample, width, plain),
        *_websockets(status),
    ]
    tables: list[list[RenderableType]] = [[Text(), _workers(sample, gap, plain)]]
    if leaving := [one for one in status["workers"] if one["leaving"]]:
        title = Text(f"leaving: {words.plural(len(leaving), 'worker')}", "magenta")
        rule = Rule(title, align="left", style=TRACK, characters="-" if plain else "─")
        tables.append([Text(), rule, _leaving(leaving, gap, plain)])
    if 0 < height < len(status["workers"]) + HEAD_ROWS:
        tables.reverse()  # what changes stays in sight, what does not goes below the edge
    return Padding(Group(*parts, *chain(*tables)), (0, 1))


def _dot(plain: bool) -> str:
    return "*" if plain else "●"


def _headline(sample: Sample, plain: bool) -> RenderableType:
    status = sample.status
    title = Text.assemble(
        ("pounce ", "bold"),
        (escape(status["version"]), DIM),
        "  ",
        (escape(status["app"]), "bold"),
    )
    state = status["state"]
    style = STATE_STYLES.get(state, "bold")
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(title, Text(f"{_dot(plain)} {state}", style))
    return grid


def _facts(sample: Sample) -> RenderableType:
    status = sample.status
    usage = sample.of(status["pid"])
    facts = [
        ("master", str(status["pid"])),
        ("up", words.span(status["uptime_s"])),
        ("generation", str(status["generation"] or "-")),
        ("workers", str(status["slots"])),
    ]
    if usage.cpu_percent is not None:
        facts.append(("CPU", words.percent(usage.cpu_percent)))
    if (size := usage.pss or usage.rss) is not None:
        facts.append(("memory", words.memory(size)))
    line = Text()
    for name, value in facts:
        line.append(f"{name} ", DIM)
        line.append(f"{escape(value)}   ")
    line.rstrip()
    line.append("\n")
    line.append("listens on ", DIM)
    line.append(", ".join(map(escape, status["addresses"])))
    return line


def _last_reload(status: dict[str, Any]) -> Iterator[RenderableType]:
    last = status.get("last_reload")
    if not last:
        return
    line = Text()
    line.append("last reload ", DIM)
    if last["ok"]:
        line.append(f"generation {last['generation']} took over", "green")
        line.append(f" {words.span(last['ago_s'])} ago")
    else:
        line.append(f"generation {last['generation']} was given up", "bold red")
        line.append(f" {words.span(last['ago_s'])} ago: {escape(last['why'])}")
    yield line


def _progress(status: dict[str, Any], plain: bool) -> Iterator[RenderableType]:
    """How far the generation is that comes."""
    coming, slots = status["coming"], status["slots"]
    if not coming:
        return
    crew = [one for one in status["workers"] if one["generation"] == coming and not one["leaving"]]
    line = Table.grid(padding=(0, 1))
    if status["probation_s"] is not None:
        left = words.span(status["probation_s"])
        probation = Text(f"generation {coming} is on probation for {left}", "yellow")
        line.add_row(probation.append("; the old workers wait", DIM))
    else:
        ready = sum(one["stage"] != "booting" for one in crew)
        bar = _bar(ready, slots, "cyan", plain)
        line.add_row(Text(f"generation {coming}", "cyan"), bar, Text(f"{ready} of {slots} ready"))
    yield line


def _curve(sample: Sample, width: int, plain: bool) -> Iterator[RenderableType]:
    """The looks of late, where one follows the other."""
    if len(sample.history) < 3:  # two are what `status` takes
        return
    room = max(10, width - 40)  # what stands beside it
    line = Text()
    line.append("requests ", DIM)
    line.append(words.curve(sample.history[-room:], plain=plain), "green")
    line.append(f" {words.rate(sample.history[-1])}/s")
    line.append(f", most {words.rate(max(sample.history))}/s", DIM)
    yield line


def _websockets(status: dict[str, Any]) -> Iterator[RenderableType]:
    """What all of them have done since the master began, once there was one."""
    counts = status.get("totals", {}).get("websockets")
    if not counts or not counts["opened"]:
        return
    line = Text()
    line.append("websockets ", DIM)
    line.append(f"{words.count(counts['open'])} open, {words.count(counts['opened'])} in all")
    if counts["closed"]:
        line.append("   closed with ", DIM)
        kinds = [f"{code}: {words.count(number)}" for code, number in counts["closed"].items()]
        line.append("  ".join(kinds))
    line.append("\nmessages ", DIM)
    for name in ("received", "sent"):
        size = words.size(counts[f"bytes_{name}"])
        line.append(f"{words.count(counts[f'messages_{name}'])} {name} ({size})   ")
    if counts["deflate_ratio"] is not None:
        line.append("deflate ", DIM)
        line.append(f"{counts['deflate_ratio']:.1f}")
    line.rstrip()
    yield line


def _open_websockets(worker: dict[str, Any]) -> int:
    """Another pounce than this one may say nothing of them."""
    return int(worker.get("websockets", {}).get("open", 0))


def _has_websockets(workers: Iterable[dict[str, Any]]) -> bool:
    return any(
        one.get("websockets", {}).get("opened") or one.get("websockets_at_drain") for one in workers
    )


def _bar(done: float, total: float, style: str, plain: bool, columns: int = BAR) -> RenderableType:
    if plain:  # rich's own is of "-" then, full and empty alike
        full = round(columns * done / total) if total else columns
        return Text("#" * full + "." * (columns - full), style)
    return ProgressBar(
        total=max(total, 1),
        completed=done if total else 1,
        width=columns,
        complete_style=style,
        finished_style=style,
        style=TRACK,
    )


def _memory_kind(sample: Sample, workers: Iterable[dict[str, Any]]) -> str:
    known = [sample.of(one["pid"]) for one in workers]
    return "PSS" if known and all(one.pss is not None for one in known) else "RSS"


def _memory(sample: Sample, worker: dict[str, Any], kind: str) -> int | None:
    """The worker says its own resident memory where the system tells us nothing."""
    usage = sample.of(worker["pid"])
    return usage.pss if kind == "PSS" else usage.rss or worker["memory"] or None


def _workers(sample: Sample, gap: int, plain: bool) -> Table:
    """A row for each worker that stays, and for each slot that has none."""
    status = sample.status
    staying = [one for one in status["workers"] if not one["leaving"]]
    with_websockets = _has_websockets(staying)
    kind = _memory_kind(sample, staying)
    memories = [_memory(sample, one, kind) for one in staying]
    known = [size for size in memories if size is not None]
    cpus = [sample.of(one["pid"]).cpu_percent for one in staying]
    busy = [cpu for cpu in cpus if cpu is not None]
    rates = [sample.rates[one["pid"]] for one in staying if one["pid"] in sample.rates]

    table = Table(
        box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style=DIM, show_footer=True
    )

    def column(name: str, footer: str = "", *, right: bool = True) -> None:
        table.add_column(
            name, Text(footer, "bold"), justify="right" if right else "left", no_wrap=True
        )

    column("slot", "all")
    column("pid")
    column("gen")
    column("stage", right=False)
    column("age")
    column("requests", words.count(sum(one["requests"] for one in staying)))
    column("req/s", words.rate(sum(rates)) if rates else "-")
    column("busy", str(sum(one["in_flight"] for one in staying)))
    column("conns", str(sum(one["connections"] for one in staying)))
    if with_websockets:
        column("ws", str(sum(map(_open_websockets, staying))))
    column("CPU", words.percent(sum(busy)) if busy else "-")
    column(kind, words.memory(sum(known)) if known else "-")

    for slot in sorted({*range(status["slots"]), *(one["slot"] for one in staying)}):
        crew = [pair for pair in zip(staying, memories, strict=True) if pair[0]["slot"] == slot]
        for worker, size in crew:
            table.add_row(*_row(sample, worker, size, with_websockets, plain))
        if not crew:
            table.add_row(str(slot), "-", "-", _stage("empty", plain))
    return table


def _row(
    sample: Sample, worker: dict[str, Any], size: int | None, with_websockets: bool, plain: bool
) -> list[RenderableType]:
    status, pid = sample.status, worker["pid"]
    coming = worker["generation"] == status["coming"]
    stage = _stage(worker["stage"], plain)
    if worker["slot"] in status["slots_out"]:
        stage.append(" out", "bold yellow")  # the kernel gives its connections to others
    cpu = sample.of(pid).cpu_percent
    return [
        str(worker["slot"]),
        str(pid or "-"),
        Text(str(worker["generation"]), "cyan" if coming else ""),
        stage,
        words.span(worker["serving_s"]),
        words.count(worker["requests"]),
        words.rate(sample.rates.get(pid)),
        str(worker["in_flight"]),
        str(worker["connections"]),
        *([str(_open_websockets(worker))] if with_websockets else []),
        Text(words.percent(cpu), "bold yellow" if cpu is not None and cpu >= 90 else ""),
        words.memory(size),
    ]


def _stage(stage: str, plain: bool) -> Text:
    return Text(f"{_dot(plain)} {stage}", STAGE_STYLES.get(stage, ""))


def _leaving(workers: list[dict[str, Any]], gap: int, plain: bool) -> RenderableType:
    """How far each is with what it had open when it was told to go."""
    with_websockets = _has_websockets(workers)
    columns = BAR // 2 if with_websockets else BAR
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style=DIM)
    for name in ("slot", "pid", "gen"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    table.add_column("", width=columns)
    table.add_column("conns" if with_websockets else "open", no_wrap=True)
    if with_websockets:
        table.add_column("ws", no_wrap=True)
    table.add_column("time left", justify="right", no_wrap=True)
    for worker in workers:
        at_first = worker["open_at_drain"]
        websockets = _Left(_open_websockets(worker), worker.get("websockets_at_drain"))
        # A connection that became a WebSocket is one of these alone.
        http = _Left(
            max(0, worker["connections"] - websockets.now),
            None if at_first is None else at_first - (websockets.at_first or 0),
        )
        bar = _NO_BAR
        if at_first is not None:
            left, total = http.now + websockets.now, http.most + websockets.most
            bar = _bar(total - left, total, "magenta", plain, columns)
        table.add_row(
            str(worker["slot"]),
            str(worker["pid"] or "-"),
            str(worker["generation"]),
            _stage(worker["stage"], plain),
            bar,
            str(http),
            *([str(websockets)] if with_websockets else []),
            words.span(worker["left_s"]),
        )
    return table


class _Left(NamedTuple):
    """How many are open of those that were when the drain began; None: it has not."""

    now: int
    at_first: int | None

    @property
    def most(self) -> int:
        return max(self.now, self.at_first or 0)

    def __str__(self) -> str:
        return str(self.now) if self.at_first is None else f"{self.now} of {self.most}"
