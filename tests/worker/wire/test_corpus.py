"""The corpus of raw requests through both readers, however the bytes arrive: one verdict."""

from __future__ import annotations

import pytest

from pounce.worker.wire.h1_request import Limits
from tests.support.corpus import Case, load
from tests.support.wire import READERS, WHOLE, Recorder, feed, make_wire

ACCEPT = load("http1/accept")
REFUSE = load("http1/refuse")
STEPS = (WHOLE, 1, 3, 7)  # of 3 bytes: a find() without success is len(data) - 4
# One for all cases, as a worker has one for all connections: no head may leave a trace in it.
SHARED = {name: reader() for name, reader in READERS.items()}

# Sent behind a case. Whoever lost count of the bytes takes it for a request, or does not see it.
STRANGER = b"GET /stranger HTTP/1.1\r\nHost: stranger\r\n\r\n"
STRANGER_LINE = "GET /stranger 1.1"


def run(case: Case, reader: str, step: int, behind: bytes = b"") -> Recorder:
    recorder = make_wire(
        SHARED[reader],
        answering=case.answering,
        limits=Limits(**case.limits),
        websockets=case.websockets,
    )
    feed(recorder, case.raw, step)
    feed(recorder, case.later, step)
    feed(recorder, behind, step)
    return recorder


def statuses(recorder: Recorder) -> list[int]:
    return [response.status for response in recorder.responses]


def seen(recorder: Recorder) -> list[tuple[str, list[tuple[bytes, bytes]], bytes, str]]:
    return [(r.line, r.head.headers, r.body, r.head.tunnel) for r in recorder.requests]


def expected(case: Case) -> list[tuple[str, list[tuple[bytes, bytes]], bytes, str]]:
    """What must have been seen; nothing of a body where the application answered without it."""
    return [
        (r.line, r.headers, b"" if case.answering == "at the head" else r.body, r.tunnel)
        for r in case.requests
    ]


def test_the_corpus_has_no_two_cases_of_one_name() -> None:
    for cases in (ACCEPT, REFUSE):
        names = [case.name for case in cases]
        assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", [c for c in ACCEPT if not c.unfinished], ids=str)
def test_a_good_request_is_seen_as_it_is_written(case: Case, reader: str) -> None:
    for step in STEPS:
        recorder = run(case, reader, step)
        assert seen(recorder) == expected(case), f"step {step}: {case.why}"
        assert statuses(recorder) == case.answers, f"step {step}: {case.why}"
        assert recorder.refusals == []
        assert bool(recorder.closed) == case.closes or case.after != "next", f"step {step}"
        if case.answering == "at the end":
            assert all(request.ended for request in recorder.requests), f"step {step}"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", [c for c in ACCEPT if not c.unfinished], ids=str)
def test_a_stranger_behind_a_good_request_is_the_next_one_or_unseen(
    case: Case, reader: str
) -> None:
    for step in STEPS:
        recorder = run(case, reader, step, STRANGER)
        lines = [request.line for request in recorder.requests]
        own = [request.line for request in case.requests]
        if recorder.closed:
            assert case.closes or case.after != "next", f"step {step}: closed"
            assert lines == own, f"step {step}"
            assert statuses(recorder) == case.answers, f"step {step}"
            last = recorder.responses[-1]
            assert (b"connection", b"close") in last.headers, f"step {step}"
        else:
            assert not case.closes, f"step {step}: not closed"
            assert case.after != "body", f"step {step}: a body not sent is waited for"
            assert lines == [*own, STRANGER_LINE], f"step {step}"
            assert recorder.requests[-1].head.headers == [(b"host", b"stranger")]
            assert statuses(recorder) == [*case.answers, 200], f"step {step}"
        assert recorder.refusals == []


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", [c for c in ACCEPT if c.unfinished], ids=str)
def test_an_unfinished_request_is_waited_for_and_never_ends_well(case: Case, reader: str) -> None:
    for step in STEPS:
        recorder = run(case, reader, step)
        assert seen(recorder) == expected(case), f"step {step}: {case.why}"
        assert statuses(recorder) == case.answers, f"step {step}"
        assert recorder.closed == "", f"step {step}"
        assert not any(request.ended for request in recorder.requests), f"step {step}"

        recorder.wire.receive_eof()
        assert recorder.closed, f"step {step}: the peer stopped, and we still wait"
        assert all(request.lost for request in recorder.requests), f"step {step}"
        assert not any(request.ended for request in recorder.requests), f"step {step}"
        assert 200 not in statuses(recorder), f"step {step}"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", [c for c in ACCEPT if c.unfinished], ids=str)
def test_a_stranger_behind_an_unfinished_request_belongs_to_it(case: Case, reader: str) -> None:
    for step in STEPS:
        recorder = run(case, reader, step, STRANGER)
        assert len(recorder.requests) == len(case.requests), f"step {step}"
        assert 200 not in statuses(recorder), f"step {step}"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", REFUSE, ids=str)
def test_a_bad_request_is_refused_and_the_connection_closed(case: Case, reader: str) -> None:
    for step in STEPS:
        for behind in (b"", STRANGER):
            how = f"step {step}, {'a stranger' if behind else 'nothing'} behind: {case.why}"
            recorder = run(case, reader, step, behind)
            assert statuses(recorder) == case.answers, how
            assert [status for status, _ in recorder.refusals] == [case.status], how
            assert recorder.closed == "linger", how
            assert len(recorder.requests) == case.opened, how
            assert STRANGER_LINE not in [request.line for request in recorder.requests], how
            assert (b"connection", b"close") in recorder.responses[-1].headers, how
            whole = case.answers.count(200)
            assert all(request.ended for request in recorder.requests[:whole]), how
            assert all(request.lost for request in recorder.requests[whole:]), how
            assert not any(request.ended for request in recorder.requests[whole:]), how
