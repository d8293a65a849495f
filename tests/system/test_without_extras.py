"""A server on nothing but what pounce cannot do without: each extra is what it says, extra."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import pounce
from tests.support.server import started

# Python reads it before anything else: whoever imports one of these does not find it.
MISSING = """
import sys
for name in ("h2", "hpack", "httptools", "rich", "setproctitle", "uvloop", "websockets", "wsproto"):
    sys.modules[name] = None
"""
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


WHY = r"WebSocket .* needs wsproto.* pip install 'bengal-pounce\[ws\]'"


@pytest.mark.parametrize(("setting", "said"), [("auto", 1), ("off", 0)])
def test_without_extras_a_server_answers_takes_a_websocket_for_any_request_and_says_why_once(
    setting: str, said: int, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(MISSING)
    root = str(Path(pounce.__file__).parent.parent)
    found = {"PYTHONPATH": os.pathsep.join((str(tmp_path), root))}
    with started("talk", "--workers", "1", "--websockets", setting, env=found) as server:
        assert server.log.find("workers=1 loop=asyncio http=h11 http2=off")
        server.log.expect(*[WHY] * said)  # who turned them off need not be told
        for _ in range(2):
            with server.connect() as raw:
                raw.send(HANDSHAKE)
                answer = raw.answer()
            assert (answer.status, answer.body) == (200, b"hello")
        server.stop()
        assert len(server.log.find(WHY)) == said
