"""Checks an HTTP/1.1 request head and says how its body is framed. Knows no parser, no connection.

Every check of ours is here, so that both readers give one verdict: what passes HEAD and
check_fields() is unambiguous, and a reader only has to split it. Bytes are matched as bytes: int(),
str.strip() and str.lower() take far more than the grammar does.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pounce.asgi import Header

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110 §5.6.2
FIELD: Final = TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n"  # RFC 9110 §5.5, obs-text allowed

# A whole request head. Possessive quantifiers: no input makes it backtrack.
HEAD: Final = re.compile(
    rb"(" + TOKEN + rb"++) ([\x21\x22\x24-\x7e]++) HTTP/1\.([01])\r\n(?:" + FIELD + rb")*+\r\n"
)
# What can never become a head: a control byte, a CR without LF or an LF without CR (RFC 9112 §2.2).
HOPELESS: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)|(?<!\r)\n")
REQUEST_LINE: Final = re.compile(TOKEN + rb"+ ([^ ]+) (HTTP/[0-9]\.[0-9])")
TARGET_BYTES: Final = re.compile(rb"[\x21\x22\x24-\x7e]+")
FIELD_LINE: Final = re.compile(FIELD)
VERSION_10_OR_11: Final = (b"HTTP/1.0", b"HTTP/1.1")

# uri-host [":" port] of RFC 3986 §3.2, without userinfo: what is in brackets, and the port. Empty
# is allowed (RFC 9112 §3.2), but not a port of nothing (RFC 9110 §4.2.1).
HOST: Final = re.compile(
    rb"(?:(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})++|\[([0-9A-Fa-f:.]+)\])"
    rb"(?::([0-9]{0,5}))?|"
)
LAST_PORT: Final = 65535
CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,18}")  # below 2^63 whatever the digits are
TOKEN_ONLY: Final = re.compile(TOKEN + rb"+")
ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?]*)(.*)")

LONGEST_METHOD: Final = 32  # bytes; the longest registered one is UPDATEREDIRECTREF with 17

SPECIAL: Final = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"expect",
        b"upgrade",
        b"sec-websocket-key",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
    )
)
METHODS: Final = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
}

# Host values seen to be valid: the same few come with every request. Emptied when full.
_KNOWN_HOSTS: set[bytes] = set()
_KNOWN_HOSTS_LIMIT: Final = 256


class Refusal(Exception):  # noqa: N818  # a verdict about the peer's bytes, not an error of ours
    """The request is answered with `status` and the connection is closed."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a request is taken; the settings of the same names say more. Sizes in bytes."""

    max_target_size: int = 8192
    max_field_size: int = 16384
    max_head_size: int = 65536
    max_headers: int = 100
    max_body_size: int = 0  # 0: no limit

    @property
    def smallest(self) -> int:
        """A head up to this size cannot break any limit on sizes."""
        return min(self.max_target_size, self.max_field_size, self.max_head_size)


class Facts(NamedTuple):
    """What the fields of a head mean for the connection.

    Attributes:
        length: body bytes to come; CHUNKED (-1) for the chunked coding.
        keep_alive: the peer would like to send another request after this one.
        expects: it waits for 100 Continue before it sends the body.
        upgrade: the Upgrade field, lower case, where it is meant, else b""; LOST where it is not
            there, or not to be heeded, but the key of a WebSocket is.
        forwarded: there is a field that speaks of a proxy.
    """

    length: int
    keep_alive: bool
    expects: bool
    upgrade: bytes
    forwarded: bool


CHUNKED: Final = -1
LOST: Final = b"(lost)"  # no token: nobody can send it
NO_BODY: Final = Facts(0, True, False, b"", False)  # what most requests say


def check_sizes(head: bytes, target: bytes, method: bytes, limits: Limits) -> None:
    """Raises Refusal (414, 431 or 501) when a part of a well-formed head is over its limit."""
    if len(method) > LONGEST_METHOD:
        raise Refusal(501, f"method over {LONGEST_METHOD} bytes")
    if len(target) > limits.max_target_size:
        raise Refusal(414, f"request target over {limits.max_target_size} bytes")
    if len(head) > limits.max_head_size:
        raise Refusal(431, f"request head over {limits.max_head_size} bytes")
    if len(head) > limits.max_field_size:
        for line in head.split(b"\r\n")[1:]:
            if len(line) > limits.max_field_size:
                raise Refusal(431, f"header field over {limits.max_field_size} bytes")


