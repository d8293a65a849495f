"""The access log: one line per response or WebSocket, never waiting for who reads them.

`logging` costs several times what a small request does, so these lines do not pass through it.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted
from time import monotonic
from typing import Any, Final, Protocol

# A pipe takes up to here whole or not at all (pipe(7)), so lines of two workers never mix.
PIPE_BUF: Final = 4096  # bytes
FILE_BUF: Final = 256 * 1024  # bytes per write to a file
# Lines held while nobody takes them. Past it new ones are dropped, and counted.
HELD_LIMIT: Final = 4 * 1024 * 1024  # bytes

# Responses whose lines are made together; few enough to hold up no request noticeably.
BATCH: Final = 64


class LineWriter:
    """Writes lines to a file, a pipe, a terminal or a socket without ever blocking on it.

    A pipe that nobody reads would otherwise stop every request of the worker. O_NONBLOCK on
    standard output would be shared with whoever else has it open, so pipes and terminals are opened
    anew.

    Args:
        path: a file's path, or "-" for standard output.

    Attributes:
        lines: held until flush(); each of ASCII and with its newline.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.lines: list[str] = []
        self._rest = b""  # what was not taken at the last flush
        self.dropped = 0
        self._socket: socket.socket | None = None
        self._descriptor = -1
        self._write_limit = PIPE_BUF
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        if self._path != "-":
            self._descriptor = os.open(self._path, flags | os.O_CREAT, 0o640)
            if stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                self._write_limit = FILE_BUF
            return
        kind = os.fstat(1).st_mode
        if stat.S_ISSOCK(kind):
            self._socket = socket.socket(fileno=os.dup(1))
        elif stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            try:
                self._descriptor = os.open("/proc/self/fd/1", flags & ~os.O_APPEND | os.O_NOCTTY)
            except OSError:  # another user's pipe, or no /proc: blocking is what is left
                self._descriptor = os.dup(1)
        else:
            self._descriptor = os.dup(1)
            self._write_limit = FILE_BUF

    def reopen(self) -> None:
        """Opens the file by its name again, after it was moved away. Standard output stays."""
        if self._path == "-":
            return
        self.flush()
        old = self._descriptor
        self._open()
        os.close(old)

    def close(self) -> None:
        """Gives the descriptor back; what is held is lost."""
        if self._socket is not None:
            self._socket.close()
        elif self._descriptor >= 0:
            os.close(self._descriptor)

    def flush(self) -> int:
        """Writes what is held as far as it is taken.

        Returns:
            how many lines were dropped since the last flush that got all out, once it does.
        """
        if len(self._rest) > HELD_LIMIT:
            self.dropped += len(self.lines)
            text = self._rest
        else:
            text = self._rest + "".join(self.lines).encode()
        self.lines.clear()
        at = 0
        try:
            while at < len(text):
                end = min(at + self._write_limit, len(text))
                if end < len(text):  # whole lines, unless one is longer than a pipe's promise
                    end = text.rfind(b"\n", at, end) + 1 or end
                at += self._send(text[at:end])
        except BlockingIOError:
            pass
        except OSError:  # a full disk, a reader that left: the requests matter more
            self.dropped += text.count(b"\n", at)
            at = len(text)
        self._rest = text[at:]
        dropped = 0 if self._rest else self.dropped
        self.dropped -= dropped
        return dropped

    def _send(self, data: bytes) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return os.write(self._descriptor, data)

    @property
    def holding(self) -> bool:
        """There is something to flush."""
        return bool(self._rest or self.lines)


# Stream, method, target, version: the first parts of a RequestHead, which is a tuple.
Head = tuple[int, str, bytes, str, *tuple[Any, ...]]


class Response(Protocol):
    """What a line says of a response: an HttpStream.

    Attributes:
        client: who asked, as text.
        begun: when, by time.monotonic().
    """

    client: str
    begun: float
    status: int
    sent: int

    @property
    def head(self) -> Head: ...


class Compression(Protocol):
    """What both directions of a WebSocket have done."""

    def ratio(self) -> float: ...


class WebSocket(Response, Protocol):
    """What a line says of a WebSocket that is over: a WebSocketTunnel, whose attributes say more.

    Attributes:
        sent, received: bytes on the wire, frames and all.
    """

    code: int
    received: int
    messages_received: int
    messages_sent: int

    @property
    def compression(self) -> Compression | None: ...


