"""``python -m tests.fuzz [SECONDS] [--seed N]``: random conversations against the WebSockets.

Each seed makes one story: bytes of a client, sound ones and spoiled ones, in any pieces, an
application of some kind, and what else may happen meanwhile. Prints how far it is; a story that
breaks a promise is made smaller and written down, and the exit status is 1. ``--case FILE`` plays
one that was written down, ``--leaks [NUMBER]`` opens and ends many and looks what is left of them.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.fuzz import case as cases
from tests.fuzz.grammar import make
from tests.fuzz.play import play
from tests.fuzz.shrink import shrunk

SAY_EVERY = 5.0  # seconds


def fuzz(seconds: float, seed: int) -> int:
    """The number of stories that broke a promise."""
    begun = said = time.monotonic()
    first, found = seed, 0
    print(f"fuzzing for {seconds:g} s from seed {seed}", flush=True)
    while (now := time.monotonic()) - begun < seconds:
        case = make(seed)
        if broken := play(case):
            found += 1
            report(seed, shrunk(case, broken, play), broken)
            if found >= 5:
                break
        seed += 1
        if now - said >= SAY_EVERY:
            said = now
            print(f"{now - begun:6.0f} s  {seed - first} stories, seed {seed}", flush=True)
    print(f"{seed - first} stories, {found} broke a promise", flush=True)
    return found


def report(seed: int, case: cases.Case, broken: str) -> None:
    folder = Path(tempfile.gettempdir())
    path = folder / f"pounce-fuzz-{seed}.json"
    path.write_text(cases.dumped(replace(case, why=broken.split("\n", 1)[0])) + "\n", "utf-8")
    print(f"BROKEN seed={seed} app={case.app} rules={case.rules}\n{broken}")
    for what, much in case.steps[:20]:
        print(f"    {what} {much!r:.200}")
    print(f"    again: python -m tests.fuzz --case {path}", flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=300.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--case", type=Path)
    parser.add_argument("--leaks", nargs="?", type=int, const=20_000)
    options = parser.parse_args(arguments)
    if options.case is not None:
        broken = play(cases.read(options.case))
        print(broken or "kept")
        return int(bool(broken))
    if options.leaks is not None:
        from tests.fuzz.leaks import leaks

        return int(bool(leaks(options.leaks)))
    seed = random.SystemRandom().randrange(1 << 40) if options.seed is None else options.seed
    return int(fuzz(options.seconds, seed) > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
