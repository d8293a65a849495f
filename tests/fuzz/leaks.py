"""Opens and ends many WebSockets in one process, in all kinds of ways, and looks what is left.

With the garbage collector off: what is not freed by its count of references would be seen.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from tests.fuzz.grammar import make
from tests.fuzz.play import play

OURS: Final = (
    "WebSocketStream",
    "WebSocketFrames",
    "FrameReader",
    "Compression",
    "Inflater",
    "Deflater",
    "Inbox",
    "Gathered",
    "Task",
)
WARM_UP: Final = 100  # stories before the first look: caches fill, modules are imported
GROWTH: Final = 1000  # blocks of memory more at the end, of whatever Python keeps for itself
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def ours() -> Counter[str]:
    """How many there are of each of our classes, waiting for the collector or not."""
    names = (type(each).__name__ for each in gc.get_objects())
    return Counter(name for name in names if name in OURS)


def leaks(number: int, seed: int = 0, warm_up: int = WARM_UP) -> list[str]:
    """What was left behind, after printing the figures."""
    for story in range(seed, seed + warm_up):
        play(make(story))
    found: list[str] = []
    gc.collect()
    gc.freeze()
    blocks, files, pages = sys.getallocatedblocks(), descriptors(), resident()
    try:
        for done in range(1, number + 1):
            gc.disable()
            play(make(seed + done % 5000))
            if done % 50 == 0 or done == number:
                left = ours()
                if left and not found:
                    found.append(f"waits for the garbage collector: {dict(left)}")
                gc.collect()
            if done % 500 == 0 or done == number:
                grown = sys.getallocatedblocks() - blocks
                rss = (resident() - pages) / 1024
                print(
                    f"{done} stories: {grown:+d} blocks of memory, resident {rss:+.0f} KiB, "
                    f"descriptors {descriptors() - files:+d}",
                    flush=True,
                )
        grown = sys.getallocatedblocks() - blocks
    finally:
        gc.enable()
        gc.unfreeze()
    if grown > GROWTH:
        found.append(f"{grown} blocks of memory more than at the beginning")
    if descriptors() > files:
        found.append(f"{descriptors() - files} descriptors more than at the beginning")
    for each in found:
        print(f"LEAK {each}")
    return found
