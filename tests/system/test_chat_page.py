"""examples/chat in a real browser: its page survives reloads and deaths of the workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGKILL

import psutil
import pytest
from playwright.sync_api import Browser

from tests.support.browser import PHONE, chromium, visitor
from tests.support.chat_page import (
    CHAT,
    Guest,
    assert_nothing_is_lost_or_doubled,
    talk_until_both,
)
from tests.support.server import Server, started
from tests.support.serverlog import wait_until

# These bring load with them, and are not run beside each other.
pytestmark = pytest.mark.xdist_group("load")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chat.sqlite3"


@pytest.fixture
def server(file: Path) -> Iterator[Server]:
    with started("chat:app", *CHAT, env={"CHAT_FILE": str(file)}) as server:
        yield server


def test_a_reload_while_two_pages_talk_loses_nothing_and_doubles_nothing(
    browser: Browser, server: Server, file: Path
) -> None:
    with visitor(browser) as one, visitor(browser, phone=True) as other:
        guests = Guest(one, server.url("/"), "Ann"), Guest(other, server.url("/"), "Ben")
        for guest in guests:
            guest.say_more()
        old = server.workers()
        server.signal(SIGHUP)
        talk_until_both(guests, codes=["1012"])
        assert_nothing_is_lost_or_doubled(guests, file)
        wait_until(lambda: not old & server.workers(), "the end of the old workers")


def test_the_death_of_all_workers_while_two_pages_talk_does_neither(
    browser: Browser, server: Server, file: Path
) -> None:
    server.log.allow("worker died", "keep dying")
    with visitor(browser) as one, visitor(browser, phone=True) as other:
        guests = Guest(one, server.url("/"), "Ann"), Guest(other, server.url("/"), "Ben")
        for guest in guests:
            guest.say_more()
        for pid in server.workers():
            psutil.Process(pid).send_signal(SIGKILL)
        talk_until_both(guests, codes=["1006"])
        assert_nothing_is_lost_or_doubled(guests, file)


def test_the_page_fits_on_a_phone_and_shows_what_is_said_as_text(
    browser: Browser, server: Server
) -> None:
    with visitor(browser, phone=True) as phone:
        guest = Guest(phone, server.url("/"), "Ann")
        guest.page.fill("#text", "<img src=x onerror=alert(1)>" + "W" * 500)
        guest.page.press("#text", "Enter")
        assert guest.shown() == ["<img src=x onerror=alert(1)>" + "W" * 500]
        assert guest.page.query_selector("#messages img") is None
        assert guest.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert guest.page.evaluate("document.documentElement.scrollHeight") == PHONE["height"]
        assert guest.errors == []


def test_a_link_to_another_room_leads_there(browser: Browser, server: Server) -> None:
    with visitor(browser) as one, visitor(browser) as other:
        ann, ben = Guest(one, server.url("/"), "Ann"), Guest(other, server.url("/"), "Ben")
        ben.page.goto(server.url("/#tea & cake"))
        ben.page.wait_for_selector("#room:text-is('# tea & cake')")
        ben.page.wait_for_selector("#here li:text-is('Ben')")
        ben.say_more()
        assert ben.shown() == ["Ben 0"]
        ann.page.click("#rooms a:text-is('tea & cake (1)')")
        ann.page.wait_for_selector("#messages li[data-text='Ben 0']")
        ben.page.wait_for_selector("#here li:text-is('Ann')")
