"""What holds in any order of events. The kernel checks more at each step: see FakeKernel._check."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pounce.errors import EXIT_OK
from pounce.supervisor.crew import GRACE_S, Policy
from pounce.supervisor.orders import HungUp, Reload, Scale, Slept, Stop
from pounce.supervisor.state import Supervisor
from tests.support.fake_kernel import FakeKernel, Process

SHUTDOWN_TIMEOUT = 30.0
KIND = ("load", "boot", "accept", "drain", "reload", "wait")
SCALING = ("up", "down", "to", "no bind", "bind")
UNKIND = (
    *KIND,
    *SCALING,
    "beat",
    "tire",
    "queue",
    "sleep",
    "no load",
    "lose template",
    "fail",
    "crash",
    "hang up",
    "leave",
    "reap",
    "storm",
    "no fork",
    "fork",
)

Moves = list[tuple[str, int]]
# What a policy may say; the timeouts that end in a kill only where that may happen.
KIND_POLICIES = st.builds(
    Policy,
    start_timeout=st.just(60.0),
    shutdown_timeout=st.just(SHUTDOWN_TIMEOUT),
    probation=st.sampled_from([0.0, 2.5]),
    max_surge=st.integers(0, 2),
)
POLICIES = st.builds(
    Policy,
    start_timeout=st.just(60.0),
    shutdown_timeout=st.just(SHUTDOWN_TIMEOUT),
    probation=st.sampled_from([0.0, 2.5]),
    max_surge=st.integers(0, 2),
    worker_timeout=st.sampled_from([0.0, 5.0]),
    max_requests=st.sampled_from([0, 100]),
    max_worker_age=st.sampled_from([0.0, 20.0]),
)


def moves_of(names: tuple[str, ...]) -> st.SearchStrategy[Moves]:
    return st.lists(st.tuples(st.sampled_from(names), st.integers(0, 11)), max_size=60)


def kernel(slots: int, policy: Policy, *, templates: bool) -> FakeKernel:
    return FakeKernel(Supervisor(slots=slots, policy=policy, templates=templates, steerable=True))


def move(one: FakeKernel, name: str, at: int) -> None:
    match name:
        case "reload":
            one.feed(Reload())
        case "storm":
            for _ in range(at):
                one.feed(Reload())
        case "wait":
            one.pass_time(at * 0.7)
        case "no fork":
            one.can_fork = False
        case "fork":
            one.can_fork = True
        case "no bind" | "bind":
            one.can_bind = name == "bind"
        case "queue":
            one.waiting = at % 2
        case "sleep":
            one.now += at
            one.feed(Slept(float(at)))
        case "up" | "down" | "to":
            up = Scale(to=1 + at % 5) if name == "to" else Scale(by=1 if name == "up" else -1)
            one.feed(up)
        case "reap":
            one.reap_killed()
        case "load" | "no load":
            loading = [at for at, loaded in one.templates.items() if not loaded]
            for generation in loading[:1]:
                (one.load if name == "load" else one.fail_to_load)(generation)
        case "lose template":
            for generation in [*one.templates][:1]:
                one.lose_template(generation)
        case _:
            able = [process for process in one.processes.values() if can(process, name)]
            if able:
                act(one, able[at % len(able)], name)


def can(process: Process, name: str) -> bool:
    if process.killed:
        return False
    match name:
        case "boot" | "fail":
            return not process.said_ready and not process.drains
        case "accept":
            return process.may_accept
        case "drain":
            return process.drains
        case "beat" | "tire":
            return process.said_ready and not process.aborted
        case "leave" | "hang up":
            return process.accepting
    return True


def act(one: FakeKernel, process: Process, name: str) -> None:
    match name:
        case "boot":
            one.boot(process)
        case "fail":
            one.fail(process)
        case "accept":
            one.accept(process)
        case "drain" | "leave":
            one.drain(process)
        case "beat" | "tire":
            one.beat(process, requests=1000 if name == "tire" else 1)
        case "hang up":
            one.feed(HungUp(process.worker))
        case "crash":
            one.crash(process)


@given(slots=st.integers(1, 4), policy=KIND_POLICIES, templates=st.booleans(), moves=moves_of(KIND))
def test_reloads_never_leave_fewer_workers_serving(
    slots: int, policy: Policy, templates: bool, moves: Moves
) -> None:
    one = kernel(slots, policy, templates=templates)
    one.boot_all()
    for name, at in moves:
        move(one, name, at)
        assert len(one.serving) >= slots, one.story


@given(
    slots=st.integers(1, 4),
    policy=KIND_POLICIES,
    templates=st.booleans(),
    moves=moves_of((*KIND, "fail", "no fork", "fork", "storm")),
)
def test_broken_reloads_never_leave_fewer_workers_serving(
    slots: int, policy: Policy, templates: bool, moves: Moves
) -> None:
    one = kernel(slots, policy, templates=templates)
    one.boot_all()
    for name, at in moves:
        move(one, name, at)
        assert len(one.serving) >= slots, one.story


@given(
    slots=st.integers(1, 4),
    policy=KIND_POLICIES,
    moves=moves_of((*KIND, *SCALING, "beat", "tire", "fail", "storm")),
)
def test_recycling_and_scaling_leave_as_many_serving_as_there_are_slots(
    slots: int, policy: Policy, moves: Moves
) -> None:
    one = kernel(slots, replace(policy, max_requests=100), templates=False)
    one.boot_all()
    least = slots
    for name, at in moves:
        move(one, name, at)
        least = min(least, one.supervisor.active)  # more are there only once they have booted
        assert len(one.serving) >= least, one.story


@given(slots=st.integers(1, 4), policy=POLICIES, templates=st.booleans(), moves=moves_of(UNKIND))
def test_whatever_happened_the_newest_code_serves_in_every_slot_in_the_end(
    slots: int, policy: Policy, templates: bool, moves: Moves
) -> None:
    one = kernel(slots, policy, templates=templates)
    one.boot_all()
    for name, at in moves:
        move(one, name, at)
    assert one.status is None, f"a server that has served does not end by itself\n{one.story}"
    one.can_fork = one.can_bind = True
    one.waiting = 0
    one.supervisor.policy = Policy(start_timeout=60.0, shutdown_timeout=SHUTDOWN_TIMEOUT)
    one.feed(Scale(to=slots))
    one.feed(Reload())
    one.come_to_rest()
    assert sorted(process.slot for process in one.processes.values()) == [*range(slots)], one.story
    assert {process.generation for process in one.serving} == {one.supervisor.newest}, one.story
    assert len(one.serving) == slots, one.story
    assert one.slots == slots, one.story
    assert (one.out, one.adopted) == (frozenset(), {}), one.story
    kept = [generation for generation, good in one.outcomes if good]
    assert kept == sorted(kept), f"older code came back\n{one.story}"


@given(
    slots=st.integers(1, 4),
    policy=POLICIES,
    templates=st.booleans(),
    moves=moves_of(UNKIND),
    stops=st.integers(1, 4),
)
def test_a_stop_ends_in_time_though_no_worker_hears_it(
    slots: int, policy: Policy, templates: bool, moves: Moves, stops: int
) -> None:
    one = kernel(slots, policy, templates=templates)
    for name, at in moves:
        move(one, name, at)
    for _ in range(stops):
        one.feed(Stop())
    one.pass_time([SHUTDOWN_TIMEOUT, 1.0, 0.0, 0.0][stops - 1] + (GRACE_S if stops < 3 else 0.0))
    assert all(process.killed for process in one.processes.values()), one.story
    one.reap_killed()
    assert one.status is not None, one.story
    assert not one.listens() or not one.served, one.story
    assert one.status == EXIT_OK or not one.served, one.story


@given(
    slots=st.integers(1, 4),
    policy=POLICIES,
    templates=st.booleans(),
    moves=moves_of((*UNKIND, "stop")),
)
def test_nobody_outlives_the_drain_it_was_given(
    slots: int, policy: Policy, templates: bool, moves: Moves
) -> None:
    one = kernel(slots, policy, templates=templates)
    told_at: dict[int, float] = {}
    for name, at in moves:
        if name == "stop":
            one.feed(Stop())
        else:
            move(one, name, at)
        for process in one.processes.values():
            if process.drains:
                since = told_at.setdefault(process.worker, one.now)
                assert process.killed or one.now < since + SHUTDOWN_TIMEOUT + GRACE_S, one.story
