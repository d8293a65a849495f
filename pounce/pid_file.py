"""The file that says which process is the master. Knows its own format, and no server."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Final

from pounce.errors import ConfigError, UsageError

log = logging.getLogger("pounce")

MODE: Final = 0o644
MASTER: Final = "pounce-master"  # what titles.py names one


class PidFile:
    """A process id in a file, for init scripts and monitoring.

    Args:
        path: "" for none: then nothing is done.
        origin: where it was given, for the errors.
    """

    def __init__(self, path: str, *, origin: str) -> None:
        self._origin = origin
        self._given = path
        self._path = Path(os.path.abspath(path)) if path else None

    def need_free(self, *, predecessor: int = 0) -> None:
        """Refuse a file that is another running server's, or that cannot be written.

        Args:
            predecessor: a master that we are to follow; it may have the file.

        Raises:
            PounceError: says why.
        """
        if not self._path:
            return
        pid = self._read()
        if pid not in (0, os.getpid(), predecessor) and _is_master(pid):
            raise UsageError(
                f"pid_file {self._given} (from {self._origin}) names a pounce master that is "
                f"running, pid={pid}; stop it, or choose another file"
            )
        if self._path.is_dir():
            raise self._unusable("it is a directory")
        if not self._path.parent.is_dir():
            raise self._unusable(f"there is no directory {self._path.parent}")

    def write(self, *, owner: tuple[int, int] = (-1, -1)) -> None:
        """Name this process. Whoever reads meanwhile sees the old content or the new one.

        Args:
            owner: user and group that the file is given to; -1: ours.

        Raises:
            ConfigError: it cannot be written.
        """
        if not self._path:
            return
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            try:
                self._fill(beside, os.O_CREAT | os.O_EXCL, owner)  # O_EXCL follows no link
                beside.replace(self._path)
            except PermissionError:
                if not self._path.exists():
                    raise
                # The directory is root's and the file ours: we are who a master that gave its
                # rights away has started.
                self._fill(self._path, os.O_TRUNC | os.O_NOFOLLOW, owner)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise self._unusable(error.strerror or str(error)) from None

    def remove(self) -> None:
        """At the end, unless it names another process by now."""
        if not self._path or self._read() != os.getpid():
            return
        try:
            self._path.unlink()
        except OSError:
            # In a directory of root's, after the rights were given away: empty says as much.
            try:
                os.truncate(self._path, 0)
            except OSError as error:
                log.debug("pid file stays path=%s error=%s", self._path, error.strerror)
            else:
                log.debug("pid file cannot be removed, emptied it path=%s", self._path)

    def _fill(self, path: Path, flags: int, owner: tuple[int, int]) -> None:
        file = os.open(path, os.O_WRONLY | flags, MODE)
        try:
            with contextlib.suppress(PermissionError):  # another's file that we may write
                os.fchmod(file, MODE)  # whatever the umask says
            os.fchown(file, *owner)
            os.write(file, f"{os.getpid()}\n".encode())
        finally:
            os.close(file)

    def _read(self) -> int:
        """0: nothing that could be a process id."""
        assert self._path
        try:
            text = self._path.read_bytes()[:20].strip()
        except OSError:
            return 0
        return int(text) if text.isdigit() else 0

    def _unusable(self, reason: str) -> ConfigError:
        want = f"a file that can be written ({reason})"
        return ConfigError("pid_file", self._given, origin=self._origin, want=want)


def _is_master(pid: int) -> bool:
    """Is there a pounce master of that number? A number comes again, for anything."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == MASTER
    except (OSError, ValueError):
        return False
