"""``python -m pounce.settings_page``: docs/settings.md, written from Config."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from pounce.config import SETTINGS
from pounce.settings import Setting

OPENING: Final = """\
# Settings

<!-- Made by `python -m pounce.settings_page > docs/settings.md`; do not edit it by hand. -->

Each setting can be given in four places. The first of them that gives it wins:

1. a flag: `--keep-alive-timeout 30`
2. an environment variable: `POUNCE_KEEP_ALIVE_TIMEOUT=30`
3. a TOML file in the working directory: `keep_alive_timeout = 30`, at the top level of
   `pounce.toml` or, where there is none, in `[tool.pounce]` of `pyproject.toml`
4. the default

Yes or no is `--reload` and `--no-reload`, `POUNCE_RELOAD=true` (also 1, yes, on, false, 0, no,
off), `reload = true`. A list is a repeated flag, a text with commas, an array in TOML. Sizes are in
bytes and may be written `64KiB` or `1MiB`; durations are in seconds. `--bind` and
`--host`/`--port` say the same thing in two ways: the stronger place wins, and both in one place
are refused.

`pounce check` shows what is set and where, and whether the application would start with it.
"""

EXITS: Final = """\
## Exit status

| status | meaning |
|---|---|
| 0 | stopped as asked |
| 1 | a bug of pounce; its traceback is shown |
| 2 | wrong settings, or an extra that is not installed |
| 3 | the application cannot be loaded |
| 4 | the application's lifespan failed |
| 5 | an address cannot be bound |
| 6 | a worker cannot boot |
"""


def page() -> str:
    """The whole page, ready to be written."""
    groups = dict.fromkeys(one.group for one in SETTINGS.values())
    sections = [f"## {group}\n\n" + "\n".join(_rows(group)) + "\n" for group in groups]
    return "\n".join([OPENING, *sections, EXITS])


def _rows(group: str) -> Iterator[str]:
    yield "| setting | default | meaning |"
    yield "|---|---|---|"
    for one in SETTINGS.values():
        if one.group == group:
            yield f"| {_names(one)} | {_default(one)} | {_meaning(one)} |"


def _names(one: Setting) -> str:
    flag = "`APP` (argument)" if one.name == "app" else f"`{one.flag}`"
    return f"{flag} <br> `{one.variable}`"


def _default(one: Setting) -> str:
    unit = f" {one.unit}" if one.unit else ""
    return f"{one.shown(one.default)}{unit}".replace("*", "\\*")


def _meaning(one: Setting) -> str:
    parts = [one.help]
    if one.choices:
        parts.append(f"One of: {', '.join(one.choices)}.")
    if one.most is not None:
        parts.append(f"{one.limits.strip().capitalize()}.")
    if one.zero:
        parts.append(f"0: {one.zero}.")
    return " ".join(parts).replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    sys.stdout.write(page())
