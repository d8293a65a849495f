"""Checks the fields of an HTTP/2 request and says what they ask for. Knows no stream.

The h2 library is told of no fields: it looks at less, and ends the connection where the stream
alone is at fault. A malformed request is a stream error (RFC 9113 §8.1.1).

Source: RFC 9113 §8.2 and §8.3, RFC 8441 §4, RFC 9218 §4 and §5.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from pounce.asgi import Header
from pounce.worker.wire.h1_request import (
    CONTENT_LENGTH,
    LONGEST_METHOD,
    METHODS,
    TARGET_BYTES,
    TOKEN_ONLY,
    Limits,
    Refusal,
    is_host,
)

NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
# No control byte but TAB, and neither SP nor TAB at the ends.
VALUE: Final = re.compile(
    rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?"
)
PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
# What speaks of a connection (RFC 9113 §8.2.2).
HOP_BY_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
FORWARDED: Final = frozenset(
    (
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
    )
)
FIELD_COST: Final = 32  # bytes that each counts beside name and value (RFC 9113 §6.5.2)

# Urgency and incremental of a Priority field, a dictionary of RFC 8941; what else is in it, and
# what is malformed, does not count.
URGENCY: Final = re.compile(rb"(?:\A|,)[ \t]*u=([0-7])[ \t]*(?=;|,|\Z)")
INCREMENTAL: Final = re.compile(rb"(?:\A|,)[ \t]*i(?:=\?([01]))?[ \t]*(?=;|,|\Z)")

# Bytes of fields that were found in order before, and that say nothing of the request as a whole.
_PLAIN: Final[dict[Header, int]] = {}
_PLAIN_LIMIT: Final = 1024  # then all are forgotten
_PLAIN_SIZE: Final = 256
plain_field: Final = _PLAIN.get


class Malformed(Exception):  # noqa: N818  # a verdict about the peer's bytes, not an error of ours
    """The stream is reset with PROTOCOL_ERROR."""


class Priority(NamedTuple):
    """When a response is sent, of several.

    Attributes:
        urgency: 0 first, 7 last.
        shared: in turn with others of the same urgency; else one after the other. A client that
            says nothing at all gets it so: one long answer shall hold up no other.
    """

    urgency: int = 3
    shared: bool = True


class Request(NamedTuple):
    """What a checked header block asks for.

    Attributes:
        headers: as a scope has them, with ``host`` first; to be copied, since it is used again.
        length: of the body by Content-Length, or -1.
        protocol: of an extended CONNECT, else b"".
    """

    method: str
    target: bytes
    headers: list[Header]
    length: int
    expects: bool
    forwarded: bool
    protocol: bytes
    priority: Priority


def check_request(fields: list[Header], limits: Limits, *, tunnels: bool) -> Request:
    """What a request's fields ask for.

    Args:
        tunnels: extended CONNECT was offered.

    Raises:
        Malformed: it breaks a rule of HTTP/2.
        Refusal: it is over a limit, or of a kind that is not served.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: list[Header] = []
    cookies: list[bytes] = []
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    expect = priority = b""
    forwarded = False
    size = longest = 0
    for field in fields:
        plain = plain_field(field)
        if plain is not None:
            size += plain + FIELD_COST
            if plain > longest:
                longest = plain
            headers.append(field)
            continue
        name, value = field
        here = len(name) + len(value)
        size += here + FIELD_COST
        if not VALUE.fullmatch(value):
            raise Malformed("control byte, or space around it, in the value of a field")
        if name[:1] == b":":
            if headers or cookies or hosts:
                raise Malformed("pseudo-header field behind others")
            if name not in PSEUDO or name in pseudo:
                raise Malformed("pseudo-header field unknown, or twice")
            pseudo[name] = value
            continue
        if not NAME.fullmatch(name):
            raise Malformed("name of a field is not a token in lower case")
        longest = max(longest, here)
        match name:
            case b"cookie":  # RFC 9113 §8.2.3
                if not cookies:
                    headers.append((name, b""))
                cookies.append(value)
                continue
            case b"host":
                hosts.append(value)
                continue
            case b"content-length":
                lengths.append(value)
            case b"expect":
                expect = value.lower()
            case b"priority":
                priority = value
            case b"authorization":
                pass  # not to be kept longer than its request
            case b"te" if value.lower() != b"trailers":
                raise Malformed("te is something else than trailers")
            case _:
                if name in HOP_BY_HOP:
                    raise Malformed("field that speaks of a connection")
                if name in FORWARDED:
                    forwarded = True
                elif here <= _PLAIN_SIZE:
                    if len(_PLAIN) >= _PLAIN_LIMIT:
                        _PLAIN.clear()
                    _PLAIN[field] = here
        headers.append(field)
    method, target, protocol = _control(pseudo, limits, tunnels=tunnels)
    if longest > limits.max_field_size:
        raise Refusal(431, f"header field over {limits.max_field_size} bytes")
    if len(headers) + len(hosts) > limits.max_headers:
        raise Refusal(431, f"more than {limits.max_headers} header fields")
    if size > limits.max_head_size:
        raise Refusal(431, f"request head over {limits.max_head_size} bytes")
    if expect and expect != b"100-continue":
        raise Refusal(417, "the only expectation known is 100-continue")
    length = _length(lengths)
    if length > limits.max_body_size > 0:
        raise Refusal(413, f"request body over {limits.max_body_size} bytes")
    if cookies:
        at = headers.index((b"cookie", b""))
        headers[at] = (b"cookie", b"; ".join(cookies))
    return Request(
        method=method,
        target=target,
        headers=[(b"host", _authority(pseudo, hosts)), *headers],
        length=length,
        expects=bool(expect),
        forwarded=forwarded,
        protocol=protocol,
        priority=parse_priority(priority),
    )


