"""The master's loop with real forks: starts, deaths, reloads and ends of workers."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable

import pytest

from pounce import ipc
from pounce.addresses import TcpAddress
from pounce.errors import EXIT_BOOT, EXIT_LOAD
from pounce.listeners import open_listeners
from pounce.scoreboard import Scoreboard
from pounce.supervisor.children import Plan
from pounce.supervisor.crew import Policy
from pounce.supervisor.runner import Runner
from tests.support.master import PATIENCE, Start, Talk, good, started

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def sleeps(_: ipc.Seat) -> int:
    time.sleep(10 * PATIENCE)
    return 0


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def refuses(port: int) -> bool:
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


# Start


def test_workers_serve_until_sigterm_and_nothing_is_left(start: Start) -> None:
    master = start(good)
    line = master.wait_for("serving on")
    assert line.startswith(f"info serving on 127.0.0.1:{master.port} workers=2 generation=1 ")
    assert master.stop() == 0
    assert len(master.find("worker is gone")) == 2
    assert refuses(master.port)
    assert not master.find("warning")


def test_the_port_refuses_until_workers_are_ready(start: Start) -> None:
    read_end, write_end = os.pipe()

    def entry(seat: ipc.Seat) -> int:
        os.read(read_end, 1)
        return good(seat)

    master = start(entry, slots=1)
    master.wait_for("forked a worker")
    assert refuses(master.port)
    os.write(write_end, b"x")
    master.wait_for("serving on")
    assert not refuses(master.port)
    assert master.stop() == 0
    os.close(read_end)
    os.close(write_end)


def test_a_failing_start_ends_with_the_workers_code_and_its_traceback_once(start: Start) -> None:
    def entry(seat: ipc.Seat) -> int:
        Talk(seat).say(ipc.Failed(EXIT_LOAD, "no module named shop", "Traceback of it"))
        return EXIT_LOAD

    master = start(entry, slots=3)
    assert master.end() == EXIT_LOAD
    first, last = master.find("no module named shop")
    assert first.endswith(f"generation=1 code={EXIT_LOAD} [Traceback of it]")
    assert last.startswith("error the server cannot start: worker failed: no module named shop")


@linux_only
def test_the_last_words_of_a_worker_count_though_its_end_is_seen_at_once(start: Start) -> None:
    read_end, write_end = os.pipe()

    def entry(seat: ipc.Seat) -> int:
        os.read(read_end, 1)
        Talk(seat).say(ipc.Failed(EXIT_LOAD, "no module named shop", ""))
        return EXIT_LOAD

    master = start(entry, slots=1)
    master.wait_for("forked a worker")
    master.freeze()
    os.write(write_end, b"x")
    master.thaw(pending=signal.SIGCHLD)
    assert master.end() == EXIT_LOAD
    os.close(read_end)
    os.close(write_end)


def raises(_: ipc.Seat) -> int:
    raise RuntimeError("a bug in the worker")


@pytest.mark.parametrize("entry", [lambda _: 9, raises], ids=["exits", "raises"])
def test_a_worker_that_ends_before_it_is_ready_ends_the_start(
    start: Start, entry: Callable[[ipc.Seat], int]
) -> None:
    assert start(entry).end() == EXIT_BOOT


def test_a_worker_that_is_never_ready_is_killed_and_ends_the_start(start: Start) -> None:
    master = start(sleeps, slots=1, start_timeout=0.2)
    assert master.end() == EXIT_BOOT
    assert master.find("error worker is booting for too long, killing it slot=0")


# Death


def test_a_killed_worker_is_replaced_and_its_end_named(start: Start) -> None:
    master = start(good)
    master.wait_for("serving on")
    victim = master.pids_of("forked a worker slot=1")[0]
    os.kill(victim, signal.SIGKILL)
    line = master.wait_for(f"warning worker died slot=1 pid={victim}")
    assert "signal=SIGKILL" in line
    master.wait_for("forked a worker slot=1", times=2)
    assert master.stop() == 0
    assert len(master.find("forked a worker slot=0")) == 1


def test_who_waits_in_the_queue_of_a_dead_worker_is_served_by_its_successor(start: Start) -> None:
    read_end, write_end = os.pipe()

    def entry(seat: ipc.Seat) -> int:
        if select.select([read_end], [], [], 0)[0]:  # the test has connected: serve
            with socket.socket(fileno=os.dup(seat.listeners[0])) as listener:
                talk = started(seat)
                listener.setblocking(True)
                listener.accept()[0].sendall(b"hello")
                while not isinstance(talk.hear(), ipc.Drain):
                    pass
            return 0
        return good(seat)

    master = start(entry, slots=1)
    master.wait_for("serving on")
    with connect(master.port) as client:
        os.write(write_end, b"x")
        os.kill(master.pids_of("forked a worker")[0], signal.SIGKILL)
        assert client.recv(5) == b"hello"
    assert master.stop() == 0
    os.close(read_end)
    os.close(write_end)


def test_a_worker_that_leaves_by_itself_is_replaced_without_alarm(start: Start) -> None:
    def entry(seat: ipc.Seat) -> int:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        return good(seat)

    master = start(entry, slots=1)
    master.wait_for("serving on")
    os.kill(master.pids_of("forked a worker")[0], signal.SIGTERM)
    master.wait_for("forked a worker", times=2)
    assert master.stop() == 0
    assert not master.find("warning")


def test_nonsense_of_a_worker_is_passed_over(start: Start) -> None:
    def entry(seat: ipc.Seat) -> int:
        os.write(seat.control, b"nonsense\n" + ipc.encode(ipc.Go()))
        return good(seat)

    master = start(entry, slots=1)
    master.wait_for("serving on")
    assert master.stop() == 0
    assert master.find("warning worker sent nonsense, ignoring it slot=0")
    assert master.find("warning worker sent an order, ignoring it slot=0")


# Reload


def test_sighup_brings_a_new_generation_before_the_old_one_goes(start: Start) -> None:
    master = start(good)
    master.wait_for("serving on")
    master.tell(signal.SIGHUP)
    master.wait_for("worker is gone", times=2)
    goings = [line for line in master.lines if "worker is gone" in line]
    assert all("generation=1" in line for line in goings)
    (second,) = master.find("workers=2 generation=2")
    assert master.lines.index(second) < master.lines.index(goings[0])
    assert master.stop() == 0
    assert not master.find("warning")


def test_a_reload_that_fails_leaves_the_old_workers(start: Start) -> None:
    def entry(seat: ipc.Seat) -> int:
        if seat.generation == 2:
            Talk(seat).say(ipc.Failed(EXIT_LOAD, "broken", ""))
            return EXIT_LOAD
        return good(seat)

    master = start(entry)
    master.wait_for("serving on")
    master.tell(signal.SIGHUP)
    master.wait_for("error reload failed, the old code serves on")
    assert master.stop() == 0
    old = set(master.pids_of("generation=1"))
    assert set(master.pids_of("worker is gone slot=0 ")) & old
    assert not master.find("worker died")


def test_a_reload_without_room_for_more_workers_fails_and_the_old_ones_serve_on(
    start: Start,
) -> None:
    master = start(good, slots=2, records=3)
    master.wait_for("serving on")
    master.tell(signal.SIGHUP)
    master.wait_for("worker cannot be forked: 2 workers are there")
    master.wait_for("reload failed, the old code serves on")
    assert master.stop() == 0


def test_a_reload_leaves_room_for_the_successor_of_a_worker_that_dies(start: Start) -> None:
    master = start(deaf, slots=1, records=3)
    master.wait_for("serving on")
    master.tell(signal.SIGHUP)
    master.wait_for("serving on", times=2)
    master.tell(signal.SIGHUP)  # a third worker would have room
    master.wait_for("reload failed, the old code serves on")
    os.kill(master.pids_of("generation=2")[0], signal.SIGKILL)
    master.wait_for("warning worker died")
    assert master.wait_for("forked a worker", times=3).endswith("generation=2")
    assert not master.find("keep dying")
    for text in ("info stopping", "hurrying", "a third time"):
        master.tell(signal.SIGTERM)
        master.wait_for(text)
    assert master.end() == 0


# Stop


def test_ctrl_c_reaches_the_whole_group_and_only_the_master_minds(start: Start) -> None:
    master = start(good)
    master.wait_for("serving on")
    os.killpg(master.pid, signal.SIGINT)
    assert master.end() == 0
    assert master.find("info received SIGINT")
    assert not master.find("worker died")


@linux_only
def test_a_worker_that_a_stop_reached_first_is_not_replaced(start: Start) -> None:
    def entry(seat: ipc.Seat) -> int:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        return good(seat)

    master = start(entry, slots=1)
    master.wait_for("serving on")
    master.freeze()
    os.killpg(master.pid, signal.SIGTERM)
    master.thaw(pending=signal.SIGCHLD)
    assert master.end() == 0
    assert len(master.find("forked a worker")) == 1


def deaf(seat: ipc.Seat) -> int:
    """Says that it drains, and never ends."""
    talk = started(seat)
    while True:
        if isinstance(talk.hear(), ipc.Drain):
            talk.say(ipc.Draining(1, 0))


def test_a_second_signal_hurries_and_a_third_kills(start: Start) -> None:
    master = start(deaf)
    master.wait_for("serving on")
    for text in ("info stopping", "hurrying", "a third time"):
        master.tell(signal.SIGTERM)
        master.wait_for(text)
    assert master.end() == 0
    assert len(master.find("signal=SIGKILL")) == 2


def test_a_worker_that_outstays_the_shutdown_timeout_is_killed(start: Start) -> None:
    master = start(deaf, slots=1, shutdown_timeout=0.1)
    master.wait_for("serving on")
    assert master.stop() == 0
    assert master.find("warning worker does not go, killing it slot=0")


def test_clients_are_refused_while_the_last_answers_are_still_written(start: Start) -> None:
    read_end, write_end = os.pipe()

    def entry(seat: ipc.Seat) -> int:
        talk = started(seat)
        assert isinstance(talk.hear(), ipc.Drain)
        talk.say(ipc.Draining(1, 0))  # and keeps its copy of the listener open
        os.read(read_end, 1)
        return 0

    master = start(entry, slots=1)
    master.wait_for("serving on")
    assert not refuses(master.port)
    master.tell(signal.SIGTERM)
    end = time.monotonic() + PATIENCE
    while not refuses(master.port):
        assert time.monotonic() < end, "it still lets clients in"
    assert not master.find("worker is gone")
    os.write(write_end, b"x")
    assert master.end() == 0
    os.close(read_end)
    os.close(write_end)


def test_the_process_is_as_before_when_the_runner_has_ended() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD)]
    descriptors = os.listdir("/dev/fd")
    listeners = open_listeners([TcpAddress("127.0.0.1", 0)], slots=1, backlog=1)
    policy = Policy(start_timeout=PATIENCE, shutdown_timeout=PATIENCE)
    plan = Plan(lambda _: 1, preload=None, policy=policy, slots=1)
    status = Runner(plan, listeners=listeners, scoreboard=Scoreboard(4)).run()
    assert status == EXIT_BOOT
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD)] == handlers
    assert signal.set_wakeup_fd(-1) == -1
    assert os.listdir("/dev/fd") == descriptors
