"""``python -m benchmarks.http2.zttp``: what pounce would need of the library zttp, and what it has.

To be run again when a version comes out: exit status 0 once everything is there.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.http2.echo import (
    ACK,
    DATA,
    END_HEADERS,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM: Final = 0x1
GOAWAY: Final = 7
AUTHORITY: Final = b"\x41\x01a"
GET: Final = b"\x82\x86\x84" + AUTHORITY
POST: Final = b"\x83\x86\x84" + AUTHORITY
SPACE_IN_PATH: Final = b"\x82\x86\x44\x04/a b" + AUTHORITY
MANY: Final = 20_000  # requests; minutes of a proxy's connection


class Peer:
    """A server's connection of zttp, and what it says."""

    def __init__(self) -> None:
        self.zttp: Any = importlib.import_module("zttp")
        self.connection = self.zttp.Connection(self.zttp.SERVER, self.zttp.HTTP2)
        self.connection.initiate_connection()
        self.hear(PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))
        self.said()

    def hear(self, data: bytes) -> list[Any]:
        """The events of what a client says."""
        self.connection.receive_data(data)
        return list(iter(self.connection.next_event, self.zttp.NEED_DATA))

    def said(self) -> list[tuple[int, int, int]]:
        """Type, flags and stream of each frame since it was last asked."""
        data = self.connection.data_to_send()
        found, at = [], 0
        while at < len(data):
            stream = int.from_bytes(data[at + 5 : at + 9], "big")
            found.append((data[at + 3], data[at + 4], stream))
            at += 9 + int.from_bytes(data[at : at + 3], "big")
        return found

    def request(self, number: int, block: bytes = GET) -> list[Any]:
        return self.hear(frame(HEADERS, END_HEADERS | END_STREAM, number, block))

    def answer(self, number: int, body: bytes) -> None:
        stream = self.connection.stream(number)
        stream.send_response(200, [])
        stream.send_data(body)
        stream.end_message()


def serves_on() -> str:
    peer = Peer()
    for served in range(MANY):
        try:
            peer.request(2 * served + 1)
        except peer.zttp.RemoteProtocolError as error:
            return f"after {served} answered requests: {error}"
        peer.answer(2 * served + 1, b"ok")
        peer.said()
    return ""


def gives_credit_as_the_body_is_taken() -> str:
    peer = Peer()
    peer.hear(frame(HEADERS, END_HEADERS, 1, POST))
    for _ in range(3):
        peer.hear(frame(DATA, 0, 1, bytes(16384)))
    credit = [stream for kind, _, stream in peer.said() if kind == WINDOW_UPDATE]
    if credit:
        return f"WINDOW_UPDATE of streams {credit} by next_event(), with nothing taken"
    return "" if hasattr(peer.connection, "consume_data") else "no call gives credit"


def offers_what_is_set() -> str:
    zttp: Any = importlib.import_module("zttp")
    try:
        zttp.Connection(zttp.SERVER, zttp.HTTP2, settings={0x4: 262144})
    except TypeError as error:
        return f"windows, streams and lists are fixed: {error}"
    return ""


def ends_with_the_last_data() -> str:
    peer = Peer()
    peer.request(1)
    peer.answer(1, b"ok")
    frames = [kind for kind, _, _ in peer.said()]
    return "" if frames == [HEADERS, DATA] else f"frames of types {frames} for a head and 2 bytes"


def refuses_a_malformed_path() -> str:
    events = Peer().request(1, SPACE_IN_PATH)
    named = type(events[0]).__name__
    return "" if named == "RstStream" else f"a path with a space in it is a {named}"


def takes_the_limit_of_resets() -> str:
    peer = Peer()
    for number in range(1, 2 * 1000, 2):
        try:
            peer.request(number)
            peer.hear(frame(RST_STREAM, 0, number, (8).to_bytes(4, "big")))
        except peer.zttp.RemoteProtocolError:
            return f"ends at {number // 2} resets, which cannot be set"
    return ""


def says_goodbye_in_two_phases() -> str:
    peer = Peer()
    peer.connection.close(0, 2**31 - 1)
    peer.request(1)
    peer.connection.close(0, 1)
    peer.answer(1, b"ok")
    kinds = [kind for kind, _, _ in peer.said()]
    return "" if kinds[:3] == [GOAWAY, GOAWAY, HEADERS] else f"frames of types {kinds}"


@dataclass(frozen=True, slots=True)
class Need:
    """What is needed, and what finds out: "" if it is there, else what is instead."""

    text: str
    find: Callable[[], str]


NEEDS: Final = (
    Need("serves a connection for as long as its client likes", serves_on),
    Need("gives credit as the application takes a body", gives_credit_as_the_body_is_taken),
    Need("offers the windows and limits that are set", offers_what_is_set),
    Need("ends an answer with its last DATA", ends_with_the_last_data),
    Need("refuses a malformed :path", refuses_a_malformed_path),
    Need("takes the limit of resets", takes_the_limit_of_resets),
    Need("says goodbye in two phases", says_goodbye_in_two_phases),
)


def main() -> int:
    try:
        print(f"zttp {importlib.metadata.version('zttp')}")
    except importlib.metadata.PackageNotFoundError:
        print("zttp is not installed", file=sys.stderr)
        return 2
    found = [(need, need.find()) for need in NEEDS]
    for need, instead in found:
        print(f"{'no ' if instead else 'yes'} {need.text}{': ' if instead else ''}{instead}")
    return int(any(instead for _, instead in found))


if __name__ == "__main__":
    sys.exit(main())
