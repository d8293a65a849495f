"""Heads to scopes, and what trusted proxies say."""

from __future__ import annotations

from typing import Any

import pytest

from pounce.asgi import Header
from pounce.worker.scope import EXTENSIONS, ConnectionInfo, Trust, parse_address
from pounce.worker.wire import RequestHead

CLIENT = ("192.0.2.7", 50000)


def head(target: bytes = b"/a", *, headers: list[Header] | None = None, **more: Any) -> RequestHead:
    fields: dict[str, Any] = {
        "stream": 1,
        "method": "GET",
        "target": target,
        "version": "1.1",
        "headers": headers or [(b"host", b"example.test")],
        "has_body": False,
        "forwarded": False,
        "tunnel": "",
    }
    return RequestHead(**{**fields, **more})


def info(**more: Any) -> ConnectionInfo:
    fields: dict[str, Any] = {
        "scheme": "http",
        "client": CLIENT,
        "server": ("192.0.2.1", 8000),
        "trusted": False,
        "root_path": "",
        "state": {},
    }
    return ConnectionInfo(**{**fields, **more})


NOBODY = Trust(())


def test_a_scope_is_complete_and_nothing_more() -> None:
    scope = info().http_scope(head(b"/a/b?x=1&y"), NOBODY)
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a/b",
        "raw_path": b"/a/b",
        "query_string": b"x=1&y",
        "root_path": "",
        "headers": [(b"host", b"example.test")],
        "client": CLIENT,
        "server": ("192.0.2.1", 8000),
        "state": {},
        "extensions": EXTENSIONS,
    }


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        (b"/", "/", b"/", b""),
        (b"/?", "/", b"/", b""),
        (b"/a?b?c", "/a", b"/a", b"b?c"),
        (b"/caf%C3%A9", "/café", b"/caf%C3%A9", b""),
        (b"/a%2Fb", "/a/b", b"/a%2Fb", b""),
        (b"/%2e%2e/x", "/../x", b"/%2e%2e/x", b""),
        (b"//x", "//x", b"//x", b""),
        (b"/%ff", "/\ufffd", b"/%ff", b""),
        (b"/%c0%ae", "/\ufffd\ufffd", b"/%c0%ae", b""),
        (b"/%zz", "/%zz", b"/%zz", b""),
        (b"/%00", "/\x00", b"/%00", b""),
        (b"/a?%41", "/a", b"/a", b"%41"),
        (b"*", "*", b"*", b""),
    ],
)
def test_the_path_is_decoded_and_the_raw_one_is_as_received(
    target: bytes, path: str, raw_path: bytes, query: bytes
) -> None:
    scope = info().http_scope(head(target), NOBODY)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


def test_root_path_stands_before_the_path() -> None:
    scope = info(root_path="/api").http_scope(head(b"/a%20b"), NOBODY)
    assert scope["root_path"] == "/api"
    assert scope["path"] == "/api/a b"
    assert scope["raw_path"] == b"/api/a%20b"


def test_http_1_0_and_other_methods_are_told() -> None:
    scope = info().http_scope(head(version="1.0", method="POST"), NOBODY)
    assert scope["http_version"] == "1.0"
    assert scope["method"] == "POST"


def test_a_unix_socket_has_no_client_and_its_path_as_server() -> None:
    scope = info(client=None, server=("/run/app.sock", None)).http_scope(head(), NOBODY)
    assert scope["client"] is None
    assert scope["server"] == ("/run/app.sock", None)


def test_what_one_request_changes_the_next_does_not_see() -> None:
    state = {"pool": object()}
    one = info(state=state)
    scope = one.http_scope(head(), NOBODY)
    scope["state"]["user"] = "me"
    scope["extensions"]["mine"] = {}
    scope["path"] = "/elsewhere"
    again = one.http_scope(head(), NOBODY)
    assert again["state"] == state
    assert again["extensions"] == EXTENSIONS
    assert "mine" not in EXTENSIONS
    assert again["path"] == "/a"


def test_a_proxy_header_changes_both_addresses() -> None:
    one = info()
    one.set_addresses(("198.51.100.9", 1234), ("198.51.100.1", 80))
    scope = one.http_scope(head(), NOBODY)
    assert scope["client"] == ("198.51.100.9", 1234)
    assert scope["server"] == ("198.51.100.1", 80)
    assert one.client_text == "198.51.100.9:1234"


# Trust


