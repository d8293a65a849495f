"""How much is taken of a client and of all clients, and what an application may not send."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Final

import psutil
import pytest
from xprocess import XProcess

from tests.support.notes import Notes
from tests.support.raw import CLOSED, Raw, request
from tests.support.server import Server, shared, started
from tests.support.serverlog import wait_until
from tests.system.apps.messages import CUT, SPLITTING

GET: Final = request("GET", "/")
CORES: Final = [("uvloop", "httptools"), ("asyncio", "h11")]


@pytest.fixture(scope="module", params=CORES, ids="-".join)
def server(request: pytest.FixtureRequest, xprocess: XProcess) -> Iterator[Server]:
    loop, http = request.param
    with shared(xprocess, "probe", "--workers", "2", "--loop", loop, "--http", http) as one:
        yield one


# Connections


def test_connections_over_the_limit_of_all_workers_get_503_and_the_rest_is_served(
    notes: Notes,
) -> None:
    with (
        started("probe", "--workers", "2", "--max-connections", "6") as server,
        contextlib.ExitStack() as stack,
    ):
        kept = [stack.enter_context(server.connect()) for _ in range(6)]
        for raw in kept:
            assert raw.get("/").body == b"hello"
        for asked in (b"", GET, b"", GET, request("POST", "/", body=b"a" * 100_000)):
            with server.connect() as excess:
                excess.send(asked)  # the kernel must not answer it with a reset
                answer = excess.answer()
                assert answer.status == 503
                assert answer.get("retry-after") == "1"
                assert answer.get("connection") == "close"
                assert excess.end() == CLOSED
        for raw in kept:
            assert raw.get("/").body == b"hello"
        for raw in kept[:3]:
            raw.close()

        def served() -> bool:
            with server.connect() as raw, contextlib.suppress(OSError):
                raw.send(GET)
                return raw.answer().status == 200
            return False

        wait_until(served, "a place for a new connection")


def test_those_who_were_refused_and_stay_take_nobodys_place() -> None:
    with (
        started("probe", "--workers", "2", "--max-connections", "2") as server,
        contextlib.ExitStack() as stack,
    ):

        def connect() -> Raw:
            return stack.enter_context(server.connect())

        kept = [connect(), connect()]
        for raw in kept:
            assert raw.get("/").body == b"hello"
        refused = [connect() for _ in range(20)]
        for raw in refused:
            assert raw.answer().status == 503
            assert raw.end() == CLOSED
        kept[0].send(request("GET", "/", "Connection: close"))
        assert kept[0].answer().body == b"hello"
        kept[0].close()

        def served() -> bool:
            raw = connect()
            raw.send(GET)
            return raw.answer().status == 200

        wait_until(served, "a place for a new connection")


def test_a_worker_that_dies_takes_its_count_with_it() -> None:
    with started("probe", "--max-connections", "2") as server:
        with server.connect() as one, server.connect() as two:
            assert one.get("/").body == b"hello"
            two.send(request("GET", "/killed"))
            assert two.rest() == b""
        server.log.expect("worker died .*signal=SIGKILL")
        server.log.wait_for("worker died")

        def served() -> bool:
            with server.connect() as raw, contextlib.suppress(OSError, AssertionError):
                return raw.get("/").status == 200
            return False

        wait_until(served, "the successor serves")


def test_a_connection_ends_after_its_last_request() -> None:
    with started("probe", "--max-keep-alive-requests", "3") as server, server.connect() as raw:
        assert [raw.get("/").get("connection") for _ in range(3)] == [None, None, "close"]
        assert raw.end() == CLOSED


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_who_finds_no_descriptor_left_waits_until_there_is_one(loop: str) -> None:
    limited = ["bash", "-c", 'ulimit -n 40; exec "$@"', "limited"]
    with (
        started("probe", "--loop", loop, prefix=limited) as server,
        contextlib.ExitStack() as stack,
    ):
        workers = server.workers()
        clients = [stack.enter_context(server.connect()) for _ in range(80)]
        server.log.wait_for("cannot accept, pausing")
        for client in clients:
            assert client.get("/").body == b"hello"
            client.close()
        assert server.workers() == workers
        lines = server.log.find("cannot accept")
        assert len(lines) < 5, "a line for each attempt would flood the log"
        for line in lines:
            server.log.expect(re.escape(line.text))


def test_the_limit_of_descriptors_is_as_high_as_the_system_lets_it_be() -> None:
    limited = ["bash", "-c", 'ulimit -S -n 100; ulimit -H -n 300; exec "$@"', "limited"]
    with started("probe", prefix=limited) as server:
        for pid in server.workers():
            assert psutil.Process(pid).rlimit(psutil.RLIMIT_NOFILE) == (300, 300)


# Heads and bodies


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("GET", "/" + "a" * 9000), 414),
        (b"GET /" + b"a" * 100_000, 414),
        (request("GET", "/", "X: " + "a" * 17_000), 431),
        (request("GET", "/", *["X: a"] * 101), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 9000, 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", 505),  # nearly the preface of HTTP/2
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
    ],
)
def test_a_head_over_a_limit_or_out_of_form_is_refused_and_the_answer_can_be_read(
    server: Server, data: bytes, status: int
) -> None:
    with server.connect() as raw:
        with contextlib.suppress(ConnectionError):
            raw.send(data + GET)
        answer = raw.answer()
        assert answer.status == status
        assert answer.get("connection") == "close"
        assert raw.end() == CLOSED


@pytest.mark.parametrize("coding", ["Content-Length: 2000", "Transfer-Encoding: chunked"])
def test_a_body_over_the_limit_is_refused(coding: str) -> None:
    with started("probe", "--max-body-size", "1000") as server, server.connect() as raw:
        raw.send(request("POST", "/digest", coding))
        if "chunked" in coding:
            raw.send(b"7d0\r\n" + b"a" * 2000 + b"\r\n0\r\n\r\n")
        assert raw.answer().status == 413
        assert raw.end() == CLOSED


def test_an_early_answer_reaches_a_client_that_is_still_sending(server: Server) -> None:
    with server.connect() as raw:
        raw.send(request("POST", "/ignore", "Content-Length: 20000000"))
        for _ in range(30):  # nothing of this is taken for an error, the answer is still on its way
            raw.send(b"a" * 65536)
        answer = raw.answer()
        assert answer.body == b"ignored"
        assert answer.get("connection") == "close"
        assert raw.end() == CLOSED


def test_a_small_body_that_nobody_reads_costs_no_connection(server: Server) -> None:
    with server.connect() as raw:
        for _ in range(3):
            raw.send(request("POST", "/ignore", body=b"a" * 50_000))
            assert raw.answer().body == b"ignored"


# Pipelining


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with server.connect() as raw:
        raw.send(b"".join(request("POST", "/echo", body=b"%d" % at) for at in range(200)))
        assert [raw.answer().body for _ in range(200)] == [b"%d" % at for at in range(200)]


def test_a_flood_of_requests_whose_answers_nobody_reads_is_not_held(server: Server) -> None:
    before = memory_of(server)
    with server.connect(receive_buffer=4096) as raw:
        raw.socket.settimeout(1.0)  # far more than the kernels hold is not taken
        flood = request("GET", "/big?size=65536") * 1000
        with pytest.raises(TimeoutError):
            pour(raw, flood)
        assert memory_of(server) - before < 8_000_000


def pour(raw: Raw, data: bytes) -> None:
    for _ in range(1000):
        raw.send(data)


def memory_of(server: Server) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in server.workers())


# What the protocol says


def test_100_is_said_when_the_application_reads_and_not_when_it_does_not(server: Server) -> None:
    fields = ("Content-Length: 5", "Expect: 100-continue")
    with server.connect() as raw:
        raw.send(request("POST", "/digest", *fields))
        assert raw.answer().status == 100
        raw.send(b"hello")
        assert raw.answer().body.startswith(b"5 ")
    with server.connect() as raw:
        raw.send(request("POST", "/ignore", *fields))
        assert raw.answer().body == b"ignored"
        assert raw.end() == CLOSED


@pytest.mark.parametrize("keep", [False, True])
def test_http_1_0_is_spoken_as_it_is(server: Server, keep: bool) -> None:
    fields = b"Connection: keep-alive\r\n" if keep else b""
    with server.connect() as raw:
        raw.send(b"GET / HTTP/1.0\r\n" + fields + b"\r\n")
        answer = raw.answer()
        assert answer.get("connection") == ("keep-alive" if keep else "close")
        assert answer.body == b"hello"
        if not keep:
            assert raw.end() == CLOSED
    with server.connect() as raw:
        raw.send(b"GET /messages?case=chunked HTTP/1.0\r\n" + fields + b"\r\n")
        answer = raw.answer()
        assert answer.get("transfer-encoding") is None
        assert answer.body == b"body"


def test_head_204_and_304_have_no_body_and_the_next_answer_is_in_place(server: Server) -> None:
    with server.connect() as raw:
        raw.send(request("HEAD", "/"))
        head = raw.answer(method="HEAD")
        assert head.get("content-length") == "5", "as GET would get"
        for case in ("204", "304"):
            answer = raw.get(f"/messages?case={case}")
            assert answer.status == int(case)
            assert answer.get("content-length") == (None if case == "204" else "12")
        assert raw.get("/").body == b"hello"


def test_hints_come_first_and_trailers_last(server: Server) -> None:
    with server.connect() as raw:
        hints = raw.get("/messages?case=hints")
        assert hints.status == 103
        assert [value for _, value in hints.headers] == ["</a.css>; rel=preload", "</b>; rel=x"]
        assert raw.answer().body == b"body"
        assert raw.get("/messages?case=trailers").trailers == [("x-sum", "42")]
        assert raw.get("/messages?case=trailers-in-two").trailers == [("x-a", "1"), ("x-b", "2")]


@pytest.mark.parametrize("upgrade", ["foo", "h2c", "websocket"])
def test_an_upgrade_that_nobody_takes_is_passed_over(server: Server, upgrade: str) -> None:
    fields = (
        "Connection: Upgrade, HTTP2-Settings",
        f"Upgrade: {upgrade}",
        "HTTP2-Settings: AAMAAABk",
    )
    with server.connect() as raw:
        raw.send(request("POST", "/echo", *fields, body=b"hello") + GET)
        assert raw.answer().body == b"hello"
        assert raw.answer().body == b"hello"


def test_the_application_hears_of_a_client_that_leaves(server: Server, notes: Notes) -> None:
    with server.connect() as raw:
        raw.send(request("GET", f"/until-gone?{notes.query}"))
        notes.wait_for("begun")
    notes.wait_for("disconnected")


# What an application may not send


@pytest.mark.parametrize("case", SPLITTING)
def test_what_an_application_may_not_send_is_a_500_and_never_on_the_wire(
    server: Server, case: str
) -> None:
    with server.connect() as raw:
        raw.send(request("GET", f"/messages?case={case}") + GET)
        data = raw.rest()
    assert re.match(rb"(HTTP/1.1 103 |HTTP/1.1 500 )", data)
    assert data.count(b"HTTP/1.1 500 Internal Server Error\r\n") == 1
    assert b"Injected" not in data
    assert b"200 OK" not in data
    server.log.expect("^application (raised|returned)")
    server.log.check()


@pytest.mark.parametrize("case", CUT)
def test_half_an_answer_is_cut_so_that_nobody_takes_it_for_whole(server: Server, case: str) -> None:
    with server.connect() as raw:
        raw.send(request("GET", f"/messages?case={case}") + GET)
        data = raw.rest()
    assert data.count(b"HTTP/1.1") <= 1
    assert not data.endswith(b"0\r\n\r\n")
    server.log.expect("^application (raised|returned)")
    server.log.check()


@pytest.mark.parametrize(
    "case", ["own-framing", "own-framing-twice", "with-length", "chunked", "close"]
)
def test_what_an_application_says_of_framing_does_not_confuse_it(server: Server, case: str) -> None:
    with server.connect() as raw:
        answer = raw.get(f"/messages?case={case}")
        assert answer.body == b"body"
        lengths = [
            name for name, _ in answer.headers if name in ("content-length", "transfer-encoding")
        ]
        assert len(lengths) == 1
        if case == "close":
            assert raw.end() == CLOSED
        else:
            assert raw.get("/").body == b"hello"


def test_an_application_that_raises_answers_500_and_the_next_is_served(server: Server) -> None:
    with server.connect() as raw:
        assert raw.get("/raises").status == 500
    server.log.expect("^application raised method=GET path=/raises")
    server.log.check()
    with server.connect() as raw:
        assert raw.get("/").body == b"hello"
