"""Python's garbage collector in a worker: rare during the import, and the application's to set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.server import started

CODE = """
import gc
SETTING
async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = repr(gc.get_threshold()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


def thresholds(folder: Path, setting: str, preload: str) -> str:
    (folder / "gc_app.py").write_text(CODE.replace("SETTING", setting))
    options = ["--app-dir", str(folder), "--lifespan", "off", "--preload", preload]
    with started("gc_app:app", *options) as server, server.client() as client:
        return client.get("/").text


@pytest.mark.parametrize("preload", ["on", "off"])
def test_garbage_is_looked_for_more_rarely_than_by_default(tmp_path: Path, preload: str) -> None:
    assert thresholds(tmp_path, "", preload) == "(10000, 20, 20)"


@pytest.mark.parametrize("preload", ["on", "off"])
def test_what_the_application_says_at_its_import_stands(tmp_path: Path, preload: str) -> None:
    setting = "gc.set_threshold(1234, 5, 6)"
    assert thresholds(tmp_path, setting, preload) == "(1234, 5, 6)"
