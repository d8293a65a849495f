"""TLS on a transport that the test holds: what a peer may make it write, and what it passes on."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from pounce.asgi import Receive, Scope, Send
from pounce.config import Config
from pounce.tls import Tls, load_tls
from pounce.worker.tls_transport import ANSWERS_MOST, TlsTransport
from tests.support.certificates import Authority
from tests.support.transport import MemoryTransport, make_service

HANDSHAKE: Final = b"\x16"
KEY_UPDATE: Final = b"\x18\x00\x00\x01\x01"  # and an answer is wanted (RFC 8446 section 4.6.3)


class Heard(asyncio.Protocol):
    """Whoever is served."""


async def nobody(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("nothing is asked")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    pair = Authority(tmp_path_factory.mktemp("ca")).issue()
    files = {"certfile": (str(pair.cert),), "keyfile": (str(pair.key),)}
    return load_tls(Config(app="main:app", **files))  # type: ignore[arg-type]


class Talk:
    """A client, and the server that it has shaken hands with."""

    def __init__(self, tls: Tls, keys: Path) -> None:
        self.raw = MemoryTransport()
        self.server = TlsTransport(make_service(nobody), tls, lambda info: Heard())
        self.server.connection_made(self.raw)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.keylog_filename = str(keys)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._client = context.wrap_bio(self._in, self._out)
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self._client.do_handshake()
            if hello := self._out.read():
                self.server.data_received(hello)
            self._in.write(self.said())
        words = [line.split() for line in keys.read_text().splitlines()]
        secrets = [each[2] for each in words if each[0] == "CLIENT_TRAFFIC_SECRET_0"]
        self._secret = bytes.fromhex(secrets[0])

    def said(self) -> bytes:
        """What the server has written since."""
        said, self.raw.output = self.raw.output, b""
        return said

    def new_keys(self) -> Iterator[bytes]:
        """One record after the other that changes our keys and asks for the same."""
        while True:
            key, nonce = self._expand(b"key", 32), self._expand(b"iv", 12)
            inner = KEY_UPDATE + HANDSHAKE
            header = b"\x17\x03\x03" + struct.pack("!H", len(inner) + 16)
            yield header + AESGCM(key).encrypt(nonce, inner, header)  # the first under these keys
            self._secret = self._expand(b"traffic upd", 48)

    def _expand(self, label: bytes, length: int) -> bytes:
        label = b"tls13 " + label
        info = struct.pack("!HB", length, len(label)) + label + b"\x00"
        return HKDFExpand(hashes.SHA384(), length, info).derive(self._secret)


@pytest.fixture
def talk(tls: Tls, tmp_path: Path) -> Talk:
    async def made() -> Talk:
        return Talk(tls, tmp_path / "keys")

    return asyncio.run(made())


def test_a_peer_that_asks_for_answers_and_reads_none_is_cut_off(talk: Talk) -> None:
    talk.raw.unsent = 1
    written = 0
    for record in talk.new_keys():
        talk.server.data_received(record)
        if talk.raw.state == "aborted":
            break
        written += len(talk.said())
        assert written <= ANSWERS_MOST
    assert written > ANSWERS_MOST // 2


def test_one_that_reads_may_go_on(talk: Talk) -> None:
    records = talk.new_keys()
    for _ in range(2 * ANSWERS_MOST // 20):
        talk.server.data_received(next(records))
    assert len(talk.said()) > ANSWERS_MOST
    assert talk.raw.state == "open"
