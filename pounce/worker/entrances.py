"""Which protocol a client of which listener meets: plain HTTP, TLS, or a redirect to it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence

from pounce.https import Https
from pounce.worker.acceptor import Acceptor, Factory, make_acceptor
from pounce.worker.connection import Connection
from pounce.worker.scope import ConnectionInfo
from pounce.worker.service import Service


class Together:
    """Several acceptors as one."""

    def __init__(self, acceptors: Sequence[Acceptor]) -> None:
        self._acceptors = acceptors

    async def start(self) -> None:
        for one in self._acceptors:
            await one.start()

    async def stop(self) -> None:
        for one in self._acceptors:
            await one.stop()


def entrances(
    loop: asyncio.AbstractEventLoop, service: Service, https: Https | None, *, backlog: int
) -> Callable[[Sequence[int]], Acceptor]:
    """What makes an acceptor for the listeners of a slot, which are in the same order for each."""

    def plain() -> asyncio.Protocol:
        return Connection(service)

    if https is None:
        return lambda listeners: make_acceptor(loop, listeners, plain, backlog=backlog)

    from pounce.worker.https_only import RedirectedConnection, with_hsts
    from pounce.worker.tls_transport import TlsTransport

    tls, port = https.tls, https.port
    app = with_hsts(service.app, https.hsts) if https.hsts else service.app

    def secure() -> asyncio.Protocol:
        return TlsTransport(service, tls, connect)

    def connect(info: ConnectionInfo) -> asyncio.Protocol:
        return Connection(service, app=app, info=info)

    def redirected() -> asyncio.Protocol:
        return RedirectedConnection(service, port)

    def accept_on(listeners: Sequence[int]) -> Acceptor:
        groups: dict[Factory, list[int]] = {}
        for at, listener in enumerate(listeners):
            if at in https.redirecting:
                factory: Factory = redirected
            else:
                factory = plain if is_unix(listener) else secure
            groups.setdefault(factory, []).append(listener)
        return Together(
            [make_acceptor(loop, some, each, backlog=backlog) for each, some in groups.items()]
        )

    return accept_on


def is_unix(descriptor: int) -> bool:
    """Nobody can listen in on a unix socket, and who connects there is a proxy, mostly."""
    with socket.socket(fileno=os.dup(descriptor)) as one:
        return one.family == socket.AF_UNIX
