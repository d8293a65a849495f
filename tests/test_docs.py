"""What the pages of docs/ say in tables is what the code holds."""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from pounce.config import SETTINGS
from pounce.log import JsonFormatter
from pounce.supervisor.stages import Stage
from tests.chaos.__main__ import SCENARIOS, chosen
from tests.support.pages import ROOT, blocks_of, table, value_of
from tests.support.served import serving
from tests.support.wire import READERS, feed, make_wire

PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
CONSTANT_ROW = re.compile(r"^\| `(pounce\.[\w.]+)` \| ([^|]+) \|", re.MULTILINE)
CONSTANTS = [
    (page, name, value.strip())
    for page in PAGES
    for name, value in CONSTANT_ROW.findall((ROOT / "docs" / page).read_text("utf-8"))
]


@pytest.mark.parametrize(("page", "name", "said"), CONSTANTS)
def test_a_fixed_number_is_the_one_in_the_code(page: str, name: str, said: str) -> None:
    number, _, unit = said.partition(" ")
    assert float(number) == value_of(name), f"docs/{page}"
    assert unit in ("", "seconds", "bytes")


def test_there_are_fixed_numbers_to_compare() -> None:
    assert {page for page, _, _ in CONSTANTS} >= {"http.md", "signals.md"}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("request_", "answer", "why"), table("docs/http.md", "What it refuses"), ids=lambda cell: cell
)
def test_a_request_is_refused_as_the_page_says(
    request_: str, answer: str, why: str, reader: str
) -> None:
    text = request_.strip("`").encode().decode("latin-1")
    raw = re.sub(r"\\(x..|r|n)", _byte, text).encode("latin-1")
    recorder = make_wire(READERS[reader](), answering="never")
    feed(recorder, raw)
    assert [response.status for response in recorder.responses] == [int(answer)]
    assert recorder.closed == "linger"


def _byte(escape: re.Match[str]) -> str:
    return {"r": "\r", "n": "\n"}.get(escape[1]) or chr(int(escape[1][1:], 16))


@pytest.mark.parametrize(
    ("name", "default"),
    [(row[0], row[1]) for row in table("docs/http.md", "Limits")]
    + [(row[1], row[2]) for row in table("docs/http.md", "Timeouts")],
)
def test_a_default_is_that_of_the_setting(name: str, default: str) -> None:
    setting = SETTINGS[name.strip("`")]
    assert re.split(r"[ ,]", default)[0] == setting.shown(setting.default)


def test_the_tables_of_states_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "docs/state_tables.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_every_stage_of_a_worker_is_explained() -> None:
    rows = table("docs/architecture.md", "Slots and generations")
    assert [row[0].strip("*") for row in rows] == [stage.name for stage in Stage]


def test_every_promise_under_load_has_its_check_and_every_check_its_promise() -> None:
    checked = set()
    for promise, command in table("docs/reliability.md", "Promises"):
        found = re.fullmatch(r'`make chaos ONLY="?([\w -]+?)"?`', command)
        assert found, command
        names = chosen(found[1].split())
        assert names, promise
        checked.update(names)
    assert checked == set(SCENARIOS)


@pytest.mark.parametrize("page", ["README.md", "docs/signals.md"])
def test_every_page_gives_an_exit_status_the_same_meaning(page: str) -> None:
    assert table(page, "Exit status") == table("docs/settings.md", "Exit status")


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_of_the_access_log_look_as_the_page_shows_them(form: str, tmp_path: Path) -> None:
    """The same two requests as on the page; numbers may differ, names and their order may not."""
    args = ("pounce.demo:app", "--port", "0", "--log-format", form)
    with serving(*args, folder=tmp_path, stdout=subprocess.PIPE) as server:
        host, _, port = server.wait_until_serving().rpartition(":")
        for asked in (b"GET /json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"\r\r\r\r"):
            with socket.create_connection((host, int(port)), timeout=30) as one:
                one.sendall(asked)
                while one.recv(65536):
                    pass
        assert server.stop() == 0
        assert server.process.stdout
        real = server.process.stdout.read()
    shown = [block.text for block in blocks_of("docs/logs.md") if block.language == "text"]
    expected = shown[1] if form == "text" else shown[2]
    assert re.sub(r"\d+", "0", real) == re.sub(r"\d+", "0", expected)


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_of_websockets_look_as_the_page_shows_them(form: str, tmp_path: Path) -> None:
    args = ("pounce.demo:app", "--port", "0", "--log-format", form)
    with serving(*args, folder=tmp_path, stdout=subprocess.PIPE) as server:
        url = f"ws://{server.wait_until_serving()}/chat"
        with connect(url, compression="deflate", proxy=None) as guest:
            guest.send("words " * 50)
            while "words" not in str(guest.recv(timeout=30)):
                pass
        assert server.stop() == 0
        assert server.process.stdout
        real = server.process.stdout.read()
    shown = [block.text for block in blocks_of("docs/logs.md") if block.language == "text"]
    expected = shown[3] if form == "text" else shown[4]
    assert re.sub(r"\d+", "0", real) == re.sub(r"\d+", "0", expected)


def test_every_field_of_the_access_log_is_explained() -> None:
    shown = [block.text for block in blocks_of("docs/logs.md") if block.language == "text"]
    cells = ", ".join(row[1] for row in table("docs/logs.md", "The access log"))
    explained = re.findall(r"`(\w+)`", cells)
    assert list(json.loads(shown[2].splitlines()[0])) == explained
    rows = table("docs/logs.md", "WebSockets in the access log")
    more = re.findall(r"`(\w+)`", ", ".join(row[1] for row in rows))
    assert set(json.loads(shown[4])) == {*explained, *more}


def test_every_field_of_the_servers_log_is_explained() -> None:
    record = logging.LogRecord("pounce", logging.INFO, "", 0, "said", (), None)
    record.exc_text = "Traceback"
    explained = [row[0].strip("`") for row in table("docs/logs.md", "The server's log")]
    assert list(json.loads(JsonFormatter().format(record))) == explained
