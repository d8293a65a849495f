"""`pounce ctl` on the command line: which server is meant, what it says, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pounce import cli
from pounce.ctl.client import (
    EXIT_NO_SERVER,
    EXIT_REFUSED,
    Client,
    NoServerError,
    SeveralError,
    find,
)
from pounce.errors import EXIT_CONFIG, EXIT_OK
from tests.support.command import move_to, refusal
from tests.support.status import TWO

NO_PROCESS = 2**22 + 1  # above the kernel's own limit, PID_MAX_LIMIT


class Answering:
    """A socket that answers like a server, to whatever is asked, as it was told to.

    Attributes:
        answers: by what is asked; None hangs up instead.
        asked: all requests so far.
    """

    def __init__(self, path: Path, **answers: dict[str, Any] | None) -> None:
        self.path = path
        self.answers: dict[str, dict[str, Any] | None] = {"status": TWO, **answers}
        self.asked: list[dict[str, Any]] = []
        path.parent.mkdir(exist_ok=True, parents=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            one, _ = self._listener.accept()
            with one, one.makefile("rb") as lines:
                for line in lines:
                    asked = json.loads(line)
                    if asked == {"do": "close"}:
                        return
                    self.asked.append(asked)
                    answer = self.answers[asked["do"]]
                    if answer is None:
                        break
                    one.sendall(json.dumps(answer).encode() + b"\n")

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.path))
            client.sendall(b'{"do": "close"}\n')
        self._thread.join()
        self._listener.close()
        self.path.unlink()


class Places:
    """A runtime directory of the test's own."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.directory = directory
        self._stack = stack

    def serve(self, name: str = "4121.sock", /, **answers: dict[str, Any] | None) -> Answering:
        one = Answering(self.directory / name, **answers)
        self._stack.callback(one.close)
        return one


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    move_to(tmp_path, monkeypatch)
    runtime = tmp_path / "runtime"
    monkeypatch.setattr("pounce.ctl.client.directories", lambda *_: [runtime, tmp_path / "other"])
    with contextlib.ExitStack() as stack:
        yield Places(runtime, stack)


def ctl(capsys: pytest.CaptureFixture[str], *args: str, status: int = EXIT_OK) -> str:
    """What the command prints."""
    assert cli.main(["ctl", *args]) == status, capsys.readouterr()
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refused(capsys: pytest.CaptureFixture[str], *args: str, status: int) -> str:
    return refusal(capsys, "ctl", *args, status=status)


# Which server


