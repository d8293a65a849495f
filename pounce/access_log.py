"""The access log: one line per response, written in batches, never waiting for who reads them.

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
from typing import Final, Protocol

# A pipe takes up to here whole or not at all (pipe(7)), so lines of two workers never mix.
PIPE_BUF: Final = 4096  # bytes
FILE_BUF: Final = 256 * 1024  # bytes per write to a file
# Lines held while nobody takes them. Past it new ones are dropped, and counted.
HELD_LIMIT: Final = 4 * 1024 * 1024  # bytes


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


class Response(Protocol):
    """What a line says of a response: an HttpStream."""

    begun: float
    status: int
    sent: int

    @property
    def head(self) -> RequestLine: ...


class RequestLine(Protocol):
    """The parts of a request head that a line shows."""

    @property
    def method(self) -> str: ...
    @property
    def target(self) -> bytes: ...
    @property
    def version(self) -> str: ...


class AccessLog:
    """Makes the line of each response.

    Args:
        writer: takes the lines.
        worker: named in every line.
        form: "text", or "json" with one object per line.
        exclude: paths without a line; one that ends in ``*`` stands for all that begin like it.
    """

    __slots__ = (
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

    def add(self, response: Response, client: str) -> None:
        """The line of a response that is written, or never will be.

        Its duration is from the request's head to the response's last byte. A target holds no space
        and no control byte (the wire refuses those), so with its quotes escaped no request can
        forge a line (CVE-2020-7694).
        """
        head = response.head
        target = head.target
        if self._exclude and self._excluded(target):
            return
        text = target.decode("ascii")
        duration = int((monotonic() - response.begun) * 1e6)
        if self._json:
            line = (
                f'{{"time":"{self._stamp}","client":{quoted(client)},'
                f'"method":{quoted(head.method)},"target":{quoted(text)},'
                f'"protocol":"HTTP/{head.version}","status":{response.status},'
                f'"bytes":{response.sent},"duration_us":{duration},"worker":{self._worker}}}\n'
            )
        else:
            if '"' in text:
                text = text.replace('"', "%22")
            line = (
                f'{self._stamp} {client} "{head.method} {text} HTTP/{head.version}" '
                f"{response.status} {response.sent}B {duration}us worker={self._worker}\n"
            )
        self._put(line)

    def add_refused(self, status: int, client: str) -> None:
        """The line of an error of ours, to bytes that no application saw."""
        if self._json:
            line = (
                f'{{"time":"{self._stamp}","client":{quoted(client)},"method":"-","target":"-",'
                f'"protocol":"-","status":{status},"bytes":0,"duration_us":0,'
                f'"worker":{self._worker}}}\n'
            )
        else:
            line = f'{self._stamp} {client} "-" {status} 0B 0us worker={self._worker}\n'
        self._put(line)

    def _put(self, line: str) -> None:
        if not self._lines:
            self._wake()
        self._lines.append(line)

    def _excluded(self, target: bytes) -> bool:
        path = target.partition(b"?")[0]
        return path in self._exact or path.startswith(self._prefixes)
