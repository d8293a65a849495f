"""Where a server listens, whom it lets in, and what it leaves behind."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.command import run
from tests.support.raw import Raw
from tests.support.server import started
from tests.support.serverlog import wait_until

PROBE: Final = "tests.system.apps.probe:app"


def refused(*options: str) -> subprocess.CompletedProcess[str]:
    """A start that must fail for its addresses, in one line."""
    done = run(PROBE, *options)
    assert done.returncode == 5, done.stderr
    assert re.fullmatch("pounce: .* cannot be (bound|used): .*\n", done.stderr), done.stderr
    return done


def stale_socket(path: Path) -> None:
    """A socket file as a killed server leaves it."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize(
    ("options", "host"),
    [
        (["--port", "0"], "127.0.0.1"),
        (["--host", "127.0.0.2", "--port", "0"], "127.0.0.2"),
        (["--bind", "127.0.0.3:0"], "127.0.0.3"),
        (["--bind", "localhost:0"], "127.0.0.1"),
        (["--bind", "[::1]:0"], "::1"),
        (["--host", "::1", "--port", "0"], "::1"),
    ],
)
def test_the_address_that_is_asked_for_is_bound_and_the_real_port_printed(
    options: list[str], host: str
) -> None:
    with started("probe", "--workers", "2", *options) as server:
        address = server.addresses[0]
        assert isinstance(address, tuple)
        assert address[0] == host
        assert address[1] > 0
        shown = f"[{host}]" if ":" in host else host
        assert server.log.find(f"address http://{re.escape(shown)}:{address[1]}$")
        assert server.curl("/") == b"hello"


@pytest.mark.parametrize("bind", [":0", "[::]:0"])
def test_all_interfaces_are_one_port_in_both_families(bind: str) -> None:
    with started("probe", "--bind", bind) as server:
        port = server.port
        assert server.addresses == [("0.0.0.0", port), ("::", port)]
        for host in ("127.0.0.1", "127.0.0.7", "::1"):
            with Raw((host, port)) as raw:
                assert raw.get("/").body == b"hello"


def test_several_addresses_are_served_by_every_worker(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    binds = ["127.0.0.1:0", "[::1]:0", f"unix:{path}"]
    options = [part for bind in binds for part in ("--bind", bind)]
    with started("probe", "--workers", "2", *options) as server:
        assert server.addresses[2] == path
        for address in server.addresses:
            pids: set[bytes] = set()
            while len(pids) < 2:
                with Raw(address) as raw:
                    pids.add(raw.get("/whoami").body)
            assert {int(pid) for pid in pids} == server.workers()


def test_a_unix_socket_is_served_to_httpx_and_curl_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with started("probe", "--bind", f"unix:{path}") as server:
        with server.client() as client:
            assert client.get("/").text == "hello"
            scope = client.get("/scope").json()
        assert scope["client"] is None
        assert scope["server"] == [str(path), None]
        assert server.curl("/") == b"hello"
        server.stop()
        assert not path.exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
@pytest.mark.parametrize(("options", "mode"), [([], 0o660), (["--uds-mode", "600"], 0o600)])
def test_a_unix_socket_has_the_mode_asked_for_whatever_the_umask(
    options: list[str], mode: int, umask: int, tmp_path: Path
) -> None:
    path = tmp_path / "app.sock"
    shell = ["sh", "-c", f'umask {umask:o}; exec "$@"', "sh"]
    with started("probe", "--bind", f"unix:{path}", *options, prefix=shell):
        seen = path.stat()
        assert stat.S_ISSOCK(seen.st_mode)
        assert stat.S_IMODE(seen.st_mode) == mode


def test_a_unix_socket_has_the_group_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    group = 12345 if os.geteuid() == 0 else os.getgroups()[-1]
    with started("probe", "--bind", f"unix:{path}", "--uds-owner", f":{group}") as server:
        seen = path.stat()
        assert (seen.st_gid, stat.S_IMODE(seen.st_mode)) == (group, 0o660)
        assert server.curl("/") == b"hello"


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    stale_socket(path)
    with started("probe", "--bind", f"unix:{path}") as server:
        assert server.curl("/") == b"hello"


def test_a_unix_socket_that_somebody_serves_is_refused_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with started("probe", "--bind", f"unix:{path}") as server:
        done = refused("--bind", f"unix:{path}")
        assert f"unix:{path} cannot be bound: a process listens there" in done.stderr
        assert server.curl("/") == b"hello"


def test_a_file_in_the_way_of_a_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    path.write_text("mine")
    assert "no socket is in the way" in refused("--bind", f"unix:{path}").stderr
    assert path.read_text() == "mine"


def test_the_end_of_a_server_removes_no_socket_but_its_own(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with started("probe", "--bind", f"unix:{path}") as server:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            server.stop()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))


