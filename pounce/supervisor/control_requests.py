"""What can be asked of a running server through its control socket: one JSON line each. Pure.

A request is ``{"do": "scale", "workers": 4}``, an answer ``{"ok": true, ...}``, or
``{"ok": false, "why": "..."}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from pounce.supervisor.slots import MOST_SLOTS

LINE_LIMIT: Final = 4096  # bytes of a request


@dataclass(frozen=True, slots=True)
class Status:
    """What is there, who serves, who drains?"""


@dataclass(frozen=True, slots=True)
class Reload:
    """A new generation; with `wait` the answer comes when it serves for good, or was given up."""

    wait: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """So many workers."""

    workers: int


@dataclass(frozen=True, slots=True)
class Stop:
    """The end; asked again it becomes more urgent, as with signals."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A new master, of the pounce and the Python that are installed now."""


Request = Status | Reload | Scale | Stop | Upgrade
WORDS: Final = ("status", "reload", "scale", "stop", "upgrade")


class RequestError(ValueError):
    """No request of ours; the text says why."""


def parse(line: bytes) -> Request:
    """One line without its end.

    Raises:
        RequestError: it cannot be understood.
    """
    try:
        asked = json.loads(line)
    except ValueError:  # not JSON, or not UTF-8
        raise RequestError("a request is one line of JSON") from None
    except RecursionError:
        raise RequestError("a request is nested too deeply") from None
    if not isinstance(asked, dict):
        raise RequestError("a request is a JSON object")
    match asked:
        case {"do": "status"}:
            return Status()
        case {"do": "reload"}:
            if not isinstance(wait := asked.get("wait", False), bool):
                raise RequestError("wait must be true or false")
            return Reload(wait)
        case {"do": "scale"}:
            workers = asked.get("workers")
            if type(workers) is not int or not 1 <= workers <= MOST_SLOTS:
                raise RequestError(f"workers must be a whole number from 1 to {MOST_SLOTS}")
            return Scale(workers)
        case {"do": "stop"}:
            return Stop()
        case {"do": "upgrade"}:
            return Upgrade()
    raise RequestError(f"do must be one of {', '.join(WORDS)}")


def answer(**facts: Any) -> bytes:
    """It has been done."""
    return _line({"ok": True, **facts})


def refusal(why: str, **facts: Any) -> bytes:
    """It has not."""
    return _line({"ok": False, "why": why, **facts})


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode() + b"\n"
