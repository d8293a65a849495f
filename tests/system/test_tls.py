"""https as its clients meet it: versions, ciphers, protocols, certificates, and what TLS hides."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from websockets.sync.client import connect
from xprocess import XProcess

from tests.support.certificates import Authority, Pair
from tests.support.raw import CLOSED, Raw, request
from tests.support.server import Server, shared, started
from tests.support.serverlog import PATIENCE, wait_until
from tests.support.tls import (
    GET_AND_CLOSE,
    StepByStep,
    TlsRaw,
    client_context,
    descriptors,
    plain_socket,
    s_client,
)
from tests.system.apps.probe import PIECE

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TLS12: Final = ssl.TLSVersion.TLSv1_2
TLS13: Final = ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue()


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest, xprocess: XProcess, pair: Pair) -> Iterator[Server]:
    with shared(xprocess, "probe", "--loop", request.param, *pair.options) as one:
        yield one


def secure(server: Server, authority: Authority, **options: Any) -> TlsRaw:
    return TlsRaw(server.addresses[0], client_context(authority.cert), **options)


def url(server: Server, path: str = "/") -> str:
    return f"https://localhost:{server.port}{path}"


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_an_application_sees_https_and_what_was_negotiated(
    server: Server, authority: Authority, pair: Pair, version: ssl.TLSVersion
) -> None:
    context = client_context(authority.cert, most=version)
    with httpx.Client(verify=context, trust_env=False, timeout=PATIENCE) as client:
        assert client.get(url(server, "/scope")).json()["scheme"] == "https"
        found = client.get(url(server, "/tls")).json()
    assert found["server_cert"] == pair.pem
    assert found["client_cert_chain"] == []
    assert found["client_cert_name"] is None
    assert found["client_cert_error"] is None
    assert found["tls_version"] == (0x0303 if version == TLS12 else 0x0304)
    # ECDHE_ECDSA with AES-256-GCM; AES-256-GCM: what openssl's clients like best
    assert found["cipher_suite"] == (0xC02C if version == TLS12 else 0x1302)
    assert len(found) == 6


def test_what_is_plain_has_no_tls_extension() -> None:
    with started("probe") as server, server.connect() as raw:
        assert json.loads(raw.get("/tls").body) is None


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_of_tls_are_refused(server: Server, version: str) -> None:
    said = s_client(server.port, version, "-cipher", "DEFAULT@SECLEVEL=0")
    assert "alert protocol version" in said


def test_a_minimum_of_1_3_is_kept(authority: Authority, pair: Pair) -> None:
    with started("probe", *pair.options, "--tls-min-version", "1.3") as server:
        assert "alert protocol version" in s_client(server.port, "-tls1_2")
        with secure(server, authority) as raw:
            assert raw.socket.version() == "TLSv1.3"


@pytest.mark.parametrize("cipher", ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"])
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(
    server: Server, cipher: str
) -> None:
    said = s_client(server.port, "-tls1_2", "-cipher", f"{cipher}@SECLEVEL=0")
    assert "alert handshake failure" in said


def test_the_ciphers_are_a_setting(authority: Authority, pair: Pair) -> None:
    only = "ECDHE-ECDSA-AES128-GCM-SHA256"
    with started("probe", *pair.options, "--tls-ciphers", only) as server:
        context = client_context(authority.cert, most=TLS12)
        with TlsRaw(server.addresses[0], context) as raw:
            cipher = raw.socket.cipher()
            assert cipher
            assert cipher[0] == only
            assert json.loads(raw.get("/tls").body)["cipher_suite"] == 0xC02B


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [(("http/1.1",), "http/1.1"), (("foo", "http/1.1"), "http/1.1"), ((), None)],
)
def test_a_protocol_is_agreed_upon(
    server: Server, authority: Authority, offer: tuple[str, ...], agreed: str | None
) -> None:
    context = client_context(authority.cert, alpn=offer)
    with TlsRaw(server.addresses[0], context) as raw:
        assert raw.socket.selected_alpn_protocol() == agreed
        assert raw.get("/").body == b"hello"


def test_nothing_in_common_is_an_alert(server: Server) -> None:
    assert "alert no application protocol" in s_client(server.port, "-alpn", "foo,bar")
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        TlsRaw(server.addresses[0], client_context(alpn=("foo",)))


def test_a_preface_of_http_2_where_http_1_was_agreed_upon_is_a_bad_request(
    server: Server, authority: Authority
) -> None:
    context = client_context(authority.cert, alpn=("http/1.1",))
    with TlsRaw(server.addresses[0], context) as raw:
        raw.send(PREFACE)
        assert raw.answer().status in (400, 505)


def test_plain_http_on_the_port_is_told_so_and_junk_is_closed_without_a_word(
    server: Server,
) -> None:
    with server.connect() as raw:
        raw.send(request("GET", "/"))
        answer = raw.answer()
        assert (answer.status, answer.body) == (400, b"this port speaks https, not http\n")
        assert raw.end() == CLOSED
    with server.connect() as raw:
        raw.send(bytes(100))
        assert raw.end() == CLOSED


@pytest.mark.parametrize("size", [1, 100_000, 20_000_000])
def test_bodies_pass_whole_both_ways(server: Server, authority: Authority, size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    body = body[:size]
    context = client_context(authority.cert)
    with httpx.Client(verify=context, trust_env=False, timeout=PATIENCE) as client:
        said = client.post(url(server, "/digest"), content=body).text
        assert said == f"{size} {hashlib.sha256(body).hexdigest()}"
        got = client.get(url(server, f"/big?size={size}")).content
        assert got == (PIECE * (size // len(PIECE) + 1))[:size]


@pytest.mark.parametrize("how", ["pathsend", "zerocopysend"])
def test_files_pass_whole_to_a_slow_reader(
    server: Server, authority: Authority, how: str, tmp_path: Path
) -> None:
    body = os.urandom(3_000_000)
    path = tmp_path / "file"
    path.write_bytes(body)
    with secure(server, authority, receive_buffer=4096) as raw:
        for _ in range(2):
            length = f"&length={len(body)}" if how == "zerocopysend" else ""
            answer = raw.get(f"/file?how={how}&path={path}{length}")
            assert answer.body == body


def test_a_head_in_crumbs_is_read(server: Server, authority: Authority) -> None:
    with secure(server, authority) as raw:
        for byte in request("GET", "/"):
            raw.send(bytes([byte]))
        assert raw.answer().body == b"hello"


def test_a_client_that_closes_its_side_alone_still_gets_its_answer(
    server: Server, authority: Authority
) -> None:
    """close_notify closes one direction (RFC 8446 section 6.1)."""
    with plain_socket(server.port) as sock:
        client = StepByStep(sock, client_context(authority.cert))
        client.shake_hands()
        client.send(request("POST", "/echo", body=b"half"))
        client.close_own_side()
        assert client.read_until(b"\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_the_end_is_said_so_that_no_cut_can_be_taken_for_it(
    server: Server, authority: Authority
) -> None:
    with secure(server, authority) as raw:
        assert raw.get("/", "Connection: close").body == b"hello"
        assert raw.end() == CLOSED  # a FIN without close_notify would raise
    with secure(server, authority) as raw:
        raw.send(b"GET / HTTP/1.1\r\nno colon\r\n\r\n" + bytes(1000))  # an answer while input waits
        assert raw.answer().status == 400
        assert raw.end() == CLOSED


@pytest.mark.parametrize(
    ("case", "version"),
    [("never-ended", "1.1"), ("never-ended-chunked", "1.1"), ("never-ended-chunked", "1.0")],
)
def test_an_answer_that_is_cut_does_not_end_as_a_whole_one_does(
    server: Server, authority: Authority, case: str, version: str
) -> None:
    with secure(server, authority) as raw:
        raw.send(f"GET /messages?case={case} HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            raw.drop_rest()
    server.log.expect("application returned, expected")
    server.log.check()


def test_new_keys_are_no_end_and_renegotiation_is_refused(server: Server) -> None:
    assert "no renegotiation" in s_client(server.port, "-tls1_2", says="R\n")
    # K asks for new keys both ways.
    said = s_client(server.port, "-tls1_3", says="K\n" + GET_AND_CLOSE)
    assert "KEYUPDATE" in said


def test_handshakes_that_are_broken_off_leave_nothing_behind(
    server: Server, authority: Authority
) -> None:
    with secure(server, authority) as raw:
        (worker,) = {int(raw.get("/whoami").body)}
    base = descriptors(worker)
    outgoing = ssl.MemoryBIO()
    tls = client_context().wrap_bio(ssl.MemoryBIO(), outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    for count in range(1000):
        with plain_socket(server.port) as sock:
            sock.sendall(hello[: count % (len(hello) + 1)])
    wait_until(lambda: descriptors(worker) <= base, "descriptors as before")
    with secure(server, authority) as raw:
        assert raw.get("/").body == b"hello"


def test_websockets_are_served(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "echo_app.py").write_text(
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'websocket':\n"
        "        raise RuntimeError('no lifespan here')\n"
        "    assert scope['scheme'] == 'wss' and 'tls' in scope['extensions']\n"
        "    await receive()\n"
        "    await send({'type': 'websocket.accept'})\n"
        "    while (message := await receive())['type'] == 'websocket.receive':\n"
        "        await send({'type': 'websocket.send', 'text': message['text']})\n"
    )
    with started("echo_app:app", "--app-dir", str(tmp_path), *pair.options) as server:
        context = client_context(authority.cert)
        with connect(url(server).replace("https", "wss"), ssl=context, proxy=None) as websocket:
            for text in ("one", "two" * 50_000):
                websocket.send(text)
                assert websocket.recv() == text


def test_the_name_chooses_among_several_certificates(authority: Authority) -> None:
    sites = {
        "a.example": authority.issue("a", names=("a.example", "www.a.example")),
        "b.example": authority.issue("b", names=("b.example", "*.b.example")),
    }
    options = [option for each in sites.values() for option in each.options]
    with started("probe", *options) as server:
        for name, site in (
            ("a.example", "a.example"),
            ("WWW.a.example", "a.example"),
            ("b.example", "b.example"),
            ("x.b.example", "b.example"),
            ("y.x.b.example", "a.example"),  # a wildcard is for one label
            ("nobody.example", "a.example"),
            ("localhost", "a.example"),
        ):
            with TlsRaw(server.addresses[0], client_context(), name=name) as raw:
                served = x509.load_der_x509_certificate(raw.server_der)
                assert served == sites[site].x509, name
                assert json.loads(raw.get("/tls").body)["server_cert"] == sites[site].pem


class Clients:
    """Whom a server that asks for certificates may meet."""

    def __init__(self, folder: Path) -> None:
        self.root = Authority(folder, "client-ca")
        middle = Authority(folder, "middle", below=self.root)
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Kunde, GmbH"),
                x509.NameAttribute(NameOID.COMMON_NAME, "Jörg"),
            ]
        )
        self.known = middle.issue("known", names=(), subject=subject)
        self.unknown = Authority(folder, "others").issue("unknown", names=())
        self.middle = middle


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    return Clients(tmp_path_factory.mktemp("clients"))


def answered(server: Server, context: ssl.SSLContext) -> Any:
    """What the application saw; TLS 1.3 tells a client that it is refused with the first bytes."""
    with TlsRaw(server.addresses[0], context) as raw:
        return json.loads(raw.get("/tls").body)


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("wanted", ["required", "optional"])
def test_clients_are_asked_who_they_are(
    authority: Authority, pair: Pair, clients: Clients, wanted: str, version: ssl.TLSVersion
) -> None:
    options = ("--client-ca", str(clients.root.cert), "--client-cert", wanted)
    with started("probe", *pair.options, *options) as server:
        known = clients.known
        shown = client_context(authority.cert, shows=(known.cert, known.key), most=version)
        found = answered(server, shown)
        assert found["client_cert_chain"][0] == known.pem
        assert len(found["client_cert_chain"]) == 2
        assert found["client_cert_name"] == known.x509.subject.rfc4514_string()
        assert found["client_cert_name"] == "CN=Jörg,O=Kunde\\, GmbH,C=DE"
        assert found["client_cert_error"] is None

        unknown = clients.unknown
        wrong = client_context(authority.cert, shows=(unknown.cert, unknown.key), most=version)
        with pytest.raises(OSError, match=r"(?i)unknown.ca"):
            answered(server, wrong)

        nothing = client_context(authority.cert, most=version)
        if wanted == "optional":
            found = answered(server, nothing)
            assert (found["client_cert_chain"], found["client_cert_name"]) == ([], None)
        else:
            with pytest.raises(OSError, match=r"(?i)certificate.required|handshake.failure"):
                answered(server, nothing)


def test_curl_and_openssl_are_served(server: Server, authority: Authority) -> None:
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--cacert", str(authority.cert), url(server)],
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (0, b"hello"), done.stderr
    said = s_client(server.port, "-CAfile", str(authority.cert), "-ign_eof", says=GET_AND_CLOSE)
    assert "Verify return code: 0 (ok)" in said
    assert "HTTP/1.1 200 OK" in said


def test_a_unix_socket_beside_stays_plain(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "plain.sock"
    with started(
        "probe", *pair.options, "--bind", f"unix:{path}", "--bind", "127.0.0.1:0"
    ) as server:
        with Raw(path) as raw:
            assert json.loads(raw.get("/scope").body)["scheme"] == "http"
        with TlsRaw(server.addresses[1], client_context(authority.cert)) as secured:
            assert json.loads(secured.get("/scope").body)["scheme"] == "https"


V1: Final = b"PROXY TCP4 198.51.100.7 198.51.100.1 4711 443\r\n"


def test_a_proxy_header_stands_before_the_handshake(authority: Authority, pair: Pair) -> None:
    with started("probe", *pair.options, "--proxy-protocol") as server:
        context = client_context(authority.cert)
        with TlsRaw(server.addresses[0], context, before=V1) as raw:
            found = json.loads(raw.get("/scope").body)
            assert (found["client"], found["scheme"]) == (["198.51.100.7", 4711], "https")
        with pytest.raises(OSError, match=r"(?i)eof|reset"):
            TlsRaw(server.addresses[0], context)
        server.log.expect("PROXY header refused")
