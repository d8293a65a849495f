"""The opening handshake: which requests may have a WebSocket, and what an acceptance may hold."""

from __future__ import annotations

from typing import Any

import pytest

from pounce.asgi import Header
from pounce.worker.wire import RequestHead, ResponseError
from pounce.worker.wire.extensions import DeflateRules
from pounce.worker.wire.handshake import (
    Asked,
    HandshakeRefusal,
    HandshakeRules,
    accept_fields,
    accept_of,
    check_request,
    names_websocket,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
GOOD: dict[bytes, bytes] = {
    b"host": b"example.test",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": KEY,
    b"sec-websocket-version": b"13",
}
ANY = HandshakeRules()


def request(
    changed: dict[bytes, bytes | None] | None = None,
    *,
    more: list[Header] | None = None,
    method: str = "GET",
    version: str = "1.1",
    has_body: bool = False,
) -> RequestHead:
    """A good request with some of its fields changed, taken away (None) or added."""
    fields = {**GOOD, **(changed or {})}
    headers = [(name, value) for name, value in fields.items() if value is not None]
    headers += more or []
    return RequestHead(1, method, b"/chat", version, headers, has_body, False, "websocket")


def over_http2(*more: Header) -> RequestHead:
    headers = [(b"host", b"example.test"), (b"sec-websocket-version", b"13"), *more]
    return RequestHead(1, "CONNECT", b"/chat", "2", headers, True, False, "websocket")


def refusal_of(head: RequestHead, rules: HandshakeRules = ANY) -> HandshakeRefusal:
    with pytest.raises(HandshakeRefusal) as caught:
        check_request(head, rules)
    return caught.value


def test_the_example_of_the_rfc_is_accepted() -> None:
    assert check_request(request(), ANY) == Asked(ACCEPT, [], None)
    assert accept_of(KEY) == ACCEPT


@pytest.mark.parametrize(
    "changed",
    [
        {b"upgrade": b"WebSocket"},
        {b"upgrade": b"h2c, websocket"},
        {b"connection": b"keep-alive, Upgrade"},
        {b"connection": b"keep-alive,UPGRADE"},
        {b"sec-websocket-key": b"AAAAAAAAAAAAAAAAAAAAAA=="},
        {b"sec-websocket-protocol": b""},
        {b"sec-websocket-extensions": b""},
    ],
    ids=str,
)
def test_a_request_may_spell_its_fields_otherwise(changed: dict[bytes, bytes | None]) -> None:
    asked = check_request(request(changed), ANY)
    assert asked.subprotocols == []
    assert asked.deflate is None


def test_connection_tokens_may_be_in_several_fields() -> None:
    check_request(request({b"connection": b"keep-alive"}, more=[(b"connection", b"upgrade")]), ANY)


REFUSED: dict[str, tuple[RequestHead, int]] = {
    "POST": (request(method="POST"), 405),
    "HEAD": (request(method="HEAD"), 405),
    "HTTP/1.0": (request(version="1.0"), 400),
    "no Upgrade": (request({b"upgrade": None}), 400),
    "another Upgrade": (request({b"upgrade": b"h2c"}), 400),
    "Upgrade with a version": (request({b"upgrade": b"websocket/13"}), 400),
    "no Connection": (request({b"connection": None}), 400),
    "Connection without upgrade": (request({b"connection": b"keep-alive"}), 400),
    "Connection with part of it": (request({b"connection": b"upgrades"}), 400),
    "a body": (request(has_body=True), 400),
    "no version": (request({b"sec-websocket-version": None}), 400),
    "two versions": (request(more=[(b"sec-websocket-version", b"13")]), 400),
    "version 12": (request({b"sec-websocket-version": b"12"}), 426),
    "version 8": (request({b"sec-websocket-version": b"8"}), 426),
    "version 013": (request({b"sec-websocket-version": b"013"}), 426),
    "a list of versions": (request({b"sec-websocket-version": b"13, 8"}), 426),
    "no key": (request({b"sec-websocket-key": None}), 400),
    "two keys": (request(more=[(b"sec-websocket-key", KEY)]), 400),
    "an empty key": (request({b"sec-websocket-key": b""}), 400),
    "a key of 15 bytes": (request({b"sec-websocket-key": b"AAAAAAAAAAAAAAAAAAAA"}), 400),
    "a key of 17 bytes": (request({b"sec-websocket-key": b"AAAAAAAAAAAAAAAAAAAAAAA="}), 400),
    "a key of 18 bytes": (request({b"sec-websocket-key": b"A" * 24}), 400),
    "a key that is no base64": (request({b"sec-websocket-key": b"!" + KEY[1:]}), 400),
    "a key for URLs": (request({b"sec-websocket-key": b"_" + KEY[1:]}), 400),
    "a key without padding": (request({b"sec-websocket-key": KEY[:-2]}), 400),
    "a key in quotes": (request({b"sec-websocket-key": b'"' + KEY + b'"'}), 400),
    "subprotocols that are no tokens": (request({b"sec-websocket-protocol": b"a b"}), 400),
    "a subprotocol twice": (request({b"sec-websocket-protocol": b"a, b, a"}), 400),
    "extensions that are no list": (request({b"sec-websocket-extensions": b"a;"}), 400),
    "two origins": (request(more=[(b"origin", b"http://a"), (b"origin", b"http://b")]), 400),
}


@pytest.mark.parametrize(("head", "status"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_is_not_in_order_is_refused(head: RequestHead, status: int) -> None:
    assert refusal_of(head).status == status


def test_another_version_is_told_of_the_one_spoken_here() -> None:
    headers = refusal_of(request({b"sec-websocket-version": b"7"})).headers
    assert (b"sec-websocket-version", b"13") in headers
    assert (b"upgrade", b"websocket") in headers


def test_another_method_is_told_of_the_one_allowed() -> None:
    assert refusal_of(request(method="PUT")).headers == [(b"allow", b"GET")]


@pytest.mark.parametrize(
    ("upgrade", "names"),
    [
        (b"", False),
        (b"h2c", False),
        (b"websocket", True),
        (b"WebSocket", True),
        (b"h2c , WEBSOCKET", True),
        (b"websockets", False),
    ],
)
def test_upgrade_names_the_protocol_among_others(upgrade: bytes, names: bool) -> None:
    assert names_websocket(upgrade) is names


def test_over_http2_there_is_neither_key_nor_connection() -> None:
    head = over_http2((b"sec-websocket-protocol", b"chat"))
    assert check_request(head, ANY) == Asked(b"", ["chat"], None)


def test_over_http2_the_version_is_looked_at_as_well() -> None:
    head = over_http2()
    assert refusal_of(head._replace(headers=head.headers[:1])).status == 400


LISTED = HandshakeRules(origins=frozenset((b"https://a.test", b"null")))


@pytest.mark.parametrize("origin", [b"https://a.test", b"HTTPS://A.test", b"null", None])
def test_an_origin_on_the_list_or_none_at_all_passes(origin: bytes | None) -> None:
    check_request(request({b"origin": origin}), LISTED)


@pytest.mark.parametrize(
    "origin",
    [b"https://b.test", b"http://a.test", b"https://a.test:444", b"https://a.test.b.test", b""],
)
def test_an_origin_off_the_list_is_refused(origin: bytes) -> None:
    assert refusal_of(request({b"origin": origin}), LISTED).status == 403
    check_request(request({b"origin": origin}), ANY)


def test_subprotocols_are_kept_in_the_order_of_the_client_s_wish() -> None:
    head = request(
        {b"sec-websocket-protocol": b"v2.chat,\tv1.chat"}, more=[(b"sec-websocket-protocol", b"x")]
    )
    assert check_request(head, ANY).subprotocols == ["v2.chat", "v1.chat", "x"]


def test_compression_is_agreed_to_only_where_it_is_on() -> None:
    head = request({b"sec-websocket-extensions": b"permessage-deflate"})
    assert check_request(head, ANY).deflate is None
    agreed = check_request(head, HandshakeRules(deflate=DeflateRules(15, 15))).deflate
    assert agreed is not None
    assert agreed.field == b"permessage-deflate"


ASKED = Asked(ACCEPT, ["a", "b"], None)


def test_an_acceptance_holds_what_was_agreed() -> None:
    head = request(
        {b"sec-websocket-extensions": b"permessage-deflate", b"sec-websocket-protocol": b"a, b"}
    )
    asked = check_request(head, HandshakeRules(deflate=DeflateRules(15, 15)))
    assert accept_fields(asked, "b", [(b"Set-Cookie", b"c=1"), (b"set-cookie", b"d=2")]) == [
        (b"sec-websocket-accept", ACCEPT),
        (b"sec-websocket-protocol", b"b"),
        (b"sec-websocket-extensions", b"permessage-deflate"),
        (b"Set-Cookie", b"c=1"),
        (b"set-cookie", b"d=2"),
    ]


def test_an_acceptance_without_anything_holds_the_key_s_answer_alone() -> None:
    assert accept_fields(ASKED, None, ()) == [(b"sec-websocket-accept", ACCEPT)]
    assert accept_fields(Asked(b"", [], None), None, ()) == []


@pytest.mark.parametrize("subprotocol", ["c", "", "A", b"a", 1])
def test_a_subprotocol_that_was_not_offered_is_the_application_s_error(subprotocol: Any) -> None:
    with pytest.raises(
        ResponseError, match=r"subprotocol .* was accepted; the client offered a, b"
    ):
        accept_fields(ASKED, subprotocol, ())


def test_a_subprotocol_to_a_client_that_offers_none_is_the_application_s_error() -> None:
    with pytest.raises(ResponseError, match="the client offered none"):
        accept_fields(Asked(ACCEPT, [], None), "a", ())


@pytest.mark.parametrize(
    "name",
    [
        b"Sec-WebSocket-Accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"Connection",
        b"upgrade",
        b"keep-alive",
        b"content-length",
        b"transfer-encoding",
        b"te",
        b"trailer",
        b":status",
    ],
)
def test_a_field_that_is_the_server_s_is_the_application_s_error(name: bytes) -> None:
    with pytest.raises(ResponseError, match="header"):
        accept_fields(ASKED, None, [(b"x-a", b"1"), (name, b"a")])


@pytest.mark.parametrize("field", [(b"a",), b"ab:c", 5, ("a", "b"), (b"a", "b"), (5, b"b"), None])
def test_a_header_that_is_no_pair_of_bytes_is_the_application_s_error(field: Any) -> None:
    with pytest.raises(ResponseError, match="is not a pair of"):
        accept_fields(ASKED, None, [field])
