"""A client that writes the bytes it is given and reads answers one by one, for what no library
would send or show.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.serverlog import PATIENCE

Address = tuple[str, int] | Path

CLOSED: Final = "closed"
RESET: Final = "reset"


@dataclass(frozen=True)
class Answer:
    """One response: its body unchunked, its trailers apart."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    version: str = "HTTP/1.1"

    def get(self, name: str) -> str | None:
        """The only value of a field, None where there is none."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


class Raw:
    """One connection to a server.

    Args:
        source: the client's own address, such as "127.0.0.2".
        receive_buffer: bytes the kernel takes for a client that does not read.
    """

    def __init__(
        self, address: Address, *, source: str | None = None, receive_buffer: int = 0
    ) -> None:
        if isinstance(address, Path):
            self.socket = socket.socket(socket.AF_UNIX)
            name: str | tuple[str, int] = str(address)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self.socket = socket.socket(family)
            name = address
            # What is sent piece by piece must also leave piece by piece.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket.settimeout(PATIENCE)
            if receive_buffer:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source is not None:
                self.socket.bind((source, 0))
            self.socket.connect(name)
        except BaseException:
            self.socket.close()
            raise
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, target: str, *fields: str) -> Answer:
        self.send(request("GET", target, *fields))
        return self.answer()

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        data = self._reader.read(size)
        assert len(data) == size, f"{len(data)} bytes came instead of {size}"
        return data

    def line(self) -> bytes:
        return self._reader.readline()

    def rest(self) -> bytes:
        """All that comes until the server closes. A connection that is reset ends it as well."""
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := self._reader.read1(65536):
                data += piece
        return data

    def end(self) -> str:
        """Waits for the end of the connection, which must come with nothing before it."""
        try:
            data = self._reader.read(1)
        except ConnectionResetError:
            return RESET
        assert data == b"", f"{data + self.rest()!r} came instead of the end"
        return CLOSED

    def head(self) -> Answer:
        """Status line and fields of an answer; what follows is left unread."""
        line = self.line().decode("latin-1")
        assert line.endswith("\r\n"), f"{line!r} came instead of a status line"
        version, status, _ = line.split(" ", 2)
        return Answer(int(status), list(self._fields()), version=version)

    def answer(self, *, method: str = "GET") -> Answer:
        """One whole answer; an interim one (1xx) counts as one."""
        head = self.head()
        if method == "HEAD" or head.status < 200 or head.status in (204, 304):
            return head
        trailers: list[tuple[str, str]] = []
        if head.get("transfer-encoding") == "chunked":
            body = b"".join(self.chunks())
            trailers = list(self._fields())
        elif (length := head.get("content-length")) is not None:
            body = self.read(int(length))
        else:
            body = self._reader.read()
        return Answer(head.status, head.headers, body, trailers, head.version)

    def chunks(self) -> Iterator[bytes]:
        """The chunks of a body up to its last, as they come; trailers are left unread."""
        while size := int(self.line(), 16):
            yield self.read(size)
            assert self.line() == b"\r\n"

    def _fields(self) -> Iterator[tuple[str, str]]:
        while (line := self.line().decode("latin-1")) != "\r\n":
            assert line.endswith("\r\n"), f"{line!r} came instead of a field"
            name, _, value = line.partition(":")
            yield name.lower(), value.strip()


def request(method: str, target: str, *fields: str, body: bytes = b"") -> bytes:
    """The bytes of a request; `fields` are whole lines, Host is there."""
    lines = [f"{method} {target} HTTP/1.1", "Host: test", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
