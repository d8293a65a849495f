"""The page of examples/chat, as those use it who talk there: what they said, and what they saw."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from playwright.sync_api import BrowserContext, Page

from tests.support.serverlog import wait_until

EXAMPLES: Final = Path(__file__).parent.parent.parent / "examples"
SHORT_DRAIN: Final = ("--shutdown-timeout", "4", "--probation", "0")
# Beside pounce's own options; CHAT_FILE says where it is all stored.
CHAT: Final = ("--app-dir", str(EXAMPLES), "--workers", "2", *SHORT_DRAIN)


class Guest:
    """Somebody at the page.

    Attributes:
        said: all messages, in the order in which they were typed.
    """

    def __init__(self, context: BrowserContext, url: str, name: str) -> None:
        self.name = name
        self.said: list[str] = []
        self.errors: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)
        self.page.fill("#name", name)
        self.page.press("#name", "Enter")
        self.page.wait_for_selector(f"#here li:text-is('{name}')")

    def come_back(self) -> None:
        """Loads the page anew, once all that they said is stored."""
        self.page.wait_for_selector(".unsent", state="detached")
        self.page.reload()
        self.page.wait_for_selector("#state.open")

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
