"""Unix socket files: their rights, what is stale, and removing only our own. Knows no slots."""

from __future__ import annotations

import contextlib
import errno
import grp
import logging
import os
import pwd
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pounce.errors import BindError, ConfigError

log = logging.getLogger("pounce")

UNCHANGED: Final = (-1, -1)  # for chown(2)


@dataclass(frozen=True, slots=True)
class SocketFile:
    """A socket file, and what tells ours from one put there by somebody else since."""

    path: str
    identity: tuple[int, int]

    @classmethod
    def at(cls, path: str) -> SocketFile:
        seen = os.lstat(path)
        return cls(path, (seen.st_dev, seen.st_ino))

    def remove(self) -> None:
        """Remove it if it is still the same. The next start copes with one that stays."""
        try:
            if SocketFile.at(self.path) == self:
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:  # in a directory of root's, whose rights were given away
            log.debug("socket file stays path=%s error=%s", self.path, error.strerror)


def ids_of(owner: str, *, origin: str) -> tuple[int, int]:
    """User and group number of "user", "user:group" or ":group"; -1 for what is not given.

    Raises:
        ConfigError: there is no such user or group; names `origin`.
    """
    user, _, group = owner.partition(":")
    try:
        uid = int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid if user else -1
        gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid if group else -1
    except KeyError:
        raise ConfigError(
            "uds_owner",
            owner,
            origin=origin,
            want="user, user:group or :group, by names this machine knows or by number",
        ) from None
    return uid, gid


def bind_socket_file(
    path: str, *, mode: int, owner: tuple[int, int]
) -> tuple[socket.socket, SocketFile]:
    """A bound socket at `path`, with its final rights from the first moment somebody can use it.

    Raises:
        BindError: somebody listens there, something else is in the way, or we may not.
    """
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        with _umask(0o777 & ~mode if owner == UNCHANGED else 0o777):
            one.bind(path)
        if owner != UNCHANGED:
            # Nobody may connect until the owner is right; chown(2) may drop bits, so mode last.
            os.chown(path, *owner)
            os.chmod(path, mode)
        return one, SocketFile.at(path)
    except OSError as error:
        one.close()
        raise BindError(
            f"unix:{path} cannot be bound: {_unix_reason(path, error)}",
            in_use=error.errno == errno.EADDRINUSE,
        ) from None
    except BaseException:
        one.close()
        raise


def _remove_stale(path: str) -> None:
    """Make room where a server died without removing its file; refuse everything else."""
    try:
        seen = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(seen.st_mode):
        raise BindError(
            f"unix:{path} cannot be bound: a file that is no socket is in the way; "
            "remove it, or choose another path"
        )
    file = SocketFile.at(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            file.remove()
            return
        except BlockingIOError:  # its queue is full: somebody listens
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _unix_reason(path: str, error: OSError) -> str:
    parent = Path(path).parent
    match error.errno:
        case errno.EADDRINUSE:
            return "a process listens there; stop it, or choose another path"
        case errno.ENOENT:
            return f"there is no directory {parent}; create it first"
        case errno.EACCES | errno.EPERM:
            return (
                f"not permitted; the user needs write access to {parent} and to the owner asked for"
            )
    return error.strerror or str(error)  # a path too long has no errno
