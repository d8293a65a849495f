"""A request head to an ASGI scope, and what a trusted proxy says about the client. Pure.

Source: ASGI 3.0 HTTP connection scope; RFC 7239 (Forwarded).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from pounce.asgi import SPEC_VERSION, Header, Scope
from pounce.worker.wire import RequestHead
from pounce.worker.wire.h1_request import is_host, with_host

Address = tuple[str, int]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

EXTENSIONS: Final[dict[str, dict[str, Any]]] = {
    "http.response.trailers": {},
    "http.response.early_hint": {},
    "http.response.pathsend": {},
    "http.response.zerocopysend": {},
}

# One of for=, proto=, host= and others; a value is a token or a quoted string (RFC 7239 §4).
PAIR: Final = re.compile(
    r"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(\"(?:[^\"\\]|\\.)*\"|[^ \t;,\"]*)[ \t]*"
)
BRACKETED: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?")
PERCENT: Final = 37  # "%"; an int is found faster than a byte string
HOST_PORT: Final = re.compile(r"([0-9.]+):([0-9]{1,5})")


class Named(Protocol):
    """Whose access line names its client: an HttpStream."""

    client: str


class ConnectionInfo:
    """What every scope of one connection has in common.

    Attributes:
        scheme: "http" or "https".
        client: host and port of the peer as it connected (or as a PROXY header said), or None.
        client_text: the same for the log; "-" for None.
        trusted: the peer is a proxy whose word about the client counts.
    """

    __slots__ = (
        "_extensions",
        "_root_path",
        "_state",
        "_template",
        "client",
        "client_text",
        "scheme",
        "trusted",
    )

    def __init__(
        self,
        *,
        scheme: str,
        client: Address | None,
        server: tuple[str, int | None] | None,
        trusted: bool,
        root_path: str,
        state: dict[str, Any],
        extensions: dict[str, Any] = EXTENSIONS,
    ) -> None:
        self.scheme = scheme
        self.trusted = trusted
        self._root_path = root_path
        self._state = state
        self._extensions = extensions
        self.set_addresses(client, server)

    def set_addresses(self, client: Address | None, server: tuple[str, int | None] | None) -> None:
        """Both ends: host and port, or None and the path of a unix socket."""
        self.client = client
        self.client_text = text_of(client)
        # Copying a scope and setting what differs costs two thirds of writing it out.
        self._template: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
            "http_version": "1.1",
            "method": "GET",
            "scheme": self.scheme,
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": self._root_path,
            "headers": [],
            "client": client,
            "server": server,
            "state": self._state,
            "extensions": self._extensions,
        }

    def add_extension(self, name: str, value: dict[str, Any]) -> None:
        """For the scopes of this connection alone."""
        self._template["extensions"] = self._extensions = {**self._extensions, name: value}

    def http_scope(self, head: RequestHead, trust: Trust, named: Named | None = None) -> Scope:
        """The scope of type "http" for one request.

        Args:
            trust: whose word about the client counts.
            named: gets the client's name too where a proxy says it. Not by way of the scope: to
                look into each for the few in which it is another would cost every request.
        """
        _, method, target, version, headers, _, forwarded, _ = head
        scope = self._template.copy()
        raw_path, _, query = target.partition(b"?")
        if PERCENT in raw_path:
            path = unquote_to_bytes(raw_path).decode("utf-8", "replace")
        else:
            path = raw_path.decode("ascii")
        if self._root_path:
            path = self._root_path + path
            raw_path = self._root_path.encode() + raw_path
        if version != "1.1":
            scope["http_version"] = version
        scope["method"] = method
        scope["path"] = path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        if forwarded and self.trusted:
            scope["scheme"], client, headers = trust.apply(headers, self.scheme, self.client)
            scope["client"] = client
            if named is not None:
                named.client = text_of(client)
        scope["headers"] = headers
        scope["state"] = self._state.copy()
        scope["extensions"] = self._extensions.copy()
        return scope

    def websocket_scope(
        self, head: RequestHead, trust: Trust, subprotocols: list[str], named: Named | None = None
    ) -> Scope:
        """The scope of type "websocket" for a request that asks for one; the rest as http_scope."""
        scope = self.http_scope(head, trust, named)
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
        scope["subprotocols"] = subprotocols
        scope["extensions"] = {
            name: value
            for name, value in scope["extensions"].items()
            if not name.startswith("http.")
        }
        scope["extensions"]["websocket.http.response"] = {}
        del scope["method"]
        return scope


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
        trusted says nothing about who wrote what. Junk ends the walk, and a malformed element is
        junk as a whole: a quote that a client leaves open would swallow what a proxy adds behind.

        Forwarded counts only where no X-Forwarded-* is there: most proxies write the latter and
        pass on the former, so that a client could write it in their place.

        Source: RFC 7239 §5 and §8.1.
        """
        addresses = _listed(headers, b"x-forwarded-for")
        proto = (_listed(headers, b"x-forwarded-proto") or [""])[-1]
        host = (_listed(headers, b"x-forwarded-host") or [""])[-1]
        hops = [
            _pairs(element)
            for line in _lines(headers, b"forwarded")
            for element in _split(line, ",")
            if element.strip(" \t")
        ]
        if hops and not (addresses or proto or host):
            addresses = [hop.get("for", "") for hop in hops]
            proto, host = hops[-1].get("proto", ""), hops[-1].get("host", "")
        for text in reversed(addresses):
            address = parse_address(text)
            if address is None:
                break
            client = address
            if self._all or not self._contains(address[0]):
                break
        if proto.lower() in ("http", "https"):
            scheme = proto.lower()
        authority = host.encode("latin-1")
        if authority and is_host(authority):  # as strict as with a Host of the client's own
            headers = with_host(headers, authority)
        return scheme, client, headers


def text_of(client: Address | None) -> str:
    """Host and port as the access log shows them; "-" for None."""
    return f"{client[0]}:{client[1]}" if client else "-"


def parse_address(text: str) -> Address | None:
    """Host and port (0 when there is none) of one Forwarded or X-Forwarded-For element, or None."""
    text = text.strip(" \t")
    if "%" in text:  # a zone means nothing to us, and may hold any characters whatever
        return None
    port = 0
    if found := BRACKETED.fullmatch(text) or HOST_PORT.fullmatch(text):
        text, port = found[1], int(found[2] or 0)
    try:
        return str(ipaddress.ip_address(text)), port if port < 65536 else 0
    except ValueError:
        return None


def _lines(headers: list[Header], name: bytes) -> list[str]:
    """All fields of a name, in their order."""
    return [value.decode("latin-1") for key, value in headers if key == name]


def _listed(headers: list[Header], name: bytes) -> list[str]:
    """The elements of all fields of a name as one list (RFC 9110 §5.3), empty ones left out."""
    parts = ",".join(_lines(headers, name)).split(",")
    return [part.strip(" \t") for part in parts if part.strip(" \t")]


def _split(text: str, at: str) -> list[str]:
    """Splits outside of quoted strings (RFC 9110 §5.6.4)."""
    parts, begun, quoted, escaped = [], 0, False, False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = quoted
        elif char == '"':
            quoted = not quoted
        elif char == at and not quoted:
            parts.append(text[begun:index])
            begun = index + 1
    return [*parts, text[begun:]]


def _pairs(element: str) -> dict[str, str]:
    """Names in lower case and their values; nothing of an element that is malformed anywhere."""
    found = {}
    for part in _split(element, ";"):
        if not part.strip(" \t"):
            continue
        pair = PAIR.fullmatch(part)
        if pair is None:
            return {}
        found[pair[1].lower()] = pair[2].strip('"')
    return found
