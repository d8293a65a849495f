"""The lifespan scope: the application is told once that it starts and once that it stops.

Source: ASGI 3.0, Lifespan Protocol 2.0.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from typing import Any

from pounce.app import application_traceback
from pounce.asgi import App, Message
from pounce.errors import LifespanError

log = logging.getLogger("pounce")


class Stage(Enum):
    """Where the application's lifespan is; the value says which messages may come from it."""

    STARTING = "lifespan.startup.complete or lifespan.startup.failed"
    UP = "nothing before lifespan.shutdown"
    STOPPING = "lifespan.shutdown.complete or lifespan.shutdown.failed"
    OVER = "nothing"


class Lifespan:
    """Runs the application's lifespan in a task of its own.

    Args:
        mode: "on" takes an application without lifespan for broken, "off" never asks, "auto" goes
            on without one when it raises at once.

    Attributes:
        state: what the application put there; every request's scope gets a shallow copy.
    """

    def __init__(self, app: App, *, mode: str) -> None:
        self._app = app
        self._mode = mode
        self._stage = Stage.STARTING
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._failure: str | None = None
        self._task: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}

    async def start(self) -> None:
        """Returns once the application is up, or has no lifespan.

        Raises:
            LifespanError: it said lifespan.startup.failed, or raised after it had taken the scope
                up, or has no lifespan although it must.
        """
        if self._mode == "off":
            self._stage = Stage.OVER
            return
        self._messages.put_nowait({"type": "lifespan.startup"})
        self._task = asyncio.get_running_loop().create_task(self._run(), name="lifespan")
        await self._answered.wait()
        if self._failure is not None:
            await asyncio.wait([self._task], timeout=1.0)
            text, _, trace = self._failure.partition("\0")
            raise LifespanError(text, traceback=trace)

    async def stop(self) -> None:
        """Tells an application that is up to stop, and waits until it has. Runs once."""
        if self._stage is not Stage.UP or self._task is None:
            return
        self._stage = Stage.STOPPING
        self._answered.clear()
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        await self._answered.wait()
        if self._failure is not None:
            log.error("lifespan shutdown failed: %s", self._failure.partition("\0")[0])
        await asyncio.wait([self._task], timeout=1.0)

    @property
    def stopping(self) -> bool:
        """The application was told to stop and has not said that it has."""
        return self._stage is Stage.STOPPING

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._messages.get, self._send)
        except BaseException as error:  # an application without lifespan raises anything here
            self._ended(error)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            self._ended(None)

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if self._stage is Stage.STARTING and kind == "lifespan.startup.complete":
            self._stage = Stage.UP
        elif self._stage is Stage.STARTING and kind == "lifespan.startup.failed":
            self._stage = Stage.OVER
            reason = message.get("message", "")
            # Starlette, and FastAPI with it, gives a whole traceback as the reason.
            *trace, last = str(reason or "it gave no reason").strip().split("\n")
            shown = str(reason) if trace else ""
            self._failure = f"application startup failed: {last}\0{shown}"
        elif self._stage is Stage.STOPPING and kind == "lifespan.shutdown.complete":
            self._stage = Stage.OVER
        elif self._stage is Stage.STOPPING and kind == "lifespan.shutdown.failed":
            self._stage = Stage.OVER
            self._failure = str(message.get("message", "")) or "it gave no reason"
        else:
            raise RuntimeError(f"{kind!r} was sent, expected {self._stage.value}")
        self._answered.set()

    def _ended(self, error: BaseException | None) -> None:
        """The application's lifespan call is over, in order or not."""
        stage, self._stage = self._stage, Stage.OVER
        if stage is Stage.STARTING:
            asked = self._messages.empty()  # it took lifespan.startup, so it knows the protocol
            trace = "" if error is None else application_traceback(error)
            if self._mode == "on" or (error is not None and asked):
                what = "raised" if error is not None else "returned"
                self._failure = f"application {what} during lifespan startup\0{trace}"
            else:
                log.info("application has no lifespan, going on without")
        elif stage is Stage.UP and error is not None:
            log.error("application's lifespan ended before its time", exc_info=error)
        elif stage is Stage.STOPPING and error is not None:
            log.error("application raised during lifespan shutdown", exc_info=error)
        self._answered.set()
