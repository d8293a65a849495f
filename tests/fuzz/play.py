"""Plays one story through the real joint, from a connection's bytes to an application and back."""

from __future__ import annotations

import asyncio
import logging
import signal
from types import FrameType
from typing import Any, Final

from pounce.worker.connection import Connection
from pounce.worker.service import Service
from pounce.worker.websocket_deadlines import WebSocketTimeouts
from pounce.worker.websocket_opening import Opening
from pounce.worker.websocket_rules import WebSocketRules
from pounce.worker.websocket_stream import WebSocketStream
from pounce.worker.wire.extensions import DeflateRules
from pounce.worker.wire.h1 import Http1Wire
from pounce.worker.wire.h1_httptools import HttptoolsReader
from pounce.worker.wire.h1_tunnel import BODY_HIGH, PIPELINE_HIGH
from pounce.worker.wire.handshake import HandshakeRules
from pounce.worker.wire.websocket import FrameLimits
from tests.fuzz import output
from tests.fuzz.apps import BIG, READS_ALL, Ledger
from tests.fuzz.case import Case
from tests.fuzz.line import HIGH, JumpLoop, Line
from tests.support.transport import make_service

PATIENCE: Final = 20  # seconds of real time for one story
TURNS: Final = 200_000  # in which a story whose connection is lost must be over
STILL_TALKING: Final = ("talker", "crowd")  # when the connection is lost
BY_SERVER: Final = ("dismiss", "close", "drain", "cut")  # may end it
HARMLESS: Final = 15  # seconds in which no deadline passes


class Broken(Exception):  # noqa: N818  # a finding, not an error
    """A promise was not kept."""


class Hang(BaseException):
    """A story takes too long. Nobody catches it on the way."""


class Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(logging.Formatter().format(record))


