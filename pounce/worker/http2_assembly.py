"""A Config to what makes the wires of HTTP/2 connections in one worker. Needs h2."""

from __future__ import annotations

from collections.abc import Callable

from pounce.config import Config
from pounce.worker.service import Service
from pounce.worker.wire import ConnectionWire, Sink
from pounce.worker.wire.h2 import Http2Wire
from pounce.worker.wire.h2_abuse import Allowance
from pounce.worker.wire.h2_output import Http2Rules


def new_http2(
    config: Config, service: Service
) -> Callable[[Sink, Callable[[bytes], None]], ConnectionWire]:
    """What `Service.open_http2` is to be."""
    clock = service.clock
    rules = Http2Rules(
        service.rules,
        clock=lambda: clock.now,
        max_streams=config.http2_max_streams,
        stream_window=config.http2_stream_window,
        connection_window=config.http2_connection_window,
        resets=Allowance(config.http2_max_resets, config.http2_reset_rate),
        glitches=Allowance(config.http2_max_glitches, config.http2_glitch_rate),
        write_buffer=config.write_buffer,
        body_timeout=config.body_timeout,
        body_min_rate=config.body_min_rate,
        write_timeout=config.write_timeout,
    )

    def open_http2(sink: Sink, write: Callable[[bytes], None]) -> ConnectionWire:
        return Http2Wire(sink, write, rules)

    return open_http2
