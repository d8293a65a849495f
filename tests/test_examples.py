"""Each example in examples/, served as its own text says. system/test_chat.py talks in the chat."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.served import Server, serving

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The example named by the parameter, from the root of the repository."""
    args = ("--app-dir", "examples", request.param, "--port", "0", "--workers", "1")
    with serving(*args, folder=ROOT) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    address = server.wait_until_serving()
    with httpx.Client(base_url=f"http://{address}", timeout=30) as client:
        yield client


def assert_a_clean_end(server: Server) -> None:
    assert server.stop() == 0
    assert not [line for line in server.log if "] error " in line or "] warning " in line]


def test_every_example_has_a_test_and_says_how_it_is_run() -> None:
    here = Path(__file__).read_text("utf-8")
    for path in EXAMPLES:
        assert f'"{path.stem}:app"' in here
        assert f"pounce --app-dir examples {path.stem}:app" in path.read_text("utf-8")


@pytest.mark.parametrize("server", ["hello:app"], indirect=True)
def test_hello_greets_whom_the_path_names(server: Server, client: httpx.Client) -> None:
    assert client.get("/").text == "Hello, world!\n"
    assert client.get("/J%C3%BCrgen").text == "Hello, Jürgen!\n"
    assert_a_clean_end(server)


def test_hello_runs_as_a_program_too() -> None:
    server = Server(
        [sys.executable, "examples/hello.py"],
        folder=ROOT,
        variables={"POUNCE_PORT": "1"},  # a program's settings stand in the program
        stdout=-1,
    )
    try:
        line = server.wait_for(r"serves hello:app|cannot be bound")
        if "cannot be bound" not in line:  # else somebody else has port 8000, and it says so
            server.wait_until_serving()
            assert server.stop() == 0
    finally:
        server.end()


@pytest.mark.parametrize("server", ["fastapi_app:app"], indirect=True)
def test_fastapi_takes_and_gives_orders(server: Server, client: httpx.Client) -> None:
    added = client.post("/orders", json={"item": "tea", "count": 2})
    assert (added.status_code, added.json()) == (201, {"number": 1})
    assert client.get("/orders/1").json() == {"item": "tea", "count": 2}
    assert client.get("/orders/2").status_code == 404
    assert client.post("/orders", json={"item": "tea", "count": 0}).status_code == 422
    assert_a_clean_end(server)


@pytest.mark.parametrize("server", ["sse:app"], indirect=True)
def test_events_come_one_by_one_until_the_client_leaves(
    server: Server, client: httpx.Client
) -> None:
    with client.stream("GET", "/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.iter_lines()
        events = [next(lines) for _ in range(6)]
    assert events == ["id: 1", "data: tick 1", "", "id: 2", "data: tick 2", ""]
    assert client.get("/").status_code == 404
    assert_a_clean_end(server)  # at once: the stream ended when its client left


def test_the_chat_is_served_as_its_readme_says(tmp_path: Path) -> None:
    text = (ROOT / "examples/chat/README.md").read_text("utf-8")
    program, *args = shlex.split(text.partition("```sh\n")[2].partition("\n")[0])
    assert program == "pounce"
    file = tmp_path / "chat.sqlite3"
    with serving(*args, "--port", "0", folder=ROOT, CHAT_FILE=str(file)) as server:
        with httpx.Client(base_url=f"http://{server.wait_until_serving()}", timeout=30) as client:
            assert client.get("/").text == (ROOT / "examples/chat/page.html").read_text("utf-8")
            assert client.head("/").headers["content-type"] == "text/html; charset=utf-8"
            assert client.get("/talk").status_code == 404
            assert client.post("/").status_code == 405
        assert_a_clean_end(server)
    assert file.exists()
