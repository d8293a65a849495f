"""A Config to what opens the WebSockets of one worker. Needs wsproto."""

from __future__ import annotations

from pounce.config import Config
from pounce.worker.service import Service
from pounce.worker.websocket_deadlines import WebSocketTimeouts
from pounce.worker.websocket_opening import Opening
from pounce.worker.websocket_rules import WebSocketRules
from pounce.worker.wire.extensions import DeflateRules
from pounce.worker.wire.handshake import HandshakeRules
from pounce.worker.wire.websocket import FrameLimits


def new_opening(config: Config, service: Service) -> Opening:
    """What `Service.open_websocket` is to be."""
    return Opening(
        service,
        handshake=HandshakeRules(
            origins=frozenset(origin.lower().encode() for origin in config.websocket_origins),
            deflate=deflate_rules(config),
        ),
        rules=websocket_rules(config),
        max_age=config.websocket_max_age,
    )


def deflate_rules(config: Config) -> DeflateRules | None:
    """What is offered for compression; None for nothing."""
    if not config.websocket_deflate:
        return None
    bits, takeover = config.websocket_deflate_window, config.websocket_deflate_takeover
    return DeflateRules(
        server_bits=bits, client_bits=bits, server_takeover=takeover, client_takeover=takeover
    )


def websocket_rules(config: Config) -> WebSocketRules:
    """What all WebSockets of a worker share."""
    return WebSocketRules(
        limits=FrameLimits(
            max_message=config.websocket_max_message,
            max_frame=config.websocket_max_frame,
            max_fragments=config.websocket_max_fragments,
        ),
        timeouts=WebSocketTimeouts(
            handshake=config.websocket_handshake_timeout,
            ping_interval=config.websocket_ping_interval,
            ping_timeout=config.websocket_ping_timeout,
            idle=config.keep_alive_timeout if config.websocket_idle_close else 0.0,
            frame=config.body_timeout,
            frame_min_rate=config.body_min_rate,
            max_rate=config.websocket_max_rate,
        ),
        queue=config.websocket_queue,
        close_timeout=config.websocket_close_timeout,
        level=config.websocket_deflate_level,
        smallest=config.websocket_deflate_smallest,
    )
