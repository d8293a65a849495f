"""Runs the cases against a port, and says which failed."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from pounce.worker.connection import PREFACE
from tests.h2spec.cases import CASES, Case
from tests.h2spec.peer import connect, frame

INVALID_PREFACE = b"INVALID CONNECTION PREFACE\r\n\r\n"


def failure(case: Case, port: int, tls: ssl.SSLContext | None = None) -> str:
    """What came in place of what must; "" if all is well."""
    peer = connect(port, tls)
    with peer.sock:
        peer.handshake(case.settings)
        peer.send(case.sent)
        if case.first is not None:
            first = case.first
            peer.wait(lambda: first(peer))
            peer.send(case.then)
        if peer.wait(lambda: case.holds(peer)):
            return ""
        frames = [(kind, flags, stream, p[:12]) for kind, flags, stream, p in peer.frames]
        return f"closed={peer.closed} frames={frames}"


def preface_failure(port: int, data: bytes, tls: ssl.SSLContext | None = None) -> str:
    """The server must close, with or without GOAWAY (RFC 9113 §3.4)."""
    peer = connect(port, tls)
    with peer.sock:
        peer.send(data)
        return "" if peer.wait(lambda: peer.closed) else f"open frames={peer.frames}"


def judge(port: int, *, report: Callable[[str], object], tls: ssl.SSLContext | None = None) -> int:
    """The number of failures."""
    found = {
        "3.4 a wrong preface": preface_failure(port, INVALID_PREFACE, tls),
        "3.4 a preface without SETTINGS": preface_failure(
            port, PREFACE + frame(6, 0, 0, bytes(8)), tls
        ),
        **{case.name: failure(case, port, tls) for case in CASES},
    }
    for name, what in found.items():
        if what:
            report(f"FAILED {name}: {what}\n")
    failed = sum(bool(what) for what in found.values())
    report(f"{len(found) - failed} passed, {failed} failed\n")
    return failed
