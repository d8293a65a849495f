"""From fork to exit: every stage with every cue, the deadlines, and any order of events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pounce.worker.lifecycle import CUT_GRACE, NEXT, Cue, Do, Lifecycle, LifecycleError, Stage

# What each stage becomes, a row for each stage; "-" is a cue that cannot come.
GRID = """
          started  go       pause    drain     empty     overdue   stopped
starting  ready    -        -        starting  -         -         -
ready     -        serving  -        stopping  -         -         -
serving   -        -        paused   draining  -         -         -
paused    -        serving  -        draining  -         -         -
draining  -        draining draining draining  stopping  cutting   -
cutting   -        cutting  cutting  cutting   stopping  stopping  -
stopping  -        stopping stopping stopping  stopping  ended     ended
ended     -        ended    ended    ended     ended     -         ended
"""

# The way from each stage to the next, for a lifecycle that is to be brought there.
WAY = {
    Stage.STARTING: (),
    Stage.READY: (Cue.STARTED,),
    Stage.SERVING: (Cue.STARTED, Cue.GO),
    Stage.PAUSED: (Cue.STARTED, Cue.GO, Cue.PAUSE),
    Stage.DRAINING: (Cue.STARTED, Cue.GO, Cue.DRAIN),
    Stage.CUTTING: (Cue.STARTED, Cue.GO, Cue.DRAIN, Cue.OVERDUE),
    Stage.STOPPING: (Cue.STARTED, Cue.GO, Cue.DRAIN, Cue.EMPTY),
    Stage.ENDED: (Cue.STARTED, Cue.GO, Cue.DRAIN, Cue.EMPTY, Cue.STOPPED),
}


def cells() -> list[tuple[Stage, Cue, str]]:
    head, *rows = [line.split() for line in GRID.strip().splitlines()]
    return [
        (Stage[row[0].upper()], Cue[cue.upper()], after)
        for row in rows
        for cue, after in zip(head, row[1:], strict=True)
    ]


def lifecycle_at(stage: Stage) -> Lifecycle:
    one = Lifecycle(shutdown_grace=5.0)
    for cue in WAY[stage]:
        if cue is Cue.DRAIN:
            one.drain("exit", 30.0, 100.0)
        else:
            one.handle(cue, 100.0)
    assert one.stage is stage
    return one


@pytest.mark.parametrize(("stage", "cue", "after"), cells())
def test_every_stage_answers_every_cue(stage: Stage, cue: Cue, after: str) -> None:
    one = lifecycle_at(stage)
    if after == "-":
        with pytest.raises(LifecycleError, match=f"{cue.name} at {stage.name}"):
            one.handle(cue, 100.0)
        assert one.stage is stage
    else:
        assert one.handle(cue, 100.0) == NEXT[stage, cue][1]
        assert one.stage is Stage[after.upper()]


def test_the_grid_leaves_no_pair_out() -> None:
    assert {(stage, cue) for stage, cue, _ in cells()} == {(s, c) for s in Stage for c in Cue}


def test_a_quiet_life_does_each_thing_once_and_in_order() -> None:
    one = Lifecycle(shutdown_grace=5.0)
    done = [
        *one.handle(Cue.STARTED, 1.0),
        *one.handle(Cue.GO, 2.0),
        *one.drain("exit", 30.0, 3.0),
        *one.handle(Cue.EMPTY, 4.0),
        *one.handle(Cue.STOPPED, 5.0),
    ]
    assert done == [Do.SAY_READY, Do.ACCEPT, Do.CLOSE_DOOR, Do.SHUT_DOWN, Do.EXIT]


def test_each_stage_of_a_drain_has_its_own_deadline() -> None:
    one = lifecycle_at(Stage.SERVING)
    assert one.next_deadline() is None
    one.drain("exit", 30.0, 200.0)
    assert one.next_deadline() == 230.0
    assert one.handle(Cue.OVERDUE, 230.0) == (Do.CUT,)
    assert one.next_deadline() == 230.0 + CUT_GRACE
    assert one.handle(Cue.OVERDUE, 231.0) == (Do.SHUT_DOWN,)
    assert one.next_deadline() == 236.0
    assert one.handle(Cue.OVERDUE, 236.0) == (Do.EXIT,)
    assert one.next_deadline() is None


@pytest.mark.parametrize(("second", "deadline"), [(1.0, 211.0), (60.0, 230.0)])
def test_a_second_order_may_only_shorten_the_first(second: float, deadline: float) -> None:
    one = lifecycle_at(Stage.SERVING)
    one.drain("reload", 30.0, 200.0)
    assert one.drain("exit", second, 210.0) == ()
    assert one.next_deadline() == deadline
    assert one.order is not None
    assert one.order.reason == "reload"


def test_a_drain_during_startup_waits_for_it_and_then_shuts_down_what_it_began() -> None:
    one = Lifecycle(shutdown_grace=5.0)
    assert one.drain("exit", 30.0, 1.0) == ()
    assert one.handle(Cue.STARTED, 9.0) == (Do.SAY_READY, Do.SHUT_DOWN)
    assert one.stage is Stage.STOPPING


@given(cues=st.lists(st.sampled_from([*Cue])), drains=st.lists(st.floats(0, 60), min_size=1))
def test_any_order_of_cues_ends_once_it_was_told_to(cues: list[Cue], drains: list[float]) -> None:
    one = Lifecycle(shutdown_grace=5.0)
    now = 0.0
    exits = 0

    def note(actions: tuple[Do, ...]) -> None:
        nonlocal exits
        exits += actions.count(Do.EXIT)

    for cue in cues:
        now += 0.1
        if cue is Cue.DRAIN:
            note(one.drain("exit", 30.0, now))
        elif (one.stage, cue) in NEXT:
            note(one.handle(cue, now))
    if one.stage is Stage.STARTING:
        note(one.handle(Cue.STARTED, now))
    for within in drains:
        note(one.drain("exit", within, now))
    while one.stage is not Stage.ENDED:
        deadline = one.next_deadline()
        assert deadline is not None, f"{one.stage} has no end"
        now = max(now, deadline)
        note(one.handle(Cue.OVERDUE, now))
    assert exits == 1
