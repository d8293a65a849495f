"""The tables of states in docs/architecture.md, read off the code: ``python docs/state_tables.py``.

With ``--check`` nothing is written; the exit status says whether the page is up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from pounce.supervisor import stages
from pounce.worker import lifecycle
from pounce.worker.wire.h1_states import Reading, Writing
from pounce.worker.wire.waiting import Waiting

PAGE: Final = Path(__file__).with_name("architecture.md")
PLACE: Final = "<!-- {name}: made by docs/state_tables.py -->\n"
END: Final = "<!-- end -->\n"


def main(args: list[str]) -> int:
    before = PAGE.read_text("utf-8")
    after = filled(before)
    if args == ["--check"]:
        if after != before:
            sys.stderr.write(f"{PAGE.name} is out of date; python docs/state_tables.py mends it\n")
        return int(after != before)
    PAGE.write_text(after, "utf-8")
    return 0


def filled(page: str) -> str:
    """`page` with every table in its place."""
    for name, table in tables().items():
        opening = PLACE.format(name=name)
        pattern = re.compile(f"{re.escape(opening)}.*?{re.escape(END)}", re.DOTALL)
        before, *after = pattern.split(page)
        if len(after) != 1:
            raise SystemExit(f"{PAGE.name} has {len(after)} places for {name}, expected one")
        page = "".join([before, opening, *(f"{line}\n" for line in table), END, after[0]])
    return page


def tables() -> Mapping[str, list[str]]:
    return {
        "supervisor/stages.py": grid(
            stages.Stage,
            stages.Cue,
            {pair: then.name for pair, then in stages.NEXT_STAGE.items()},
        ),
        "worker/lifecycle.py stages": meanings(lifecycle.Stage),
        "worker/lifecycle.py cues": meanings(lifecycle.Cue),
        "worker/lifecycle.py": grid(
            lifecycle.Stage,
            lifecycle.Cue,
            {
                pair: " ".join([then.name, *(f"`{do.value}`" for do in todo)])
                for pair, (then, todo) in lifecycle.NEXT.items()
            },
        ),
        "worker/wire/h1_states.py Reading": meanings(Reading),
        "worker/wire/h1_states.py Writing": meanings(Writing),
        "worker/wire/waiting.py": meanings(Waiting),
    }


def grid(
    states: Iterable[Enum],
    inputs: Iterable[Enum],
    cells: Mapping[tuple[Enum, Enum], str],
) -> list[str]:
    """States downwards, inputs across; ``=`` stays as it is, ``-`` is not in the table."""
    inputs = list(inputs)
    rows = [["", *(cue.name for cue in inputs)], ["---"] * (1 + len(inputs))]
    for state in states:
        texts = [cells.get((state, cue), "-") for cue in inputs]
        rows.append([f"**{state.name}**", *("=" if text == state.name else text for text in texts)])
    return [f"| {' | '.join(row)} |" for row in rows]


def meanings(states: Iterable[Enum]) -> list[str]:
    rows = [["", "meaning"], ["---", "---"]]
    rows += [[f"**{state.name}**", str(state.value)] for state in states]
    return [f"| {' | '.join(row)} |" for row in rows]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