def check_fields(headers: list[Header], *, http11: bool) -> Facts:
    """What the header fields say about framing and connection.

    Args:
        headers: names in lower case, values stripped.
        http11: False for HTTP/1.0.

    Raises:
        Refusal: anything doubtful about Host, Content-Length, Transfer-Encoding or Expect.

    Source: RFC 9112 §3.2 (Host), §6.1 to §6.3 (framing), §9.3 (persistence);
    RFC 9110 §10.1.1 (Expect), §7.8 (Upgrade).
    """
    hosts = 0
    lengths: list[bytes] = []
    codings: list[bytes] = []
    options: list[bytes] = []
    upgrade = b""
    expects = forwarded = key = False
    for name, value in headers:
        if name not in SPECIAL:
            continue
        match name:
            case b"host":
                hosts += 1
                _check_host(value)
            case b"content-length":
                lengths.append(value)
            case b"transfer-encoding":
                codings.append(value)
            case b"connection":
                options += [option.strip(b" \t") for option in value.lower().split(b",")]
            case b"upgrade":
                upgrade = (upgrade + b"," + value if upgrade else value).lower()
            case b"sec-websocket-key":
                key = True
            case b"expect":
                if http11 and value.lower() != b"100-continue":
                    raise Refusal(417, "the only expectation known is 100-continue")
                expects = http11
            case _:
                forwarded = True
    if hosts != 1 and (http11 or hosts):
        raise Refusal(400, f"{hosts} Host fields, expected one")
    return Facts(
        length=_body_length(lengths, codings, http11=http11),
        keep_alive=b"close" not in options and (http11 or b"keep-alive" in options),
        expects=expects,
        upgrade=_meant(upgrade, options, key=key, http11=http11),
        forwarded=forwarded,
    )


def _meant(upgrade: bytes, options: list[bytes], *, key: bool, http11: bool) -> bytes:
    """Facts.upgrade: what is asked for, also where Connection was lost on the way to us.

    A proxy that passes on Upgrade and not Connection is set up wrongly, and its owner should read
    so, not what the application has to say of a GET (RFC 6455 §4.2.1). One that takes off both, or
    speaks HTTP/1.0, as nginx does when it is told nothing, leaves an ordinary request (RFC 9110
    §7.8), of which all that can be known is that a client meant another one.
    """
    if not http11 or not upgrade:
        return LOST if key else b""
    return upgrade if key or b"upgrade" in options else b""


def quick_facts(headers: list[Header]) -> Facts | None:
    """The facts of an HTTP/1.1 request that is as most are; None: check_fields() must look closer.

    It knows one Host seen before, ``Connection: keep-alive`` and a plain Content-Length, and costs
    a fifth of the whole.
    """
    hosts = 0
    length = b""
    for name, value in headers:
        if name in SPECIAL:
            if name == b"host":
                if value not in _KNOWN_HOSTS:
                    return None
                hosts += 1
            elif name == b"content-length":
                if length or not CONTENT_LENGTH.fullmatch(value):
                    return None
                length = value
            elif name != b"connection" or value != b"keep-alive":
                return None
    if hosts != 1:
        return None
    return Facts(int(length), True, False, b"", False) if length else NO_BODY


def is_host(value: bytes) -> bool:
    """Can a URL be built from it: a host, or nothing, with an optional port (RFC 3986 §3.2)."""
    parts = HOST.fullmatch(value)
    if parts is None or int(parts[2] or 0) > LAST_PORT:
        return False
    if parts[1] is not None:  # urllib raises for [1.2] and [::::], each time it is asked for
        try:
            ipaddress.IPv6Address(parts[1].decode("ascii"))
        except ValueError:
            return False
    return True


def _check_host(value: bytes) -> None:
    if value in _KNOWN_HOSTS:
        return
    # No peer checks it, and frameworks build URLs from it (CVE-2026-48710).
    if not is_host(value):
        raise Refusal(400, "Host is not a host with an optional port")
    if len(_KNOWN_HOSTS) >= _KNOWN_HOSTS_LIMIT:
        _KNOWN_HOSTS.clear()
    if len(value) <= 255:
        _KNOWN_HOSTS.add(value)


