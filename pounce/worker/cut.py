"""How a connection ends so that what came before cannot be taken for whole. Knows no wire."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from socket import SO_LINGER, SOL_SOCKET
from typing import Final

# On, for no time: close() drops what the kernel still holds and sends RST (socket(7)).
NO_LINGER: Final = struct.pack("ii", 1, 0)


def reset_when_closed(transport: asyncio.Transport) -> None:
    """Makes the coming close a RST, which reads as an error, in place of a FIN.

    Only for what needs it: a RST may also eat what the peer has not read yet (RFC 9112 §9.6). A
    unix socket has none, and a FIN is all that it gives.
    """
    # One that is closed already says so in each loop's own way.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, NO_LINGER)
