"""What systemd is told. Knows the socket it listens on and the form, not when to say what."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger("pounce")


def notify(*lines: str) -> bool:
    """Send assignments such as ``READY=1`` to the service manager; False where there is none.

    Source: sd_notify(3).
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path  # an abstract name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.setblocking(False)  # a manager that does not read must not stop the server
        try:
            one.connect(address)
            one.send("\n".join(lines).encode())
        except OSError as error:
            log.warning("systemd cannot be told path=%s error=%s", path, error.strerror)
            return False
    return True
