"""Whose rights the processes have: --user, --group and --umask. Knows users, not what is bound.

The master binds with the rights it was started with, gives away what its later self must own, and
then becomes somebody else for good. It keeps the sockets: also ports below 1024 stay open.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pounce.errors import ConfigError, PounceError

log = logging.getLogger("pounce")

NO_ORIGINS: Final[Mapping[str, str]] = MappingProxyType({})
ROOT: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the processes are to be.

    Attributes:
        uid, gid: as numbers; those we have where nothing else is asked for.
        name, home: what the user database says of the user; "" where it does not know the number.
        umask: -1 leaves it.
        asked: a user was named, if only our own.
    """

    uid: int
    gid: int
    name: str
    home: str
    umask: int
    asked: bool

    @property
    def is_other(self) -> bool:
        """Not who we are already."""
        return (self.uid, self.gid) != (os.geteuid(), os.getegid())

    @property
    def owner(self) -> str:
        """As uds_owner says it; "" where files are ours anyway."""
        return f"{self.uid}:{self.gid}" if self.is_other else ""

    @property
    def owner_ids(self) -> tuple[int, int]:
        """As chown(2) takes it; it leaves what is ours anyway."""
        return (self.uid, self.gid) if self.is_other else (-1, -1)

    def make_log_file(self, path: str) -> None:
        """Make a log file that is not there yet, as its future writer's.

        Below /var/log only root may make one. A file that is there keeps its owner.
        """
        if not self.is_other or path == "-":
            return
        with contextlib.suppress(OSError):  # what cannot be written is refused later, in words
            # O_EXCL follows no link that the other user may have put there.
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
            try:
                os.fchown(file, self.uid, self.gid)
            finally:
                os.close(file)

    def become(self) -> None:
        """Be that user from now on, with no way back. Nothing where we are already.

        Raises:
            PounceError: not permitted, or it could be taken back.
        """
        if self.is_other:
            try:
                self._drop()
            except OSError as error:
                raise PounceError(
                    f"{self} cannot be taken on: {error.strerror}; that takes CAP_SETUID and "
                    "CAP_SETGID, which a container may have taken away"
                ) from None
            if self.uid != ROOT and _can_return():
                raise PounceError(
                    f"{self} was taken on, but root's rights can be taken back (securebits?); "
                    "not going on with them"
                )
            log.info("going on as %s", self)
        if self.asked:  # also after an upgrade, with the environment of root's start
            self._move_in()
        if self.umask >= 0:
            os.umask(self.umask)

    def _drop(self) -> None:
        if self.name:
            os.initgroups(self.name, self.gid)
        else:
            os.setgroups([self.gid])
        os.setgid(self.gid)  # after setuid() it is too late for groups
        os.setuid(self.uid)  # as root: real, effective and saved at once

    def _move_in(self) -> None:
        """What programs look up of their user must not point to the old one's."""
        os.environ["HOME"] = self.home or "/"
        os.environ.pop("XDG_RUNTIME_DIR", None)
        for variable in ("USER", "LOGNAME"):
            os.environ.pop(variable, None)
            if self.name:
                os.environ[variable] = self.name

    def __str__(self) -> str:
        return f"user {self.name or self.uid} (uid={self.uid} gid={self.gid})"


def identity_of(
    user: str, group: str, umask: str, *, origins: Mapping[str, str] = NO_ORIGINS
) -> Identity:
    """Who the settings ask for, with what we are where they say nothing.

    Args:
        user, group: names or numbers, or "".
        umask: octal digits, or "".
        origins: where each was given, for the errors.

    Raises:
        ConfigError: unknown on this machine, or not permitted to us.
    """
    entry = _user(user, origins.get("user", "Config")) if user else _entry(os.geteuid())
    uid = entry.pw_uid if entry else int(user or os.geteuid())
    if group:
        gid = _group(group, origins.get("group", "Config"))
    elif not user:
        gid = os.getegid()
    elif entry:
        gid = entry.pw_gid
    else:
        raise ConfigError(
            "user",
            user,
            origin=origins.get("user", "Config"),
            want="a user this machine knows, or go with --group: the number alone has no group",
        )
    identity = Identity(
        uid=uid,
        gid=gid,
        name=entry.pw_name if entry else "",
        home=entry.pw_dir if entry else "",
        umask=int(umask, 8) if umask else -1,
        asked=bool(user),
    )
    if identity.is_other and os.geteuid() != ROOT:
        name, value = ("user", user) if uid != os.geteuid() else ("group", group or str(gid))
        raise ConfigError(
            name,
            value,
            origin=origins.get(name, origins.get("user", "Config")),
            want=f"left out, or what we are (uid={os.geteuid()} gid={os.getegid()}): "
            "only root may become somebody else",
        )
    return identity


def _user(user: str, origin: str) -> pwd.struct_passwd | None:
    """None for a number that nobody has."""
    if user.isdecimal():
        return _entry(int(user))
    try:
        return pwd.getpwnam(user)
    except KeyError:
        want = "a user this machine knows, or a number"
        raise ConfigError("user", user, origin=origin, want=want) from None


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return None


def _group(group: str, origin: str) -> int:
    try:
        return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        want = "a group this machine knows, or a number"
        raise ConfigError("group", group, origin=origin, want=want) from None


def _can_return() -> bool:
    """Is there a way back to root? It is gone through, so whoever gets True must end."""
    for attempt in (os.setuid, os.seteuid):
        with contextlib.suppress(PermissionError):
            attempt(ROOT)
            return True
    return False
