"""examples/chat in a real browser over https: its WebSockets are streams of HTTP/2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP

import pytest
from playwright.sync_api import Browser

from tests.support.browser import chromium, visitor
from tests.support.certificates import Authority
from tests.support.chat_page import (
    CHAT,
    Guest,
    assert_nothing_is_lost_or_doubled,
    talk_until_both,
)
from tests.support.server import started
from tests.support.serverlog import wait_until

# These bring load with them, and are not run beside each other.
pytestmark = pytest.mark.xdist_group("load")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_two_pages_talk_in_streams_and_a_reload_loses_and_doubles_nothing(
    browser: Browser, tmp_path: Path, loop: str
) -> None:
    file, access = tmp_path / "chat.sqlite3", tmp_path / "access"
    pair = Authority(tmp_path).issue()
    options = (*CHAT, *pair.options, "--loop", loop, "--access-log-file", str(access))
    with started("chat:app", *options, env={"CHAT_FILE": str(file)}) as server:
        url = f"https://localhost:{server.port}/"
        with (
            visitor(browser, trusts_all=True) as one,
            visitor(browser, phone=True, trusts_all=True) as other,
        ):
            guests = Guest(one, url, "Ann"), Guest(other, url, "Ben")
            for guest in guests:
                guest.say_more()
            old = server.workers()
            server.signal(SIGHUP)
            talk_until_both(guests, codes=["1012"])
            assert_nothing_is_lost_or_doubled(guests, file)
            wait_until(lambda: not old & server.workers(), "the end of the old workers")
            # A browser asks for no HTTP/2 for a WebSocket alone; with the page it has it again.
            for guest in guests:
                guest.come_back()
                guest.say_more()
            last = {guest.said[-1] for guest in guests}
            wait_until(lambda: all(last <= set(guest.shown()) for guest in guests), last)
        server.stop()
    text = access.read_text()
    assert len(re.findall(r'"GET / HTTP/2" 200 ', text)) == 4
    talks = re.findall(r'"CONNECT /talk HTTP/2" 101 .* worker=(\d+) close=(\d+) ', text)
    assert sum(int(worker) in old and code == "1012" for worker, code in talks) == 2, text
    assert sum(int(worker) not in old for worker, _ in talks) == 2, text