def _body_length(lengths: Sequence[bytes], codings: Sequence[bytes], *, http11: bool) -> int:
    if not codings:
        if not lengths:
            return 0
        if len(lengths) > 1 or not CONTENT_LENGTH.fullmatch(lengths[0]):
            raise Refusal(400, "Content-Length is not one decimal number below 10^18")
        return int(lengths[0])
    if not http11:
        raise Refusal(400, "Transfer-Encoding in HTTP/1.0")
    if lengths:
        raise Refusal(400, "Transfer-Encoding and Content-Length in one request")
    if len(codings) > 1:
        raise Refusal(400, "more than one Transfer-Encoding field")
    if codings[0].lower() == b"chunked":
        return CHUNKED
    names = [name.strip(b" \t").lower() for name in codings[0].split(b",")]
    if b"chunked" in names[:-1] or not all(TOKEN_ONLY.fullmatch(name) for name in names):
        raise Refusal(400, "Transfer-Encoding does not end in one chunked")
    raise Refusal(501, "the only transfer coding known is chunked")


def split_target(target: bytes, method: bytes) -> tuple[bytes, bytes]:
    """The origin-form (or ``*``) of a target, and the authority of an absolute-form one, else b"".

    Raises:
        Refusal: authority-form, a relative path, ``*`` without OPTIONS, an authority with userinfo.

    Source: RFC 9112 §3.2.1 to §3.2.4.
    """
    if method == b"CONNECT":
        raise Refusal(501, "CONNECT is for proxies")
    if target[:1] == b"/":
        return target, b""
    if target == b"*":
        if method != b"OPTIONS":
            raise Refusal(400, "target * is for OPTIONS only")
        return target, b""
    absolute = ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Refusal(400, "request target is neither a path nor an absolute URI")
    scheme, authority, rest = absolute.groups()
    if scheme.lower() not in (b"http", b"https") or not authority:
        raise Refusal(400, "request target is not an http URI with a host")
    _check_host(authority)
    if not rest:
        return (b"*" if method == b"OPTIONS" else b"/"), authority
    return (rest if rest[:1] == b"/" else b"/" + rest), authority


def split_fields(head: bytes) -> list[Header]:
    """The fields of a head that matches HEAD, by plain splitting: names lower, values stripped."""
    headers = []
    for line in head[:-4].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        headers.append((name.lower(), value.strip(b" \t")))
    return headers


def diagnose(head: bytes, limits: Limits) -> Refusal:
    """Why a complete head, up to and with its empty line, does not match HEAD."""
    return _wrong_request_line(head.partition(b"\r\n")[0], limits) or Refusal(
        400, "header line is not name:value, or holds a control byte"
    )


def _wrong_request_line(line: bytes, limits: Limits) -> Refusal | None:
    """What is wrong with a whole request line, without its end; None where it is well-formed."""
    if len(line) > limits.max_target_size + LONGEST_METHOD:
        return _too_long(line, limits)
    parts = REQUEST_LINE.fullmatch(line)
    if parts is None:
        return Refusal(400, "request line is not METHOD SP target SP HTTP/1.1")
    if parts[2] not in VERSION_10_OR_11:
        return Refusal(505, "HTTP version is not 1.0 or 1.1")
    if not TARGET_BYTES.fullmatch(parts[1]):
        return Refusal(400, "request target holds a byte that must be percent-encoded")
    return None


def _too_long(line: bytes, limits: Limits) -> Refusal:
    if len(line.partition(b" ")[0]) > LONGEST_METHOD:
        return Refusal(501, f"method over {LONGEST_METHOD} bytes")
    return Refusal(414, f"request target over {limits.max_target_size} bytes")


def check_unfinished(head: bytes, seen: int, limits: Limits) -> None:
    """Raises Refusal for a head without its end that cannot become right any more.

    Args:
        seen: how many of its bytes an earlier call has been given, so that a dripped head costs no
            more than one sent whole.
    """
    if HOPELESS.search(head, max(0, seen - 1)):
        raise Refusal(400, "control byte, or CR and LF not together")
    end = head.find(b"\r\n")
    if end < 0 and len(head) > limits.max_target_size + LONGEST_METHOD:
        raise _too_long(head, limits)
    if end >= 0 and end + 2 > seen:  # whole as of now: who speaks another protocol stops here
        refusal = _wrong_request_line(head[:end], limits)
        if refusal is not None:
            raise refusal
    if len(head) > limits.max_head_size:
        raise Refusal(431, f"request head over {limits.max_head_size} bytes")


def with_host(headers: list[Header], authority: bytes) -> list[Header]:
    """The authority of an absolute-form target replaces Host (RFC 9112 §3.2.2)."""
    rest = [field for field in headers if field[0] != b"host"]
    return [(b"host", authority), *rest]
