"""What a worker does just now, for the log: its requests in flight, and where its code stands.

Asked for by SIGQUIT, from the master before it gives up a worker that does not answer, or by hand.
"""

from __future__ import annotations

import asyncio.base_events
import asyncio.events
import faulthandler
import logging
import selectors
import signal
import traceback
from itertools import dropwhile
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import IO, Final

from pounce import log as logs
from pounce.worker.service import Service

MAIN: Final = str(Path(__file__).with_name("main.py"))
# asyncio's own loop, which is Python as well: its frames would say the same each time.
LOOP: Final = frozenset((asyncio.base_events.__file__, asyncio.events.__file__, selectors.__file__))
MOST: Final = 20  # requests that are named


def confess_when_asked(service: Service) -> None:
    """From now on SIGQUIT has it logged.

    The handler runs between two bytecodes of whatever keeps the event loop, also in the middle of a
    time.sleep(). C code that never returns is not interrupted; its stack comes with SIGABRT.
    """

    def confess(number: int, frame: FrameType | None) -> None:
        # Raised here, an error would hit whatever runs just now, such as the application.
        try:
            logs.say_with(logging.WARNING, f"asked what it does, {describe(service)}", where(frame))
        except Exception as error:
            logging.getLogger(logs.LOGGER).warning("cannot say what it does error=%r", error)

    signal.signal(signal.SIGQUIT, confess)


def where(frame: FrameType | None) -> str:
    """The stack below the event loop, as a traceback shows it; "" when the loop itself waits."""
    stack = traceback.extract_stack(frame)
    ours = [at for at, entry in enumerate(stack) if entry.name == "run_until_complete"]
    inner = stack[ours[-1] + 1 :] if ours else stack
    if not ours:  # uvloop's frames are not Python's
        starts = [at for at, entry in enumerate(stack) if entry.filename == MAIN]
        inner = stack[starts[-1] + 1 :] if starts else stack
    inner = list(dropwhile(lambda entry: entry.filename in LOOP, inner))
    return "".join(traceback.format_list(inner)).rstrip()


def describe(service: Service) -> str:
    """The requests in flight, the longest first, and how many WebSockets.

    Thousands of these may have been open for hours; named, they would hide the request that hangs.
    """
    now = monotonic()
    websockets = service.stats.websockets.running
    in_flight = [stream for stream in service.running if not (websockets and stream.head.tunnel)]
    # Without an access log nobody notes when a request began.
    since = {stream: getattr(stream, "begun", 0.0) for stream in in_flight}
    streams = sorted(since, key=lambda stream: since[stream] or now)
    parts = []
    for stream in streams[:MOST]:
        target = stream.head.target.decode("ascii")
        age = f" {now - since[stream]:.1f}s" if since[stream] else ""
        parts.append(f"{stream.head.method} {target}{age}")
    if len(streams) > MOST:
        parts.append(f"and {len(streams) - MOST} more")
    text = f"requests={len(streams)} {', '.join(parts)}".rstrip()
    return f"{text} websockets={websockets}" if websockets else text


def write_stacks_at_the_end(trace: IO[bytes] | int) -> None:
    """When this process dies of SIGABRT, SIGSEGV or the like, its Python stacks go to `trace`.

    Done by C code in the signal handler, so it works while a lock is held or the heap is broken.
    """
    faulthandler.enable(file=trace, all_threads=True)
