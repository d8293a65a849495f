"""The access log of a real server, on all that it may be written to; and what proxies say."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest
from xprocess import XProcess

from tests.support.raw import CLOSED, request
from tests.support.server import Server, command, shared, started, variables
from tests.support.serverlog import wait_until


def lines(path: Path) -> list[str]:
    return path.read_text("ascii").splitlines() if path.exists() else []


@pytest.mark.parametrize("form", ["text", "json"])
def test_each_answer_has_a_line(form: str, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    options = ("--access-log-file", str(path), "--log-format", form, "--access-log")
    with started("probe", *options, serving=False) as server:
        if form == "json":
            wait_until(lambda: "serving on" in server.log.text, "serving")
            said = next(line for line in server.log.text.splitlines() if "serving on" in line)
            address = json.loads(said)["message"].split()[2]
            host, _, port = address.rpartition(":")
            server.addresses = [(host, int(port))]
        else:
            server.wait_until_serving()
        pid = next(iter(server.workers()))
        with server.connect() as raw:
            raw.get("/whoami?x=1")
            raw.send(b"nonsense\r\n\r\n")
            raw.rest()
            own = f"127.0.0.1:{raw.socket.getsockname()[1]}"
        wait_until(lambda: len(lines(path)) == 2, "two lines")
        first, second = lines(path)
        if form == "json":
            said = json.loads(first)
            assert said["client"] == own
            assert (said["method"], said["target"], said["status"]) == ("GET", "/whoami?x=1", 200)
            assert said["worker"] == pid
            assert json.loads(second)["status"] == 400
            server.signal(SIGTERM)
            assert server.wait() == 0
            records = [json.loads(line) for line in server.log.text.splitlines()]
            assert {record["level"] for record in records} == {"info"}
            server.log._checked = len(server.log.records())  # its lines are not in the text form
        else:
            assert f' {own} "GET /whoami?x=1 HTTP/1.1" 200 ' in first
            assert first.endswith(f" worker={pid}")
            assert f' {own} "-" 400 ' in second


def test_excluded_paths_are_left_out_and_a_request_cannot_forge_a_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    options = ("--access-log-file", str(path), "--access-log-exclude", "/whoami")
    with started("probe", *options) as server, server.connect() as raw:
        raw.get("/whoami")
        raw.get('/%0d%0aFAKE%1b[31m"x"', 'User-Agent: "a\x80\xff')
        raw.get("/zone", 'X-Forwarded-For: fe80::1%" 200 1B \x9b31m')
        raw.get("/")
        wait_until(lambda: len(lines(path)) == 3, "three lines")
        forged, zone, last = lines(path)
        assert forged.count('"') == 2
        assert '"GET /zone HTTP/1.1" 404' in zone
        assert zone.count('"') == 2
        assert '"GET / HTTP/1.1" 200' in last


def test_a_line_names_the_client_that_the_application_sees(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with started("probe", "--access-log-file", str(path)) as server:
        seen = []
        for source in ("127.0.0.1", "127.0.0.2"):  # the second is no proxy that is trusted
            with server.connect(source=source) as raw:
                for fields in (FORWARDED, ('Forwarded: for="[2001:db8::1]:99"',), ()):
                    scope = json.loads(raw.get("/scope", *fields).body)
                    seen.append("{}:{}".format(*scope["client"]))
        assert seen[:2] == ["203.0.113.5:0", "2001:db8::1:99"]
        assert {client.rpartition(":")[0] for client in seen[2:]} == {"127.0.0.1", "127.0.0.2"}
        wait_until(lambda: len(lines(path)) == 6, "six lines")
        assert [line.split(" ")[1] for line in lines(path)] == seen


@pytest.mark.parametrize("target", ["/dev/full", "stdout"])
def test_a_log_that_takes_nothing_does_not_stop_a_request(target: str) -> None:
    if target == "stdout":
        read_end, write_end = os.pipe()
        with started("probe", "--access-log-file", "-", stdout=write_end) as server:
            os.close(write_end)
            with server.connect() as raw:
                for _ in range(3000):  # more than a pipe holds
                    assert raw.get("/").status == 200
        os.close(read_end)
    else:
        with started("probe", "--access-log-file", target) as server, server.connect() as raw:
            server.log.expect("access log was not taken, lines were dropped")
            while not server.log.find("access log was not taken"):
                assert raw.get("/").status == 200
            for _ in range(2000):
                assert raw.get("/").status == 200
            assert len(server.log.find("access log was not taken")) < 3, "it would flood the log"


def test_a_reader_that_leaves_after_a_line_ends_nothing() -> None:
    read_end, write_end = os.pipe()
    with started("probe", "--access-log-file", "-", stdout=write_end) as server:
        os.close(write_end)
        with server.connect() as raw, os.fdopen(read_end, "rb") as reader:
            raw.get("/")
            assert b'"GET / HTTP/1.1" 200' in reader.readline()
        with server.connect() as raw:
            for _ in range(10):
                assert raw.get("/").status == 200
        server.log.expect("access log was not taken, lines were dropped")
        server.log.wait_for("access log was not taken")


def test_a_log_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    options = ("--access-log-file", str(tmp_path / "no" / "log"))
    done = subprocess.run(
        command("probe", options), env=variables(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("pounce: access_log_file is ")


# Proxies


def scope_of(server: Server, *fields: str, source: str = "127.0.0.1", first: bytes = b"") -> Any:
    with server.connect(source=source) as raw:
        raw.send(first + request("GET", "/scope", *fields))
        return json.loads(raw.answer().body)


FORWARDED = (
    "X-Forwarded-For: 6.6.6.6, 203.0.113.5",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop.test",
)


@pytest.fixture(scope="module")
def server(xprocess: XProcess) -> Iterator[Server]:
    with shared(xprocess, "probe") as one:
        yield one


def test_a_trusted_proxy_is_believed(server: Server) -> None:
    scope = scope_of(server, *FORWARDED)
    assert scope["client"] == ["203.0.113.5", 0]
    assert scope["scheme"] == "https"
    assert ["host", "shop.test"] in scope["headers"]


def test_what_is_no_plain_address_is_no_client(server: Server) -> None:
    for text in ("unknown", "_hidden", "6.6.6.6.6", "fe80::1%eth0", 'fe80::1%" 200 x', "a.test"):
        assert scope_of(server, f"X-Forwarded-For: {text}")["client"][0] == "127.0.0.1"


def test_a_stranger_is_not(server: Server) -> None:
    scope = scope_of(server, *FORWARDED, source="127.0.0.2")
    assert scope["client"][0] == "127.0.0.2"
    assert scope["scheme"] == "http"
    assert ["host", "test"] in scope["headers"]


def test_the_peer_of_a_unix_socket_is_believed_only_where_it_is_said(tmp_path: Path) -> None:
    for trust, client in (("unix:", ["203.0.113.5", 0]), ("127.0.0.1", None)):
        options = ("--bind", f"unix:{tmp_path}/sock", "--forwarded-allow-ips", trust)
        with started("probe", *options) as server, server.connect() as raw:
            scope = json.loads(raw.get("/scope", *FORWARDED).body)
            assert scope["client"] == client
            assert scope["server"] == [f"{tmp_path}/sock", None]


V1 = b"PROXY TCP4 198.51.100.7 198.51.100.1 4711 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + bytes([198, 51, 100, 7, 198, 51, 100, 1])
    + (4711).to_bytes(2, "big")
    + (443).to_bytes(2, "big")
)


@pytest.fixture(scope="module")
def proxied(xprocess: XProcess) -> Iterator[Server]:
    with shared(xprocess, "probe", "--proxy-protocol") as one:
        yield one


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_a_proxy_header_names_the_client(proxied: Server, header: bytes) -> None:
    scope = scope_of(proxied, first=header)
    assert scope["client"] == ["198.51.100.7", 4711]
    assert scope["server"] == ["198.51.100.1", 443]


@pytest.mark.parametrize(
    ("source", "first"),
    [("127.0.0.2", V1), ("127.0.0.1", b""), ("127.0.0.1", V1[:-2] + b" more\r\n")],
    ids=["untrusted", "missing", "malformed"],
)
def test_a_connection_without_a_right_proxy_header_is_closed(
    proxied: Server, source: str, first: bytes
) -> None:
    with proxied.connect(source=source) as raw:
        raw.send(first + request("GET", "/scope"))
        assert raw.answer().status == 400
        assert raw.end() == CLOSED
    proxied.log.expect("PROXY header refused")
    proxied.log.check()


def test_a_proxy_header_without_the_setting_is_no_request(server: Server) -> None:
    with server.connect() as raw:
        raw.send(V1 + request("GET", "/scope"))
        assert raw.answer().status == 400
        assert raw.end() == CLOSED
