"""The opening handshake of a WebSocket over HTTP/1.1 and over HTTP/2: what is asked, what is given.

Checks a request's head and an application's acceptance; who writes the answer is the wire.

Source: RFC 6455 §4.2, RFC 8441 §4 and §5.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from pounce.asgi import Header, Headers
from pounce.worker.wire import RequestHead, ResponseError
from pounce.worker.wire.extensions import (
    Agreed,
    DeflateRules,
    Offer,
    agree_deflate,
    parse_extensions,
)
from pounce.worker.wire.h1_request import TOKEN_ONLY, Refusal

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION: Final = b"13"
# 16 bytes in base64. What the four bits left over in the last digit are does not matter.
KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")

# What says how the connection goes on, or is made of other arguments of the acceptance.
OWN_FIELDS: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


class HandshakeRefusal(Refusal):
    """The request asks for a WebSocket and gets an HTTP answer with `status` and `headers`."""

    def __init__(self, status: int, reason: str, headers: Sequence[Header] = ()) -> None:
        super().__init__(status, reason)
        self.headers = list(headers)


class HandshakeRules(NamedTuple):
    """What is demanded of clients, and offered to them.

    Attributes:
        origins: who may ask, as in the Origin field; empty: everybody.
        deflate: None: nothing is compressed.
    """

    origins: Collection[bytes] = frozenset()
    deflate: DeflateRules | None = None


class Asked(NamedTuple):
    """What a client that may have a WebSocket wants.

    Attributes:
        accept: the value for Sec-WebSocket-Accept; b"" over HTTP/2, which has none.
        subprotocols: in the order of the client's wish.
        deflate: how messages are compressed if the application accepts, or None.
    """

    accept: bytes
    subprotocols: list[str]
    deflate: Agreed | None


def names_websocket(upgrade: bytes) -> bool:
    """The value of an Upgrade field names the WebSocket protocol."""
    return b"websocket" in _elements(upgrade)


def check_request(head: RequestHead, rules: HandshakeRules) -> Asked:
    """What a request for a WebSocket wants, once it is found in order.

    Args:
        head: of a GET with Upgrade, or of an extended CONNECT on HTTP/2, whose ``:protocol`` the
            wire has looked at.

    Raises:
        HandshakeRefusal: malformed (400, 405), from a wrong origin (403), or of a version other
            than 13 (426).
    """
    fields = _collect(head.headers)
    http2 = head.version == "2"
    if not http2:
        _check_upgrade(head, fields)
    _check_version(fields[b"sec-websocket-version"])
    accept = b"" if http2 else accept_of(_key(fields[b"sec-websocket-key"]))
    _check_origin(fields[b"origin"], rules.origins)
    subprotocols = _subprotocols(fields[b"sec-websocket-protocol"])
    offers: list[Offer] | None = parse_extensions(fields[b"sec-websocket-extensions"])
    if offers is None:
        raise HandshakeRefusal(400, "Sec-WebSocket-Extensions is not a list of extensions")
    deflate = agree_deflate(offers, rules.deflate) if rules.deflate is not None else None
    return Asked(accept, subprotocols, deflate)


def accept_of(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 §4.2.2)."""
    digest = hashlib.sha1(key + GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest)


def accept_fields(asked: Asked, subprotocol: str | None, headers: Headers) -> list[Header]:
    """The fields of the answer that opens the WebSocket, for Wire.accept_tunnel().

    Args:
        subprotocol, headers: as the application gave them in ``websocket.accept``.

    Raises:
        ResponseError: a subprotocol that was not offered, or a field that is not the application's.
    """
    answer: list[Header] = []
    if asked.accept:
        answer.append((b"sec-websocket-accept", asked.accept))
    if subprotocol is not None:
        if subprotocol not in asked.subprotocols:
            offered = ", ".join(asked.subprotocols) or "none"
            raise ResponseError(
                f"subprotocol {subprotocol!r} was accepted; the client offered {offered}"
            )
        answer.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
    if asked.deflate is not None:
        answer.append((b"sec-websocket-extensions", asked.deflate.field))
    for field in headers:
        try:
            name, value = field
            lower = name.lower()
        except (AttributeError, TypeError, ValueError):
            raise ResponseError(f"header {field!r} is not a pair of name and value") from None
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ResponseError(f"header ({name!r}, {value!r}) is not a pair of bytes")
        if lower == b"sec-websocket-protocol":
            raise ResponseError("header sec-websocket-protocol: give it as subprotocol")
        if lower in OWN_FIELDS or lower.startswith((b"sec-websocket-", b":")):
            raise ResponseError(f"header {lower!r} of an accepted WebSocket is the server's")
        answer.append((name, value))
    return answer


