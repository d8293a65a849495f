"""A real Chromium without a screen, the system's own. Knows no page.

It is driven through Playwright, which brings no browser here: `.ci/run` installs Debian's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Final

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.support.serverlog import PATIENCE

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No graphics card, /dev/shm as small as containers have it, no other machine spoken to.
OPTIONS: Final = ("--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")
PHONE: Final = {"width": 360, "height": 640}


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """No asyncio.run() in the same thread until it is closed: Playwright's own loop is in it."""
    found = [path for path in map(shutil.which, NAMES) if path]
    assert found, "these tests need Chromium: apt-get install chromium (.ci/run does that)"
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root one
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found[0], args=[*OPTIONS, *sandbox], timeout=PATIENCE * 1000
        )
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def visitor(
    browser: Browser, *, phone: bool = False, trusts_all: bool = False
) -> Iterator[BrowserContext]:
    """Somebody else: their pages share nothing with those of others.

    Args:
        trusts_all: takes any certificate.
    """
    view = {"viewport": PHONE} if phone else {}
    context = browser.new_context(ignore_https_errors=trusts_all, **view)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE * 1000)
    try:
        yield context
    finally:
        context.close()