@pytest.mark.parametrize(
    ("allowed", "host", "trusted"),
    [
        ((), "127.0.0.1", False),
        (("127.0.0.1",), "127.0.0.1", True),
        (("127.0.0.1",), "127.0.0.2", False),
        (("10.0.0.0/8",), "10.9.8.7", True),
        (("10.0.0.1/8",), "10.9.8.7", True),
        (("10.0.0.0/8",), "11.0.0.1", False),
        (("::1",), "::1", True),
        (("fd00::/8",), "fd12::1", True),
        (("127.0.0.1",), "::ffff:127.0.0.1", True),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("*",), "203.0.113.1", True),
        (("*",), None, True),
        (("unix:",), None, True),
        (("unix:",), "127.0.0.1", False),
        (("127.0.0.1",), None, False),
        (("127.0.0.1", ""), "not an address", False),
    ],
)
def test_who_is_trusted(allowed: tuple[str, ...], host: str | None, trusted: bool) -> None:
    one = Trust(allowed)
    assert one.includes(host) is trusted
    assert one.includes(host) is trusted  # the second time from memory


def test_an_entry_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"proxy\.example"):
        Trust(["proxy.example"])


def test_the_memory_of_peers_is_bounded() -> None:
    one = Trust(["10.0.0.0/8"])
    for number in range(3000):
        assert one.includes(f"10.0.{number // 256}.{number % 256}")
    assert len(one._known) <= 1025


FOUND = ("203.0.113.5", 0)
CHAIN = Trust(["10.0.0.0/8", "192.0.2.7"])


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ([(b"x-forwarded-for", b"203.0.113.5")], ("203.0.113.5", 0)),
        ([(b"x-forwarded-for", b"6.6.6.6, 203.0.113.5")], ("203.0.113.5", 0)),
        ([(b"x-forwarded-for", b"6.6.6.6, 203.0.113.5, 10.1.1.1")], ("203.0.113.5", 0)),
        ([(b"x-forwarded-for", b"10.2.2.2, 10.1.1.1")], ("10.2.2.2", 0)),
        (
            [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"203.0.113.5, 10.1.1.1")],
            ("203.0.113.5", 0),
        ),
        ([(b"x-forwarded-for", b"203.0.113.5:4711")], ("203.0.113.5", 4711)),
        ([(b"x-forwarded-for", b"[2001:db8::1]:4711")], ("2001:db8::1", 4711)),
        ([(b"x-forwarded-for", b"2001:db8::1")], ("2001:db8::1", 0)),
        ([(b"x-forwarded-for", b"junk")], CLIENT),
        ([(b"x-forwarded-for", b"203.0.113.5, junk, 10.1.1.1")], ("10.1.1.1", 0)),
        ([(b"x-forwarded-for", b"")], CLIENT),
        ([(b"x-forwarded-for", b"203.0.113.5, , 10.1.1.1,")], ("203.0.113.5", 0)),
        ([(b"x-forwarded-for", b"203.0.113.5\xa0")], CLIENT),
        ([(b"x-forwarded-for", b'"203.0.113.5"')], CLIENT),
        ([(b"forwarded", b"for=203.0.113.5;proto=https")], ("203.0.113.5", 0)),
        ([(b"forwarded", b'For="[2001:db8::1]:99"')], ("2001:db8::1", 99)),
        ([(b"forwarded", b'for="6.6.6.6, x", for=203.0.113.5')], ("203.0.113.5", 0)),
        ([(b"forwarded", b"for=6.6.6.6"), (b"forwarded", b"for=10.3.3.3")], ("6.6.6.6", 0)),
        ([(b"forwarded", b"for=unknown")], CLIENT),
        ([(b"forwarded", b"by=10.0.0.1 ; FOR=203.0.113.5;")], ("203.0.113.5", 0)),
        ([(b"forwarded", b"secret_key-1=x;for=203.0.113.5")], ("203.0.113.5", 0)),
        ([(b"forwarded", b"for=203.0.113.5, ,for=10.1.1.1,")], ("203.0.113.5", 0)),
        ([(b"forwarded", b",")], CLIENT),
        ([(b"forwarded", b"for=203.0.113.5, proto=https")], CLIENT),
        ([(b"forwarded", b"for=203.0.113.5, nonsense, for=10.1.1.1")], ("10.1.1.1", 0)),
        # a client that leaves a quote open, or closes one behind a backslash
        ([(b"forwarded", b'for=6.6.6.6;x=", for=203.0.113.5')], CLIENT),
        ([(b"forwarded", b'for=6.6.6.6;x=", for="[2001:db8::1]"')], CLIENT),
        ([(b"forwarded", b'for=6.6.6.6;x="'), (b"forwarded", b"for=203.0.113.5")], FOUND),
        ([(b"forwarded", b'for=6.6.6.6;x="\\", for=203.0.113.5')], CLIENT),
        ([(b"forwarded", b'for=6.6.6.6;x="a\\"b", for=203.0.113.5')], FOUND),
        ([(b"forwarded", b"for=6.6.6.6;x=\\, for=203.0.113.5")], FOUND),
        (
            [(b"forwarded", b"for=6.6.6.6"), (b"x-forwarded-for", b"203.0.113.5")],
            ("203.0.113.5", 0),
        ),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy(
    headers: list[Header], client: tuple[str, int]
) -> None:
    scope = info(trusted=True).http_scope(head(headers=headers, forwarded=True), CHAIN)
    assert scope["client"] == client
    assert scope["headers"] == headers


