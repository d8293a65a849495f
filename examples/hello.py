"""A plain ASGI application: ``pounce --app-dir examples hello:app``, or run this file."""

from __future__ import annotations

import pounce
from pounce.asgi import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Greet whom the path names."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])  # no lifespan: pounce goes on without
    name = scope["path"].strip("/") or "world"
    body = f"Hello, {name}!\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    pounce.run("hello:app", app_dir="examples", workers=2)
