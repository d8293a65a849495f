"""The terminal of `pounce ctl`: prints a screen once, or keeps it fresh until somebody ends it."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live

from pounce.ctl.sample import Sample
from pounce.ctl.screen import WIDE, screen

ENDING_KEYS: Final = b"q\x1b\x04"  # q, Escape, Ctrl-D


class Terminal:
    """Where the screens go: a terminal, a pipe or a file."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=False)
        if not self.console.is_terminal and "COLUMNS" not in os.environ:
            self.console.width = WIDE  # a file has none; rich would take 80
        self._plain = not (self.console.encoding or "").lower().startswith("utf")

    def show(self, sample: Sample) -> None:
        """Print it, below what is there."""
        self.console.print(screen(sample, width=self.console.width, plain=self._plain))

    def follow(self, look: Callable[[], Sample], *, interval_s: float) -> None:
        """Show one sample after the other, until Ctrl-C, "q", or an exception of look().

        Where it is no terminal they follow each other, an empty line between them.
        """
        with contextlib.suppress(KeyboardInterrupt):
            if self.console.is_terminal:
                self._refresh(look, interval_s)
            else:
                self._list(look, interval_s)

    def _refresh(self, look: Callable[[], Sample], interval_s: float) -> None:
        first = self._screen(look())
        with (
            keys() as wait_for_key,
            Live(first, console=self.console, screen=True, auto_refresh=False) as live,
        ):
            live.refresh()
            while not wait_for_key(interval_s):
                live.update(self._screen(look()), refresh=True)

    def _list(self, look: Callable[[], Sample], interval_s: float) -> None:
        while True:
            self.show(look())
            self.console.print()
            select.select([], [], [], interval_s)

    def _screen(self, sample: Sample) -> RenderableType:
        width, height = self.console.size
        return screen(sample, width=width, height=height, plain=self._plain)


@contextlib.contextmanager
def keys() -> Iterator[Callable[[float], bool]]:
    """Has the terminal hand over single keys; gives "was a key that ends pressed in this time?"."""
    descriptor = sys.stdin.fileno() if sys.stdin and sys.stdin.isatty() else -1

    def wait_for_key(seconds: float) -> bool:
        if not select.select([descriptor] if descriptor >= 0 else [], [], [], seconds)[0]:
            return False
        pressed = os.read(descriptor, 64)
        return not pressed or pressed[:1] in (bytes([key]) for key in ENDING_KEYS)

    if descriptor < 0:
        yield wait_for_key
        return
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)  # Ctrl-C stays what it is
    try:
        yield wait_for_key
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