class Player:
    """One story being played."""

    def __init__(self, case: Case, loop: JumpLoop) -> None:
        self.case = case
        self.loop = loop
        self.ledger = Ledger()
        self.closed_by_us = False  # the server may have ended it, for what is not in its bytes
        self.longest = max(
            (len(much) for _, much in case.steps if isinstance(much, bytes)), default=0
        )
        self.service = self._service()
        self.line = Line()
        self.connection = Connection(self.service)
        self.line.protocol = self.connection

    def _service(self) -> Service:
        rules = self.case.rules

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await self.ledger(self.case.app, scope, receive, send)

        service = make_service(app)
        if rules.get("httptools"):
            service.reader = HttptoolsReader()
        service.rules.websockets = True
        bits, takeover = rules.get("bits", 12), bool(rules.get("takeover", 1))
        service.open_websocket = Opening(
            service,
            handshake=HandshakeRules(deflate=DeflateRules(bits, bits, takeover, takeover)),
            rules=WebSocketRules(
                limits=FrameLimits(
                    max_message=rules["max_message"],
                    max_frame=rules.get("max_frame", 0),
                    max_fragments=rules.get("max_fragments", 0),
                ),
                timeouts=WebSocketTimeouts(
                    handshake=30,
                    ping_interval=20,
                    ping_timeout=20,
                    idle=75,
                    frame=30,
                    frame_min_rate=240,
                    max_rate=rules.get("max_rate", 0),
                ),
                queue=rules.get("queue", 65536),
                smallest=rules.get("smallest", 32),
            ),
        )
        return service

    async def play(self) -> None:
        line, connection = self.line, self.connection
        connection.connection_made(line)
        jumped = 0
        for what, much in self.case.steps:
            if line.lost and what != "turns":
                await asyncio.sleep(0)
                continue
            if what in BY_SERVER:
                self.closed_by_us = True
            if what == "jump" and not isinstance(much, bytes):
                jumped += much
                if jumped > HARMLESS or self.case.rules.get("max_rate"):
                    self.closed_by_us = True
            if isinstance(much, bytes):
                line.deliver(much)
            else:
                await self._do(what, much)
            self._check_memory()
        still, sent = 0, 0
        while still < 40 and self.case.app not in STILL_TALKING:
            await asyncio.sleep(0)
            still = still + 1 if sent == len(self.ledger.sent) else 0
            sent = len(self.ledger.sent)
        self._check_memory()
        cut = line.lost
        if not line.lost:
            line.lose()
        self.ledger.over.set()
        for _ in range(TURNS):
            await asyncio.sleep(0)
            if not self.service.running:
                break
        for _ in range(5):
            await asyncio.sleep(0)
        self._check_end()
        self._check_output(whole=not cut and self.case.app not in STILL_TALKING)
        self._check_received()

    async def _do(self, what: str, much: int) -> None:
        line, connection, service = self.line, self.connection, self.service
        match what:
            case "turns":
                for _ in range(much):
                    await asyncio.sleep(0)
            case "stall":
                line.stall()
            case "unstall":
                line.unstall()
            case "jump":
                self.loop.skew += much
                for _ in range(min(much, 20)):
                    service.clock.now += much / min(much, 20)
                    self._sweep()
                await asyncio.sleep(0)
            case "eof":
                if line.reading and line.state == "open":
                    connection.eof_received()
            case "lost":
                line.lose()
            case "dismiss":
                for websocket in list(service.websockets):
                    websocket.dismiss(1012, "the server is restarting")
            case "close":
                for websocket in list(service.websockets):
                    websocket.close(1001, "the server is going away")
            case "drain":
                service.draining = service.leaving = True
                for each in list(service.connections):
                    each.drain()
            case "cut":  # as at the end of a drain
                for each in list(service.connections):
                    each.cut("the drain is over")
                for task in list(service.running.values()):
                    self.loop.call_soon(task.cancel)
            case _:
                raise ValueError(what)

    def _sweep(self) -> None:
        now = self.service.clock.now
        for connection in list(self.service.connections):
            connection.sweep(now)
        for websocket in list(self.service.websockets):
            websocket.sweep(now)

    # What must hold.

    def _check_memory(self) -> None:
        wire = self.connection._wire
        assert isinstance(wire, Http1Wire)
        held = len(wire._buffer)
        for stream in self.service.running:
            if isinstance(stream, WebSocketStream):
                held += stream._inbox._weight
                if (frames := stream._frames) is not None:
                    held += len(frames._held)
                    for parts in (frames._texts, frames._data):
                        if parts is not None:
                            held += sum(map(len, parts._parts)) + sum(map(len, parts._crumbs))
        rules = self.case.rules
        # What may wait by design: a tunnel's bytes or pipelined requests up to their limits and one
        # read more; the inbox and one message more; a message that is not whole.
        most = max(BODY_HIGH, PIPELINE_HIGH) + 2 * self.longest + rules.get("queue", 65536)
        most += 2 * rules["max_message"] + 4096
        if held > most:
            raise Broken(f"{held} bytes of the peer are held, expected {most} at most")
        # What a peer that does not read lets wait: the buffer, what was held for one write, and a
        # message each of those that were sending (apps.crowd), or pongs for one read.
        unsent = self.line.unsent + wire._held_size
        most = 2 * HIGH + 2 * self.longest + 8 * (len(BIG) + 5000) + 2 * rules["max_message"]
        if unsent > most:
            raise Broken(f"{unsent} bytes wait for the peer, expected {most} at most")

    def _check_end(self) -> None:
        service = self.service
        left = {
            "applications": len(service.running),
            "websockets": len(service.websockets),
            "connections": len(service.connections),
            "tasks": len(asyncio.all_tasks()) - 1,
            "timers": sum(not each.cancelled() for each in self.loop._scheduled),  # type: ignore[attr-defined]
        }
        if found := {name: number for name, number in left.items() if number}:
            raise Broken(f"left behind: {found}")

    def _check_output(self, *, whole: bool) -> None:
        try:
            messages = output.read(b"".join(self.line.pieces))
        except Exception as error:
            raise Broken(f"output: {type(error).__name__}: {error}") from error
        sent = self.ledger.sent
        if messages != sent[: len(messages)]:
            raise Broken(f"the client reads {messages!r:.300}, was sent {sent!r:.300}")
        if whole and len(messages) != len(sent):
            raise Broken(f"the client reads {len(messages)} messages of {len(sent)}")

    def _check_received(self) -> None:
        case, ledger = self.case, self.ledger
        if case.app not in READS_ALL or not ledger.accepted:
            return
        received = ledger.received
        come = [each for each in case.messages if each.end <= self.line.delivered]
        wanted = [each.payload.decode() if each.text else each.payload for each in come]
        if self.closed_by_us:
            if received[: len(wanted)] != wanted[: len(received)]:
                raise Broken(f"received {received!r:.300}, expected some of {wanted!r:.300}")
            return
        if received[: len(wanted)] != wanted:
            raise Broken(f"received {received!r:.300}, expected {wanted!r:.300}")
        if self.line.delivered <= case.sound and len(received) > len(wanted):
            raise Broken(f"received more than was sent: {received[len(wanted) :]!r:.300}")
        codes = {each["code"] for each in ledger.ends}
        if case.close and self.line.delivered >= case.sound:
            expected = {case.close}
        elif self.line.delivered <= case.sound:
            expected = {1006}
        else:
            return
        if codes != expected:
            raise Broken(f"disconnect with {codes}, expected {expected}")


def play(case: Case) -> str:
    """What was broken; an empty string if nothing was."""
    errors = Errors()
    loggers = [logging.getLogger(name) for name in ("pounce", "asyncio")]
    for logger in loggers:
        logger.addHandler(errors)
        logger.propagate = False
    wrong: list[str] = []
    loop = JumpLoop()
    loop.set_exception_handler(lambda loop, context: wrong.append(describe(context)))
    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(PATIENCE)
    player: Player | None = None

    async def main() -> None:
        nonlocal player
        player = Player(case, loop)
        await player.play()

    try:
        loop.run_until_complete(main())
    except Broken as broken:
        wrong.append(str(broken))
    except Hang:
        wrong.append(f"hang: not over after {PATIENCE} s")
    except Exception as error:
        wrong.append(describe({"exception": error}))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        for _ in range(3):
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        for logger in loggers:
            logger.removeHandler(errors)
            logger.propagate = True
    if player is None or not player.ledger.meant:
        wrong += [f"logged: {text}" for text in errors.texts]
    return wrong[0] if wrong else ""


def hung(number: int, frame: FrameType | None) -> None:
    raise Hang


def describe(context: dict[str, Any]) -> str:
    error = context.get("exception")
    if error is None:
        return str(context.get("message"))
    text = logging.Formatter().formatException((type(error), error, error.__traceback__))
    return f"exception: {type(error).__name__}: {error}\n{text}"
