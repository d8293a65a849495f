"""HTTP/2: what h2load printed, who takes part, the page; and a real echo, without a duration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.bars import HTTP2_BARS, Bar
from benchmarks.http2 import echo, h2load, page
from benchmarks.http2.cases import APP, CASES, Case
from benchmarks.http2.servers import NAMES, SERVERS, Order2
from benchmarks.loads import Exchange
from benchmarks.report import Run
from benchmarks.running import free_port, launched
from benchmarks.samples import Failure, Sample
from benchmarks.servers import Server

PRINTED = """\
Application protocol: h2c
progress: 100% done

finished in 2.50s, 400.00 req/s, 471.79KB/s
requests: 1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx
"""


@pytest.mark.parametrize(
    ("told", "seconds"), [("2.50s", 2.5), ("189.50ms", 0.1895), ("1.5m", 90), ("12us", 12e-6)]
)
def test_the_time_is_read_in_all_its_units(told: str, seconds: float) -> None:
    summary = h2load.parse(PRINTED.replace("2.50s", told))
    assert summary.requests == 1000
    assert summary.seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("protocol: h2c", "protocol: http/1.1"),
        ("1000 succeeded", "999 succeeded"),
        ("1000 2xx, 0 3xx", "999 2xx, 1 3xx"),
        ("finished in", "went on for"),
    ],
)
def test_a_load_that_was_not_answered_as_it_should_be_is_void(good: str, bad: str) -> None:
    assert good in PRINTED
    with pytest.raises(h2load.H2loadError):
        h2load.parse(PRINTED.replace(good, bad))


def test_a_body_makes_posts_of_the_requests() -> None:
    line = h2load.command(
        "http://a.test/", connections=1, streams=2, requests=3, body=Path("some.body")
    )
    assert "--data=some.body" in line
    assert line[-1] == "http://a.test/"


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_a_certificate_is_named_over_tls_only(server: Server) -> None:
    plain = server.command(Order2(APP, 4321, Path("log")))
    order = Order2(APP, 4321, Path("log"), certificate=Path("cert.pem"), key=Path("key.pem"))
    over_tls = server.command(order)
    assert any("4321" in part for part in plain)
    assert not {"cert.pem", "key.pem"} & {*plain}
    assert {"cert.pem", "key.pem"} <= {*over_tls}


@pytest.mark.parametrize("bar", HTTP2_BARS, ids=lambda bar: bar.text)
def test_every_bar_of_http2_names_a_case_and_servers_that_take_part(bar: Bar) -> None:
    (case,) = [case for case in CASES if case.name == bar.case]
    assert {bar.server, bar.against} <= {*case.servers}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_sizes_are_those_in_the_titles(case: Case) -> None:
    exchange = getattr(case.load, "exchange", Exchange("", echo.MESSAGE))
    number, unit = re.findall(r"(\d+) (bytes|KiB|MiB)", case.title)[0]
    size = int(number) * {"bytes": 1, "KiB": 1024, "MiB": 1024 * 1024}[unit]
    assert max(len(exchange.answer), exchange.body) == size


def test_the_page_has_medians_and_says_once_why_somebody_failed() -> None:
    run = Run(
        command="python -m benchmarks.http2",
        day="2026-01-31",
        machine={"CPU": "Some Model"},
        versions={"h2": "4.3.0"},
        settings={"rounds": 3},
        samples=[
            *(
                Sample("h2_get13", name, turn, {"cpu_us": at})
                for name, figures in [("pounce", (11.0, 10.0, 30.0)), ("hypercorn", (90.0,) * 3)]
                for turn, at in enumerate(figures)
            )
        ],
        failures=[Failure("h2_get13", "uvicorn", turn, "some reason") for turn in (1, 2)],
    )
    text = page.markdown(run)
    assert "| pounce | 11.0 |\n" in text
    assert "| uvicorn (zttp) | failed |\n" in text
    assert text.count("some reason") == 1
    assert "granian |" not in text


def test_messages_come_back_over_real_streams(tmp_path: Path) -> None:
    port = free_port()
    (pounce,) = [server for server in SERVERS if server.name == "pounce"]
    command = pounce.command(Order2(APP, port, tmp_path / "access.log"))
    with launched(command, port=port, log=tmp_path / "output.log"):
        connections = [echo.EchoConnection(port, b"/", 3) for _ in range(2)]
        try:
            messages, _ = echo.talk(connections, 0.0)
        finally:
            for each in connections:
                each.socket.close()
    assert messages == 2 * 3


def test_everybody_is_called_by_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES) == len(set(page.TITLES.values()))
