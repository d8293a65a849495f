"""HTTP/2 as ALPN brings it: which protocol is spoken, real clients, limits and drains over TLS."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGTERM, Signals
from typing import Final

import httpx
import pytest
from xprocess import XProcess

from pounce.worker.connection import PREFACE
from tests.h2spec.judged import judge
from tests.h2spec.peer import SETTINGS
from tests.support.certificates import Authority, Pair
from tests.support.h2_over_tls import H2OverTls, Talk
from tests.support.http2_crowd import CROWD, Crowd, ask
from tests.support.notes import Notes
from tests.support.raw import CLOSED
from tests.support.server import Server, shared, started
from tests.support.serverlog import PATIENCE, wait_until
from tests.support.tls import StepByStep, TlsRaw, client_context, plain_socket, s_client
from tests.support.tools import tool
from tests.system.apps.probe import PIECE

LOOPS: Final = ["uvloop", "asyncio"]
BOTH: Final = ("h2", "http/1.1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue()


@pytest.fixture(scope="module", params=LOOPS)
def server(request: pytest.FixtureRequest, xprocess: XProcess, pair: Pair) -> Iterator[Server]:
    with shared(xprocess, "mixed", "--loop", request.param, *pair.options) as one:
        yield one


@pytest.fixture
def h2(authority: Authority) -> ssl.SSLContext:
    return client_context(authority.cert, alpn=("h2",))


def url(server: Server, path: str = "/") -> str:
    return f"https://localhost:{server.port}{path}"


def curl(server: Server, authority: Authority, path: str, *options: str) -> str:
    return tool(
        *("curl", "-sS", "--noproxy", "*", "--cacert", str(authority.cert)),
        *options,
        url(server, path),
    )


# Which protocol.


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        (("h2",), "h2"),
        (("http/1.1",), "http/1.1"),
        (("h2", "http/1.1"), "h2"),
        (("http/1.1", "h2"), "h2"),  # what the server likes best
        (("foo", "http/1.1"), "http/1.1"),
        ((), None),
    ],
)
def test_what_is_agreed_upon_is_spoken(
    server: Server, authority: Authority, offer: tuple[str, ...], agreed: str | None
) -> None:
    context = client_context(authority.cert, alpn=offer)
    if agreed == "h2":
        with H2OverTls(server.port, context) as client:
            assert client.get("/") == (200, b"hello")
        return
    with TlsRaw(server.addresses[0], context) as raw:
        assert raw.socket.selected_alpn_protocol() == agreed
        assert json.loads(raw.get("/scope").body)["http_version"] == "1.1"


def test_nothing_in_common_is_an_alert(server: Server) -> None:
    assert "alert no application protocol" in s_client(server.port, "-alpn", "foo,h2c")


@pytest.mark.parametrize("offer", [("http/1.1",), ()])
def test_a_preface_is_a_bad_request_where_http_1_was_agreed_upon(
    server: Server, authority: Authority, offer: tuple[str, ...]
) -> None:
    """RFC 9113 section 3.3: over TLS it is ALPN that says so."""
    context = client_context(authority.cert, alpn=offer)
    with TlsRaw(server.addresses[0], context) as raw:
        raw.send(PREFACE)
        assert raw.answer().status in (400, 505)
        assert raw.end() == CLOSED


def test_http_1_is_a_protocol_error_where_h2_was_agreed_upon(
    server: Server, h2: ssl.SSLContext
) -> None:
    with TlsRaw(server.addresses[0], h2) as raw:
        raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        data = until_the_end(raw)
        assert b"HTTP/1" not in data
        kinds = [kind for kind, _ in frames(data)]
        assert kinds[0] == 4  # SETTINGS is the first that a server says
        assert set(kinds) <= {4, 7, 8}


def test_without_http_2_only_http_1_is_offered(authority: Authority, pair: Pair) -> None:
    with started("mixed", *pair.options, "--http2", "off") as server:
        context = client_context(authority.cert, alpn=BOTH)
        with TlsRaw(server.addresses[0], context) as raw:
            assert raw.socket.selected_alpn_protocol() == "http/1.1"
            assert raw.get("/").body == b"hello"
        assert "alert no application protocol" in s_client(server.port, "-alpn", "h2")
        said = curl(server, authority, "/", "--http2", "-w", " %{http_version}")
        assert said == "hello 1.1"


# Real clients.


def test_curl_speaks_it(server: Server, authority: Authority, tmp_path: Path) -> None:
    said = curl(server, authority, "/", "--http2", "-w", " %{http_version} %{http_code}")
    assert said == "hello 2 200"
    assert curl(server, authority, "/", "--http1.1", "-w", " %{http_version}") == "hello 1.1"
    file, back = tmp_path / "file", tmp_path / "back"
    file.write_bytes(PIECE * 80)  # 5 MiB, past every window
    curl(server, authority, "/echo", "--http2", "--data-binary", f"@{file}", "--output", str(back))
    assert back.read_bytes() == PIECE * 80


def test_nghttp_speaks_it(server: Server) -> None:
    said = tool("nghttp", "-nv", url(server), url(server, "/scope"))
    assert said.count(":status: 200") == 2
    assert "The negotiated protocol: h2" in said


def test_h2load_has_all_of_many_requests_answered(server: Server) -> None:
    said = tool("h2load", "-n2000", "-c8", "-m16", url(server))
    assert "Application protocol: h2" in said
    assert "2000 succeeded, 0 failed, 0 errored" in said


def test_httpx_speaks_it(server: Server, authority: Authority) -> None:
    context = client_context(authority.cert)
    with httpx.Client(http2=True, verify=context, timeout=PATIENCE, trust_env=False) as client:
        answer = client.get(url(server, "/scope?a=b"))
        assert answer.http_version == "HTTP/2"
        found = answer.json()
        assert (found["http_version"], found["scheme"]) == ("2", "https")
        assert ["host", f"localhost:{server.port}"] in found["headers"]
        body = b"a" * 300_000
        assert client.post(url(server, "/echo"), content=body).content == body


def test_the_h2_library_has_many_streams_answered_at_once(
    server: Server, h2: ssl.SSLContext
) -> None:
    with H2OverTls(server.port, h2) as client:
        asked = {client.ask("/echo", body): body for body in (b"%d" % n * 99 for n in range(90))}
        for number, body in asked.items():
            assert client.finish(number) == (200, body)
        big = client.ask("/big?size=5000000")
        small = client.ask("/")
        assert client.finish(small) == (200, b"hello")
        assert client.finish(big) == (200, (PIECE * 80)[:5_000_000])


def test_a_file_goes_out_whole(server: Server, h2: ssl.SSLContext, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(PIECE * 40)
    with H2OverTls(server.port, h2) as client:
        for how in ("pathsend", "zerocopysend"):
            assert client.get(f"/file?how={how}&path={path}") == (200, PIECE * 40)


def test_every_case_of_the_rfcs_is_passed(server: Server, h2: ssl.SSLContext) -> None:
    said: list[str] = []
    assert not judge(server.port, report=said.append, tls=h2), "".join(said)


# What applications see.


def test_an_application_sees_https_and_what_was_negotiated(
    server: Server, h2: ssl.SSLContext, pair: Pair
) -> None:
    with H2OverTls(server.port, h2) as client:
        found = json.loads(client.get("/scope")[1])
        assert (found["scheme"], found["http_version"]) == ("https", "2")
        tls = json.loads(client.get("/tls")[1])
        assert (tls["server_cert"], tls["tls_version"]) == (pair.pem, 0x0304)
        assert len(tls) == 6


def test_websockets_are_streams_beside_requests(
    server: Server, h2: ssl.SSLContext, pair: Pair
) -> None:
    with H2OverTls(server.port, h2) as client:
        first, second = Talk(client, "/scope"), Talk(client, "/")
        found = json.loads(first.hear())
        assert found["type"] == "websocket"
        assert (found["scheme"], found["http_version"]) == ("wss", "2")
        assert found["tls"]["server_cert"] == pair.pem
        for text in ("one", "two" * 5_000):
            for talk in (first, second):
                talk.say(text)
            assert client.get("/") == (200, b"hello")
            assert (first.hear(), second.hear()) == (text, text)
        assert first.close() == second.close() == 1000
        assert client.get("/") == (200, b"hello")


def test_access_lines_name_it(pair: Pair, h2: ssl.SSLContext, tmp_path: Path) -> None:
    path = tmp_path / "access"
    with started("mixed", *pair.options, "--access-log-file", str(path)) as server:
        with H2OverTls(server.port, h2) as client:
            client.get("/a?b")
            talk = Talk(client, "/c")
            assert talk.close() == 1000
        server.stop()
    text = path.read_text()
    assert re.search(r'"GET /a\?b HTTP/2" 404 ', text)
    assert re.search(r'"CONNECT /c HTTP/2" 101 .* close=1000 ', text)


# Limits and drains.


@pytest.mark.parametrize("loop", LOOPS)
def test_whoever_is_past_the_limit_is_closed_cleanly_and_told_nothing_in_http_1(
    authority: Authority, pair: Pair, h2: ssl.SSLContext, loop: str
) -> None:
    options = (*pair.options, "--loop", loop, "--max-connections", "1")
    with started("mixed", *options) as server:
        with H2OverTls(server.port, h2) as client:
            assert client.get("/") == (200, b"hello")
            with TlsRaw(server.addresses[0], h2) as raw:
                assert raw.socket.selected_alpn_protocol() == "h2"
                raw.send(PREFACE)
                assert until_the_end(raw) == b""  # said by close_notify
            plain = client_context(authority.cert)
            with TlsRaw(server.addresses[0], plain) as raw:
                assert raw.answer().status == 503
            assert client.get("/") == (200, b"hello")

        def is_served() -> bool:
            with TlsRaw(server.addresses[0], h2) as raw:
                raw.send(PREFACE)
                return bool(raw.socket.recv(1))

        wait_until(is_served, "room again")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("number", "code"), [(SIGTERM, 1001), (SIGHUP, 1012)])
def test_a_drain_loses_nothing_of_a_connection_that_carries_much(
    notes: Notes, pair: Pair, h2: ssl.SSLContext, number: Signals, code: int, loop: str
) -> None:
    with started("mixed", *CROWD, *pair.options, "--loop", loop) as server:
        Crowd(server, notes, h2).is_seen_off(number, code)
        if number is SIGTERM:
            assert server.wait() == 0


@pytest.mark.parametrize("loop", LOOPS)
def test_a_handshake_under_way_when_a_drain_begins_still_gets_its_answer(
    authority: Authority, pair: Pair, h2: ssl.SSLContext, loop: str
) -> None:
    with started("mixed", *pair.options, "--loop", loop) as server:
        with plain_socket(server.port) as sock:
            client = StepByStep(sock, h2)
            client.begin()
            client.hear()  # so the server has begun too
            server.signal(SIGTERM)
            server.log.wait_for("stopping")
            client.shake_hands()
            client.send(PREFACE + SETTINGS + ask(1, b"/", scheme=b"https"))
            data = client.read_until(b"hello")
            kinds = [kind for kind, _ in frames(data)]
            assert kinds[0] == 4
            assert 7 in kinds  # told that the end is near
        assert server.wait() == 0


def until_the_end(raw: TlsRaw) -> bytes:
    """All that comes until close_notify."""
    data = b""
    while piece := raw.socket.recv(65536):
        data += piece
    return data


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Type and payload of each."""
    found = []
    while data:
        end = 9 + int.from_bytes(data[:3], "big")
        found.append((data[3], data[9:end]))
        data = data[end:]
    return found