FIELDS: Final = (
    b"connection",
    b"origin",
    b"sec-websocket-extensions",
    b"sec-websocket-key",
    b"sec-websocket-protocol",
    b"sec-websocket-version",
    b"upgrade",
)


def _collect(headers: Iterable[Header]) -> dict[bytes, list[bytes]]:
    fields: dict[bytes, list[bytes]] = {name: [] for name in FIELDS}
    for name, value in headers:
        if name in fields:
            fields[name].append(value)
    return fields


def _elements(value: bytes) -> list[bytes]:
    """Of a comma-separated list, in lower case; empty ones are left out."""
    return [part for each in value.lower().split(b",") if (part := each.strip(b" \t"))]


def _check_upgrade(head: RequestHead, fields: dict[bytes, list[bytes]]) -> None:
    if head.method != "GET":
        raise HandshakeRefusal(405, "a WebSocket is asked for with GET", [(b"allow", b"GET")])
    if head.version != "1.1":
        raise HandshakeRefusal(400, "a WebSocket needs HTTP/1.1")  # RFC 9110 §7.8
    if not any(names_websocket(value) for value in fields[b"upgrade"]):
        raise HandshakeRefusal(400, "Upgrade does not name websocket")
    if not any(b"upgrade" in _elements(value) for value in fields[b"connection"]):
        # Said to who runs the proxy in front, most likely.
        raise HandshakeRefusal(400, "Upgrade came, but Connection does not name it")
    if head.has_body:
        raise HandshakeRefusal(400, "a request for a WebSocket has no body")


def _check_version(versions: list[bytes]) -> None:
    if versions == [VERSION]:
        return
    if len(versions) != 1:
        raise HandshakeRefusal(400, f"{len(versions)} Sec-WebSocket-Version fields, expected one")
    raise HandshakeRefusal(
        426,  # RFC 6455 §4.4; RFC 9110 §15.5.22 wants the Upgrade field
        "the WebSocket version spoken here is 13",
        [
            (b"sec-websocket-version", VERSION),
            (b"upgrade", b"websocket"),
            (b"connection", b"upgrade"),
        ],
    )


def _key(keys: list[bytes]) -> bytes:
    if len(keys) != 1:
        raise HandshakeRefusal(400, f"{len(keys)} Sec-WebSocket-Key fields, expected one")
    if not KEY.fullmatch(keys[0]):
        raise HandshakeRefusal(400, "Sec-WebSocket-Key is not 16 bytes in base64")
    return keys[0]


def _check_origin(origins: list[bytes], allowed: Collection[bytes]) -> None:
    """Who sends no Origin passes: no browser, so nobody's cookies are at stake (RFC 6455 §10.2)."""
    if len(origins) > 1:
        raise HandshakeRefusal(400, f"{len(origins)} Origin fields, expected one")
    if allowed and origins and origins[0].lower() not in allowed:
        raise HandshakeRefusal(403, "this origin may not open a WebSocket")


def _subprotocols(values: list[bytes]) -> list[str]:
    names: list[str] = []
    for value in values:
        for each in value.split(b","):
            name = each.strip(b" \t")
            if not name:
                continue  # RFC 9110 §5.6.1.2
            if not TOKEN_ONLY.fullmatch(name):
                raise HandshakeRefusal(400, "Sec-WebSocket-Protocol is not a list of tokens")
            names.append(name.decode("ascii"))
    if len(set(names)) != len(names):  # RFC 6455 §4.1, item 10
        raise HandshakeRefusal(400, "Sec-WebSocket-Protocol names one protocol twice")
    return names
