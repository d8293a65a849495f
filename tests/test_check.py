"""``pounce check`` as a process: what it prints, how it ends, and what it leaves alone."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pounce import __version__, cli
from tests.support.command import move_to, run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    move_to(tmp_path, monkeypatch)
    return tmp_path


def test_check_prints_what_would_run_and_runs_the_lifespan_once_in_another_process(
    here: Path,
) -> None:
    (here / "pounce.toml").write_text('app = "main:lived"\nhttp = "h11"\n')
    done = run("check", "--workers", "3", "--port", "0", POUNCE_LOOP="asyncio")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    ran = [line for line in lines if line.startswith("import and lifespan ran in process")]
    assert len(ran) == 1
    assert [line for line in lines if line not in ran] == [
        f"pounce {__version__} would serve main:lived",
        "address http://127.0.0.1:0",
        "workers=3 loop=asyncio http=h11 http2=h2 websockets=on",
        "setting app = main:lived (from pounce.toml)",
        "setting port = 0 (from --port)",
        "setting workers = 3 (from --workers)",
        "setting loop = asyncio (from POUNCE_LOOP)",
        "setting http = h11 (from pounce.toml)",
        "ok: main:lived can be imported and started",
    ]


def test_check_beside_a_running_server_notes_that_the_address_is_taken(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("check", "main:app", "--port", str(port))
    assert done.returncode == 0
    assert f"note: 127.0.0.1:{port} cannot be bound" in done.stdout


def test_check_does_not_disturb_a_server_on_a_unix_socket(here: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("app.sock")
        server.listen()
        done = run("check", "main:app", "--bind", "unix:app.sock")
        assert done.returncode == 0
        assert "note: unix:" in done.stdout
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("app.sock")


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["main:nothing"], 3, "module main has no attribute nothing"),
        (["broken:app"], 3, "module broken fails to import: ValueError: at import"),
        (["main:failing"], 4, "application startup failed: no database"),
        (["main:raising"], 4, "application raised during lifespan startup"),
        (["main:app", "--lifespan", "on"], 4, "application returned during lifespan startup"),
        (
            ["main:hanging", "--start-timeout", "0.5"],
            4,
            "the lifespan startup of main:hanging was not over within start_timeout (0.5 s)",
        ),
        (
            ["main:stuck_at_the_end", "--shutdown-timeout", "0"],
            4,
            "the lifespan shutdown of main:stuck_at_the_end was not over within 1 s",
        ),
        (["main:dying"], 6, "the process that tried main:dying was ended by SIGKILL"),
        (
            ["main:leaving"],
            6,
            "the process that tried main:leaving exited with status 9 on its own",
        ),
        (["main:app", "--access-log-file", "no/x"], 2, "access_log_file is 'no/x'"),
        (["main:app", "--workers", "x"], 2, "workers is 'x' (from --workers)"),
        (["main:app", "--uds-owner", "no-such"], 2, "uds_owner is 'no-such' (from --uds-owner)"),
        (["main:app", "--uds-mode", "9"], 2, "uds_mode is '9' (from --uds-mode)"),
    ],
)
def test_check_ends_with_the_status_that_serving_would_end_with(
    args: list[str], status: int, message: str, here: Path
) -> None:
    done = run("check", *args)
    assert done.returncode == status, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"pounce: {message}")
    assert "ok:" not in done.stdout


def test_check_shows_the_applications_traceback_where_its_code_raised(here: Path) -> None:
    done = run("check", "broken:app")
    assert f'File "{here}/broken.py", line 1' in done.stderr
    assert str(Path(cli.__file__).parent) not in done.stderr


def test_an_import_that_hangs_is_ended_in_time(here: Path) -> None:
    (here / "slow.py").write_text("import time\ntime.sleep(600)\n")
    done = run("check", "slow:app", "--start-timeout", "0.5")
    assert done.returncode == 3
    assert done.stderr == ("pounce: slow:app was not imported within start_timeout (0.5 s)\n")


def test_an_address_that_could_never_be_bound_fails_the_check(here: Path) -> None:
    done = run("check", "main:app", "--bind", f"unix:{here}/nowhere/sock")
    assert done.returncode == 5
    assert "there is no directory" in done.stderr
