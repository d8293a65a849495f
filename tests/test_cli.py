"""The command line: what it prints, what it refuses, and the status it ends with."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pounce.serve
from pounce import __version__, cli, settings_page
from pounce.config import SETTINGS, Config
from pounce.errors import ExtraMissing, LoadError, UsageError
from pounce.sources import Resolved
from tests.support.command import move_to, refusal


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    move_to(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Resolved]:
    """What would have been served, in place of serving it."""
    calls: list[Resolved] = []

    def serve(
        config: Config, *, origins: dict[str, str], warnings: list[str], **rest: object
    ) -> int:
        calls.append(Resolved(config, origins))
        for warning in warnings:
            sys.stderr.write(warning + "\n")
        return 0

    monkeypatch.setattr(pounce.serve, "serve", serve)
    return calls


# What is printed on request


def test_help_shows_every_setting_under_its_heading_with_default_and_unit(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for one in SETTINGS.values():
        assert f"\n{one.group}:\n" in text
        if one.name != "app":
            assert re.search(rf"^  {one.flag}\b", text, re.MULTILINE)
    flat = " ".join(text.split())
    assert flat.startswith("Usage: pounce [APP] [options] ")
    assert "--keep-alive-timeout SECONDS" in flat
    assert "[default: 75 seconds; 0: off]" in flat
    assert "--access-log / --no-access-log" in flat
    assert "--loop auto|uvloop|asyncio" in flat
    assert "pounce check [APP]" in flat
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("command", [[], ["check"]])
def test_the_short_name_of_help_is_the_same(
    command: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert cli.main([*command, "-h"]) == 0
    assert capsys.readouterr().out == text
    assert "-h, --help" in text


def test_check_has_a_help_of_its_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: pounce check [APP] [options]\n")
    assert "--workers N" in text


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"pounce {__version__}\n"


def test_help_does_not_load_the_server() -> None:
    code = "import sys, pounce.cli; pounce.cli.main(['--version']); print(*sys.modules)"
    root = str(Path(cli.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "pounce.config" in loaded
    assert not loaded & {"asyncio", "uvloop", "httptools", "h11", "pounce.supervisor.runner"}


def test_the_settings_page_is_up_to_date() -> None:
    page = Path(__file__).parent.parent / "docs/settings.md"
    assert page.read_text("utf-8") == settings_page.page(), (
        "run: python -m pounce.settings_page > docs/settings.md"
    )


# What is refused


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--worker", "2"], "there is no option --worker; did you mean --workers?"),
        (["--no-acess-log"], "there is no option --no-acess-log; did you mean --no-access-log?"),
        (["--zzz"], "there is no option --zzz; pounce --help shows all"),
        (
            ["--app", "main:app"],
            "the application is no option; write its name alone: pounce main:app",
        ),
        (["--no-workers"], "there is no option --no-workers; did you mean --workers?"),
        (["--workers"], "--workers requires an argument"),
        (
            ["main:app", "--workers=-1"],
            "workers is '-1' (from --workers); it must be a whole number from 0 to 512, or auto",
        ),
        (
            ["main:app", "--port=-1"],
            "port is '-1' (from --port); it must be a whole number from 0 to 65535",
        ),
        (
            ["main:app", "--loop", "trio"],
            "loop is 'trio' (from --loop); it must be auto, uvloop or asyncio",
        ),
        (
            ["main:app", "--bind", "nonsense"],
            "bind is 'nonsense' (from --bind); it must be "
            "host:port, [address]:port, :port, unix:/path or fd://number",
        ),
        (
            ["main:app", "--host", "a b"],
            "bind is 'a b:8000' (from --host); it must be "
            "host:port, [address]:port, :port, unix:/path or fd://number",
        ),
        (
            ["main:app", "--access-log-file", "no/where.log"],
            "access_log_file is 'no/where.log' (from --access-log-file); it must be "
            "a file that can be written (there is no directory no)",
        ),
        (
            ["main:app", "--access-log-file", "."],
            "access_log_file is '.' (from --access-log-file); it must be "
            "a file that can be written (it is a directory)",
        ),
        (
            ["main:app", "--log-config", "no.json"],
            "log_config is 'no.json' (from --log-config); it must be "
            "a file that can be read (No such file or directory)",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_that_says_what_would_do(
    args: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *args) == message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "pounce.toml",
            "worker = 2",
            "worker is not a setting (from pounce.toml); did you mean workers?",
        ),
        (
            "pounce.toml",
            "timeout_keep_alive = 2",
            "timeout_keep_alive is not a setting (from pounce.toml); here it is keep_alive_timeout",
        ),
        (
            "pounce.toml",
            "[server]\nworkers = 2",
            "[server] is not a setting (from pounce.toml); the settings stand in no table below it",
        ),
        (
            "pounce.toml",
            "bind = 8000",
            "bind is 8000 (from pounce.toml); it must be host:port, [address]:port, :port, ",
        ),
        (
            "pounce.toml",
            "workers = '2'",
            "workers is '2' (from pounce.toml); it must be a whole number from 0 to 512, or auto",
        ),
        *(
            (
                "pounce.toml",
                f"{line}\nworkers = 2",
                f"pounce.toml has a table {line}, as in pyproject.toml; in pounce.toml the "
                f"settings stand at the top level: leave the line {line} out",
            )
            for line in ("[tool.pounce]", "[pounce]")
        ),
        ("pounce.toml", "workers = ", "pounce.toml is not TOML: Invalid value (at "),
        ("pounce.toml", "\udcff", "pounce.toml is not TOML: 'utf-8' codec can't decode"),
        ("pyproject.toml", "[tool", "pyproject.toml is not TOML: "),
        (
            "pyproject.toml",
            "[tool.pounce]\nport = 70000",
            "port is 70000 (from [tool.pounce] of pyproject.toml); it must be ",
        ),
        (
            "pyproject.toml",
            "[tool]\npounce = 3",
            "[tool.pounce] of pyproject.toml is 3; it must be a table",
        ),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(
    name: str, text: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert refusal(capsys, "main:app").startswith(message)


def test_a_file_that_cannot_be_read_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "pounce.toml").mkdir()
    assert refusal(capsys, "main:app") == "pounce.toml cannot be read: Is a directory"


def test_control_characters_in_what_was_typed_are_not_printed_raw(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, "x:y", "--workers=\x1b[2J\n") == (
        r"workers is '\x1b[2J\n' (from --workers); it must be a whole number from 0 to 512, or auto"
    )
    assert "\x1b" not in refusal(capsys, "--\x1b[2J")


@pytest.mark.parametrize(("flag", "library"), [("loop", "uvloop"), ("http", "httptools")])
def test_a_library_that_is_not_installed_is_told_with_the_extra_that_brings_it(
    flag: str,
    library: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pounce.serve, "_is_installed", lambda name: False)
    assert refusal(capsys, "main:app", f"--{flag}", library) == (
        f"{flag} {library} (from --{flag}) needs {library}, which is not installed; "
        "pip install 'bengal-pounce[fast]' brings it"
    )
    with pytest.raises(ExtraMissing):
        pounce.run("main:app", **{flag: library})


# Where settings come from


def test_flags_variables_and_toml_are_layered(
    here: Path, served: list[Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "pyproject.toml").write_text(
        '[tool.pounce]\napp = "main:app"\nworkers = 2\nbacklog = 20\nhttp = "h11"\n'
    )
    monkeypatch.setenv("POUNCE_WORKERS", "3")
    monkeypatch.setenv("POUNCE_BACKLOG", "30")
    assert cli.main(["--workers", "4", "--no-access-log", "--bind", ":1", "--bind", ":2"]) == 0
    config = served[0].config
    assert (config.app, config.workers, config.backlog, config.http) == ("main:app", 4, 30, "h11")
    assert config.bind == (":1", ":2")
    assert not config.access_log
    assert served[0].origins == {
        "app": "[tool.pounce] of pyproject.toml",
        "workers": "--workers",
        "backlog": "POUNCE_BACKLOG",
        "http": "[tool.pounce] of pyproject.toml",
        "access_log": "--no-access-log",
        "bind": "--bind",
    }


def test_a_first_argument_that_is_no_command_is_the_application(
    here: Path, served: list[Resolved]
) -> None:
    for args in (["main:app"], ["--reload", "main:app"], ["main:app", "--reload"]):
        assert cli.main(args) == 0
        assert served.pop().config.app == "main:app"


def test_a_word_that_means_yes_or_no_is_taken_where_it_is_the_value_of_an_option(
    here: Path, served: list[Resolved]
) -> None:
    assert cli.main(["--access-log", "--access-log-file", "no", "main:app", "--workers", "1"]) == 0
    assert served[0].config.access_log_file == "no"


def test_pounce_toml_hides_the_table_in_pyproject_and_says_so(
    here: Path, served: list[Resolved], capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "pounce.toml").write_text('app = "main:app"')
    (here / "pyproject.toml").write_text("[tool.pounce]\nworkers = 3\n")
    assert cli.main([]) == 0
    assert served[0].config.workers == 1
    assert "[tool.pounce] of pyproject.toml is ignored" in capsys.readouterr().err


def test_a_table_in_pyproject_that_would_never_be_read_is_warned_of(
    here: Path, served: list[Resolved], capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "pyproject.toml").write_text("[pounce]\nworkers = 3\n")
    assert cli.main(["main:app"]) == 0
    assert served[0].config.workers == 1
    assert capsys.readouterr().err == (
        "[pounce] of pyproject.toml is ignored: "
        "settings are read from [tool.pounce] of pyproject.toml\n"
    )


def test_an_unknown_variable_is_warned_of(
    here: Path,
    served: list[Resolved],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POUNCE_WORKER", "3")
    assert cli.main(["main:app"]) == 0
    assert "did you mean POUNCE_WORKERS?" in capsys.readouterr().err


# run()


def test_an_object_given_to_run_cannot_be_reloaded() -> None:
    async def app(scope: object, receive: object, send: object) -> None: ...

    with pytest.raises(UsageError, match="reload needs the application by its name"):
        pounce.run(app, reload=True)
    with pytest.raises(UsageError, match="worker is not a setting"):
        pounce.run(app, worker=3)


def test_run_is_refused_in_a_thread_which_would_never_hear_of_a_signal() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(UsageError, match="only the main one"):
        pool.submit(pounce.run, "main:app").result()


def test_an_applications_traceback_is_printed_above_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli.report(LoadError("no luck", traceback="Traceback ...\n  boom\n"))
    assert capsys.readouterr().err == "Traceback ...\n  boom\npounce: no luck\n"


def test_an_interrupt_before_serving_is_no_traceback(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: object, **more: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(pounce.serve, "serve", interrupted)
    assert cli.main(["main:app"]) == 130
    assert "Traceback" not in capsys.readouterr().err
