"""Clients that speak TLS: byte by byte as raw.py, and openssl's own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

from tests.support.raw import Address, Raw
from tests.support.serverlog import PATIENCE


def client_context(
    trusts: Path | None = None,
    *,
    shows: tuple[Path, Path] | None = None,
    most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    alpn: tuple[str, ...] = (),
) -> ssl.SSLContext:
    """What a client trusts, and what it shows of itself: certificate and key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusts is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(trusts)
    if shows:
        context.load_cert_chain(*shows)
    context.maximum_version = most
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


class TlsRaw(Raw):
    """A Raw over TLS. An end without close_notify is an error to it."""

    socket: ssl.SSLSocket

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext,
        *,
        name: str = "localhost",
        before: bytes = b"",
        session: ssl.SSLSession | None = None,
        **options: Any,
    ) -> None:
        super().__init__(address, **options)
        try:
            if before:  # in clear
                self.send(before)
            self._reader.close()
            self.socket = context.wrap_socket(
                self.socket, server_hostname=name, suppress_ragged_eofs=False, session=session
            )
            self._reader = self.socket.makefile("rb")
        except BaseException:
            self.socket.close()
            raise

    def close(self) -> None:
        """Without close_notify, as many clients do."""
        with contextlib.suppress(OSError):
            super().close()

    def drop_rest(self) -> None:
        """Reads on until the end, which must be said by close_notify."""
        while self.socket.recv(65536):
            pass

    @property
    def server_der(self) -> bytes:
        der = self.socket.getpeercert(binary_form=True)
        assert der
        return der


def s_client(port: int, *options: str, says: str = "") -> str:
    """All that ``openssl s_client`` prints."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options],
        input=says.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
    )
    return done.stdout.decode(errors="replace")


GET_AND_CLOSE = "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def plain_socket(port: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port))
    one.settimeout(PATIENCE)
    return one


class StepByStep:
    """A client whose TLS and whose TCP do one thing at a time, on a socket that is open."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def begin(self) -> None:
        """Sends a ClientHello."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self._flush()

    def hear(self) -> None:
        """Waits for more from the server."""
        data = self._socket.recv(65536)
        assert data, "the connection ended"
        self._incoming.write(data)

    def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self.hear()
            else:
                self._flush()
                return

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def close_own_side(self) -> None:
        """close_notify, and no FIN."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._flush()

    def read_until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            self.hear()
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                while piece := self._tls.read(65536):
                    data += piece
        return data

    def _flush(self) -> None:
        self._socket.sendall(self._outgoing.read())
