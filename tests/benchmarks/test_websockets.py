"""WebSocket benchmarks: frames as they must be, cases and bars that fit, real loads of a moment."""

from __future__ import annotations

import itertools
import os
import zlib
from pathlib import Path

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage
from wsproto.extensions import PerMessageDeflate

from benchmarks.bars import WEBSOCKET_BARS, Bar
from benchmarks.report import Run
from benchmarks.running import BenchmarkError, free_port, running
from benchmarks.samples import Failure, Sample
from benchmarks.websockets import page, run
from benchmarks.websockets.cases import CASES, Case
from benchmarks.websockets.frames import RSV1, TAIL, TEXT, Messages, binaries, plain, take, texts
from benchmarks.websockets.loads import Broadcast, Echo, Held, Load, Paced, Plan
from benchmarks.websockets.servers import NAMES, SERVERS, TITLES
from benchmarks.websockets.sockets import check, prove, request
from benchmarks.websockets.talk import percentile, writes_of

BY_NAME = {case.name: case for case in CASES}
SERVER_OF = {server.name: server for server in SERVERS}
CORE = max(os.sched_getaffinity(0))
PLAN = Plan(seconds=0.1, warmup_s=0.1, idle_sockets=20, rate=500)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket"
AGREED = SWITCHED + b"\r\nSec-WebSocket-Extensions: permessage-deflate"


@pytest.mark.parametrize("deflate", [False, True])
def test_a_server_reads_what_is_sent(deflate: bool) -> None:
    messages = texts(64, deflate=deflate)
    extension = PerMessageDeflate()
    extension._enabled = deflate
    server = Connection(ConnectionType.SERVER, [extension] if deflate else [])
    for frame in messages.frames():
        server.receive_data(frame)
    said = [event.data for event in server.events() if isinstance(event, TextMessage)]
    assert said == [payload.decode() for payload in messages.payloads]
    assert len(set(said)) == len(said)
    assert {len(words) for words in said} == {64}


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_binary_messages_are_framed_by_their_size(size: int) -> None:
    messages = binaries(size, different=2)
    server = Connection(ConnectionType.SERVER)
    for frame in messages.frames():
        server.receive_data(frame)
    parts = [event for event in server.events() if isinstance(event, BytesMessage)]
    assert b"".join(bytes(part.data) for part in parts) == b"".join(messages.payloads)
    assert messages.answer == len(plain(messages.first, messages.payloads[0]))


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_servers_frame_is_taken_once_it_is_whole(size: int) -> None:
    payload = b"x" * size
    frame = plain(TEXT, payload)
    assert take(frame + b"more") == (TEXT, payload, b"more")
    assert [take(frame[:stop]) for stop in range(min(len(frame), 12))] == [None] * min(
        len(frame), 12
    )


def test_a_compressed_frame_inflates_by_itself() -> None:
    messages = texts(64, deflate=True)
    for payload, frame in zip(messages.payloads, messages.frames(), strict=True):
        assert frame[0] == TEXT | RSV1
        size, mask = frame[1] & 0x7F, frame[2:6]
        body = bytes(a ^ b for a, b in zip(frame[6:], itertools.cycle(mask), strict=False))
        assert len(body) == size
        assert zlib.decompressobj(-9).decompress(body + TAIL) == payload


def test_frames_take_turns_in_writes_of_any_depth() -> None:
    frames = [b"a", b"b", b"c"]
    assert [*itertools.islice(writes_of(frames, 1), 4)] == [b"a", b"b", b"c", b"a"]
    assert [*itertools.islice(writes_of(frames, 2), 4)] == [b"ab", b"ca", b"bc", b"ab"]


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (
        51,
        100,
        7,
    )


@pytest.mark.parametrize(
    ("head", "deflate", "complaint"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n", False, "answered with 'HTTP/1.1 403 Forbidden'"),
        (SWITCHED, True, "permessage-deflate was not agreed to"),
        (AGREED, False, "permessage-deflate was agreed unasked"),
    ],
)
def test_another_handshake_than_the_cases_is_refused(
    head: bytes, deflate: bool, complaint: str
) -> None:
    with pytest.raises(BenchmarkError, match=complaint):
        check(head, deflate=deflate)


def test_a_handshake_offers_compression_where_the_case_has_it() -> None:
    check(SWITCHED, deflate=False)
    check(AGREED, deflate=True)
    assert b"permessage-deflate" in request("/echo", deflate=True)
    assert b"permessage-deflate" not in request("/echo", deflate=False)


