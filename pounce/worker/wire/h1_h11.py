"""h11 as a reader of HTTP/1.1 request heads: the reference, and the fallback without httptools."""

from __future__ import annotations

from typing import Final

import h11

from pounce.asgi import Header
from pounce.worker.wire.h1_request import split_fields

# h11 makes one of equal Content-Lengths, takes `5, 5` for `5`, and lower-cases codings: our checks
# must see these as they were sent.
NORMALISED: Final = (b"content-length", b"transfer-encoding")


class H11Reader:
    """Splits heads with h11: one fresh h11.Connection per head, which costs a microsecond."""

    __slots__ = ()

    def read(self, head: bytes) -> list[Header]:
        """The fields of one complete, checked head: names in lower case, values stripped."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + 1)
        try:
            connection.receive_data(head)
            request = connection.next_event()
        except h11.RemoteProtocolError:
            # h11 has verdicts of its own, on Content-Length among others; ours counts.
            return split_fields(head)
        assert isinstance(request, h11.Request)  # a whole head is never less
        fields = list(request.headers)
        for name, _ in fields:
            if name in NORMALISED:
                return split_fields(head)
        return fields