def test_the_only_server_is_the_one_that_is_meant(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    places.serve(reload={"ok": True, "generation": 5})
    assert ctl(capsys, "reload") == "reloading, generation 5\n"


def test_no_server_is_told_by_a_status_of_its_own(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "status", status=EXIT_NO_SERVER)
    assert said.startswith(f"no server found in {places.directory}, ")
    said = refused(capsys, "stop", "--pid", "4121", status=EXIT_NO_SERVER)
    assert said.startswith(f"no server with pid 4121 found in {places.directory}, ")
    said = refused(capsys, "status", "--control", "/nowhere.sock", status=EXIT_NO_SERVER)
    assert said == "no server at /nowhere.sock: there is no such socket"


def test_of_several_servers_one_must_be_named(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    places.serve("4121.sock", stop={"ok": True})
    second = places.serve(
        "4122.sock", status={**TWO, "pid": 4122, "app": "b:app"}, stop={"ok": True}
    )
    said = refused(capsys, "stop", status=EXIT_CONFIG)
    assert said == (
        "2 servers run here; say which is meant: "
        "--pid 4121 (shop.web:app on 127.0.0.1:8000, unix:/run/shop.sock), "
        "--pid 4122 (b:app on 127.0.0.1:8000, unix:/run/shop.sock)"
    )
    assert ctl(capsys, "stop", "--pid", "4122") == "stopping\n"
    assert ctl(capsys, "--pid", "4122", "stop") == "stopping\n"
    assert [asked["do"] for asked in second.asked] == ["status", "stop", "stop"]


def test_a_leftover_of_a_dead_server_is_passed_over_and_removed(places: Places) -> None:
    places.serve("4121.sock")
    dead = places.directory / f"{NO_PROCESS}.sock"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(dead))
    with find("", 0) as client:
        assert client.path.name == "4121.sock"
    assert not dead.exists()


def test_a_server_that_ends_just_then_is_passed_over(places: Places) -> None:
    places.serve("4121.sock", status=None)
    with pytest.raises(NoServerError, match="no server found in"):
        find("", 0)


@pytest.mark.parametrize("how", ["--control", "variable", "pounce.toml"])
def test_a_server_elsewhere_is_named_by_its_socket(
    places: Places,
    how: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = Path("there.sock")
    one = Answering(there, stop={"ok": True})
    try:
        match how:
            case "--control":
                assert ctl(capsys, "--control", str(there), "stop") == "stopping\n"
                args = ["--control", str(there)]
            case "variable":
                monkeypatch.setenv("POUNCE_CONTROL_SOCKET", str(there))
                args = []
            case _:
                Path("pounce.toml").write_text('control_socket = "there.sock"\n')
                args = []
        assert ctl(capsys, "stop", *args) == "stopping\n"
    finally:
        one.close()


def test_settings_that_are_wrong_do_not_keep_anybody_from_looking(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pounce.toml").write_text('control_socket = "there.sock"\nworkers = "many"\n')
    places.serve()
    assert json.loads(ctl(capsys, "status", "--json"))["pid"] == 4121


@pytest.mark.skipif(os.geteuid() == 0, reason="root may connect to everything")
def test_a_server_of_somebody_else_is_mentioned(places: Places) -> None:
    one = places.serve()
    one.path.chmod(0)
    with pytest.raises(NoServerError, match="not permitted; it is for the user that"):
        find("", 0)


def test_a_server_named_by_its_pid_is_looked_for_where_its_user_has_it(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pounce.ctl.client.own_directory", lambda _, uid: tmp_path / f"of-{uid}")
    one = Answering(tmp_path / f"of-{os.geteuid()}" / f"{os.getpid()}.sock")
    try:
        with find("", os.getpid()) as client:
            assert client.path == one.path
    finally:
        one.close()


@pytest.mark.parametrize("pid", [0, 4121])
def test_a_directory_of_somebody_else_is_mentioned_too(places: Places, pid: int) -> None:
    places.serve("4121.sock")
    places.directory.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(NoServerError, match=rf"{places.directory} \(not permitted\)"):
            find("", pid)
    finally:
        os.seteuid(user)
        places.directory.chmod(0o700)


def test_two_servers_of_one_application_are_told_apart_by_pid(places: Places) -> None:
    places.serve("1.sock")
    places.serve("2.sock")
    with pytest.raises(SeveralError):
        find("auto", 0)
    with find("auto", 2) as client:
        assert client.path.name == "2.sock"


# What is asked


@pytest.mark.parametrize(
    ("args", "asked", "answer", "printed"),
    [
        (["reload"], {"do": "reload", "wait": False}, {"generation": 3}, "reloading, generation 3"),
        (["scale", "4"], {"do": "scale", "workers": 4}, {"workers": 4}, "scaling to 4 workers"),
        (["scale", "1"], {"do": "scale", "workers": 1}, {"workers": 1}, "scaling to 1 worker"),
        (["stop"], {"do": "stop"}, {}, "stopping"),
        (
            ["upgrade"],
            {"do": "upgrade"},
            {},
            "a new master is being started; the log says whether it takes over",
        ),
    ],
)
def test_a_command_is_one_request(
    places: Places,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    asked: dict[str, Any],
    answer: dict[str, Any],
    printed: str,
) -> None:
    one = places.serve(**{args[0]: {"ok": True, **answer}})
    assert ctl(capsys, *args) == printed + "\n"
    assert one.asked[-1] == asked


def test_reload_that_waits_says_what_became_of_it(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    one = places.serve(reload={"ok": True, "generation": 3})
    assert ctl(capsys, "reload", "--wait").startswith("generation 3 serves, after ")
    assert one.asked[-1] == {"do": "reload", "wait": True}
    one.answers["reload"] = {"ok": False, "why": "no module x", "generation": 4, "serving": 3}
    said = refused(capsys, "reload", "--wait", status=EXIT_REFUSED)
    assert said == "generation 4 was given up, 3 serves on: no module x"
    one.answers["reload"] = {"ok": False, "why": "workers is 0"}
    said = refused(capsys, "reload", "--wait", status=EXIT_REFUSED)
    assert said == "nothing is reloaded: workers is 0"
    one.answers["reload"] = None
    said = refused(capsys, "reload", "--wait", status=EXIT_REFUSED)
    assert said == "the server has ended, and with it the reload"


@pytest.mark.parametrize("args", [["scale", "2"], ["stop"], ["upgrade"], ["status", "--json"]])
def test_a_server_that_says_no_or_goes_is_told_by_the_status(
    places: Places, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    # Not the first status: that is how a server is found.
    one = places.serve(**{args[0]: {"ok": False, "why": "the server stops"}})
    control = ["--control", str(one.path)]
    assert refused(capsys, *args, *control, status=EXIT_REFUSED) == "the server stops"
    one.answers[args[0]] = None
    assert refused(capsys, *args, *control, status=EXIT_REFUSED) == "the server has ended"


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("deaf.sock")
        listener.listen()
        with Client(Path("deaf.sock")) as client, pytest.raises(Exception, match="not answer"):
            client.ask("status", patience_s=0.01)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["status", "--jsn"], "there is no option --jsn; did you mean --json?"),
        (["top", "-x"], "there is no option -x; pounce ctl top --help shows all"),
        (["scale", "0"], "invalid value for 'N': 0 is not in the range 1<=x<=512."),
        (["stat"], "there is no command pounce ctl stat; did you mean status?"),
        (["restart"], "there is no command pounce ctl restart; did you mean reload?"),
        (["dance"], "there is no command pounce ctl dance; pounce ctl --help shows all"),
    ],
)
def test_a_wrong_command_line_is_told_apart(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, *args, status=EXIT_CONFIG) == said


def test_alone_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = ctl(capsys)
    assert ctl(capsys, "--help") == out
    listed = [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()[:6]]
    assert listed == ["status", "top", "reload", "scale", "stop", "upgrade"]


# What is shown


def test_status_is_a_screen_without_colours_where_there_is_no_terminal(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    places.serve()
    out = ctl(capsys, "status")
    assert "shop.web:app" in out
    assert "4140" in out
    assert "\x1b" not in out


def test_without_rich_there_is_json_still(
    places: Places, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    places.serve()
    for name in [name for name in sys.modules if name == "rich" or name.startswith("rich.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for command in ("status", "top"):
        said = refused(capsys, command, status=EXIT_CONFIG)
        what = "pounce ctl status (without --json)" if command == "status" else "pounce ctl top"
        assert said == (
            f"{what} needs rich, which is not installed; pip install 'bengal-pounce[ctl]' brings it"
        )
    assert json.loads(ctl(capsys, "status", "--json"))["app"] == "shop.web:app"


def test_top_shows_screen_after_screen_until_the_server_ends(
    places: Places, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = places.serve()
    looks = iter(range(3))
    answer = Client.ask

    def ask(client: Client, do: str, **more: Any) -> dict[str, Any]:
        if next(looks, None) is None:
            one.answers["status"] = None
        return answer(client, do, **more)

    monkeypatch.setattr(Client, "ask", ask)
    out = ctl(capsys, "top", "--interval", "0.1", "--control", str(one.path))
    assert out.count("shop.web:app") == 2, "the first look was for the process id"
    assert out.endswith("the server has ended\n")


def test_a_server_loads_nothing_of_what_only_looks(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys, pounce.cli; print({'rich', 'psutil'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
