"""Certificates read again by SIGHUP, all or nothing, and sessions that any worker resumes."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from signal import SIGHUP
from typing import Any

import pytest
from cryptography import x509

from tests.support.certificates import Authority, Pair
from tests.support.masters import masters
from tests.support.raw import Raw
from tests.support.server import Server, started
from tests.support.serverlog import wait_until
from tests.support.tls import GET_AND_CLOSE, TlsRaw, client_context, s_client
from tests.system.test_reload import Clients, write

# These bring load with them, and are not run beside each other.
pytestmark = pytest.mark.xdist_group("load")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Secured:
    """A server to Clients, who know nothing of TLS."""

    def __init__(self, server: Server, authority: Authority) -> None:
        self._server = server
        self._context = client_context(authority.cert)

    def connect(self) -> TlsRaw:
        return TlsRaw(self._server.addresses[0], self._context)


def serial(server: Server, authority: Authority) -> int:
    with TlsRaw(server.addresses[0], client_context(authority.cert)) as raw:
        return x509.load_der_x509_certificate(raw.server_der).serial_number


@pytest.mark.parametrize("preload", ["on", "off"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_new_certificates_come_without_a_failed_request(
    authority: Authority, loop: str, preload: str
) -> None:
    pair = authority.issue()
    options = (*pair.options, "--workers", "2", "--loop", loop, "--preload", preload)
    with started("probe", *options) as server:
        before = server.workers()
        clients = Clients(Secured(server, authority))  # type: ignore[arg-type]
        with clients.asking(), TlsRaw(server.addresses[0], client_context()) as old:
            assert old.get("/").body == b"hello"
            for generation in (2, 3):
                renewed = authority.issue()  # the same files
                server.signal(SIGHUP)
                server.log.wait_for(f"serving on .* generation={generation} ")
                wait_until(
                    lambda renewed=renewed: (  # type: ignore[misc]
                        serial(server, authority) == renewed.x509.serial_number
                    ),
                    "the new certificate",
                )
                clients.wait_for(b"hello")
            # The old connection was told, or lives yet.
            served = x509.load_der_x509_certificate(old.server_der)
            assert served.serial_number == pair.x509.serial_number
        assert clients.failures == []
        wait_until(lambda: len(server.workers()) == 2, "the old workers' end")
        assert not server.workers() & before


def broken_key(pair: Pair, authority: Authority) -> None:
    pair.key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")


def another_key(pair: Pair, authority: Authority) -> None:
    pair.key.write_bytes(authority.issue("other").key.read_bytes())


def no_certificate(pair: Pair, authority: Authority) -> None:
    pair.cert.unlink()


@pytest.mark.parametrize("spoil", [broken_key, another_key, no_certificate])
def test_a_bad_file_keeps_the_old_certificate_loudly(authority: Authority, spoil: Any) -> None:
    pair = authority.issue()
    with started("probe", *pair.options, "--workers", "2", "--loop", "asyncio") as server:
        wait_until(lambda: len(server.workers()) == 2, "both workers")
        workers = server.workers()
        spoil(pair, authority)
        server.signal(SIGHUP)
        said = r"settings are wrong, nothing is reloaded: (keyfile|certfile) is '.*it must be "
        server.log.expect(said)
        server.log.wait_for(said)
        assert server.workers() == workers
        assert serial(server, authority) == pair.x509.serial_number
        renewed = authority.issue()
        server.signal(SIGHUP)
        server.log.wait_for(r"serving on .* generation=2 ")
        wait_until(
            lambda: serial(server, authority) == renewed.x509.serial_number, "the new certificate"
        )


def test_who_dies_while_a_file_is_bad_is_replaced_all_the_same(authority: Authority) -> None:
    """A generation serves what it has read: its workers need the files no more."""
    pair = authority.issue()
    with started("probe", *pair.options, "--preload", "off") as server:
        broken_key(pair, authority)
        with TlsRaw(server.addresses[0], client_context(authority.cert)) as raw:
            raw.send(b"GET /killed HTTP/1.1\r\nHost: x\r\n\r\n")
            server.log.expect("worker died")
            server.log.wait_for("worker died")
        assert serial(server, authority) == pair.x509.serial_number


@pytest.mark.parametrize("preload", ["on", "off"])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_session_of_one_worker_is_resumed_by_another(
    authority: Authority, tmp_path: Path, version: str, preload: str
) -> None:
    pair = authority.issue()
    ticket = tmp_path / "session"
    asks = GET_AND_CLOSE.replace("/", "/whoami", 1)
    options = (*pair.options, "--workers", "3", "--preload", preload)
    with started("probe", *options) as server:

        def ask(*more: str) -> int:
            said = s_client(server.port, version, "-ign_eof", *more, says=asks)
            assert ("Reused, TLSv1" in said) == ("-sess_in" in more), said
            found = re.search(r"\r?\n\r?\n(\d+)", said)
            assert found, said
            return int(found[1])

        first = ask("-sess_out", str(ticket))
        met = {first}
        while len(met) < 2:  # the kernel chooses
            met.add(ask("-sess_in", str(ticket)))


def test_a_ticket_is_good_for_httpx_like_clients_too(authority: Authority) -> None:
    pair = authority.issue()
    with started("probe", *pair.options, "--workers", "2") as server:
        context = client_context(authority.cert, most=ssl.TLSVersion.TLSv1_2)
        with TlsRaw(server.addresses[0], context) as raw:
            assert raw.get("/").body == b"hello"
            session = raw.socket.session
        for _ in range(8):
            with TlsRaw(server.addresses[0], context, session=session) as raw:
                assert raw.socket.session_reused
                assert raw.get("/tls").status == 200


def test_an_upgrade_keeps_what_is_secure_and_what_redirects(
    authority: Authority, tmp_path: Path
) -> None:
    write(tmp_path, "one")
    binds = ("--bind", "127.0.0.1:0", "--insecure-bind", "127.0.0.1:0")
    pair = authority.issue()
    options = ("--app-dir", str(tmp_path), "--workers", "2", *pair.options, *binds)
    with masters(*options) as all:
        clients = Clients(Secured(all.server, authority))  # type: ignore[arg-type]
        with clients.asking():
            write(tmp_path, "two")
            renewed = authority.issue()
            all.upgrade()
            clients.wait_for(b"two")
        assert clients.failures == []
        assert serial(all.server, authority) == renewed.x509.serial_number
        with Raw(all.server.addresses[1]) as raw:
            assert raw.get("/").status == 308
        all.stop()
