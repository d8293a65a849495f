"""Where a server's control socket is, and how it is made. Knows nothing of what is said there."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pounce.errors import BindError, ConfigError
from pounce.socket_file import UNCHANGED, SocketFile, bind_socket_file

AUTO: Final = "auto"
OFF: Final = "off"
MODE: Final = 0o600  # whoever can connect can stop the server
BACKLOG: Final = 16
SYSTEM: Final = Path("/run/pounce")


@dataclass(frozen=True, slots=True)
class ControlSocket:
    """It listens; `file` removes it."""

    socket: socket.socket
    file: SocketFile


def own_directory(environ: Mapping[str, str], uid: int) -> Path:
    """Where "auto" puts the socket of a server with this environment and user."""
    if given := environ.get("RUNTIME_DIRECTORY"):  # systemd's RuntimeDirectory=, the first of them
        return Path(given.partition(":")[0])
    if uid == 0:
        return SYSTEM
    if given := environ.get("XDG_RUNTIME_DIR"):
        return Path(given) / "pounce"
    return Path(f"/tmp/pounce-{uid}")  # noqa: S108  # see _make_own


def directories(environ: Mapping[str, str], uid: int) -> list[Path]:
    """Where servers may be that this user can speak to, their own directory first."""
    own = own_directory(environ, uid)
    if "RUNTIME_DIRECTORY" in environ:  # inside a service, such as in its ExecReload=
        return [own]
    session = environ.get("XDG_RUNTIME_DIR")
    found = [
        own,
        SYSTEM,
        *([Path(session) / "pounce"] if session else []),
        Path(f"/tmp/pounce-{uid}"),  # noqa: S108
    ]
    return list(dict.fromkeys(found))


def sockets_in(directory: Path) -> Iterator[Path]:
    """The control sockets that servers have made there for "auto", dead ones among them."""
    with contextlib.suppress(OSError):
        yield from sorted(
            path for path in directory.iterdir() if path.suffix == ".sock" and path.stem.isdecimal()
        )


def open_control(
    setting: str,
    *,
    origin: str,
    owner: tuple[int, int] = UNCHANGED,
    replace: bool = False,
) -> ControlSocket | None:
    """The socket that the setting asks for, listening; None for "off".

    Args:
        owner: user and group of the socket file, for a server that gives up being root.
        replace: take the path even from a server that listens there, which hears nothing more.

    Raises:
        ConfigError: there can be none at the path that was given.
        BindError: nor at the one that "auto" chose, and the server may do without.
    """
    if setting == OFF:
        return None
    try:
        if setting == AUTO:
            directory = own_directory(os.environ, os.geteuid())
            _make_own(directory, trusted="RUNTIME_DIRECTORY" in os.environ)
            for path in sockets_in(directory):
                remove_leftover(path)
            return _open(directory / f"{os.getpid()}.sock", owner, replace)
        return _open(Path(setting), owner, replace)
    except BindError as error:
        if setting == AUTO:
            raise
        raise ConfigError(
            "control_socket",
            setting,
            origin=origin,
            want=f"a path where a socket can be made, auto, or off ({error})",
        ) from None


def _open(path: Path, owner: tuple[int, int], replace: bool) -> ControlSocket:
    if not replace:
        one, file = bind_socket_file(str(path), mode=MODE, owner=owner)
        one.listen(BACKLOG)
        return ControlSocket(one, file)
    # Beside it first: at no moment is there a path that nobody listens at.
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    one, file = bind_socket_file(str(beside), mode=MODE, owner=owner)
    try:
        one.listen(BACKLOG)
        os.rename(beside, path)
    except OSError as error:
        one.close()
        file.remove()
        raise BindError(f"unix:{path} cannot be bound: {error.strerror}") from None
    return ControlSocket(one, SocketFile.at(str(path)))


def _make_own(directory: Path, *, trusted: bool) -> None:
    """Make it, or be sure of it: in /tmp anybody may have made it to take our place.

    Raises:
        BindError: it is not ours, or cannot be made.
    """
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        seen = directory.lstat()
    except OSError as error:
        raise BindError(f"directory {directory} cannot be made: {error.strerror}") from None
    if trusted:
        return
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
        raise BindError(f"{directory} is no directory that only this user can write to")


def remove_leftover(path: Path) -> bool:
    """Remove a socket whose server was killed; False: it may be there."""
    with contextlib.suppress(OSError):
        file = SocketFile.at(str(path))
        if not _is_process(int(path.stem)) and _is_dead(path):
            file.remove()
            return True
    return False


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _is_dead(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            pass  # its queue is full, or it is not ours to ask
    return False
