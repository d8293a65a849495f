"""What one HTTP/2 connection may do that costs us and gets no request on: buckets that run dry.

Resets cost the work on a request that nobody will read (CVE-2023-44487), whether the client sends
them or brings us to it by breaking a rule (CVE-2025-8671). Glitches are frames that carry nothing:
SETTINGS, PING, PRIORITY, empty DATA, unknown types (CVE-2019-9512, -9513, -9515, -9518).
"""

from __future__ import annotations

from typing import Final, NamedTuple

# WINDOW_UPDATE frames that each DATA frame of ours pays for: one for the stream, one for the
# connection, and as many again for clients that give credit in small coins (Envoy: 10).
UPDATES_PER_DATA: Final = 4
UPDATES_MOST: Final = 1000
# Frames of one header block; 64 KiB of fields come in 4 of the size that we take. h2 lets 64 pass.
BLOCK_FRAMES_LIMIT: Final = 16
# Settings of one frame that count as one glitch (nghttp2 takes no more than 32 at all).
SETTINGS_PER_GLITCH: Final = 32


class Allowance(NamedTuple):
    """A bucket's size, and how much of it each second gives back."""

    burst: int
    rate: int


class Bucket:
    """Counts what comes too often."""

    __slots__ = ("_allowance", "_at", "_left")

    def __init__(self, allowance: Allowance, now: float) -> None:
        self._allowance = allowance
        self._left = float(allowance.burst)
        self._at = now

    def take(self, now: float, number: int = 1) -> bool:
        """False once there is nothing left."""
        burst, rate = self._allowance
        if now != self._at:
            self._left = min(burst, self._left + rate * (now - self._at))
            self._at = now
        self._left -= number
        return self._left >= 0
