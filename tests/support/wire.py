"""Stands where a connection and its application would: records what a wire says, and answers.

Knows the wire's constructor, so that no test has to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from pounce.worker.wire import Receiver, RequestHead, Wire
from pounce.worker.wire.h1 import Http1Wire
from pounce.worker.wire.h1_h11 import H11Reader
from pounce.worker.wire.h1_head import HeadReader
from pounce.worker.wire.h1_httptools import HttptoolsReader
from pounce.worker.wire.h1_request import Limits
from pounce.worker.wire.h1_rules import Http1Rules

READERS: Final[dict[str, Callable[[], HeadReader]]] = {
    "httptools": HttptoolsReader,
    "h11": H11Reader,
}
WHOLE: Final = 1 << 30

RESPONSE_HEAD: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
RESPONSE_FIELD: Final = re.compile(rb"([a-z-]+): ([^\r\n]*)\r\n")


@dataclass(slots=True)
class Recorded(Receiver):
    """One request as the application would see it.

    Attributes:
        line: method, target and version with a space between.
        ended: the body is complete.
        lost: why the peer was said to be gone, or "".
        refused: the status that the wire answered with, in place of the application.
    """

    recorder: Recorder
    head: RequestHead
    body: bytes = b""
    ended: bool = False
    lost: str = ""
    refused: int = 0

    @property
    def line(self) -> str:
        return f"{self.head.method} {self.head.target.decode('latin-1')} {self.head.version}"

    def data(self, data: bytes) -> None:
        assert data, "data() without data"
        assert self.head.has_body or self.head.tunnel, "data() for a request without a body"
        assert not self.ended, "data() after end()"
        assert not self.lost, "data() after gone()"
        self.body += data
        if self.recorder.consuming:
            self.recorder.wire.consumed(self.head.stream, len(data))

    def end(self) -> None:
        assert self.head.has_body or self.head.tunnel, "end() for a request without a body"
        assert not self.ended, "end() twice"
        assert not self.lost, "end() after gone()"
        self.ended = True
        if self.recorder.answering == "at the end":
            self.recorder.answer(self.head)

    def half_closed(self) -> None:
        self.recorder.calls.append("half_closed")

    def gone(self, reason: str, status: int = 0) -> None:
        assert not self.lost, "gone() twice"
        self.lost = reason
        self.refused = status

    def resumed(self) -> None:
        self.recorder.calls.append("resumed")


@dataclass(slots=True)
class Recorder:
    """The `Sink` of a wire: keeps every call, and answers each request with a small 200.

    Attributes:
        answering: "at the end" of a request, "at the head" before its body, or "never".
        consuming: take each part of a body at once.
        flushing: write what is held at once, as if each turn of the loop ended there.
        output: every byte written.
        refused_unseen: status and reason of each refused().
        closed: "", or how it was closed first: "finish", "linger" or "abort".
        calls: the calls that say nothing about requests, in order.
    """

    answering: str = "at the end"
    consuming: bool = True
    flushing: bool = True
    requests: list[Recorded] = field(default_factory=list)
    output: bytearray = field(default_factory=bytearray)
    refused_unseen: list[tuple[int, str]] = field(default_factory=list)
    closed: str = ""
    calls: list[str] = field(default_factory=list)
    wire: Http1Wire = field(init=False)

    def write(self, data: bytes) -> None:
        assert not self.closed, f"written after closing: {data!r}"
        self.output += data

    def open(self, head: RequestHead, wire: Wire) -> Receiver:
        assert not self.closed, f"opened after closing: {head}"
        request = Recorded(self, head, ended=not (head.has_body or head.tunnel))
        self.requests.append(request)
        if self.answering == "at the head" or (self.answering == "at the end" and request.ended):
            self.answer(head)
        elif self.answering == "at the end":
            self.wire.continue_body(head.stream)
        return request

    def answer(self, head: RequestHead) -> None:
        self.wire.send_head(head.stream, 200, [(b"content-type", b"text/plain")], b"ok\n", end=True)

    def is_running(self, receiver: Receiver) -> bool:
        return False

    def refused(self, status: int, reason: str) -> None:
        self.refused_unseen.append((status, reason))

    def flush_soon(self) -> None:
        if self.flushing:
            self.wire.flush()
        else:
            self.calls.append("flush soon")

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def finish(self, *, linger: bool) -> None:
        self.closed = self.closed or ("linger" if linger else "finish")

    def abort(self) -> None:
        self.closed = self.closed or "abort"

    @property
    def refusals(self) -> list[tuple[int, str]]:
        """Status and reason of each error that was answered, whether an application saw it."""
        seen = [(one.refused, one.lost) for one in self.requests if one.refused]
        return seen + self.refused_unseen

    @property
    def responses(self) -> list[Response]:
        return list(read_responses(bytes(self.output), [r.head.method for r in self.requests]))


@dataclass(frozen=True, slots=True)
class Response:
    """One response as a client would read it: fields in lower case, only Content-Length framing."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def read_responses(output: bytes, methods: Iterable[str]) -> Iterator[Response]:
    """The responses in `output`, which must end with the last of them.

    Args:
        output: all that was written to one connection.
        methods: of the requests, in order; a response past them answers a refused request.
    """
    left = list(methods)
    at = 0
    while at < len(output):
        head = RESPONSE_HEAD.match(output, at)
        assert head is not None, f"no response at byte {at}: {output[at : at + 60]!r}"
        headers = [(found[1], found[2]) for found in RESPONSE_FIELD.finditer(head[2])]
        status = int(head[1])
        method = left.pop(0) if left and status >= 200 else ""
        size = 0
        if method != "HEAD" and status >= 200 and status not in (204, 304):
            lengths = [value for name, value in headers if name == b"content-length"]
            assert len(lengths) == 1, f"Content-Length of a response: {lengths}"
            size = int(lengths[0])
        at = head.end() + size
        assert at <= len(output), f"a response of status {status} is cut short"
        yield Response(status, headers, output[head.end() : at])


def make_wire(
    reader: HeadReader,
    *,
    answering: str = "at the end",
    limits: Limits | None = None,
    websockets: bool = False,
    max_requests: int = 0,
) -> Recorder:
    """A recorder with a wire of its own, at ``.wire``."""
    recorder = Recorder(answering)
    rules = Http1Rules(
        limits or Limits(), server=b"pounce", websockets=websockets, max_requests=max_requests
    )
    recorder.wire = Http1Wire(reader, recorder, recorder.write, rules)
    return recorder


def feed(recorder: Recorder, data: bytes, step: int = WHOLE) -> None:
    """Gives the wire `data` in pieces of `step` bytes, to the end even if it closes on the way."""
    for at in range(0, len(data), step):
        recorder.wire.receive(data[at : at + step])
