"""One httptools reader serves all connections: no head may leave a trace in the next."""

from __future__ import annotations

import itertools

import pytest

from pounce.worker.wire.h1_h11 import H11Reader
from pounce.worker.wire.h1_httptools import HttptoolsReader

HEADS = {
    "plain": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "close": b"GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n",
    "body": b"POST / HTTP/1.1\r\nHost: c\r\nContent-Length: 5\r\n\r\n",
    "body, close": b"PUT / HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
    "chunked": b"POST / HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n",
    "upgrade": b"GET / HTTP/1.1\r\nHost: f\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "connect": b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    "old": b"GET / HTTP/1.0\r\nHost: g\r\n\r\n",
    "bare": b"GET / HTTP/1.0\r\n\r\n",
    "unknown method": b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n",
}


@pytest.mark.parametrize("names", [*itertools.product(HEADS, repeat=2)], ids=", then ".join)
def test_a_head_is_read_alike_whatever_came_before_it(names: tuple[str, str]) -> None:
    reader = HttptoolsReader()
    for name in (*names, *names):
        assert reader.read(HEADS[name]) == H11Reader().read(HEADS[name])
