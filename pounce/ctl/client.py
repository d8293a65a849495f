"""Finds running servers by their control sockets, and asks them. Shows nothing."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, Final

from pounce.control_path import (
    AUTO,
    OFF,
    directories,
    own_directory,
    remove_leftover,
    sockets_in,
)
from pounce.errors import EXIT_CONFIG, PounceError

EXIT_REFUSED: Final = 1
EXIT_NO_SERVER: Final = 7  # none of errors.py, which a server ends with
# The master answers between two of its own steps, none of which takes long.
PATIENCE_S: Final = 10.0


class NoServerError(PounceError):
    """Nobody is there to be asked."""

    exit_code: ClassVar[int] = EXIT_NO_SERVER


class RefusedError(PounceError):
    """The server did not do what it was asked to, or has not answered.

    Attributes:
        answer: its whole answer, if there was one.
    """

    exit_code: ClassVar[int] = EXIT_REFUSED

    def __init__(self, why: str, answer: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(why)
        self.answer = answer


class SeveralError(PounceError):
    """It is not said which server is meant."""

    exit_code: ClassVar[int] = EXIT_CONFIG


class ServerEnded(Exception):  # noqa: N818  # it may be what was asked for
    """The server has closed the connection: it has ended."""


class Client:
    """A connection to one server.

    Attributes:
        path: its control socket.
        pid: of the process that listens, as this machine knows it; 0 where it cannot be told.

    Raises:
        NoServerError: nobody listens there, or we may not speak to who does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._rest = b""
        try:
            self._socket.settimeout(PATIENCE_S)
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise NoServerError(f"no server at {path}: {_reason(error)}") from None
        self.pid = _peer(self._socket)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def ask(self, do: str, *, patience_s: float | None = PATIENCE_S, **more: Any) -> dict[str, Any]:
        """What the server answers.

        Args:
            patience_s: None waits for as long as it takes.

        Raises:
            RefusedError: it says no, with its reason, or nothing in that time.
            ServerEnded: it is gone.
        """
        self._socket.settimeout(patience_s)
        try:
            self._socket.sendall(json.dumps({"do": do, **more}).encode() + b"\n")
        except TimeoutError:
            raise self._silent() from None
        except OSError:
            raise ServerEnded from None
        said: dict[str, Any] = json.loads(self._line())
        if not said.get("ok"):
            raise RefusedError(str(said.get("why", "the server gives no reason")), said)
        return said

    def wait_for_the_end(self) -> None:
        """Returns when the server is gone."""
        self._socket.settimeout(None)
        with suppress(ServerEnded):
            while True:
                self._line()

    def _line(self) -> bytes:
        while b"\n" not in self._rest:
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise self._silent() from None
            except OSError:
                raise ServerEnded from None
            if not data:
                raise ServerEnded
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _silent(self) -> RefusedError:
        return RefusedError(f"the server at {self.path} does not answer; is its master stopped?")


def _peer(one: socket.socket) -> int:
    with suppress(AttributeError, OSError):  # Linux only
        return int.from_bytes(one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), "little")
    return 0


def _reason(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such socket"
        case ConnectionRefusedError():
            return "nobody listens there any more"
        case PermissionError():
            return "not permitted; it is for the user that the server runs as, and root"
        case TimeoutError() | BlockingIOError():
            return "it takes no connection"
    return error.strerror or str(error)


@dataclass(frozen=True, slots=True)
class Seen:
    """A socket that was looked at: its server's status, or why there is none."""

    path: Path
    status: dict[str, Any] | None
    why: str = ""


def find(
    control: str, pid: int, *, environ: Mapping[str, str] = os.environ, uid: int | None = None
) -> Client:
    """A connection to the server that is meant.

    Args:
        control: path of its socket; "" or "auto": look for it.
        pid: of its master; 0: the only one there is.

    Raises:
        NoServerError: it is not there.
        SeveralError: there are several; names them.
    """
    if control not in ("", AUTO, OFF):
        return Client(Path(control))
    places = directories(environ, os.geteuid() if uid is None else uid)
    if pid:
        return _by_pid(pid, places)
    seen = [look(path) for place in places for path in sockets_in(place)]
    alive = [one for one in seen if one.status]
    if len(alive) == 1:
        return Client(alive[0].path)
    if alive:
        raise SeveralError(_several(alive))
    closed = "; ".join(one.why for one in seen if one.why)
    more = f" ({closed})" if closed else ""
    raise NoServerError(
        f"no server found in {_named(places)}{more}; "
        "--control names the socket of one that has it elsewhere"
    )


def _by_pid(pid: int, places: list[Path]) -> Client:
    # A user's own server, or one that root started and that has been upgraded since. Looked at only
    # for a process of that user's: what lies there is believed no further.
    user = _user_of(pid)
    own = [] if user is None else [own_directory({}, user)]
    for place in dict.fromkeys([*places, *own]):
        path = place / f"{pid}.sock"
        if os.path.exists(path):  # no where we may not look
            return Client(path)
    raise NoServerError(
        f"no server with pid {pid} found in {_named(places)}; "
        "it must be that of the master, with control_socket left at auto"
    )


def _user_of(pid: int) -> int | None:
    import psutil  # costs more than all else here, and is needed seldom

    with suppress(psutil.Error):
        return int(psutil.Process(pid).uids().effective)
    return None


def _named(places: list[Path]) -> str:
    """With a word where a server may be that we cannot see."""
    return ", ".join(f"{place}{'' if _may_list(place) else ' (not permitted)'}" for place in places)


def _may_list(place: Path) -> bool:
    try:
        os.listdir(place)
    except PermissionError:
        return False
    except OSError:  # it is not there
        pass
    return True


def look(path: Path) -> Seen:
    """Who is there? A socket that nobody listens at any more is removed."""
    try:
        with Client(path) as client:
            return Seen(path, client.ask("status"))
    except (PounceError, ServerEnded) as error:
        gone = isinstance(error, ServerEnded) or remove_leftover(path)
        return Seen(path, None, "" if gone else str(error))


def _several(alive: list[Seen]) -> str:
    names = [
        f"--pid {one.status['pid']} ({one.status['app']} on {', '.join(one.status['addresses'])})"
        for one in alive
        if one.status
    ]
    return f"{len(alive)} servers run here; say which is meant: {', '.join(names)}"
