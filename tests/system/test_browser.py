"""WebSockets as the pages of a real browser see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import chromium, visitor
from tests.support.server import Server, started

# Opens a WebSocket, sends what it is given (numbers stand for so many bytes), and collects until as
# much has come, then closes; or until it is closed. A promise of what the page saw.
TALK: Final = """
({path, protocols, say, code, reason}) => new Promise((resolve) => {
  const socket = new WebSocket(`ws://${location.host}${path}`, protocols ?? []);
  const seen = { heard: [] };
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    seen.protocol = socket.protocol;
    seen.extensions = socket.extensions;
    for (const one of say ?? []) {
      const bytes = typeof one === "number";
      socket.send(bytes ? Uint8Array.from({ length: one }, (_, index) => index * 7) : one);
    }
    if (say && !say.length) socket.close(code, reason);
  };
  socket.onmessage = ({ data }) => {
    const whole = (bytes) => bytes.every((byte, index) => byte === (index * 7) % 256);
    const bytes = typeof data === "string" ? null : new Uint8Array(data);
    seen.heard.push(bytes ? (whole(bytes) ? bytes.length : "other bytes") : data);
    if (seen.heard.length === say.length) socket.close(code, reason);
  };
  socket.onclose = (event) => {
    resolve({ ...seen, code: event.code, reason: event.reason, clean: event.wasClean });
  };
})
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with started("browser_talk", "--workers", "1", "--loop", request.param) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with visitor(browser) as context:
        page = context.new_page()
        page.goto(server.url("/"))
        yield page


def talk(page: Page, path: str, **options: Any) -> dict[str, Any]:
    """What the page saw of a WebSocket from its opening to its end."""
    seen: dict[str, Any] = page.evaluate(TALK, {"path": path, **options})
    return seen


def test_text_and_bytes_come_back_as_they_were(page: Page) -> None:
    say = ["", "Grüße 🦘", "x" * 100_000, 0, 1, 125, 126, 65_536, 1_000_000, "\x00", "end"]
    seen = talk(page, "/echo", say=say, code=1000, reason="")
    assert seen["heard"] == say
    assert (seen["code"], seen["clean"]) == (1000, True)


def test_compression_is_agreed_on(page: Page) -> None:
    seen = talk(page, "/echo", say=["x" * 1000] * 3, code=1000, reason="")
    assert seen["extensions"].startswith("permessage-deflate")
    assert seen["heard"] == ["x" * 1000] * 3


def test_a_subprotocol_is_chosen_among_those_offered(page: Page) -> None:
    assert talk(page, "/echo", say=[], protocols=["a.v1", "a.v2"])["protocol"] == "a.v2"
    assert talk(page, "/echo", say=[])["protocol"] == ""


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1000, "done"), (4000, "Tschüß 🦘")])
def test_the_page_sees_the_code_and_reason_of_the_application(
    page: Page, code: int, reason: str
) -> None:
    seen = talk(page, f"/close?code={code}&reason={reason or '%20'}")
    assert (seen["code"], seen["reason"].strip(), seen["clean"]) == (code, reason, True)


def test_the_page_sees_its_own_close_answered(page: Page) -> None:
    seen = talk(page, "/echo", say=["x"], code=4321, reason="enough")
    assert (seen["code"], seen["clean"]) == (4321, True)
    seen = talk(page, "/echo", say=["x"])
    assert (seen["code"], seen["reason"], seen["clean"]) == (1005, "", True)


def test_a_denied_one_never_opens(page: Page) -> None:
    seen = talk(page, "/nothing")
    assert (seen["code"], seen["clean"], "protocol" in seen) == (1006, False, False)
