"""HTTP/2 with real clients: curl, nghttp, h2load, httpx, and raw frames; without TLS."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from xprocess import XProcess

from tests.h2spec.judged import judge
from tests.h2spec.peer import connect
from tests.support.http2_crowd import CROWD, Crowd
from tests.support.notes import Notes
from tests.support.server import Server, shared, started
from tests.support.serverlog import PATIENCE
from tests.support.tools import tool
from tests.system.apps.probe import PIECE

LOOPS: Final = ["uvloop", "asyncio"]
PRIOR: Final = "--http2-prior-knowledge"


@pytest.fixture(scope="module", params=LOOPS)
def server(request: pytest.FixtureRequest, xprocess: XProcess) -> Iterator[Server]:
    with shared(xprocess, "probe", "--loop", request.param) as one:
        yield one


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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 1001), (signal.SIGHUP, 1012)])
def test_a_drain_loses_nothing_of_a_connection_that_carries_much(
    notes: Notes, number: signal.Signals, code: int
) -> None:
    with started("mixed", *CROWD) as server:
        Crowd(server, notes).is_seen_off(number, code)
        if number is signal.SIGTERM:
            assert server.wait() == 0
