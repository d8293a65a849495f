"""Mistakes on the command line: each is one line that says what was most likely meant."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pounce.config import SETTINGS
from pounce.mistakes import ABSENT, RENAMED, WAYS, renamed
from tests.support.command import move_to, refusal


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    move_to(tmp_path, monkeypatch)
    return tmp_path


SWITCHED = (
    "--access-log takes no value, but 'no' stands behind it; "
    "write --access-log for yes, --no-access-log for no"
)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        # other servers' names
        (
            ["main:app", "--ws-per-message-deflate", "false"],
            "there is no option --ws-per-message-deflate; "
            "here it is --websocket-deflate or --no-websocket-deflate",
        ),
        (["-w", "2"], "there is no option -w; here it is --workers"),
        (["x:y", "-b", ":80"], "there is no option -b; here it is --bind"),
        (
            ["x:y", "-k", "uvicorn.workers.UvicornWorker"],
            "there is no option -k; here it is --loop (workers are always asyncio processes)",
        ),
        (["x:y", "--listen", ":80"], "there is no option --listen; here it is --bind"),
        (
            ["x:y", "--timeout-keep-alive", "5"],
            "there is no option --timeout-keep-alive; here it is --keep-alive-timeout",
        ),
        (
            ["x:y", "--timeout", "5"],
            "there is no option --timeout; here it is "
            "--worker-timeout for one that hangs, --start-timeout, --shutdown-timeout",
        ),
        (
            ["x:y", "--ssl-keyfile", "key.pem"],
            "there is no option --ssl-keyfile; here it is --keyfile",
        ),
        # a value behind a flag that takes none
        (["--reload=yes"], "--reload takes no value; write --reload for yes, --no-reload for no"),
        *(
            (args, SWITCHED)
            for args in (
                ["--access-log", "no", "main:app"],
                ["main:app", "--access-log", "no"],
                ["--access-log", "no"],
                ["check", "main:app", "--access-log", "no"],
            )
        ),
        (
            ["--no-access-log", "Yes", "main:app"],
            "--no-access-log takes no value, but 'Yes' stands behind it; "
            "write --access-log for yes, --no-access-log for no",
        ),
        # words beside the application
        (
            ["main:app", "other:app"],
            "one application is served, but main:app and other:app are named",
        ),
        (
            ["main", "app"],
            "one application is served, but main and app are named; did you mean main:app?",
        ),
        (["run", "main:app"], "run is no command; to serve, write: pounce main:app"),
        (["help", "check"], "a command stands before all else: pounce check help"),
        (["help", "me"], "help is no command; for help, write: pounce --help"),
        (["chek", "main:app"], "chek is no command; did you mean pounce check main:app?"),
        (
            ["main:app", "check"],
            "a command stands before all else: pounce check main:app",
        ),
        (
            ["--workers", "2", "check", "main:app"],
            "a command stands before all else: pounce check main:app",
        ),
        (
            ["main:app", "80"],
            "nothing is expected after main:app; did you mean --port 80?",
        ),
        (
            ["main:app", ":80"],
            "nothing is expected after main:app; did you mean --bind :80?",
        ),
        # words in place of the application
        (
            ["chek"],
            "chek is neither a command nor module:attribute; did you mean pounce check? "
            f"to serve an application, {WAYS}",
        ),
        (
            ["run"],
            f"run is neither a command nor module:attribute; to serve an application, {WAYS}",
        ),
        # what is asked of a server that runs
        (
            ["stop"],
            "stop is neither a command nor module:attribute; "
            f"for a server that runs, write: pounce ctl stop; to serve an application, {WAYS}",
        ),
        (
            ["restart", "main:app"],
            "restart is no command; for new code in a server that runs, write: pounce ctl reload",
        ),
        (["ctrl", "status"], "ctrl is no command; did you mean pounce ctl status?"),
        (["--workers", "2", "ctl", "top"], "a command stands before all else: pounce ctl top"),
        (
            ["help"],
            "help is neither a command nor module:attribute; for help, write: pounce --help; "
            f"to serve an application, {WAYS}",
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_what_was_most_likely_meant(
    args: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *args) == message


@pytest.mark.parametrize("command", [[], ["check"]])
def test_a_name_that_cannot_be_an_application_is_refused_before_a_server_is_set_up(
    command: list[str],
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    why = "a module's name is wanted, not a file; did you mean main:app?"
    assert refusal(capsys, *command, "main.py", status=3) == (
        f"cannot load 'main.py' (from the command line): {why}"
    )
    monkeypatch.setenv("POUNCE_APP", "main.py:app")
    assert refusal(capsys, *command, status=3) == (
        f"cannot load 'main.py:app' (from POUNCE_APP): {why}"
    )


@pytest.mark.parametrize("command", [[], ["check"]])
def test_a_directory_that_is_none_is_refused_with_its_origin(
    command: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *command, "main:app", "--app-dir", "nowhere") == (
        "app_dir is 'nowhere' (from --app-dir); it must be a directory that exists"
    )


@pytest.mark.parametrize("command", [[], ["check"]])
def test_without_an_application_the_ways_to_name_one_are_told(
    command: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(capsys, *command)
    for way in ("pounce main:app", "POUNCE_APP", 'app = "main:app"', "pounce.toml", "demo:app"):
        assert way in message


def test_what_other_servers_call_their_options_is_told_by_names_that_exist_here() -> None:
    flags = {flag for one in SETTINGS.values() for flag in (one.flag, one.off_flag)}
    assert not flags & {*RENAMED, *ABSENT}
    for there in RENAMED.values():
        assert flags | {"--version"} >= set(re.findall(r"(?<!\w)--[\w-]+", there))


@pytest.mark.parametrize("name", RENAMED)
def test_the_same_is_told_of_variables_and_keys_by_names_that_exist_there(name: str) -> None:
    there = RENAMED[name]
    key = renamed(name.lstrip("-").replace("-", "_"))
    variable = renamed(name.lstrip("-"), lambda own: SETTINGS[own].variable)
    assert "--" not in key + variable
    if name.startswith("--") and there.startswith("--"):
        (first, *_) = re.findall(r"--(?:no-)?([\w-]+)", there)
        assert key.startswith(f"; here it is {SETTINGS[first.replace('-', '_')].name}")
        assert SETTINGS[first.replace("-", "_")].variable in variable


def test_what_is_switched_off_elsewhere_is_false_in_a_variable_or_key() -> None:
    assert renamed("quiet") == "; here it is log_level warning access_log false"
