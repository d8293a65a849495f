"""The messages between master and worker, and their line format. Knows no pipe and no process.

One message is one JSON line: readable in ``strace``, nothing is unpickled, whole or absent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

# PIPE_BUF on Linux: up to here a write is all or nothing (pipe(7)).
LINE_LIMIT: Final = 4096  # bytes
# Descriptors that come with one message; the kernel takes 253 (SCM_MAX_FD).
DESCRIPTORS_LIMIT: Final = 250
# Seconds between two heartbeats of a worker that has work.
BUSY_BEAT_S: Final = 0.25
INT_LIMIT: Final = 1 << 128  # far from what is counted; far larger ones cannot become a float
# Close codes as they are counted: those that IANA has listed each for itself (1015 is never sent,
# nor are 1004 and 1006), those of libraries and those of applications (RFC 6455 §7.4.2) together.
CLOSE_KINDS: Final = frozenset((*map(str, range(1000, 1016)), "3xxx", "4xxx", "other"))


@dataclass(frozen=True, slots=True)
class Seat:
    """What a forked worker is born with: who it is and which descriptors are its own.

    Not a message: it travels by fork.

    Attributes:
        slot: 0 up to the number of workers; successive workers of a slot share its listeners.
        generation: grows by one with each reload.
        record: index of the worker's record on the scoreboard.
        control: descriptor of the worker's end of the control channel (a stream socket).
        listeners: descriptors of the slot's listening sockets, in the order of the addresses.
        trace: descriptor of a file for the stacks of a worker that dies of a fault; -1 for none.
    """

    slot: int
    generation: int
    record: int
    control: int
    listeners: tuple[int, ...]
    trace: int = -1


@dataclass(frozen=True, slots=True)
class Go:
    """Master to worker: accept connections now. Sent once, after Ready."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Master to worker: accept nothing for now; what is open goes on. Ended by Go or Drain."""


@dataclass(frozen=True, slots=True)
class LameDuck:
    """Master to worker: go on accepting, but let every answer be the last of its connection."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Master to worker: serve these listeners of another slot too; the descriptors come along.

    They are as many as the worker's own, in the same order.
    """

    slot: int


@dataclass(frozen=True, slots=True)
class Release:
    """Master to worker: end of Adopt; what was accepted there is served on."""

    slot: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Master to worker: accept nothing more and be gone in ``within_s`` seconds.

    A second Drain may only shorten what is left. ``reason`` is "exit", "interrupt", "reload",
    "scale" or "recycle".
    """

    reason: str
    within_s: float


@dataclass(frozen=True, slots=True)
class ReopenLogs:
    """Master to worker: the log files were moved away, open them anew by name."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Worker to master, first of all where a template has forked it: who it is."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to master: the application is imported and started; nothing is accepted yet."""


@dataclass(frozen=True, slots=True)
class Accepting:
    """Worker to master: the listeners are served from now on."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to master, instead of Ready: why it will exit with ``code`` (see errors.py).

    ``trace`` is the application's own traceback, or "": the master shows it once, however many
    workers meet the same error.
    """

    code: int
    why: str
    trace: str


@dataclass(frozen=True, slots=True)
class WebSockets:
    """Part of a heartbeat: the WebSockets that an application has accepted. All in all but `open`.

    Attributes:
        open: at this moment.
        closed: how many by kind of close code (CLOSE_KINDS); a kind without any is left out.
        received, sent: bytes on the wire, frames and all.
        messages_received, messages_sent: text and binary ones.
        plain, packed: bytes of the messages that were compressed, both ways, before and after.
    """

    open: int = 0
    opened: int = 0
    closed: Mapping[str, int] = field(default_factory=dict)
    received: int = 0
    sent: int = 0
    messages_received: int = 0
    messages_sent: int = 0
    plain: int = 0
    packed: int = 0

    def ended(self) -> WebSockets:
        """The same when their worker is gone: what it had open has met an abrupt end."""
        if not self.open:
            return self
        closed = {**self.closed, "1006": self.closed.get("1006", 0) + self.open}
        return replace(self, open=0, closed=closed)

    def __add__(self, other: WebSockets) -> WebSockets:
        """Those of two workers."""
        kinds = sorted(self.closed.keys() | other.closed.keys())
        sums = {
            each.name: getattr(self, each.name) + getattr(other, each.name)
            for each in fields(self)
            if each.name != "closed"
        }
        closed = {kind: self.closed.get(kind, 0) + other.closed.get(kind, 0) for kind in kinds}
        return WebSockets(closed=closed, **sums)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Worker to master, from the event loop: alive, and what it has done since it was forked.

    Attributes:
        next_s: in so many seconds the next one comes.
        connections: open ones, those of WebSockets among them.
        accepted, requests: so many in all.
        in_flight: requests whose application has not returned, WebSockets not counted.
        memory: resident bytes.
    """

    next_s: float
    connections: int
    accepted: int
    requests: int
    in_flight: int
    memory: int
    websockets: WebSockets = field(default_factory=WebSockets)


