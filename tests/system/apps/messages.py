"""Lists of messages that an application may send, most of which it may not."""

from __future__ import annotations

from typing import Any, Final


def start(*headers: tuple[bytes, bytes], status: int = 200, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


# Tries to write more than a header field: nothing of it may reach the wire.
SPLITTING: Final = {
    "crlf-in-value": [start((b"x-a", b"1\r\nInjected: yes")), body(b"body")],
    "lf-in-value": [start((b"x-a", b"1\nInjected: yes")), body(b"body")],
    "cr-in-value": [start((b"x-a", b"1\rInjected: yes")), body(b"body")],
    "nul-in-value": [start((b"x-a", b"1\0Injected")), body(b"body")],
    "whole-response-in-value": [
        start((b"x-a", b"1\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nInjected: yes")),
        body(b"body"),
    ],
    "crlf-in-name": [start((b"x-a: 1\r\nInjected", b"yes")), body(b"body")],
    "colon-in-name": [start((b"Injected: yes", b"1")), body(b"body")],
    "space-in-name": [start((b"Injected x", b"1")), body(b"body")],
    "empty-name": [start((b"", b"Injected")), body(b"body")],
    "crlf-in-location": [start((b"location", b"/\r\nInjected: yes"), status=302), body()],
    "crlf-in-cookie": [start((b"set-cookie", b"a=b\r\nInjected: yes")), body()],
    "crlf-in-hint": [
        {"type": "http.response.early_hint", "links": [b"</a>\r\nInjected: yes"]},
        start(),
        body(b"body"),
    ],
    "two-lengths": [start((b"content-length", b"4"), (b"content-length", b"5")), body(b"body")],
    "a-length-of-two": [start((b"content-length", b"4, 4")), body(b"body")],
    "a-signed-length": [start((b"content-length", b"+4")), body(b"body")],
    "status-of-text": [start(status="200 OK\r\nInjected: yes"), body(b"body")],  # type: ignore[arg-type]
    "status-too-low": [start(status=99), body(b"body")],
    "status-of-an-interim": [start(status=100), body(b"body")],
    "status-of-an-upgrade": [start(status=101), body(b"body")],
    "longer-in-one": [start((b"content-length", b"3")), body(b"body")],
    "shorter-in-one": [start((b"content-length", b"5")), body(b"body")],
    "no-start": [body(b"body")],
    "start-twice": [start(), start(), body(b"body")],
    "start-and-no-more": [start((b"content-length", b"4"))],
    "nothing": [],
    "unknown-type": [{"type": "http.response.nonsense"}],
}

# Half of the body is out before it shows that the rest does not fit: only a cut can tell.
CUT: Final = {
    "longer-later": [
        start((b"content-length", b"6")),
        body(b"half", more=True),
        body(b"half", more=True),
    ],
    "shorter-later": [start((b"content-length", b"6")), body(b"half", more=True), body()],
    "never-ended": [start((b"content-length", b"6")), body(b"half", more=True)],
    "never-ended-chunked": [start(), body(b"half", more=True)],
}

CASES: Final[dict[str, list[dict[str, Any]]]] = {
    **SPLITTING,
    **CUT,
    "204": [start(status=204), body(b"none of this")],
    "304": [start((b"content-length", b"12"), status=304), body(b"none of this")],
    "own-framing-twice": [
        start((b"transfer-encoding", b"chunked"), (b"content-length", b"4")),
        body(b"body"),
    ],
    "with-length": [start((b"content-length", b"4")), body(b"body")],
    "chunked": [start(), body(b"bo", more=True), body(b"dy", more=True), body()],
    "own-framing": [
        start((b"transfer-encoding", b"chunked"), (b"connection", b"keep-alive, x-a")),
        body(b"body"),
    ],
    "close": [start((b"connection", b"close")), body(b"body")],
    "hints": [
        {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b>; rel=x"]},
        start(),
        body(b"body"),
    ],
    "trailers": [
        start((b"trailer", b"x-sum"), trailers=True),
        body(b"body"),
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"42")]},
    ],
    "trailers-in-two": [
        start(trailers=True),
        body(b"body"),
        {"type": "http.response.trailers", "headers": [(b"x-a", b"1")], "more_trailers": True},
        {"type": "http.response.trailers", "headers": [(b"x-b", b"2")]},
    ],
}
