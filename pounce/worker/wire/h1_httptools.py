"""httptools as a reader of HTTP/1.1 request heads: splits what h1_request.py has checked."""

from __future__ import annotations

import httptools

from pounce.asgi import Header
from pounce.worker.wire.h1_request import split_fields


class HttptoolsReader:
    """Splits heads into fields with llhttp. One serves all connections: a head is read in one go.

    The checks are not llhttp's: it knows a fixed list of methods, takes white space at the end of
    a value for part of it, and ends the message at the head of any Upgrade. What it refuses after
    our own checks is therefore split here by hand, and judged by them alone.
    """

    __slots__ = ("_complete", "_headers", "_parser")

    def __init__(self) -> None:
        self._headers: list[Header] = []
        self._new_parser()

    def read(self, head: bytes) -> list[Header]:
        """The fields of one complete, checked head: names in lower case, values stripped."""
        headers: list[Header] = []
        self._headers = headers
        self._complete = False
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self._new_parser()
        except httptools.HttpParserError:
            self._new_parser()
            return split_fields(head)
        else:
            if not self._complete:  # it waits for a body, which is not its to read
                self._new_parser()
                if not headers:  # or it took nothing in: the head before said "close"
                    return split_fields(head)
        return headers

    def _new_parser(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        # After a "Connection: close" llhttp refuses the next head, here another connection's. So it
        # is passed over in silence, which costs no exception; read() sees that and splits it.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp leaves white space behind a value. A strip costs less than looking whether to.
        self._headers.append((name.lower(), value.strip(b" \t")))

    def on_message_complete(self) -> None:
        self._complete = True
