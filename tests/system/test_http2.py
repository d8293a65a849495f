"""HTTP/2 with real clients: curl, nghttp, h2load, httpx, and raw frames; without TLS."""

from __future__ import annotations

import re
import shutil
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from hpack.hpack import Encoder
from xprocess import XProcess

from tests.h2spec.judged import judge
from tests.h2spec.peer import Peer, connect, frame
from tests.support.notes import Notes
from tests.support.server import Server, shared, started
from tests.support.serverlog import PATIENCE
from tests.system.apps.probe import PIECE

LOOPS: Final = ["uvloop", "asyncio"]
PRIOR: Final = "--http2-prior-knowledge"
LAST: Final = 2**31 - 1


@pytest.fixture(scope="module", params=LOOPS)
def server(request: pytest.FixtureRequest, xprocess: XProcess) -> Iterator[Server]:
    with shared(xprocess, "probe", "--loop", request.param) as one:
        yield one


def tool(*command: str) -> str:
    """What a command prints; fails if it does, or is not installed."""
    assert shutil.which(command[0]), f"{command[0]} is needed (Debian: nghttp2-client)"
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def ask(stream: int, path: bytes, *, method: bytes = b"GET", flags: int = 5) -> bytes:
    fields = [
        (b":method", method, True),
        (b":scheme", b"http", True),
        (b":path", path, True),
        (b":authority", b"localhost", True),
    ]
    if method == b"CONNECT":
        fields += [(b":protocol", b"websocket", True), (b"sec-websocket-version", b"13", True)]
        fields.sort(key=lambda field: field[0][:1] != b":")
    return frame(1, flags, stream, Encoder().encode(fields))


def test_curl_speaks_it(server: Server) -> None:
    version = server.curl("/", PRIOR, "-w", " %{http_version} %{http_code}")
    assert version == b"hello 2 200"


def test_curl_uploads_and_downloads(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(PIECE * 80)  # 5 MiB, past every window
    assert server.curl("/echo", PRIOR, "--data-binary", f"@{file}") == PIECE * 80
    size, _ = server.curl("/digest", PRIOR, "-T", str(file)).split()
    assert int(size) == len(PIECE) * 80


def test_what_asks_for_h2c_by_upgrade_is_answered_in_http1(server: Server) -> None:
    assert server.curl("/", "--http2", "-w", " %{http_version}") == b"hello 1.1"


def test_http1_is_spoken_on_the_same_port(server: Server) -> None:
    assert server.curl("/", "--http1.1", "-w", " %{http_version}") == b"hello 1.1"


def test_nghttp_speaks_it(server: Server) -> None:
    said = tool("nghttp", "-nv", server.url("/"), server.url("/scope"))
    assert said.count(":status: 200") == 2
    assert "NO_ERROR" in said


def test_h2load_has_all_of_many_requests_answered(server: Server) -> None:
    said = tool("h2load", "-n2000", "-c8", "-m16", server.url("/"))
    assert "2000 succeeded, 0 failed, 0 errored" in said


def test_httpx_speaks_it(server: Server) -> None:
    with httpx.Client(
        http1=False, http2=True, base_url=server.url(), timeout=PATIENCE, trust_env=False
    ) as client:
        answer = client.get("/scope?a=b")
        assert answer.http_version == "HTTP/2"
        assert answer.json()["http_version"] == "2"
        assert ["host", server.url().removeprefix("http://")] in answer.json()["headers"]
        assert client.post("/echo", content=b"a" * 300_000).content == b"a" * 300_000


def test_every_case_of_the_rfcs_is_passed(server: Server) -> None:
    said: list[str] = []
    assert not judge(server.port, report=said.append), "".join(said)


def test_an_access_line_names_it(tmp_path: Path) -> None:
    path = tmp_path / "access"
    with started("probe", "--access-log-file", str(path)) as server:
        server.curl("/a?b", PRIOR)
        server.stop()
    assert re.search(r'"GET /a\?b HTTP/2" ', path.read_text())


def test_it_can_be_switched_off() -> None:
    with started("probe", "--http2", "off") as server:
        assert server.curl("/", "--http1.1") == b"hello"
        peer = connect(server.port)
        with peer.sock:
            peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert peer.sock.recv(100).startswith(b"HTTP/1.1 505 ")


STREAMS: Final = range(1, 200, 2)
SOCKETS: Final = range(201, 241, 2)
CROSSING: Final = 241


def filled(server: Server, notes: Notes) -> Peer:
    """A connection with 100 requests in flight and 20 WebSockets."""
    peer = connect(server.port)
    peer.handshake()
    peer.send(*(ask(n, f"/hold?{notes.query}".encode()) for n in STREAMS))
    peer.send(*(ask(n, b"/", method=b"CONNECT", flags=4) for n in SOCKETS))
    notes.wait_for("begun", times=len(STREAMS))
    opened = {n for kind, _, n, _ in peer.frames if kind == 1}

    def all_open() -> bool:
        opened.update(n for kind, _, n, _ in peer.frames if kind == 1)
        return opened >= set(SOCKETS)

    assert peer.wait(all_open)
    return peer


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 1001), (signal.SIGHUP, 1012)])
def test_a_drain_loses_nothing_of_a_connection_that_carries_much(
    notes: Notes, number: signal.Signals, code: int
) -> None:
    options = "--http2-max-streams", "200", "--websocket-drain", "close"
    with started("mixed", *options, "--shutdown-timeout", "8") as server:
        peer = filled(server, notes)
        with peer.sock:
            server.signal(number)
            assert until(peer, lambda: peer.goaway() is not None)
            assert goaways(peer) == [(LAST, 0)]
            peer.send(ask(CROSSING, b"/"))  # before we have heard, as far as the server knows
            pings = [p for kind, flags, _, p in peer.frames if kind == 6 and not flags & 1]
            peer.send(frame(6, 1, 0, pings[0]))
            assert peer.wait(lambda: peer.answered(CROSSING))
            notes.open_gate()
            assert peer.wait(lambda: all(peer.answered(n) for n in STREAMS))
            close = struct.pack(">H", code)

            def closed(n: int) -> bool:
                return any(
                    kind == 0 and m == n and p[:1] == b"\x88" and p[2:4] == close
                    for kind, _, m, p in peer.frames
                )

            for n in SOCKETS:
                assert until(peer, lambda n=n: closed(n))
                peer.send(frame(0, 1, n, b"\x88\x82\0\0\0\0" + close))
            assert until(peer, lambda: peer.closed)
            assert goaways(peer)[-1] == (CROSSING, 0)
            assert not any(kind == 3 for kind, *_ in peer.frames)
        if number is signal.SIGTERM:
            assert server.wait() == 0


def until(peer: Peer, found: object) -> bool:
    """Longer than a single wait: a drain takes its time."""
    return any(peer.wait(found) for _ in range(8))


def goaways(peer: Peer) -> list[tuple[int, int]]:
    return [struct.unpack(">II", p[:8]) for kind, _, _, p in peer.frames if kind == 7]
