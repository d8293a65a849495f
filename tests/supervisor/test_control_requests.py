"""Requests and answers of the control socket as bytes: what is understood, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pounce.supervisor.control_requests import (
    Reload,
    RequestError,
    Scale,
    Status,
    Stop,
    Upgrade,
    answer,
    parse,
    refusal,
)


@pytest.mark.parametrize(
    ("asked", "request_"),
    [
        ({"do": "status"}, Status()),
        ({"do": "reload"}, Reload(wait=False)),
        ({"do": "reload", "wait": True}, Reload(wait=True)),
        ({"do": "scale", "workers": 512}, Scale(512)),
        ({"do": "stop"}, Stop()),
        ({"do": "upgrade"}, Upgrade()),
    ],
)
def test_a_request_is_one_json_object(asked: dict[str, Any], request_: object) -> None:
    assert parse(json.dumps(asked).encode()) == request_


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "a request is one line of JSON"),
        (b"status", "a request is one line of JSON"),
        (b"\xff", "a request is one line of JSON"),
        (b"[" * 4000, "nested too deeply|one line of JSON"),
        (b'"status"', "a request is a JSON object"),
        (b"{}", "do must be one of status, reload, scale, stop, upgrade"),
        (b'{"do": "restart"}', "do must be one of"),
        (b'{"do": ["stop"]}', "do must be one of"),
        (b'{"do": "reload", "wait": 1}', "wait must be true or false"),
        (b'{"do": "scale"}', "workers must be a whole number from 1 to 512"),
        (b'{"do": "scale", "workers": 0}', "from 1 to 512"),
        (b'{"do": "scale", "workers": 513}', "from 1 to 512"),
        (b'{"do": "scale", "workers": true}', "from 1 to 512"),
        (b'{"do": "scale", "workers": 2.0}', "from 1 to 512"),
    ],
)
def test_what_is_no_request_is_refused_with_the_reason(raw: bytes, why: str) -> None:
    with pytest.raises(RequestError, match=why):
        parse(raw)


def test_an_answer_is_one_line() -> None:
    assert answer(generation=3) == b'{"ok": true, "generation": 3}\n'
    assert refusal("two\nlines") == b'{"ok": false, "why": "two\\nlines"}\n'