class AccessLog:
    """Makes the line of each response and each WebSocket.

    Args:
        writer: takes the lines.
        worker: named in every line.
        form: "text", or "json" with one object per line.
        exclude: paths without a line; one that ends in ``*`` stands for all that begin like it.
    """

    __slots__ = (
        "_batch",
        "_exact",
        "_exclude",
        "_json",
        "_lines",
        "_prefixes",
        "_stamp",
        "_wake",
        "_worker",
        "writer",
    )

    def __init__(
        self,
        writer: LineWriter,
        *,
        worker: int,
        form: str,
        exclude: tuple[str, ...] = (),
    ) -> None:
        self.writer = writer
        self._lines = writer.lines
        self._batch: list[tuple[str, str, Head, int, int, float]] = []
        self._wake: Callable[[], None] = lambda: None
        self._worker = str(worker)
        self._json = form == "json"
        self._exclude = bool(exclude)
        self._exact = frozenset(path.encode() for path in exclude if not path.endswith("*"))
        self._prefixes = tuple(path[:-1].encode() for path in exclude if path.endswith("*"))
        self.set_time(time.time())

    def set_wake(self, wake: Callable[[], None]) -> None:
        """Args: wake: called when a first line waits in the writer, for somebody to flush() it."""
        self._wake = wake

    def set_time(self, now: float) -> None:
        """Once a second: wall-clock seconds for the lines that follow."""
        self._stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))

    def add(self, response: Response) -> None:
        """A response that is written, or never will be.

        Its duration is from the request's head to the response's last byte.
        """
        batch = self._batch
        if not batch:
            self._wake()
        batch.append(
            (
                self._stamp,
                response.client,
                response.head,
                response.status,
                response.sent,
                monotonic() - response.begun,
            )
        )
        if len(batch) >= BATCH:
            self._make_lines()

    def add_refused(self, status: int, client: str) -> None:
        """An error of ours, as the answer to bytes that no application saw."""
        self._make_lines()  # those before it
        if self._json:
            line = (
                f'{{"time":"{self._stamp}","client":{quoted(client)},"method":"-","target":"-",'
                f'"protocol":"-","status":{status},"bytes":0,"duration_us":0,'
                f'"worker":{self._worker}}}\n'
            )
        else:
            line = f'{self._stamp} {client} "-" {status} 0B 0us worker={self._worker}\n'
        self._wake()
        self._lines.append(line)

    def add_websocket(self, websocket: WebSocket) -> None:
        """A WebSocket that was accepted and is over.

        Its duration is from the request's head until nothing of it was left.
        """
        self._make_lines()  # those before it
        head = websocket.head
        if self._exclude and self._excluded(head[2]):
            return
        target = head[2].decode("ascii")
        duration = int((monotonic() - websocket.begun) * 1e6)
        ratio = websocket.compression.ratio() if websocket.compression is not None else 0.0
        if self._json:
            deflate = f"{ratio:.2f}" if ratio else "null"
            line = (
                f'{{"time":"{self._stamp}","client":{quoted(websocket.client)},'
                f'"method":{quoted(head[1])},"target":{quoted(target)},'
                f'"protocol":"HTTP/{head[3]}","status":{websocket.status},'
                f'"bytes":{websocket.sent},"duration_us":{duration},"worker":{self._worker},'
                f'"close_code":{websocket.code},"messages_received":{websocket.messages_received},'
                f'"bytes_received":{websocket.received},"messages_sent":{websocket.messages_sent},'
                f'"deflate_ratio":{deflate}}}\n'
            )
        else:
            deflate = f" deflate={ratio:.2f}" if ratio else ""
            target = target.replace('"', "%22")
            line = (
                f'{self._stamp} {websocket.client} "{head[1]} {target} HTTP/{head[3]}" '
                f"{websocket.status} {websocket.sent}B {duration}us worker={self._worker} "
                f"close={websocket.code} "
                f"received={websocket.messages_received}/{websocket.received}B "
                f"sent={websocket.messages_sent}/{websocket.sent}B{deflate}\n"
            )
        self._wake()
        self._lines.append(line)

    def flush(self) -> int:
        """Writes all lines so far, as LineWriter.flush()."""
        self._make_lines()
        return self.writer.flush()

    def _make_lines(self) -> None:
        """The lines of a batch. One after the other they cost half of what they would one by one,
        between requests that push each other's code and data out of the processor's caches.

        A target holds no space and no control byte (the wire refuses those), so with its quotes
        escaped no request can forge a line (CVE-2020-7694).
        """
        end = f"us worker={self._worker}\n"
        append = self._lines.append
        for stamp, client, head, status, size, seconds in self._batch:
            target = head[2]
            if self._exclude and self._excluded(target):
                continue
            text = target.decode("ascii")
            duration = int(seconds * 1e6)
            if self._json:
                append(
                    f'{{"time":"{stamp}","client":{quoted(client)},'
                    f'"method":{quoted(head[1])},"target":{quoted(text)},'
                    f'"protocol":"HTTP/{head[3]}","status":{status},'
                    f'"bytes":{size},"duration_us":{duration},"worker":{self._worker}}}\n'
                )
                continue
            if '"' in text:
                text = text.replace('"', "%22")
            append(
                f'{stamp} {client} "{head[1]} {text} HTTP/{head[3]}" '
                f"{status} {size}B {duration}{end}"
            )
        self._batch.clear()

    def _excluded(self, target: bytes) -> bool:
        path = target.partition(b"?")[0]
        return path in self._exact or path.startswith(self._prefixes)
