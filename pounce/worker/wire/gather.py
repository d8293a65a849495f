"""The parts of a message until it is whole, in little more memory than they have themselves.

io.StringIO takes four bytes for each letter; a plain list takes fifty for a part of one letter.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

Part = TypeVar("Part", str, bytes)

CRUMB: Final = 256  # below this a part is joined with its like,
CRUMBS_LIMIT: Final = 256  # so many at once


class Gathered(Generic[Part]):
    """Parts of one message: all text, or all bytes."""

    __slots__ = ("_crumbs", "_empty", "_parts")

    def __init__(self, empty: Part) -> None:
        self._empty: Part = empty
        self._parts: list[Part] = []
        self._crumbs: list[Part] = []

    def add(self, part: Part) -> None:
        if len(part) < CRUMB:
            self._crumbs.append(part)
            if len(self._crumbs) < CRUMBS_LIMIT:
                return
            part = self._empty
        self._sweep()
        if part:
            self._parts.append(part)

    def whole(self) -> Part:
        """All of them in one."""
        self._sweep()
        return self._parts[0] if len(self._parts) == 1 else self._empty.join(self._parts)

    def _sweep(self) -> None:
        if self._crumbs:
            joined = self._empty.join(self._crumbs)
            self._crumbs.clear()
            if joined:
                self._parts.append(joined)