def test_floors_and_those_who_cannot_compress_stay_out_where_they_must() -> None:
    def names_in(case: str) -> set[str]:
        return {server.name for server in BY_NAME[case].servers(NAMES)}

    assert names_in("echo64") == {*NAMES}
    assert names_in("echo64x16") == {*NAMES} - {"floor"}
    assert names_in("deflate64") == {"pounce", "uvicorn", "uvicorn-wsproto", "hypercorn"}
    assert names_in("broadcast") == {*NAMES} - {"floor", "picows"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_command_line_names_the_port(case: Case) -> None:
    order = case.order(4321, Path("some.log"))
    for server in case.servers(NAMES):
        line = " ".join(server.command(order))
        assert "4321" in line
        assert "some.log" not in line


@pytest.mark.parametrize("bar", WEBSOCKET_BARS, ids=lambda bar: bar.text)
def test_every_bar_of_websockets_names_a_case_and_servers_in_it(bar: Bar) -> None:
    taking_part = {server.name for server in BY_NAME[bar.case].servers(NAMES)}
    assert {bar.server, bar.against or bar.server} <= taking_part


def test_the_pace_is_half_of_the_slowest_in_the_same_round() -> None:
    def rate(server: str, turn: int, rps: float) -> Sample:
        return Sample(run.PACE, server, turn, {"rps": rps})

    measured = [rate("a", 1, 10), rate("a", 2, 30), rate("b", 2, 20)]
    measured.append(Sample("broadcast", "b", 2, {"rps": 2}))
    assert run.half_of_the_slowest(measured, 2) == 10
    assert run.half_of_the_slowest(measured, 3) == 0


def test_the_page_has_medians_with_their_ranges_and_says_what_is_missing() -> None:
    told = Run(
        command="python -m benchmarks.websockets",
        day="2026-01-31",
        machine={"CPU": "Some Model"},
        versions={"uvicorn": "0.54.0"},
        settings={"rounds": 3},
        samples=[
            Sample("echo64", "pounce", turn, {"cpu_us": cost, "foreign": 0.2})
            for turn, cost in enumerate((9.0, 11.0, 10.0), 1)
        ]
        + [Sample("echo64", "uvicorn", 1, {"cpu_us": 18.0})],
        failures=[Failure("echo64", "granian", 1, "refused")],
    )
    text = page.markdown(told, plot="some.svg")
    assert "| pounce | 10.0 (9.0 … 11.0) |\n" in text
    assert "| granian | failed |\n" in text
    assert "Note: granian failed in echo64, round 1." in text
    assert "3 of 4 measurements" in text
    assert "| echo of 64 B: CPU per message / uvicorn's | <= 0.70 (aim 0.55) | 0.50 |" in text
    assert [row.role for row in page.panels(told)[0].rows] == ["own", "peer"]


def test_a_server_that_would_make_the_others_bars_invisible_is_not_drawn() -> None:
    costs = {"pounce": 10.0, "uvicorn": 20.0, "granian": 30.0, "gunicorn": 300.0}
    told = Run(
        command="",
        day="",
        machine={},
        versions={},
        settings={},
        samples=[Sample("echo1m", name, 1, {"cpu_us": cost}) for name, cost in costs.items()],
        failures=[],
    )
    assert [row.name for row in page.panels(told)[0].rows] == [
        TITLES[name] for name in ("pounce", "uvicorn", "granian")
    ]
    assert "300.0" in page.overview(told)


LOADS: list[tuple[Load, set[str]]] = [
    (Echo(texts(64), sockets=3), {"cpu_us", "rps", "busy", "foreign", "pss_mib"}),
    (Echo(texts(64), sockets=3, depth=4), {"cpu_us", "rps", "busy", "foreign", "pss_mib"}),
    (
        Echo(binaries(1 << 20, different=1), sockets=2),
        {"cpu_us", "rps", "busy", "foreign", "pss_mib"},
    ),
    (Echo(texts(64, deflate=True), sockets=3), {"cpu_us", "rps", "busy", "foreign", "pss_mib"}),
    (
        Broadcast(texts(64), sockets=5),
        {"cpu_us", "rps", "busy", "foreign", "pss_mib", "reach_ms"},
    ),
    (
        Paced(texts(64), sockets=3),
        {"rate", "p50_us", "p99_us", "p999_us", "paced_cpu_us", "foreign"},
    ),
]


def test_real_loads_measure_a_real_server(tmp_path: Path) -> None:
    """What they measure is nobody's business here."""
    port = free_port()
    command = SERVER_OF["pounce"].command(BY_NAME["broadcast"].order(port, tmp_path / "access.log"))
    with running(command, port=port, core=CORE, log=tmp_path / "log") as started:
        for load, metrics in LOADS:
            if not isinstance(load, Broadcast):
                prove(port, load.path, load.messages)
            assert set(load.measure(started, PLAN)) == metrics
        held = Held(texts(64, deflate=True), rest_s=0.1, first=5)
        assert set(held.measure(started, PLAN)) == {"idle_pss_kib", "idle_rss_kib"}
        assert "without a rate" in refusal(lambda: Paced(texts(64)).measure(started, Plan(1, 1, 1)))


def refusal(act: object) -> str:
    assert callable(act)
    with pytest.raises(BenchmarkError) as caught:
        act()
    return str(caught.value)


def test_a_wrong_echo_is_not_measured(tmp_path: Path) -> None:
    port = free_port()
    command = SERVER_OF["floor"].command(BY_NAME["echo64"].order(port, tmp_path / "access.log"))
    with running(command, port=port, core=CORE, log=tmp_path / "log") as started:
        different = Messages(TEXT, texts(64).payloads[1:])
        assert "not as it was sent" in refusal(lambda: prove(port, "/echo", different))
        values = Echo(texts(64), sockets=2).measure(started, PLAN)
    assert values["cpu_us"] > 0
    assert set(TITLES) == set(NAMES)
