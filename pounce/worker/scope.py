"""A request head to an ASGI scope, and what a trusted proxy says about the client. Pure.

Source: ASGI 3.0 HTTP connection scope; RFC 7239 (Forwarded).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from pounce.asgi import SPEC_VERSION, Header, Scope
from pounce.worker.wire import RequestHead

Address = tuple[str, int]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

EXTENSIONS: Final[dict[str, dict[str, Any]]] = {
    "http.response.trailers": {},
    "http.response.early_hint": {},
    "http.response.pathsend": {},
    "http.response.zerocopysend": {},
}

# for=, proto= and host= of one element; values are tokens or quoted strings (RFC 7239 §4).
PAIR: Final = re.compile(r'\s*([A-Za-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*')
BRACKETED: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?")
HOST_PORT: Final = re.compile(r"([0-9.]+):([0-9]{1,5})")


class ConnectionInfo:
    """What every scope of one connection has in common.

    Attributes:
        scheme: "http" or "https".
        client: host and port of the peer as it connected (or as a PROXY header said), or None.
        server: host and port, or path and None for a unix socket.
        trusted: the peer is a proxy whose word about the client counts.
    """

    __slots__ = ("client", "root_path", "scheme", "server", "state", "trusted")

    def __init__(
        self,
        *,
        scheme: str,
        client: Address | None,
        server: tuple[str, int | None] | None,
        trusted: bool,
        root_path: str,
        state: dict[str, Any],
    ) -> None:
        self.scheme = scheme
        self.client = client
        self.server = server
        self.trusted = trusted
        self.root_path = root_path
        self.state = state


def http_scope(head: RequestHead, info: ConnectionInfo, trust: Trust) -> Scope:
    """The scope of type "http" for one request."""
    _, method, target, version, headers, _, forwarded, _ = head
    raw_path, _, query = target.partition(b"?")
    if b"%" in raw_path:
        path = unquote_to_bytes(raw_path).decode("utf-8", "replace")
    else:
        path = raw_path.decode("ascii")
    root_path = info.root_path
    if root_path:
        path = root_path + path
        raw_path = root_path.encode() + raw_path
    scheme = info.scheme
    client = info.client
    if forwarded and info.trusted:
        scheme, client, headers = trust.apply(headers, scheme, client)
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
        "http_version": version,
        "method": method,
        "scheme": scheme,
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": root_path,
        "headers": headers,
        "client": client,
        "server": info.server,
        "state": info.state.copy(),
        "extensions": EXTENSIONS.copy(),
    }


class Trust:
    """The proxies whose word about the client counts: `--forwarded-allow-ips`.

    Args:
        allowed: addresses, networks in CIDR form, ``unix:`` for every peer of a unix socket, ``*``.

    Raises:
        ValueError: an entry that is none of these; the text says which.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        entries = {entry.strip() for entry in allowed} - {""}
        self._all = "*" in entries
        self._unix = self._all or "unix:" in entries
        self._networks: list[Network] = [
            ipaddress.ip_network(entry, strict=False) for entry in entries - {"*", "unix:"}
        ]
        self._known: dict[str, bool] = {}

    def includes(self, host: str | None) -> bool:
        """Is the peer at `host` trusted? None is a peer of a unix socket."""
        if host is None:
            return self._unix
        if self._all:
            return True
        known = self._known.get(host)
        if known is None:
            if len(self._known) > 1024:
                self._known.clear()
            known = self._known[host] = self._contains(host)
        return known

    def _contains(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def apply(
        self, headers: list[Header], scheme: str, client: Address | None
    ) -> tuple[str, Address | None, list[Header]]:
        """Scheme, client and headers as the proxies in front saw them.

        The client is the rightmost address that is not itself a trusted proxy: what stands left of
        it could have been written by anybody. Where all are trusted (or ``*`` is), that is the
        leftmost for a chain of our own, but with ``*`` the rightmost: a list in which everyone is
        trusted says nothing about who wrote what. Junk ends the walk.

        Source: RFC 7239 §5 and §8.1; Forwarded wins over X-Forwarded-* when both are there.
        """
        forwarded = _joined(headers, b"forwarded")
        if forwarded:
            hops = [_pairs(element) for element in _split(forwarded, ",")]
            addresses = [hop.get("for", "") for hop in hops]
            last = hops[-1]
            proto, host = last.get("proto", ""), last.get("host", "")
        else:
            addresses = [part for part in _joined(headers, b"x-forwarded-for").split(",") if part]
            proto = _joined(headers, b"x-forwarded-proto").rpartition(",")[2].strip().lower()
            host = _joined(headers, b"x-forwarded-host").rpartition(",")[2].strip()
        for text in reversed(addresses):
            address = parse_address(text)
            if address is None:
                break
            client = address
            if self._all or not self._contains(address[0]):
                break
        if proto in ("http", "https"):
            scheme = proto
        if host and re.fullmatch(r"[A-Za-z0-9\-._~:\[\]]+", host):
            headers = [field for field in headers if field[0] != b"host"]
            headers.insert(0, (b"host", host.encode("ascii")))
        return scheme, client, headers


def parse_address(text: str) -> Address | None:
    """Host and port (0 when there is none) of one Forwarded or X-Forwarded-For element, or None."""
    text = text.strip().strip('"')
    port = 0
    if found := BRACKETED.fullmatch(text) or HOST_PORT.fullmatch(text):
        text, port = found[1], int(found[2] or 0)
    try:
        return str(ipaddress.ip_address(text)), port if port < 65536 else 0
    except ValueError:
        return None


def _joined(headers: list[Header], name: bytes) -> str:
    """All fields of a name as one list, in their order (RFC 9110 §5.3)."""
    return ",".join(value.decode("latin-1") for key, value in headers if key == name)


def _split(text: str, at: str) -> list[str]:
    """Splits outside of quoted strings."""
    parts, begun, quoted = [], 0, False
    for index, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif char == at and not quoted:
            parts.append(text[begun:index])
            begun = index + 1
    return [*parts, text[begun:]]


def _pairs(element: str) -> dict[str, str]:
    found = {}
    for part in _split(element, ";"):
        if pair := PAIR.fullmatch(part):
            found[pair[1].lower()] = pair[2].strip('"')
    return found
