"""A whole HTTP/1.1 request head to its checked parts, and the header blocks seen before.

A client that keeps its connection sends the same header fields with each request, and so does a
proxy or a health check: a block that came before, byte for byte, need not be checked and split
again.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Protocol

from pounce.asgi import Header
from pounce.worker.wire.h1_request import (
    HEAD,
    LONGEST_METHOD,
    TOKEN,
    Facts,
    Limits,
    Refusal,
    check_fields,
    check_sizes,
    diagnose,
    quick_facts,
)

# A request line of which only the header fields must still be looked at.
LINE: Final = re.compile(
    rb"(?!CONNECT )(" + TOKEN + rb"{1,32}+) (/[\x21\x22\x24-\x7e]*+) HTTP/1\.1(?=\r\n)"
)

BLOCKS_LIMIT: Final = 256  # all forgotten when full
BLOCK_LIMIT: Final = 1024  # bytes; longer ones are mostly cookies, each client's own
# A head up to this size may be looked up, since it breaks no limit that can be set.
QUICK_LIMIT: Final = 2048


class HeadReader(Protocol):
    """What splits a head that passed the checks of h1_request.py."""

    def read(self, head: bytes) -> list[Header]: ...


class Parts(NamedTuple):
    """A checked head. `target` is as received; `http11` is False for HTTP/1.0."""

    method: bytes
    target: bytes
    http11: bool
    headers: list[Header]
    facts: Facts


def check_head(head: bytes, reader: HeadReader, limits: Limits) -> Parts:
    """The parts of one complete head, its empty line included.

    Raises:
        Refusal: it is malformed, ambiguous, or over a limit.
    """
    parts = HEAD.fullmatch(head)
    if parts is None:
        raise diagnose(head, limits)
    method, target, minor = parts.groups()
    http11 = minor == b"1"
    if len(head) > limits.smallest or len(method) > LONGEST_METHOD:
        check_sizes(head, target, method, limits)
    headers = reader.read(head)
    if len(headers) > limits.max_headers:
        raise Refusal(431, f"more than {limits.max_headers} header fields")
    facts = quick_facts(headers) if http11 else None
    if facts is None:
        facts = check_fields(headers, http11=http11)
    return Parts(method, target, http11, headers, facts)


class Blocks:
    """Header blocks of requests without a body that came twice in a row on one connection.

    Shared by the connections of a worker. One that comes once is not taken up, so that clients who
    never repeat themselves cost nothing but the look.

    Attributes:
        get: the fields of a block, or None. A dict's own method, since it is asked every time; who
            hands the list on must copy it.
    """

    __slots__ = ("_fields", "get")

    def __init__(self) -> None:
        self._fields: dict[bytes, list[Header]] = {}
        self.get = self._fields.get

    def add(self, block: bytes, headers: list[Header]) -> None:
        """Args: block: from the line end of the request line to the end of the head."""
        if len(block) <= BLOCK_LIMIT:
            if len(self._fields) >= BLOCKS_LIMIT:
                self._fields.clear()
            self._fields[block] = headers.copy()
