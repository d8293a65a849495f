"""What a connection can be waiting for, as the sweep of its deadlines sees it."""

from __future__ import annotations

from enum import Enum


class Waiting(Enum):
    """Whom or what a connection waits for, as the sweep sees it."""

    PROXY_HEADER = "the PROXY header"
    FIRST_BYTE = "a first byte"
    HEAD = "the rest of a request's head"
    BODY = "more of a request's body"
    NEXT = "another request"
    READER = "the peer to read"
    CLOSE = "the peer to close"
    APP = "the application"
