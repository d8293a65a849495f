"""Applications that never come to serve, each in its own way."""

from __future__ import annotations

import os
from typing import Any

Message = dict[str, Any]


async def failed(scope: Message, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def raising(scope: Message, receive: Any, send: Any) -> None:
    await receive()
    raise ConnectionError("no database")


async def leaving(scope: Message, receive: Any, send: Any) -> None:
    os._exit(9)


async def killed(scope: Message, receive: Any, send: Any) -> None:
    os.kill(os.getpid(), 9)


class Later:
    """Serves, and then cannot be shut down in order."""

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            raise ConnectionError("the database has gone already")
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"hello"})


later = Later()
