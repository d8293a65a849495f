"""From a request for a WebSocket to its stream and application, or to the answer that denies it.

Knows the service and a wire. Imported only where WebSockets are served, since it needs wsproto.
"""

from __future__ import annotations

import logging
from asyncio import Task
from random import uniform
from time import monotonic

from pounce.asgi import Scope
from pounce.worker.service import Peer, Service
from pounce.worker.websocket_counts import ACCEPTED
from pounce.worker.websocket_rules import WebSocketRules
from pounce.worker.websocket_stream import WebSocketStream
from pounce.worker.websocket_tunnel import WebSocketTunnel
from pounce.worker.wire import Receiver, RequestHead, Wire
from pounce.worker.wire.handshake import HandshakeRefusal, HandshakeRules, check_request

log = logging.getLogger("pounce")


class Nobody:
    """The `Receiver` of a request that is answered already."""

    __slots__ = ("begun", "client", "head", "sent", "status")

    def __init__(self, head: RequestHead, status: int, client: str) -> None:
        self.head = head
        self.status = status
        self.client = client
        self.sent = 0
        self.begun = monotonic()

    def data(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def half_closed(self) -> None: ...

    def gone(self, reason: str, status: int = 0) -> None: ...

    def resumed(self) -> None: ...


class Opening:
    """Opens the WebSockets of one worker: `Service.open_websocket`."""

    def __init__(
        self,
        service: Service,
        *,
        handshake: HandshakeRules,
        rules: WebSocketRules,
        max_age: float = 0.0,
    ) -> None:
        """Args: max_age: seconds a WebSocket may live; 0: no limit."""
        self._service = service
        self._handshake = handshake
        self._rules = rules
        self._max_age = max_age

    def __call__(self, wire: Wire, head: RequestHead, peer: Peer) -> Receiver:
        """Who gets what follows a head that asks for a WebSocket."""
        service = self._service
        try:
            asked = check_request(head, self._handshake)
        except HandshakeRefusal as refusal:
            return self._refuse(wire, head, peer, refusal)
        now = service.clock.now
        # Who came together need not all come back together.
        until = now + self._max_age * uniform(0.9, 1.0) if self._max_age else 0.0  # noqa: S311
        stream = WebSocketStream(
            wire, head, asked, rules=self._rules, over=self._over, now=now, until=until
        )
        service.websockets.add(stream)
        stream.begun = monotonic()
        stream.client = peer.info.client_text
        scope = peer.info.websocket_scope(head, service.trust, asked.subprotocols, stream)
        service.stats.websockets.running += 1
        service.running[stream] = Task(
            self._run(stream, scope), loop=service.loop, name="websocket"
        )
        return stream

    async def _run(self, stream: WebSocketStream, scope: Scope) -> None:
        try:
            await stream.run(self._service.app, scope)
        finally:
            service = self._service
            counts = service.stats.websockets
            del service.running[stream]
            counts.running -= 1
            if stream in counts.unread:
                counts.unread.discard(stream)
                self._count(stream)

    def _over(self, stream: WebSocketTunnel) -> None:
        service = self._service
        service.websockets.discard(stream)
        if stream.status != ACCEPTED:
            self._count_answer(stream)
        elif stream.unread:
            service.stats.websockets.unread.add(stream)  # until its application returns
        else:
            self._count(stream)

    def _count(self, stream: WebSocketTunnel) -> None:
        service = self._service
        service.stats.requests += 1
        service.stats.websockets.over(stream)
        if service.access is not None:
            service.access.add_websocket(stream)

    def _count_answer(self, answered: WebSocketTunnel | Nobody) -> None:
        """A request that was answered as any other."""
        service = self._service
        service.stats.requests += 1
        if service.access is not None:
            service.access.add(answered)

    def _refuse(
        self, wire: Wire, head: RequestHead, peer: Peer, refusal: HandshakeRefusal
    ) -> Receiver:
        log.debug("websocket refused status=%d reason=%s", refusal.status, refusal.reason)
        nobody = Nobody(head, refusal.status, peer.info.client_text)
        body = refusal.reason.encode() + b"\n"
        nobody.sent = len(body)
        headers = [(b"content-type", b"text/plain; charset=utf-8"), *refusal.headers]
        wire.send_head(head.stream, refusal.status, headers, body, end=True)
        self._count_answer(nobody)
        return nobody