@dataclass(frozen=True, slots=True)
class Draining:
    """Worker to master: Drain was heeded; what is still open."""

    http: int
    websockets: int


@dataclass(frozen=True, slots=True)
class Drained:
    """Worker to master: lifespan shutdown has run, the process ends now. ``cut`` were aborted."""

    cut: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """Template to master: the application is imported, workers may be asked for.

    ``left_behind`` names threads and sockets that the import started, which no fork survives well.
    """

    left_behind: str


@dataclass(frozen=True, slots=True)
class Fork:
    """Master to template: fork a worker; the descriptors of its seat come along.

    They are control, trace and the listeners.
    """

    worker: int
    slot: int
    generation: int
    record: int


FromTemplate = Loaded | Failed
ToWorker = Go | Pause | LameDuck | Adopt | Release | Drain | ReopenLogs
ToMaster = Hello | Ready | Accepting | Failed | Heartbeat | Draining | Drained
Message = ToWorker | ToMaster | FromTemplate | Fork

BY_TAG: Final[Mapping[str, type[Message]]] = {
    "go": Go,
    "pause": Pause,
    "lame_duck": LameDuck,
    "adopt": Adopt,
    "release": Release,
    "drain": Drain,
    "reopen_logs": ReopenLogs,
    "hello": Hello,
    "ready": Ready,
    "accepting": Accepting,
    "failed": Failed,
    "heartbeat": Heartbeat,
    "draining": Draining,
    "drained": Drained,
    "loaded": Loaded,
    "fork": Fork,
}
TAG_OF: Final[Mapping[type[Message], str]] = {kind: tag for tag, kind in BY_TAG.items()}


def encode(message: Message) -> bytes:
    """One message, one JSON line: ``{"say": "drain", "reason": "exit", "within_s": 30.0}``.

    Raises:
        ValueError: the line is longer than LINE_LIMIT; the caller must shorten its text.
    """
    line = json.dumps({"say": TAG_OF[type(message)], **asdict(message)}).encode() + b"\n"
    if len(line) > LINE_LIMIT:
        raise ValueError(f"{type(message).__name__} is {len(line)} bytes, limit {LINE_LIMIT}")
    return line


def failed(code: int, why: str, trace: str) -> Failed:
    """A Failed that fits on its line: of a long traceback the end is kept, which says most."""
    message = Failed(code, why[:500], trace[-3000:])
    while True:
        try:
            encode(message)
        except ValueError:  # escapes have made it longer
            message = Failed(code, message.why[:200], message.trace[len(message.trace) // 4 + 1 :])
        else:
            return message


def decode(line: bytes) -> Message:
    """The message in one line, with or without its newline.

    Raises:
        ValueError: not a line that encode() could have written; says what it was.
    """
    try:
        said: Any = json.loads(line)
        kind = BY_TAG[said.pop("say")]
        return kind(**_checked_fields(said, kind))
    # The last two: numbers past float, nesting past the parser. No worker may break the master.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as e:
        raise ValueError(f"not a message: {line[:200]!r} ({e})") from None


def _checked_fields(said: dict[str, Any], kind: type[Message | WebSockets]) -> dict[str, Any]:
    types = {each.name: str(each.type) for each in fields(kind)}
    if said.keys() != types.keys():
        raise ValueError(f"fields {sorted(said)}, expected {sorted(types)}")
    return {name: _checked(name, value, types[name]) for name, value in said.items()}


def _checked(name: str, value: object, kind: str) -> object:
    match kind:
        case "int" if type(value) is int and abs(value) <= INT_LIMIT:
            return value
        case "float" if type(value) in (int, float):
            return float(value)  # type: ignore[arg-type]  # int or float by the guard above
        case "str" if type(value) is str:
            return value
        case "Mapping[str, int]" if isinstance(value, dict) and value.keys() <= CLOSE_KINDS:
            return {each: _checked(each, number, "int") for each, number in value.items()}
        case "WebSockets" if isinstance(value, dict):
            return WebSockets(**_checked_fields(value, WebSockets))
    raise ValueError(f"{name} is {value!r}, expected {kind}")


class LineReader:
    """Collects bytes from a stream and gives the complete lines in them.

    A line that grows past LINE_LIMIT without an end is dropped, up to its newline: the peer is
    broken, and memory must not be its to fill.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """The complete lines that `data` finishes, without their newlines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._skipping and lines:
            del lines[0]
            self._skipping = False
        if len(self._rest) > LINE_LIMIT:
            self._rest = b""
            self._skipping = True
        return [line for line in lines if line]
