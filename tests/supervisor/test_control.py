"""The control socket: who is answered what and when, and that nothing grows or hangs."""

from __future__ import annotations

import json
import os
import selectors
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pounce import ipc
from pounce.control_path import open_control
from pounce.supervisor import orders
from pounce.supervisor.control import CLIENTS_MOST, Control
from pounce.supervisor.control_requests import LINE_LIMIT
from pounce.supervisor.crew import Policy
from pounce.supervisor.desk import STOPS, Desk
from pounce.supervisor.state import Supervisor
from pounce.supervisor.status import About

WORKER_PID = 4140


class Child:
    id, pid = 1, WORKER_PID


class Children:
    def __iter__(self) -> Iterator[Child]:
        return iter([Child()])

    def template_pid(self, generation: int) -> int:
        return 4139 if generation == 1 else 0


class Server:
    """A master without processes: a real state with one worker that serves, and a real socket.

    Attributes:
        told: the events that were asked for.
        reload_why, upgrade_why: why they cannot be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[orders.Event] = []
        self.reload_why = self.upgrade_why = ""
        self.state = Supervisor(slots=1, policy=Policy(), templates=True)
        for event in (
            orders.Tick(),
            orders.Loaded(1),
            orders.Said(1, ipc.Ready()),
            orders.Said(1, ipc.Accepting()),
        ):
            self.state.handle(event, 10.0)
        assert self.state.serving == 1
        self.selector = selectors.DefaultSelector()
        about = About("main:app", "1.2", 4121, ("127.0.0.1:8000",), 1e9, 0.0)
        desk = Desk(
            about=about,
            state=self.state,
            children=Children(),
            tell=self.told.append,
            reload=lambda: self.reload_why,
            upgrade=lambda: self.upgrade_why,
        )
        one = open_control(str(path), origin="test")
        assert one
        self.control = Control(one, desk, self.selector)
        self.clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(self.path))
        self.clients.append(client)
        self.work()
        return client

    def work(self) -> None:
        """All that can be done without waiting."""
        while ready := self.selector.select(0):
            for key, _ in ready:
                key.data()

    def ask(self, client: socket.socket, data: bytes | dict[str, Any]) -> dict[str, Any]:
        self.send(client, data)
        return hear(client)

    def send(self, client: socket.socket, data: bytes | dict[str, Any]) -> None:
        client.sendall(data if isinstance(data, bytes) else line(data))
        self.work()

    def stop(self) -> None:
        self.state.handle(orders.Stop(), 20.0)
        self.control.stops()


def line(asked: dict[str, Any]) -> bytes:
    return json.dumps(asked).encode() + b"\n"


def hear(client: socket.socket) -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        more = client.recv(65536)
        assert more, f"it hung up after {data!r}"
        data += more
    said: dict[str, Any] = json.loads(data)
    return said


def says_nothing(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    finally:
        client.settimeout(10)
    return False


def is_over(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path / "control.sock")
    yield one
    one.control.close()
    one.selector.close()
    for client in one.clients:
        client.close()


# What is answered


def test_status_says_what_the_server_is_and_who_serves(server: Server) -> None:
    said = server.ask(server.connect(), {"do": "status"})
    assert said["ok"] is True
    assert (said["app"], said["version"], said["pid"]) == ("main:app", "1.2", 4121)
    assert said["addresses"] == ["127.0.0.1:8000"]
    assert said["started_at"] == 1e9
    assert said["uptime_s"] > 0
    assert said["last_reload"] is None
    assert (said["state"], said["generation"], said["coming"]) == ("serving", 1, 0)
    assert said["templates"] == [{"generation": 1, "pid": 4139}]
    (worker,) = said["workers"]
    assert (worker["slot"], worker["pid"], worker["stage"]) == (0, WORKER_PID, "serving")
    assert server.told == []


@pytest.mark.parametrize(
    ("asked", "told", "said"),
    [
        ({"do": "stop"}, [orders.Stop()], {"ok": True}),
        ({"do": "scale", "workers": 3}, [orders.Scale(to=3)], {"ok": True, "workers": 3}),
        ({"do": "upgrade"}, [], {"ok": True}),
        ({"do": "reload"}, [], {"ok": True, "generation": 2}),
        ({"do": "dance"}, [], None),
    ],
)
def test_each_request_becomes_what_the_signal_would(
    server: Server,
    asked: dict[str, Any],
    told: list[orders.Event],
    said: dict[str, Any] | None,
) -> None:
    answered = server.ask(server.connect(), asked)
    assert answered == said or (said is None and answered["ok"] is False)
    assert server.told == told


@pytest.mark.parametrize("wait", [False, True])
def test_a_reload_with_wrong_settings_is_refused_at_once(server: Server, wait: bool) -> None:
    server.reload_why = "workers is 0 (from pounce.toml); it must be 1 or more"
    said = server.ask(server.connect(), {"do": "reload", "wait": wait})
    assert said == {"ok": False, "why": server.reload_why}


def test_an_upgrade_that_cannot_be_says_why(server: Server) -> None:
    server.upgrade_why = "one is under way"
    assert server.ask(server.connect(), {"do": "upgrade"}) == {
        "ok": False,
        "why": "one is under way",
    }


def test_who_waits_for_a_reload_hears_that_it_serves(server: Server) -> None:
    client = server.connect()
    server.send(client, {"do": "reload", "wait": True})
    server.control.outcome(1, "an older one")
    assert says_nothing(client)
    server.control.outcome(2, "")
    assert hear(client) == {"ok": True, "generation": 2}
    said = server.ask(client, {"do": "status"})["last_reload"]
    assert (said["generation"], said["ok"], said["why"]) == (2, True, "")


def test_who_waits_for_a_reload_hears_why_it_was_given_up(server: Server) -> None:
    client = server.connect()
    server.send(client, {"do": "reload", "wait": True})
    server.control.outcome(2, "cannot load 'main:app'")
    assert hear(client) == {
        "ok": False,
        "why": "cannot load 'main:app'",
        "generation": 2,
        "serving": 1,
    }
    said = server.ask(client, {"do": "status"})["last_reload"]
    assert (said["generation"], said["ok"]) == (2, False)
    assert said["why"] == "cannot load 'main:app'"


def test_a_newer_reload_answers_for_the_one_that_it_has_outrun(server: Server) -> None:
    client = server.connect()
    server.send(client, {"do": "reload", "wait": True})
    server.control.outcome(3, "")
    assert hear(client) == {"ok": True, "generation": 3}


def test_who_waits_for_a_reload_hears_that_the_server_stops(server: Server) -> None:
    client = server.connect()
    server.send(client, {"do": "reload", "wait": True})
    server.stop()
    assert hear(client) == {"ok": False, "why": STOPS}
    assert server.ask(client, {"do": "status"})["state"] == "stopping", "and may go on asking"


@pytest.mark.parametrize(
    "asked", [{"do": "reload"}, {"do": "scale", "workers": 2}, {"do": "upgrade"}]
)
def test_a_server_that_stops_begins_nothing(server: Server, asked: dict[str, Any]) -> None:
    server.stop()
    assert server.ask(server.connect(), asked) == {"ok": False, "why": STOPS}
    assert server.told == []


def test_a_server_that_stops_can_be_told_to_hurry(server: Server) -> None:
    server.stop()
    assert server.ask(server.connect(), {"do": "stop"}) == {"ok": True}
    assert server.told == [orders.Stop()]


# How it is sent


def test_requests_come_in_any_pieces_and_are_answered_in_order(server: Server) -> None:
    client = server.connect()
    whole = line({"do": "scale", "workers": 2}) + line({"do": "nothing"}) + line({"do": "stop"})
    for at in range(len(whole)):
        server.send(client, whole[at : at + 1])
    assert [json.loads(said)["ok"] for said in client.recv(65536).splitlines()] == [
        True,
        False,
        True,
    ]
    assert server.told == [orders.Scale(to=2), orders.Stop()]


def test_what_is_asked_while_a_reload_is_awaited_is_answered_after_it(server: Server) -> None:
    client = server.connect()
    server.send(client, line({"do": "reload", "wait": True}) + line({"do": "stop"}))
    assert server.told == []
    server.control.outcome(2, "")
    assert client.recv(65536) == b'{"ok": true, "generation": 2}\n{"ok": true}\n'
    assert server.told == [orders.Stop()]


def test_one_that_waits_does_not_hold_up_others(server: Server) -> None:
    server.send(server.connect(), {"do": "reload", "wait": True})
    assert server.ask(server.connect(), {"do": "status"})["ok"]


def test_a_client_that_has_gone_is_forgotten(server: Server) -> None:
    client = server.connect()
    server.send(client, {"do": "reload", "wait": True})
    client.close()
    server.work()
    server.control.outcome(2, "")
    assert server.ask(server.connect(), {"do": "status"})["ok"]


def test_a_client_that_goes_before_its_answer_is_forgotten(server: Server) -> None:
    client = server.connect()
    client.sendall(line({"do": "status"}) * 3)
    client.close()
    server.work()
    assert server.ask(server.connect(), {"do": "status"})["ok"]


# What is bounded


def test_a_request_without_an_end_is_refused(server: Server) -> None:
    client = server.connect()
    client.sendall(b"x" * (LINE_LIMIT + 1))
    server.work()
    assert hear(client) == {"ok": False, "why": f"a request has up to {LINE_LIMIT} bytes"}
    assert is_over(client)


def test_a_client_that_asks_on_while_it_waits_is_dropped(server: Server) -> None:
    client = server.connect()
    server.send(client, {"do": "reload", "wait": True})
    client.sendall(line({"do": "stop"}) * LINE_LIMIT)
    server.work()
    assert is_over(client)
    assert server.told == []


def test_a_client_that_reads_slowly_is_answered_piece_by_piece(server: Server) -> None:
    client = server.connect()
    small(server)
    asked = 200
    client.sendall(line({"do": "status"}) * asked)
    data = b""
    while data.count(b"\n") < asked:
        server.work()
        data += client.recv(1000)
    assert all(json.loads(said)["ok"] for said in data.splitlines())


def test_one_that_does_not_read_makes_room_for_the_next(server: Server) -> None:
    deaf = server.connect()
    small(server)
    server.send(deaf, line({"do": "status"}) * 100)
    others = [server.connect() for _ in range(CLIENTS_MOST - 1)]
    assert server.ask(server.connect(), {"do": "status"})["ok"]
    for other in others:
        assert server.ask(other, {"do": "status"})["ok"]
    while data := deaf.recv(65536):  # what was on its way comes, and then the end
        assert data


def test_one_that_says_nothing_makes_room_for_the_next(server: Server) -> None:
    clients = [server.connect() for _ in range(CLIENTS_MOST)]
    server.send(clients[0], {"do": "reload", "wait": True})
    for client in clients[2:]:
        server.ask(client, {"do": "status"})
    assert server.ask(server.connect(), {"do": "status"})["ok"]
    assert is_over(clients[1])
    server.control.outcome(2, "")
    assert hear(clients[0])["ok"]


def test_one_too_many_is_told_so_when_all_others_wait(server: Server) -> None:
    waiting = [server.connect() for _ in range(CLIENTS_MOST)]
    for client in waiting:
        server.send(client, {"do": "reload", "wait": True})
    late = server.connect()
    assert "clients are connected" in hear(late)["why"]
    assert is_over(late)
    server.control.outcome(2, "")
    assert all(hear(client)["ok"] for client in waiting)


def small(server: Server) -> None:
    """Let the kernel take little for a client that does not read."""
    (client,) = server.control._clients.values()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)


# The file


def test_only_the_user_of_the_server_may_connect(server: Server) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


def test_the_end_is_seen_and_the_file_is_gone(server: Server) -> None:
    idle, waiting = server.connect(), server.connect()
    server.send(waiting, {"do": "reload", "wait": True})
    server.control.close()
    assert hear(waiting) == {"ok": False, "why": STOPS}
    assert is_over(waiting)
    assert is_over(idle)
    assert not server.path.exists()


def test_a_child_lets_go_and_the_master_goes_on(server: Server) -> None:
    client = server.connect()
    if (pid := os.fork()) == 0:
        server.control.abandon()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert server.path.exists()
    assert server.ask(client, {"do": "status"})["ok"]
    assert server.ask(server.connect(), {"do": "status"})["ok"]
