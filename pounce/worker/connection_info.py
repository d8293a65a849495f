"""Who is at the two ends of a connection: by its socket, or by the PROXY header it begins with."""

from __future__ import annotations

import asyncio
import os

from pounce.worker.proxy_header import ProxyHeaderError, parse
from pounce.worker.scope import ConnectionInfo, Trust
from pounce.worker.service import Service


def connection_info(
    transport: asyncio.Transport, service: Service, *, scheme: str = "http"
) -> ConnectionInfo:
    """The addresses of both ends. A unix socket's client has none, and its server is the path."""
    peer = transport.get_extra_info("peername")
    own = transport.get_extra_info("sockname")
    client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
    server: tuple[str, int | None] | None = None
    if isinstance(own, tuple):
        server = (str(own[0]), int(own[1]))
    elif own:
        server = (os.fsdecode(own), None)
    return ConnectionInfo(
        scheme=scheme,
        client=client,
        server=server,
        trusted=service.trust.includes(client[0] if client else None),
        root_path=service.root_path,
        state=service.state,
        extensions=service.extensions,
    )


def read_proxy_header(data: bytes, info: ConnectionInfo, trust: Trust) -> bytes | None:
    """The bytes behind the header, whose addresses are in `info` then; None while it is incomplete.

    Raises:
        ProxyHeaderError: it is missing, malformed, or comes from somebody who may not say it.
    """
    if not info.trusted:
        raise ProxyHeaderError("peer is not in forwarded_allow_ips")
    header = parse(data)
    if header is None:
        return None
    if header.client is not None and header.server is not None:
        info.set_addresses(header.client, header.server)
        # Forwarded headers are this client's own words now: the balancer cannot strip them.
        info.trusted = trust.includes(header.client[0])
    return data[header.size :]