def check_trailers(fields: list[Header], limits: Limits) -> None:
    """Raises Malformed for a trailer section that cannot be one; a good one is dropped too."""
    if len(fields) > limits.max_headers:
        raise Malformed("too many trailer fields")
    for name, value in fields:
        if not NAME.fullmatch(name) or not VALUE.fullmatch(value) or name in HOP_BY_HOP:
            raise Malformed("trailer field is malformed, or a pseudo-header field")


def parse_priority(value: bytes) -> Priority:
    """What a Priority field says; the usual where it says nothing."""
    urgency = URGENCY.search(value)
    incremental = INCREMENTAL.search(value)
    return Priority(
        int(urgency[1]) if urgency else 3,
        incremental[1] != b"0" if incremental else not urgency,
    )


def _control(
    pseudo: dict[bytes, bytes], limits: Limits, *, tunnels: bool
) -> tuple[str, bytes, bytes]:
    """Method, target and protocol."""
    method = pseudo.get(b":method", b"")
    protocol = pseudo.get(b":protocol")
    if not TOKEN_ONLY.fullmatch(method):
        raise Malformed(":method is missing, or no token")
    if protocol is not None and (method != b"CONNECT" or not tunnels):
        raise Malformed(":protocol was not offered, or not with CONNECT")
    if method == b"CONNECT" and protocol is None:
        if b":scheme" in pseudo or b":path" in pseudo:
            raise Malformed("CONNECT with :scheme or :path")
        raise Refusal(501, "CONNECT is for proxies")
    if pseudo.get(b":scheme") not in (b"http", b"https"):
        raise Malformed(":scheme is missing, or neither http nor https")
    target = pseudo.get(b":path", b"")
    if not TARGET_BYTES.fullmatch(target):
        raise Malformed(":path is missing, or holds a byte that must be percent-encoded")
    if target[:1] != b"/" and (target != b"*" or method != b"OPTIONS"):
        raise Malformed(":path is no path")
    if len(method) > LONGEST_METHOD:
        raise Refusal(501, f"method over {LONGEST_METHOD} bytes")
    if len(target) > limits.max_target_size:
        raise Refusal(414, f"request target over {limits.max_target_size} bytes")
    if protocol is not None and protocol.lower() != b"websocket":
        raise Refusal(501, "the only protocol known is websocket")  # RFC 9220 §3
    return METHODS.get(method) or method.decode("ascii").upper(), target, protocol or b""


def _authority(pseudo: dict[bytes, bytes], hosts: list[bytes]) -> bytes:
    """Who is asked: ``:authority``, or else Host; both must say the same (RFC 9113 §8.3.1)."""
    named = pseudo.get(b":authority")
    if len(hosts) > 1 or (named is None and not hosts):
        raise Malformed("neither :authority nor one Host")
    authority = hosts[0] if named is None else named
    if hosts and hosts[0].lower() != authority.lower():
        raise Malformed(":authority and Host differ")
    if not authority or not is_host(authority):
        raise Malformed(":authority is not a host with an optional port")
    return authority


def _length(lengths: list[bytes]) -> int:
    if not lengths:
        return -1
    if len(lengths) > 1 or not CONTENT_LENGTH.fullmatch(lengths[0]):
        raise Malformed("content-length is not one decimal number below 10^18")
    return int(lengths[0])
