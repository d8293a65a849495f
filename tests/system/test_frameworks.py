"""Applications of real frameworks over real sockets: each does what apps/contract.py says."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from xprocess import XProcess

from tests.support.notes import Notes
from tests.support.server import Server, shared, started
from tests.system.apps.contract import DOWNLOAD_NAME, EVENTS, LINES

FRAMEWORKS: Final = ["fastapi", "starlette", "django", "litestar"]
DOWNLOAD: Final = os.urandom(3_000_000)
# More than any buffer on the way holds.
LARGE: Final = os.urandom(1 << 20) * 12


class Site:
    """One framework's application, running."""

    def __init__(self, framework: str, server: Server, directory: Path) -> None:
        self.framework = framework
        self.server = server
        self.notes = Notes(directory)


@pytest.fixture(scope="module", params=FRAMEWORKS)
def running(
    request: pytest.FixtureRequest, xprocess: XProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp(request.param)
    with shared(
        xprocess, f"{request.param}_app", "--workers", "2", env=variables(directory)
    ) as server:
        if request.param == "litestar":  # its import starts a thread, which no fork survives
            server.log.expect("import started 1 threads .*, so each worker imports for itself")
        yield Site(request.param, server, directory)


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    yield running
    running.server.log.check()


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    with site.server.client() as client:
        yield client


def variables(directory: Path) -> dict[str, str]:
    """The environment that the contract asks for."""
    download = directory / "content"
    download.write_bytes(DOWNLOAD)
    return {"DOWNLOAD": str(download), "NOTES": str(Notes(directory).path)}


def json_of(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def test_json_comes_and_goes(client: httpx.Client) -> None:
    response = client.get("/json", params={"name": "wörld / & ?"})
    assert json_of(response) == {"hello": "wörld / & ?"}
    assert response.headers["content-type"].startswith("application/json")
    assert json_of(client.post("/json", json={"number": 21})) == {"twice": 42}


def test_a_form_arrives_by_httpx_and_curl(site: Site, client: httpx.Client) -> None:
    fields = {"name": "Zoë", "colours": ["red", "green & blue"]}
    assert json_of(client.post("/form", data=fields)) == fields
    said = site.server.curl(
        "/form",
        *("--data-urlencode", "name=Zoë"),
        *("--data-urlencode", "colours=red"),
        *("--data-urlencode", "colours=green & blue"),
    )
    assert json.loads(said) == fields


def test_a_file_is_uploaded_by_httpx_and_curl(
    site: Site, client: httpx.Client, tmp_path: Path
) -> None:
    path = tmp_path / "some file.bin"
    path.write_bytes(LARGE)
    expected = {
        "note": "a note",
        "name": "some file.bin",
        "size": len(LARGE),
        "sha256": hashlib.sha256(LARGE).hexdigest(),
    }
    with path.open("rb") as file:
        response = client.post("/upload", data={"note": "a note"}, files={"file": file})
    assert json_of(response) == expected
    # curl says Expect: 100-continue for a body of this size, and waits.
    said = site.server.curl("/upload", "-F", "note=a note", "-F", f"file=@{path}")
    assert json.loads(said) == expected


def test_a_file_is_downloaded_by_httpx_and_curl(site: Site, client: httpx.Client) -> None:
    response = client.get("/download")
    assert response.status_code == 200
    assert response.content == DOWNLOAD
    assert response.headers["content-length"] == str(len(DOWNLOAD))
    assert DOWNLOAD_NAME in response.headers["content-disposition"]
    assert site.server.curl("/download") == DOWNLOAD


def test_a_part_of_a_file_is_downloaded(site: Site, client: httpx.Client) -> None:
    response = client.get("/download", headers={"range": "bytes=1000000-1999999"})
    if site.framework in ("django", "litestar"):  # they know no ranges, and may leave them out
        assert (response.status_code, response.content) == (200, DOWNLOAD)
    else:
        assert (response.status_code, response.content) == (206, DOWNLOAD[1_000_000:2_000_000])


def test_a_response_is_streamed(site: Site, client: httpx.Client) -> None:
    with client.stream("GET", "/stream") as response:
        assert "content-length" not in response.headers
        assert "".join(response.iter_text()) == "".join(LINES)
    assert site.server.curl("/stream").decode() == "".join(LINES)
    assert site.server.curl("/stream", "--http1.0").decode() == "".join(LINES)


def test_events_are_streamed(site: Site, client: httpx.Client) -> None:
    with client.stream("GET", "/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line.startswith("data: ")]
    assert [json.loads(line.removeprefix("data: ")) for line in lines] == EVENTS
    said = site.server.curl("/events", "-N").decode()
    assert [json.loads(found) for found in re.findall("data: (.*?)\r?\n", said)] == EVENTS


def test_an_error_is_a_500_and_the_connection_goes_on(site: Site) -> None:
    if site.framework in ("fastapi", "starlette"):  # they answer, and let the server log it
        site.server.log.expect("application raised method=GET path=/error")
    with site.server.connect() as raw:
        assert raw.get("/error").status == 500
        assert json.loads(raw.get("/json?name=after").body) == {"hello": "after"}
        assert raw.get("/missing").status == 404
        assert json.loads(raw.get("/json?name=again").body) == {"hello": "again"}


def test_an_error_in_the_middle_of_a_body_cuts_it_so_that_the_client_knows(
    site: Site, client: httpx.Client
) -> None:
    site.server.log.expect("application raised method=GET path=/late-error")
    with client.stream("GET", "/late-error") as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            response.read()
    assert json_of(client.get("/json?name=after")) == {"hello": "after"}


def test_a_background_task_runs_behind_the_answer(site: Site, client: httpx.Client) -> None:
    assert client.get("/background").text == "answered"
    site.notes.wait_for("background")


def test_what_lifespan_made_is_there_for_every_request(site: Site, client: httpx.Client) -> None:
    assert json_of(client.get("/state")) == {"started": True}
    if site.framework != "django":  # has no lifespan
        assert site.notes.lines().count("started") == 2  # once in each worker


def test_cookies_go_out_one_by_one_and_come_back(client: httpx.Client) -> None:
    response = client.get("/cookie")
    assert len(response.headers.get_list("set-cookie")) == 2
    assert json_of(client.get("/cookies")) == {"taste": "sweet"}


def test_a_redirect_is_followed(site: Site, client: httpx.Client) -> None:
    response = client.get("/redirect")
    assert response.status_code == 302
    assert json_of(client.get("/redirect", follow_redirects=True)) == {"hello": "redirected"}
    assert json.loads(site.server.curl("/redirect", "-L")) == {"hello": "redirected"}


def test_head_has_the_fields_and_no_body(site: Site) -> None:
    path = "/json?name=x"
    with site.server.connect() as raw:
        raw.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = raw.answer(method="HEAD")
        if site.framework in ("fastapi", "litestar"):  # no HEAD for what is declared as GET
            assert head.status == 405
        else:
            assert head.status == 200
            assert head.get("content-type") == "application/json"
        assert b"x" in raw.get(path).body  # nothing was left over in between


def test_large_bodies_go_both_ways(site: Site, client: httpx.Client, tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        for at in range(0, len(LARGE), 100_000):
            yield LARGE[at : at + 100_000]

    assert client.post("/echo", content=LARGE).content == LARGE
    assert client.post("/echo", content=pieces()).content == LARGE  # chunked
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    assert site.server.curl("/echo", "--data-binary", f"@{path}") == LARGE


def test_both_workers_answer(site: Site) -> None:
    pids: set[int] = set()
    while len(pids) < 2:  # the kernel picks one for every connection
        with site.server.client() as client:
            pids.add(json_of(client.get("/worker"))["pid"])
    assert pids == site.server.workers()


@pytest.mark.parametrize("http", ["httptools", "h11"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_every_loop_and_reader_serves_the_same(loop: str, http: str, tmp_path: Path) -> None:
    with (
        started(
            "fastapi_app", "--loop", loop, "--http", http, "--workers", "2",
            env=variables(tmp_path),
        ) as server,
        server.client() as client,
    ):  # fmt: skip
        assert server.log.find(f"workers=2 loop={loop} http={http}")
        assert json_of(client.get("/json", params={"name": "x"})) == {"hello": "x"}
        assert json_of(client.post("/json", json={"number": 4})) == {"twice": 8}
        assert client.get("/download").content == DOWNLOAD
        assert client.post("/echo", content=LARGE).content == LARGE
        assert client.get("/stream").text == "".join(LINES)
        server.log.expect("application raised method=GET path=/error")
        assert client.get("/error").status_code == 500
        assert server.curl("/json?name=curl") == b'{"hello":"curl"}'
    assert Notes(tmp_path).lines().count("stopped") == 2