def test_with_everyone_trusted_the_rightmost_address_counts_for_the_left_ones_are_hearsay() -> None:
    headers = [(b"x-forwarded-for", b"6.6.6.6, 203.0.113.5")]
    scope = info(trusted=True).http_scope(head(headers=headers, forwarded=True), Trust(["*"]))
    assert scope["client"] == ("203.0.113.5", 0)


class Line:
    """An access line that says who the peer is until it is told otherwise."""

    client = "the peer"


def test_the_access_line_names_who_the_scope_names() -> None:
    forwarded = head(headers=[(b"x-forwarded-for", b"203.0.113.5")], forwarded=True)
    junk = head(headers=[(b"x-forwarded-for", b"junk")], forwarded=True)
    for one, asked, named in (
        (info(trusted=True), forwarded, "203.0.113.5:0"),
        (info(trusted=False), forwarded, "the peer"),
        (info(trusted=True), head(), "the peer"),
        (info(trusted=True, client=None), forwarded, "203.0.113.5:0"),
        (info(trusted=True, client=None), junk, "-"),
    ):
        line = Line()
        scope = one.http_scope(asked, CHAIN, line)
        assert line.client == named
        assert scope == one.http_scope(asked, CHAIN)


def test_a_stranger_changes_nothing() -> None:
    headers = [
        (b"x-forwarded-for", b"6.6.6.6"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"evil.test"),
        (b"forwarded", b"for=6.6.6.6;proto=https;host=evil.test"),
    ]
    scope = info(trusted=False).http_scope(head(headers=headers, forwarded=True), CHAIN)
    assert scope["client"] == CLIENT
    assert scope["scheme"] == "http"
    assert scope["headers"] == headers


@pytest.mark.parametrize(
    ("headers", "scheme", "host"),
    [
        ([(b"x-forwarded-proto", b"https")], "https", b"example.test"),
        ([(b"x-forwarded-proto", b"HTTPS")], "https", b"example.test"),
        ([(b"x-forwarded-proto", b"http, https")], "https", b"example.test"),
        ([(b"x-forwarded-proto", b"gopher")], "http", b"example.test"),
        ([(b"x-forwarded-host", b"shop.test:8443")], "http", b"shop.test:8443"),
        ([(b"x-forwarded-host", b"evil.test, shop.test")], "http", b"shop.test"),
        ([(b"x-forwarded-host", b"a b")], "http", b"example.test"),
        ([(b"x-forwarded-host", b"user@shop.test")], "http", b"example.test"),
        ([(b"x-forwarded-host", b"[::::]")], "http", b"example.test"),
        ([(b"x-forwarded-host", b"shop.test:65536")], "http", b"example.test"),
        ([(b"x-forwarded-host", b"shop.test:8443:1")], "http", b"example.test"),
        ([(b"x-forwarded-host", b"sh\xf6p.test")], "http", b"example.test"),
        ([(b"x-forwarded-proto", b"https, ")], "https", b"example.test"),
        ([(b"forwarded", b"proto=HTTPS;host=shop.test")], "https", b"shop.test"),
        ([(b"forwarded", b"proto=https;host=a, for=_hidden")], "http", b"example.test"),
        ([(b"forwarded", b'proto=https;host="shop.test:1"')], "https", b"shop.test:1"),
    ],
)
def test_scheme_and_host_come_from_the_last_proxy(
    headers: list[Header], scheme: str, host: bytes
) -> None:
    headers = [(b"host", b"example.test"), *headers]
    scope = info(trusted=True).http_scope(head(headers=headers, forwarded=True), CHAIN)
    assert scope["scheme"] == scheme
    assert [value for name, value in scope["headers"] if name == b"host"] == [host]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", ("192.0.2.1", 0)),
        (" 192.0.2.1 ", ("192.0.2.1", 0)),
        ("192.0.2.1:65535", ("192.0.2.1", 65535)),
        ("192.0.2.1:99999", ("192.0.2.1", 0)),
        ("[::1]", ("::1", 0)),
        ("::1", ("::1", 0)),
        ("[::1", None),
        ("_hidden", None),
        ("192.0.2.1:x", None),
        ("\u0663.1.1.1", None),
    ],
)
def test_addresses_of_proxies(text: str, address: tuple[str, int] | None) -> None:
    assert parse_address(text) == address
