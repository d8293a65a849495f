"""Where a WebSocket is as its application sees it, and which message may come when."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Stage(Enum):
    """Where the WebSocket is; the value says which messages are expected next."""

    CONNECTING = "websocket.accept, websocket.close or websocket.http.response.start"
    HELD = "websocket.http.response.body"
    DENYING = "more websocket.http.response.body"
    DENIED = "nothing, the WebSocket was denied"
    OPEN = "websocket.send or websocket.close"
    CLOSED = "nothing, the application has closed the WebSocket"
    GONE = "nothing, the client has left"


# Which message may come at which stage; a missing pair is the application's error.
ALLOWED: Final[Mapping[str, frozenset[Stage]]] = {
    "websocket.accept": frozenset((Stage.CONNECTING,)),
    "websocket.send": frozenset((Stage.OPEN,)),
    "websocket.close": frozenset((Stage.CONNECTING, Stage.OPEN)),
    "websocket.http.response.start": frozenset((Stage.CONNECTING,)),
    "websocket.http.response.body": frozenset((Stage.HELD, Stage.DENYING)),
}
