"""A file as response body: opened, measured, and sent by the kernel past the loop's transport.

uvloop has no loop.sendfile(), and neither loop lets a transport's descriptor be watched by somebody
else; a duplicate of the descriptor may be, which is what this does.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final

from pounce.worker.wire import ResponseError

PIECE: Final = 64 * 1024  # bytes, where the file must be read and written instead
AT_ONCE: Final = 1024 * 1024  # bytes per sendfile call: the loop gets its turn in between
# What sendfile(2) says where it cannot: a file system or a socket without it, a sandbox (nginx and
# asyncio then read and write too).
NO_SENDFILE: Final = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP))


class FileSource:
    """`size` bytes of an open file from `offset`. Closes the descriptor if it is its own."""

    def __init__(self, descriptor: int, offset: int, size: int, *, owned: bool) -> None:
        self.descriptor = descriptor
        self.offset = offset
        self.size = size
        self._owned = owned

    def __enter__(self) -> FileSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._owned:
            os.close(self.descriptor)

    def pieces(self) -> Iterator[bytes]:
        """The bytes, up to 64 KiB at a time.

        Raises:
            ResponseError: the file has become shorter.
        """
        at, left = self.offset, self.size
        while left:
            piece = os.pread(self.descriptor, min(left, PIECE), at)
            if not piece:
                raise ResponseError(f"file ended {left} bytes early")
            at += len(piece)
            left -= len(piece)
            yield piece


def open_path(path: object) -> FileSource:
    """All of the file at an absolute path (ASGI http.response.pathsend).

    Raises:
        ResponseError: the path is not absolute, or no regular file: a pipe has no length, and
            without O_NONBLOCK its opening would wait for a writer, and the whole worker with it.
        OSError: it cannot be opened.
    """
    if not isinstance(path, str | os.PathLike) or not os.path.isabs(path):
        raise ResponseError(f"path is {path!r}; pathsend takes an absolute path")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise ResponseError(f"path is {path!r}, which is no regular file")
    return FileSource(descriptor, 0, found.st_size, owned=True)


def open_descriptor(file: Any, offset: int | None, count: int | None) -> FileSource:
    """Part of an open file (ASGI http.response.zerocopysend); the application closes it.

    Args:
        file: a descriptor, or an object with fileno().
        offset: from where; None: from the file's present position.
        count: how many bytes; None: up to its end.
    """
    descriptor = file if isinstance(file, int) else file.fileno()
    if offset is None:
        offset = os.lseek(descriptor, 0, os.SEEK_CUR)
    if count is None:
        count = max(0, os.fstat(descriptor).st_size - offset)
    return FileSource(descriptor, offset, count, owned=False)


class FileSender:
    """Sends a file on a non-blocking socket whose transport has nothing left to write.

    Attributes:
        sent: bytes the socket has taken so far.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, source: FileSource) -> None:
        self._loop = loop
        self._source = source
        self._stopped = False
        self._by_kernel = True
        self._wait: asyncio.Future[None] | None = None
        self.sent = 0

    async def run(self, socket_fd: int) -> None:
        """Sends all of the file, or what there is until stop().

        Raises:
            ResponseError: the file has become shorter.
            OSError: the peer is gone.
        """
        source = self._source
        out = os.dup(socket_fd)
        try:
            while self.sent < source.size and not self._stopped:
                try:
                    sent = self._send_some(out, source.offset + self.sent, source.size - self.sent)
                except BlockingIOError:
                    await self._until_writable(out)
                    continue
                if not sent:
                    raise ResponseError(f"file ended {source.size - self.sent} bytes early")
                self.sent += sent
                await asyncio.sleep(0)
        finally:
            os.close(out)

    def _send_some(self, out: int, at: int, left: int) -> int:
        """How many bytes the socket took; 0 at the end of the file."""
        descriptor = self._source.descriptor
        if self._by_kernel:
            try:
                return os.sendfile(out, descriptor, at, min(left, AT_ONCE))
            except OSError as error:
                if self.sent or error.errno not in NO_SENDFILE:
                    raise
                self._by_kernel = False
        piece = os.pread(descriptor, min(left, PIECE), at)
        return os.write(out, piece) if piece else 0

    def stop(self) -> None:
        """The connection is gone. Its duplicate would keep the socket open, and wait for ever."""
        self._stopped = True
        self._wake()

    def _wake(self) -> None:
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    async def _until_writable(self, descriptor: int) -> None:
        self._wait = self._loop.create_future()
        self._loop.add_writer(descriptor, self._wake)
        try:
            await self._wait
        finally:
            self._loop.remove_writer(descriptor)
