"""Bar charts as one SVG: a panel for each case, a bar for each server; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 860
COLUMNS: Final = 2
MARGIN: Final = 16
GAP: Final = 28
HEADING: Final = 26
ROW: Final = 20
LABELS: Final = 164  # room for the names left of the bars
FIGURES: Final = 56  # room for the numbers right of the longest bar

# Colours by role; each has the same contrast on a light and on a dark page.
STYLE: Final = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .case { font-size: 13px; font-weight: 600 }
  .name { text-anchor: end }
  .own { fill: #d9730d }
  .peer { fill: #8b949e }
  .floor { fill: #c9d1d9 }
  text.own { fill: #b35900; font-weight: 600 }
  text.peer, text.floor { fill: #57606a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    text.own { fill: #f0944d }
    text.peer, text.floor { fill: #9da7b1 }
    .floor { fill: #484f58 }
  }
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One bar."""

    name: str
    value: float
    role: str  # "own", "peer" or "floor": how it is coloured


@dataclass(frozen=True, slots=True)
class Panel:
    """One case; its bars share a scale that starts at zero."""

    title: str
    rows: Sequence[Row]

    @property
    def height(self) -> int:
        return HEADING + ROW * len(self.rows)


def draw(title: str, panels: Sequence[Panel]) -> str:
    """The whole chart. Panels go left to right, then down."""
    width = (WIDTH - 2 * MARGIN - GAP * (COLUMNS - 1)) // COLUMNS
    parts: list[str] = []
    top = MARGIN + 34
    for first in range(0, len(panels), COLUMNS):
        line = panels[first : first + COLUMNS]
        for column, panel in enumerate(line):
            parts += draw_panel(panel, MARGIN + column * (width + GAP), top, width)
        top += max(panel.height for panel in line) + GAP
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
            f'width="{WIDTH}" height="{top}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            text(MARGIN, MARGIN + 14, "title", title),
            *parts,
            "</svg>\n",
        ]
    )


def draw_panel(panel: Panel, left: int, top: int, width: int) -> list[str]:
    scale = (width - LABELS - FIGURES) / max((row.value for row in panel.rows), default=1.0)
    parts = [text(left, top + 12, "case", panel.title)]
    for number, row in enumerate(panel.rows):
        y = top + HEADING + number * ROW
        length = row.value * scale
        parts += [
            text(left + LABELS - 8, y + 11, f"name {row.role}", row.name),
            f'<rect class="{row.role}" x="{left + LABELS}" y="{y}" width="{length:.1f}" '
            f'height="{ROW - 6}" rx="2"/>',
            text(left + LABELS + length + 6, y + 11, row.role, f"{row.value:.1f}"),
        ]
    return parts


def text(x: float, y: float, style: str, words: str) -> str:
    return f'<text class="{style}" x="{x:.0f}" y="{y:.0f}">{escape(words)}</text>'
