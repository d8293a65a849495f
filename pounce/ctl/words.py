"""Numbers as short words for a screen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"
DIGITS: Final = "_.:-=+*#"  # the same for terminals without Unicode


def span(seconds: float | None) -> str:
    """``4.2s``, ``45s``, ``3m05s``, ``2h13m``, ``3d04h``; "-" for None."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def count(number: int) -> str:
    """``12,345``; ``12.3M`` where that would be wide."""
    for unit, size in (("G", 10**9), ("M", 10**6)):
        if number >= 10 * size:
            return f"{number / size:.1f}{unit}"
    return f"{number:,}"


def rate(number: float | None) -> str:
    """``0.3``, ``523``, ``12,345``; "-" for None."""
    if number is None:
        return "-"
    return f"{number:.1f}" if 0 < number < 10 else f"{number:,.0f}"


def memory(size: int | None) -> str:
    """``45.2M``, ``1.20G`` (of 1024); "-" for None."""
    if size is None:
        return "-"
    mib = size / (1 << 20)
    if mib >= 1000:
        return f"{mib / 1024:.2f}G"
    return f"{mib:.1f}M" if mib < 100 else f"{mib:.0f}M"


def size(number: int) -> str:
    """``345B``, ``12.3K``, ``45.2M`` (of 1024), for what may be small."""
    if number < 1000:
        return f"{number}B"
    return f"{number / 1024:.1f}K" if number < 1000 * 1024 else memory(number)


def percent(number: float | None) -> str:
    """``3%``; "-" for None."""
    return "-" if number is None else f"{number:.0f}%"


def plural(number: int, word: str) -> str:
    """``1 worker``, ``2 workers``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def curve(values: Sequence[float], *, plain: bool = False) -> str:
    """A line of bars, the highest value the full height, 0 the lowest."""
    levels = DIGITS if plain else BLOCKS
    most = max(values, default=0.0)
    if most <= 0:
        return levels[0] * len(values)
    return "".join(levels[round(value / most * (len(levels) - 1))] for value in values)
