"""What a client offers by ALPN, read off its first bytes. Pure.

Python's ssl answers a client with which we share no protocol as if it had offered none; RFC 7301
§3.2 wants an alert. Source: RFC 8446 §4.1.2 and §5.1.
"""

from __future__ import annotations

from typing import Final

HANDSHAKE: Final = 22
CLIENT_HELLO: Final = 1
ALPN: Final = 16
RECORD_HEADER: Final = 5
# Some 2 KiB with keys that quantum computers cannot guess; past this it is openssl's to judge.
LONGEST: Final = 32 * 1024
# Each byte that comes has all of them looked at again; nobody writes more than a few.
RECORDS_MOST: Final = 16
# A fatal alert, no_application_protocol (120), as the one record that we write ourselves.
NO_APPLICATION_PROTOCOL: Final = bytes((21, 3, 3, 0, 2, 2, 120))


class IncompleteError(Exception):
    """More bytes are needed to tell."""


def offered_protocols(data: bytes) -> list[bytes]:
    """What ALPN offers; nothing where the extension is missing.

    Raises:
        IncompleteError: more bytes are needed.
        ValueError: it is no ClientHello, or a malformed one.
    """
    hello = _message(data)
    try:
        at = 2 + 32  # version and random
        at += 1 + hello[at]  # session
        at += 2 + _number(hello, at)  # ciphers
        at += 1 + hello[at]  # compression
        end = at + 2 + _number(hello, at) if at < len(hello) else at
        at += 2
        while at < end:
            kind, size = _number(hello, at), _number(hello, at + 2)
            at += 4
            if kind == ALPN:
                return _names(hello[at + 2 : at + size])
            at += size
    except IndexError:
        raise ValueError("malformed ClientHello") from None
    return []


def _message(data: bytes) -> bytes:
    """The ClientHello without its frames: it may be spread over several records."""
    message, at, records = b"", 0, 0
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        if data[at : at + 1] not in (b"", b"\x16") or message[:1] not in (b"", b"\x01"):
            raise ValueError("no ClientHello")
        records += 1
        if len(data) > LONGEST or records > RECORDS_MOST:
            raise ValueError("ClientHello too long to look into")
        if len(data) < at + RECORD_HEADER:
            raise IncompleteError
        size = _number(data, at + 3)
        at += RECORD_HEADER
        if not size:
            raise ValueError("empty record")
        if len(data) < at + size:
            raise IncompleteError
        message += data[at : at + size]
        at += size
    if message[0] != CLIENT_HELLO:
        raise ValueError("no ClientHello")
    return message[4 : 4 + int.from_bytes(message[1:4], "big")]


def _names(data: bytes) -> list[bytes]:
    names, at = [], 0
    while at < len(data):
        size = data[at]
        names.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return names


def _number(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]
