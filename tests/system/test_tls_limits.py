"""Handshakes that do not get on, and what they count for."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGTERM

import pytest

from tests.support.certificates import Authority, Pair
from tests.support.server import Server, started
from tests.support.serverlog import wait_until
from tests.support.tls import StepByStep, TlsRaw, client_context, plain_socket


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue()


def hello() -> bytes:
    """A ClientHello."""
    outgoing = ssl.MemoryBIO()
    tls = client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@contextlib.contextmanager
def handshakes(server: Server, count: int) -> Iterator[list[socket.socket]]:
    """Clients that have connected and say nothing, and that is known."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(plain_socket(server.port)) for _ in range(count)]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_handshake_that_is_not_over_in_time_is_closed(
    authority: Authority, pair: Pair, loop: str
) -> None:
    options = (*pair.options, "--loop", loop, "--tls-handshake-timeout", "1")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(started("probe", *options))
        silent, slow = (stack.enter_context(plain_socket(server.port)) for _ in range(2))
        bytes_left = iter(hello())
        open_ones = {silent, slow}
        while open_ones:
            with contextlib.suppress(OSError):
                slow.send(bytes([next(bytes_left)]))
            for one in select.select(list(open_ones), [], [], 0.1)[0]:
                with contextlib.suppress(ConnectionResetError):
                    assert one.recv(1) == b""
                open_ones.remove(one)
            with TlsRaw(server.addresses[0], client_context(authority.cert)) as raw:
                assert raw.get("/").body == b"hello"


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_handshake_counts_for_max_connections(
    authority: Authority, pair: Pair, loop: str
) -> None:
    options = (*pair.options, "--loop", loop, "--max-connections", "2")
    with started("probe", *options) as server:
        context = client_context(authority.cert)
        # They are accepted in their order, so both are known by then.
        with handshakes(server, 2), TlsRaw(server.addresses[0], context) as raw:
            assert raw.answer().status == 503

        def is_served() -> bool:
            with TlsRaw(server.addresses[0], context) as raw:
                raw.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                return raw.answer().status == 200

        wait_until(is_served, "room again")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_drain_lets_a_handshake_under_way_finish_and_does_not_wait_for_one_that_is_not(
    authority: Authority, pair: Pair, loop: str
) -> None:
    with started("probe", *pair.options, "--loop", loop) as server:
        with TlsRaw(server.addresses[0], client_context(authority.cert)) as raw:
            assert raw.get("/").status == 200
        with handshakes(server, 1), plain_socket(server.port) as sock:
            client = StepByStep(sock, client_context(authority.cert))
            client.begin()
            client.hear()  # so the server has begun too
            server.signal(SIGTERM)
            server.log.wait_for("stopping")
            client.shake_hands()
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            data = client.read_until(b"hello")
            assert b"connection: close" in data
            assert server.wait() == 0


def test_a_reader_that_stops_is_given_up(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with started("probe", *pair.options, "--write-timeout", "1") as server:
        context = client_context(authority.cert)
        with TlsRaw(server.addresses[0], context, receive_buffer=4096) as raw:
            raw.send(f"GET /flood?notes={notes} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_until(lambda: "OSError" in notes.read_text() if notes.exists() else False, "end")
            with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):  # no close_notify
                raw.drop_rest()


def test_plain_http_is_served_by_a_reload_until_certificates_are_set(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    settings = tmp_path / "pounce.toml"
    settings.write_text("")
    with started("probe", cwd=tmp_path, env={"PYTHONPATH": str(Path.cwd())}) as server:
        assert server.curl("/") == b"hello"
        settings.write_text(f'certfile = "{pair.cert}"\nkeyfile = "{pair.key}"\n')
        server.signal(SIGHUP)
        server.log.wait_for(r"serving on .* generation=2 ")
        with TlsRaw(server.addresses[0], client_context(authority.cert)) as raw:
            assert raw.get("/").body == b"hello"
