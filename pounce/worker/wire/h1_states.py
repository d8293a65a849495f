"""Where the two halves of an HTTP/1.1 connection are.

What leads from state to state is in h1.py and h1_output.py.
"""

from __future__ import annotations

from enum import Enum


class Reading(Enum):
    """What the next bytes from the peer are."""

    HEAD = "a request's head"
    FIXED = "a body of known length"
    CHUNKED = "a chunked body"
    COMPLETE = "the next request's, held until this one is answered"
    TUNNEL = "the tunnel's"
    IGNORED = "dropped: the connection is closing"


class Writing(Enum):
    """What the application owes."""

    IDLE = "nothing"
    DUE = "the response's head"
    FIXED = "body bytes up to the content-length"
    CHUNKED = "chunks"
    TRAILERS = "more trailer fields"
    UNTIL_CLOSE = "body bytes, ended by closing (HTTP/1.0)"
    TUNNEL = "bytes of the tunnel, until it ends"
    BODILESS = "the end of a response that has no body on the wire"
