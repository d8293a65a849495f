"""Plain HTTP beside https: nothing but a redirect, and what browsers are told to remember."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from xprocess import XProcess

from tests.support.certificates import Authority
from tests.support.raw import Answer, Raw, request
from tests.support.server import Server, shared, started
from tests.support.tls import TlsRaw, client_context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(
    request: pytest.FixtureRequest, xprocess: XProcess, authority: Authority
) -> Iterator[Server]:
    options = ("--bind", "127.0.0.1:0", "--insecure-bind", "127.0.0.1:0", "--hsts", "31536000")
    pair = authority.issue()
    with shared(xprocess, "probe", "--loop", request.param, *pair.options, *options) as one:
        yield one


def plain_port(server: Server) -> int:
    address = server.addresses[1]
    assert isinstance(address, tuple)
    return address[1]


def ask(server: Server, data: bytes, *, method: str = "GET") -> Answer:
    with Raw(server.addresses[1]) as raw:
        raw.send(data)
        return raw.answer(method=method)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_every_request_is_sent_to_the_same_place_by_https(server: Server, method: str) -> None:
    host = f"localhost:{plain_port(server)}"
    asked = request(method, "/a%20b//c?d=e&f=%2F").replace(b"Host: test", b"Host: " + host.encode())
    answer = ask(server, asked, method=method)
    assert answer.status == 308
    assert answer.get("location") == f"https://localhost:{server.port}/a%20b//c?d=e&f=%2F"
    assert answer.get("content-length") == "0"
    assert answer.get("strict-transport-security") is None  # RFC 6797 section 7.2


@pytest.mark.parametrize(
    ("head", "location"),
    [
        # who came by port 80 came by a mapping, and 443 is mapped as well
        ("GET /x HTTP/1.1\r\nHost: example.com", "https://example.com/x"),
        ("GET /x HTTP/1.1\r\nHost: example.com:80", "https://example.com/x"),
        ("GET /x HTTP/1.1\r\nHost: [::1]:9", "https://[::1]:{port}/x"),
        ("GET http://example.com:9/x HTTP/1.1\r\nHost: y", "https://example.com:{port}/x"),
        ("OPTIONS * HTTP/1.1\r\nHost: example.com:9", "https://example.com:{port}/"),
        ("GET /x HTTP/1.0", "https://127.0.0.1:{port}/x"),
        (
            "GET /x HTTP/1.1\r\nHost: a:9\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "https://a:{port}/x",
        ),
    ],
)
def test_the_host_is_the_one_the_client_knows(server: Server, head: str, location: str) -> None:
    answer = ask(server, head.encode() + b"\r\n\r\n")
    assert answer.status == 308
    assert answer.get("location") == location.format(port=server.port)


def test_a_body_is_read_away_and_the_connection_kept(server: Server) -> None:
    with Raw(server.addresses[1]) as raw:
        for _ in range(3):
            raw.send(request("POST", "/", body=b"x" * 1000))
            assert raw.answer().status == 308


def test_browsers_are_told_to_stay_with_https(server: Server, authority: Authority) -> None:
    with TlsRaw(server.addresses[0], client_context(authority.cert)) as raw:
        for path in ("/", "/big?size=100000", "/tls"):
            assert raw.get(path).get("strict-transport-security") == "max-age=31536000"


def test_what_an_application_says_of_it_itself_stands(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "strict_app.py").write_text(
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    own = [(b'Strict-Transport-Security', b'max-age=1')]\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': own})\n"
        "    await send({'type': 'http.response.body'})\n"
    )
    pair = authority.issue("strict")
    options = ("--app-dir", str(tmp_path), *pair.options, "--hsts", "60")
    context = client_context(authority.cert)
    with started("strict_app:app", *options) as one, TlsRaw(one.addresses[0], context) as raw:
        assert raw.get("/").get("strict-transport-security") == "max-age=1"


def test_the_start_says_what_is_https_and_what_redirects(server: Server) -> None:
    assert server.log.find(f"address https://127.0.0.1:{server.port}$")
    assert server.log.find(f"address http://127.0.0.1:{plain_port(server)} redirects to https$")


def test_an_application_is_never_reached_by_plain_http(server: Server) -> None:
    with Raw(server.addresses[1]) as raw:
        assert raw.get("/scope").status == 308
        with pytest.raises(json.JSONDecodeError):
            json.loads(raw.get("/scope").body)
