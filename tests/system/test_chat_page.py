"""examples/chat in a real browser: its page survives reloads and deaths of the workers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGKILL
from typing import Final

import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support.browser import PHONE, chromium, visitor
from tests.support.server import Server, started
from tests.support.serverlog import wait_until

EXAMPLES: Final = Path(__file__).parent.parent.parent / "examples"
SHORT_DRAIN: Final = ("--shutdown-timeout", "4", "--probation", "0")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chat.sqlite3"


@pytest.fixture
def server(file: Path) -> Iterator[Server]:
    args = ("--app-dir", str(EXAMPLES), "--workers", "2", *SHORT_DRAIN)
    with started("chat:app", *args, env={"CHAT_FILE": str(file)}) as server:
        yield server


class Guest:
    """Somebody at the page.

    Attributes:
        said: all messages, in the order in which they were typed.
    """

    def __init__(self, context: BrowserContext, server: Server, name: str) -> None:
        self.name = name
        self.said: list[str] = []
        self.errors: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(server.url("/"))
        self.page.fill("#name", name)
        self.page.press("#name", "Enter")
        self.page.wait_for_selector(f"#here li:text-is('{name}')")

    def say_more(self) -> None:
        self.said.append(f"{self.name} {len(self.said)}")
        self.page.fill("#text", self.said[-1])
        self.page.press("#text", "Enter")

    def codes(self) -> list[str]:
        """What its WebSockets were closed with."""
        notes: list[str] = self.page.eval_on_selector_all(
            ".note[data-code]", "notes => notes.map((note) => note.dataset.code)"
        )
        return notes

    def is_in(self) -> bool:
        return self.page.query_selector("#state.open") is not None

    def shown(self) -> list[str]:
        """The messages on the page, top to bottom, once everything said is stored."""
        self.page.wait_for_selector(".unsent", state="detached")
        texts: list[str] = self.page.eval_on_selector_all(
            "#messages li[data-number]", "lines => lines.map((line) => line.dataset.text)"
        )
        return texts

    def by(self, other: Guest) -> list[str]:
        return [text for text in self.shown() if text.startswith(f"{other.name} ")]


def stored(file: Path) -> list[str]:
    connection = sqlite3.connect(file)
    try:
        return [text for (text,) in connection.execute("SELECT text FROM message ORDER BY number")]
    finally:
        connection.close()


def talk_until_both(guests: tuple[Guest, Guest], *, codes: list[str]) -> None:
    """They go on talking until their WebSockets were closed with these, and they are in again."""

    def talk() -> bool:
        for guest in guests:
            guest.say_more()
        return all(guest.codes() == codes and guest.is_in() for guest in guests)

    wait_until(talk, f"{codes} for both, who are {[guest.codes() for guest in guests]}")
    for _ in range(5):
        talk()


def assert_nothing_is_lost_or_doubled(guests: tuple[Guest, Guest], file: Path) -> None:
    ann, ben = guests
    for guest in guests:
        guest.shown()  # all that they said is stored; now the other has to have it as well
    last = {ann.said[-1], ben.said[-1]}
    wait_until(lambda: last <= set(ann.shown()) and last <= set(ben.shown()), last)
    assert ann.by(ann) == ben.by(ann) == ann.said
    assert ann.by(ben) == ben.by(ben) == ben.said
    assert ann.shown() == ben.shown() == stored(file)
    assert ann.errors == ben.errors == []


def test_a_reload_while_two_pages_talk_loses_nothing_and_doubles_nothing(
    browser: Browser, server: Server, file: Path
) -> None:
    with visitor(browser) as one, visitor(browser, phone=True) as other:
        guests = Guest(one, server, "Ann"), Guest(other, server, "Ben")
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
        guests = Guest(one, server, "Ann"), Guest(other, server, "Ben")
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
        guest = Guest(phone, server, "Ann")
        guest.page.fill("#text", "<img src=x onerror=alert(1)>" + "W" * 500)
        guest.page.press("#text", "Enter")
        assert guest.shown() == ["<img src=x onerror=alert(1)>" + "W" * 500]
        assert guest.page.query_selector("#messages img") is None
        assert guest.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert guest.page.evaluate("document.documentElement.scrollHeight") == PHONE["height"]
        assert guest.errors == []


def test_a_link_to_another_room_leads_there(browser: Browser, server: Server) -> None:
    with visitor(browser) as one, visitor(browser) as other:
        ann, ben = Guest(one, server, "Ann"), Guest(other, server, "Ben")
        ben.page.goto(server.url("/#tea & cake"))
        ben.page.wait_for_selector("#room:text-is('# tea & cake')")
        ben.page.wait_for_selector("#here li:text-is('Ben')")
        ben.say_more()
        assert ben.shown() == ["Ben 0"]
        ann.page.click("#rooms a:text-is('tea & cake (1)')")
        ann.page.wait_for_selector("#messages li[data-text='Ben 0']")
        ben.page.wait_for_selector("#here li:text-is('Ann')")
