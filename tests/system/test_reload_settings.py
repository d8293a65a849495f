"""The number of workers when it changes in a settings file and the reload meets other trouble."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.server import started
from tests.support.serverlog import wait_until

GOOD = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""


def test_a_number_of_workers_that_came_with_broken_code_counts_once_the_code_is_mended(
    tmp_path: Path,
) -> None:
    settings, code = tmp_path / "pounce.toml", tmp_path / "shop.py"
    settings.write_text("workers = 1\n")
    code.write_text(GOOD)
    options = ("--app-dir", str(tmp_path), "--lifespan", "off", "--probation", "0")
    with started("shop:app", *options, cwd=tmp_path) as server:
        settings.write_text("workers = 2\n")
        code.write_text("1 / 0\n")
        server.signal(signal.SIGHUP)
        server.log.wait_for("reload failed")
        server.log.expect("template failed|reload failed")
        assert len(server.workers()) == 1
        code.write_text(GOOD)
        server.signal(signal.SIGHUP)
        server.log.wait_for("scaling workers=2 before=1")
        wait_until(lambda: len(server.workers()) == 2, "the new number of workers")
