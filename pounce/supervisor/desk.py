"""Answers what is asked of the server, at once or when a reload is over. Knows no socket. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from pounce.supervisor import orders
from pounce.supervisor.control_requests import (
    Reload,
    Request,
    Scale,
    Status,
    Stop,
    Upgrade,
    answer,
    refusal,
)
from pounce.supervisor.state import Supervisor
from pounce.supervisor.status import About, status_of

STOPS: Final = "the server stops"

Answers = list[tuple[int, bytes]]


class Child(Protocol):
    """A worker process."""

    @property
    def id(self) -> int: ...
    @property
    def pid(self) -> int: ...


class Children(Protocol):
    """All of them, and the templates they come from."""

    def __iter__(self) -> Any: ...
    def template_pid(self, generation: int) -> int: ...


class Desk:
    """Takes requests of numbered clients; each client has one under way at a time.

    Args:
        about: what the status begins with.
        state: read, never changed: what is wanted of it goes by `tell`.
        children: whose process ids the status shows.
        tell: takes events for the state.
        reload: asks for a reload; "" or why there is none.
        upgrade: begins an upgrade; "" or why there is none.
    """

    def __init__(
        self,
        *,
        about: About,
        state: Supervisor,
        children: Children,
        tell: Callable[[orders.Event], None],
        reload: Callable[[], str],
        upgrade: Callable[[], str],
    ) -> None:
        self._about = about
        self._state = state
        self._children = children
        self._tell = tell
        self._reload = reload
        self._upgrade = upgrade
        self._waiting: dict[int, int] = {}  # generation, by client

    @property
    def waiting(self) -> Iterable[int]:
        """The clients that will be answered later."""
        return self._waiting.keys()

    def take(self, client: int, request: Request, now: float) -> bytes | None:
        """The answer, or None: it comes with outcome() or stops()."""
        match request:
            case Status():
                return answer(**self._status(now))
            case Stop():
                self._tell(orders.Stop())
                return answer()
        if self._state.ending:
            return refusal(STOPS)
        match request:
            case Reload(wait):
                if why := self._reload():
                    return refusal(why)
                # It begins with the next event at the earliest: nothing has taken the number yet.
                generation = self._state.newest + 1
                if not wait:
                    return answer(generation=generation)
                self._waiting[client] = generation
                return None
            case Scale(workers):
                self._tell(orders.Scale(to=workers))
                return answer(workers=workers)
            case Upgrade():
                why = self._upgrade()
                return refusal(why) if why else answer()

    def outcome(self, generation: int, why: str, now: float) -> Answers:
        """A reload is over; answers those who wait for it, or for one that it has outrun."""
        self._about.note(generation, why, now)
        over = [client for client, asked in self._waiting.items() if asked <= generation]
        line = (
            refusal(why, generation=generation, serving=self._state.serving)
            if why
            else answer(generation=generation)
        )
        return self._answer(over, line)

    def stops(self) -> Answers:
        """Nothing more will come of what is under way."""
        return self._answer(list(self._waiting), refusal(STOPS))

    def forget(self, client: int) -> None:
        """It is gone."""
        self._waiting.pop(client, None)

    def _answer(self, clients: list[int], line: bytes) -> Answers:
        for client in clients:
            del self._waiting[client]
        return [(client, line) for client in clients]

    def _status(self, now: float) -> dict[str, Any]:
        state = self._state
        pids = {child.id: child.pid for child in self._children}
        templates = {each: self._children.template_pid(each) for each in sorted(state.loaded)}
        return {
            **self._about.facts(now),
            **status_of(state, pids, now),
            "templates": [
                {"generation": each, "pid": pid} for each, pid in templates.items() if pid
            ],
        }
