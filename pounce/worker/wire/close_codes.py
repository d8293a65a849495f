"""The close codes of WebSockets: their names here, and which of them may stand in a Close frame.

Source: RFC 6455 §7.4; 1012 to 1014 are from IANA's registry of close codes.
"""

from __future__ import annotations

from typing import Final

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005  # never sent: there was a Close frame without a code
LOST: Final = 1006  # never sent: there was no Close frame
BAD_DATA: Final = 1007
POLICY: Final = 1008
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
RESTARTING: Final = 1012

# 1004 and 1015 are reserved; 1010 is a client's to say, and then ours to repeat.
SENDABLE: Final = frozenset((*range(1000, 1004), *range(1007, 1015)))


def may_be_sent(code: int) -> bool:
    """`code` may stand in a Close frame: it is registered, or free to use (RFC 6455 §7.4.2)."""
    return code in SENDABLE or 3000 <= code <= 4999
