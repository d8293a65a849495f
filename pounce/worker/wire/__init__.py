"""The joint between what came over the wire and what the application sees: four protocols.

A wire reads bytes and calls up: ``Sink.open`` once per request or tunnel, then the Receiver it got
from there. The stream above calls down on the wire. Everything is a direct call; nothing is queued
in event objects, since a small GET has a budget of a few microseconds.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pounce.asgi import Header, Headers
from pounce.worker.wire.waiting import Waiting


class ResponseError(Exception):
    """The application's response cannot be written as it asks. The text says what is wrong.

    Nothing of the offending call has reached the wire.
    """


class RequestHead(NamedTuple):
    """One request's head, checked: what is in here may be trusted to be well formed.

    Attributes:
        stream: the wire's number for the request, for every call down; grows by one on HTTP/1.
        method: the method token in upper case.
        target: origin-form or ``*``: the path and query as received, percent-encoded.
        version: "1.0", "1.1" or "2".
        headers: names in lower case, values stripped of outer white space, in their order.
        has_body: True when data() and then end() follow; False when neither is called.
        forwarded: some field speaks of a proxy (Forwarded, X-Forwarded-*).
        tunnel: "websocket" where the request asks for one and the wire can give it, else "".
    """

    stream: int
    method: str
    target: bytes
    version: str
    headers: list[Header]
    has_body: bool
    forwarded: bool
    tunnel: str


class Receiver(Protocol):
    """Who gets what follows a head: an HttpStream or a WebSocketStream."""

    def data(self, data: bytes) -> None:
        """More body, or more bytes of the tunnel. Never empty."""

    def end(self) -> None:
        """The body, or the peer's half of the tunnel, is complete. Called once."""

    def half_closed(self) -> None:
        """The peer will send nothing more, though the request is whole; it may still read."""

    def gone(self, reason: str, status: int = 0) -> None:
        """The peer cannot be reached any more; nothing follows, and writing is in vain.

        Args:
            status: of the error that the wire answers it with, in place of the application.
        """

    def resumed(self) -> None:
        """There is room to write again, after `congested` of the wire was True."""


class Sink(Protocol):
    """What a wire calls: a Connection, or a test's recorder."""

    def open(self, head: RequestHead, wire: Wire) -> Receiver:
        """A request or tunnel has begun; returns who gets what follows.

        Args:
            wire: what its answer is to be written on.
        """

    def is_running(self, receiver: Receiver) -> bool:
        """The application of a request that open() was called for has not returned."""

    def refused(self, status: int, reason: str) -> None:
        """The peer's bytes were answered with an error here; no application saw that request.

        One that an application did see ends with Receiver.gone().
        """

    def flush_soon(self) -> None:
        """Call the wire's flush() before the loop waits for anything."""

    def pause(self) -> None:
        """Read nothing more from the peer until resume()."""

    def resume(self) -> None: ...

    def finish(self, *, linger: bool) -> None:
        """Close once everything written is out.

        With `linger`, only the sending side is closed at first and input is read and dropped for a
        moment: a close with input unread sends RST, which may eat an answer that the peer has not
        read yet (RFC 9112 §9.6).
        """

    def abort(self) -> None:
        """Close now, whatever was still to be written.

        Called while the wire's `writing` still says what is cut: where closing would be the proper
        end of a response (HTTP/1.0), the peer must get a RST, or it would take a part for a whole.
        """


class Wire(Protocol):
    """What answers one request: an HTTP/1 connection, or one stream of an HTTP/2 connection."""

    @property
    def congested(self) -> bool:
        """More waits to be sent than is good: await resumed() before the next."""

    def continue_body(self, stream: int) -> None: ...
    def inform(self, stream: int, status: int, headers: Headers) -> None: ...
    def send_head(
        self, stream: int, status: int, headers: Headers, body: bytes, *, end: bool
    ) -> None: ...
    def send_data(self, stream: int, data: bytes, *, end: bool) -> None: ...
    def send_trailers(self, stream: int, headers: Headers, *, end: bool) -> None: ...
    def sending_file(self, stream: int, size: int) -> bool: ...
    def accept_tunnel(self, stream: int, headers: Headers) -> None: ...
    def reset(self, stream: int, code: int) -> None: ...
    def consumed(self, stream: int, size: int) -> None: ...


class ConnectionWire(Protocol):
    """One connection's state machine: bytes in, calls up; calls in, bytes out.

    Attributes:
        requests: heads accepted so far.
        body_bytes: what came of a body so far; once closing, bytes dropped.
    """

    requests: int
    body_bytes: int

    @property
    def congested(self) -> bool: ...
    @property
    def draining(self) -> bool: ...
    @property
    def answers(self) -> bool:
        """The head of an answer is out, and the answer not complete."""

    @property
    def ends_by_closing(self) -> bool:
        """Closing now would be the proper end of an answer that is not complete."""

    def receive(self, data: bytes) -> None: ...
    def receive_eof(self) -> None: ...
    def lost(self, reason: str) -> None: ...
    def set_congested(self, congested: bool) -> None: ...
    def flush(self) -> None: ...
    def waits_for(self) -> Waiting:
        """What it waits for, apart from what only the transport knows."""

    def sweep(self, now: float) -> None:
        """Looks after what has deadlines of its own within the connection."""

    def refuse(self, status: int, reason: str) -> None:
        """Gives the peer up, with an answer where one can still be given."""

    def ignore(self) -> None:
        """Drops what comes from now on."""

    def close_idle(self) -> None: ...
    def drain(self) -> None: ...