def test_a_second_start_on_a_port_is_refused_and_names_who_has_it() -> None:
    with started("probe", "--workers", "2") as server:
        done = refused("--port", str(server.port), "--workers", "2")
        assert f"(pid {server.pid}) has it" in done.stderr
        # None of the connections goes to a stranger.
        for _ in range(20):
            assert server.curl("/") == b"hello"


def test_of_two_starts_at_the_same_moment_one_is_refused() -> None:
    with started("probe") as first:
        port = first.port  # free again in a moment
    options = ("--port", str(port), "--workers", "2")
    with (
        started("probe", *options, serving=False) as one,
        started("probe", *options, serving=False) as two,
    ):
        both = [one, two]
        wait_until(lambda: any(each.process.poll() is not None for each in both), "a refusal")
        loser, winner = sorted(both, key=lambda each: each.process.poll() is None)
        assert loser.wait() == 5, loser.log.text
        loser.log.expect("cannot be bound", "")
        winner.wait_until_serving()
        assert winner.curl("/") == b"hello"


def test_an_address_given_twice_is_refused() -> None:
    with started("probe") as server:
        port = server.port
    done = refused("--bind", f"127.0.0.1:{port}", "--bind", f"127.0.0.1:{port}")
    assert "is the address given twice?" in done.stderr


def test_one_address_that_cannot_be_bound_leaves_none(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    refused("--bind", f"unix:{path}", "--bind", f"unix:{tmp_path}/no/app.sock")
    assert not path.exists()


def test_an_address_of_another_machine_is_refused() -> None:
    assert "this machine has no address" in refused("--bind", "192.0.2.1:0").stderr


def test_a_port_is_free_for_the_next_start_though_connections_are_fading() -> None:
    with started("probe", "--workers", "2") as server:
        with server.connect() as raw:
            # The server closes first, so that its side of the connection stays in TIME_WAIT.
            assert raw.get("/messages?case=close").body == b"body"
            assert raw.end() == "closed"
        server.stop()
        options = ("--port", str(server.port), "--workers", "2")
        with started("probe", *options) as other:
            assert other.curl("/") == b"hello"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_an_inherited_socket_is_served_and_lives_on(
    family: socket.AddressFamily, tmp_path: Path
) -> None:
    with socket.socket(family) as mine:
        mine.bind(str(tmp_path / "app.sock") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        mine.listen()
        fd = mine.fileno()
        options = ("--bind", f"fd://{fd}", "--workers", "2")
        with started("probe", *options, pass_fds=[fd]) as server:
            address = server.addresses[0]
            assert str(address) == str(mine.getsockname()) or address == mine.getsockname()
            assert server.curl("/") == b"hello"
        # Who connects between two servers waits for the second.
        with Raw(address) as raw:
            raw.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with started("probe", *options, pass_fds=[fd]):
                assert raw.answer().body == b"hello"


def test_a_descriptor_that_is_no_socket_is_refused() -> None:
    assert "it must be an open, bound stream socket" in refused("--bind", "fd://77").stderr
    assert "fd://0 cannot be used" in refused("--bind", "fd://0").stderr
