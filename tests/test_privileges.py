"""--user, --group and --umask: who the processes are, what is theirs, and that it is for good."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL, SIGTTIN, SIGUSR2
from typing import Any, Final

import psutil
import pytest

from pounce.errors import ConfigError, PounceError
from pounce.privileges import identity_of
from tests.support.command import run
from tests.support.server import group_exists, started
from tests.support.serverlog import wait_until

NOBODY: Final = pwd.getpwnam("nobody")
STRANGER: Final = 54321  # a number that no machine gives to a user

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
PYTHON: Final = Path(sys.executable).resolve()
# What a process has not imported as root it imports as the other user.
needs_python = pytest.mark.skipif(
    not all(path.stat().st_mode & 0o001 for path in PYTHON.parents),
    reason=f"another user may not read {PYTHON}",
)

APP: Final = """
import os

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": os.environ["HOME"].encode()})
"""


def in_child(act: Callable[[], Any]) -> Any:
    """What `act` returns in a process of its own, which may become anybody."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(theirs, json.dumps(act()).encode())
        except BaseException:
            os.write(theirs, json.dumps(traceback.format_exc()).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        said = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return said


def status_of(pid: int | str) -> dict[str, list[str]]:
    """See proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: text.split() for name, _, text in (line.partition(":") for line in lines)}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory of root's that others may look into, with an application in it."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    (path / "plain.py").write_text(APP)
    yield path
    shutil.rmtree(path)


# Names


@pytest.mark.parametrize("setting", ["user", "group"])
def test_a_name_that_the_machine_does_not_know_is_refused_with_where_it_was_given(
    setting: str,
) -> None:
    given = {"user": "", "group": "", setting: "no-such-name"}
    with pytest.raises(ConfigError) as caught:
        identity_of(**given, umask="", origins={setting: "pounce.toml"})
    assert str(caught.value).startswith(f"{setting} is 'no-such-name' (from pounce.toml); ")


def test_without_a_setting_we_are_who_we_are() -> None:
    identity = identity_of("", "", "")
    assert (identity.uid, identity.gid) == (os.geteuid(), os.getegid())
    assert not identity.is_other
    assert identity.owner == ""


def test_ones_own_name_is_fine_for_anybody() -> None:
    own = pwd.getpwuid(os.geteuid())
    assert not identity_of(own.pw_name, str(os.getegid()), "").is_other


@needs_root
def test_a_number_that_is_nobodys_takes_a_group_beside_it() -> None:
    with pytest.raises(ConfigError, match="--group"):
        identity_of(str(STRANGER), "", "")
    identity = identity_of(str(STRANGER), "54322", "")
    assert (identity.uid, identity.gid, identity.name) == (STRANGER, 54322, "")


@needs_root
def test_only_root_may_ask_for_another() -> None:
    def act() -> str:
        os.setgid(NOBODY.pw_gid)
        os.setuid(NOBODY.pw_uid)
        identity_of("nobody", "", "")  # who it is
        try:
            identity_of("root", "", "", origins={"user": "--user"})
        except ConfigError as error:
            return str(error)
        return "not refused"

    said = in_child(act)
    assert said.startswith("user is 'root' (from --user); it must be left out, or what we are")
    assert said.endswith("only root may become somebody else")


def test_check_refuses_what_serving_would_refuse(folder: Path) -> None:
    done = run("check", "plain:app", "--app-dir", str(folder), "--user", "no-such-name")
    assert done.returncode == 2
    assert "user is 'no-such-name' (from --user)" in done.stderr


@needs_root
@needs_python
def test_check_tries_the_application_with_the_rights_it_will_have(folder: Path) -> None:
    (folder / "secret").write_text("dear")
    (folder / "secret").chmod(0o600)
    (folder / "reader.py").write_text(f"open({str(folder / 'secret')!r}).close()\n{APP}")
    options = ("check", "reader:app", "--app-dir", str(folder), "--port", "0")
    assert run(*options).returncode == 0
    done = run(*options, "--user", "nobody")
    assert done.returncode == 3
    assert "Permission denied" in done.stderr


# The change


@needs_root
def test_nothing_of_root_is_left() -> None:
    def act() -> dict[str, list[str]]:
        os.setgroups([0, 4])
        identity_of("nobody", "", "").become()
        return status_of("self")

    status = in_child(act)
    assert status["Uid"] == [str(NOBODY.pw_uid)] * 4
    assert status["Gid"] == [str(NOBODY.pw_gid)] * 4
    assert set(status["Groups"]) == {str(NOBODY.pw_gid)}
    assert int(status["CapEff"][0], 16) == int(status["CapPrm"][0], 16) == 0


@needs_root
def test_there_is_no_way_back() -> None:
    def act() -> list[str]:
        identity_of("nobody", "", "").become()
        refused = []
        for back in (os.setuid, os.seteuid, os.setgid):
            try:
                back(0)
            except PermissionError:
                refused.append(back.__name__)
        return refused

    assert in_child(act) == ["setuid", "seteuid", "setgid"]


@needs_root
def test_rights_that_could_be_taken_back_end_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def act() -> str:
        monkeypatch.setattr(os, "setuid", os.seteuid)  # the mistake that is made: root is saved
        try:
            identity_of("nobody", "", "").become()
        except PounceError as error:
            return str(error)
        return "not noticed"

    assert "root's rights can be taken back" in in_child(act)


@needs_root
def test_the_environment_speaks_of_the_new_user() -> None:
    def act() -> dict[str, str]:
        os.environ |= {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
        identity_of("nobody", "", "").become()
        return {name: os.environ[name] for name in ("HOME", "USER", "LOGNAME")}

    home = NOBODY.pw_dir
    assert in_child(act) == {"HOME": home, "USER": "nobody", "LOGNAME": "nobody"}


@needs_root
def test_a_user_without_a_name_leaves_none_in_the_environment() -> None:
    def act() -> list[str]:
        os.environ |= {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
        identity_of(str(STRANGER), "54322", "").become()
        return sorted(f"{name}={os.environ.get(name)}" for name in ("HOME", "USER", "LOGNAME"))

    assert in_child(act) == ["HOME=/", "LOGNAME=None", "USER=None"]


@needs_root
def test_a_group_alone_keeps_the_user() -> None:
    def act() -> dict[str, list[str]]:
        identity_of("", str(NOBODY.pw_gid), "").become()
        return status_of("self")

    status = in_child(act)
    assert status["Uid"] == ["0"] * 4
    assert status["Gid"] == [str(NOBODY.pw_gid)] * 4


def test_the_umask_needs_no_other_user() -> None:
    def act() -> list[str]:
        identity_of("", "", "027").become()
        return status_of("self")["Umask"]

    assert in_child(act) == ["0027"]


@needs_root
def test_a_log_file_that_is_there_keeps_its_owner_and_a_link_is_not_followed(folder: Path) -> None:
    identity = identity_of("nobody", "", "")
    (folder / "old.log").write_text("line\n")
    identity.make_log_file(str(folder / "old.log"))
    assert (folder / "old.log").stat().st_uid == 0
    assert (folder / "old.log").read_text() == "line\n"
    (folder / "link.log").symlink_to(folder / "made")
    identity.make_log_file(str(folder / "link.log"))
    assert not (folder / "made").exists()
    identity.make_log_file(str(folder / "new.log"))
    assert (folder / "new.log").stat().st_uid == NOBODY.pw_uid


# The server


@needs_root
@needs_python
def test_every_process_of_the_server_is_the_users_and_so_is_what_it_writes(folder: Path) -> None:
    (folder / "run").mkdir(0o755)
    files = {"socket": "run/app.sock", "pid": "run/pounce.pid", "log": "run/access.log"}
    path = {name: folder / each for name, each in files.items()}
    options = (
        *("--bind", f"unix:{path['socket']}", "--bind", "127.0.0.1:0"),
        *("--user", "nobody", "--umask", "027", "--workers", "2", "--app-dir", str(folder)),
        *("--access-log-file", str(path["log"]), "--pid-file", str(path["pid"])),
        *("--control-socket", "off"),
    )
    with started("plain:app", *options) as server:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children()]
        assert {one.name() for one in family} == {
            "pounce-master",
            "pounce-template",
            "pounce-worker",
        }
        for one in family:
            status = status_of(one.pid)
            assert status["Uid"] == [str(NOBODY.pw_uid)] * 4, one
            assert status["Gid"] == [str(NOBODY.pw_gid)] * 4, one
            assert status["Umask"] == ["0027"], one
        for one in path.values():
            assert one.stat().st_uid == NOBODY.pw_uid, one
        with server.connect() as raw:
            assert raw.get("/").status == 200
        wait_until(lambda: "GET /" in path["log"].read_text(), "the access line")
    # The directory is root's, so the names stay; the next start copes with both.
    assert path["pid"].read_text() == ""
    with started("plain:app", *options) as server, server.connect() as raw:
        assert raw.get("/").status == 200


@needs_root
@needs_python
def test_a_slot_can_be_added_after_the_rights_are_gone(folder: Path) -> None:
    options = ("--user", "nobody", "--app-dir", str(folder), "--control-socket", "off")
    with started("plain:app", *options) as server:
        server.signal(SIGTTIN)
        wait_until(lambda: len(server.workers()) == 2, "the second worker")
        server.log.wait_for("application has no lifespan", times=2)
        assert not server.log.find("cannot be added")
        for _ in range(40):  # refused or left waiting by neither queue
            with server.connect() as raw:
                assert raw.get("/").body == NOBODY.pw_dir.encode()


@needs_root
@needs_python
def test_a_slot_on_a_low_port_needs_rights_that_are_gone(folder: Path) -> None:
    port = free_low_port()
    options = ("--user", "nobody", "--app-dir", str(folder), "--control-socket", "off")
    with started("plain:app", "--port", str(port), *options) as server:
        server.log.expect("slot cannot be added: .*ports below 1024 need root")
        server.signal(SIGTTIN)
        server.log.wait_for("slot cannot be added")
        with server.connect() as raw:
            assert raw.get("/").status == 200
        assert len(server.workers()) == 1


@needs_root
@needs_python
def test_killing_a_master_that_gave_its_rights_away_leaves_nobody(folder: Path) -> None:
    options = ("--user", "nobody", "--app-dir", str(folder), "--control-socket", "off")
    with started("plain:app", "--workers", "2", *options) as server:
        server.log.expect(*["master is gone, draining"] * 2)
        server.signal(SIGKILL)
        server.process.wait()
        wait_until(lambda: not group_exists(server.pid), "the end of all")


@needs_root
@needs_python
def test_an_access_log_that_the_user_cannot_write_ends_the_start(folder: Path) -> None:
    (folder / "old.log").write_text("")
    done = run(
        *("plain:app", "--app-dir", str(folder), "--port", "0", "--user", "nobody"),
        *("--access-log-file", str(folder / "old.log"), "--control-socket", "off"),
    )
    assert done.returncode == 2
    assert "it must be a file that can be written (not permitted)" in done.stderr


@needs_root
@needs_python
def test_an_upgrade_works_without_the_rights_too(folder: Path) -> None:
    path = folder / "pounce.pid"
    options = (
        *("--user", "nobody", "--app-dir", str(folder), "--control-socket", "off"),
        *("--port", str(free_low_port()), "--pid-file", str(path)),
    )
    with started("plain:app", *options) as server:
        server.signal(SIGUSR2)
        server.log.wait_for("the master before is gone")
        wait_until(lambda: path.read_text() not in ("", f"{server.pid}\n"), "the new pid")
        new = psutil.Process(int(path.read_text()))
        assert new.uids().real == NOBODY.pw_uid
        with server.connect() as raw:
            assert raw.get("/").body == NOBODY.pw_dir.encode()
        new.terminate()
        assert server.wait() == 0
    assert path.read_text() == ""


def free_low_port() -> int:
    """One that root alone may bind."""
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    for port in range(min(first, 1024) - 1, 0, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.skip("anybody may bind any port here")
