"""The server's log: one record, one line; forms, colours, logging.config, rotation."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pounce import log as logs
from pounce.errors import ConfigError

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \[\d+\] (\w+) +(.*)")

Written = Callable[[], str]  # what went to stderr since it was last asked


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    """logging is global: put back what a test's set_up() or logging.config changed."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    yield
    for name in ("pounce", "pounce.test", "shop"):
        logger = logging.getLogger(name)
        for handler in [*logger.handlers]:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
        logger.disabled = False
    for handler in [*root.handlers]:
        if handler not in before[0]:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(before[1])


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Written:
    return lambda: capsys.readouterr().err


def test_a_record_is_a_line_with_time_pid_level_and_text(stderr: Written) -> None:
    logs.set_up(level="info", form="text")
    logging.getLogger("pounce").warning("worker is silent slot=%d", 2)
    match = LINE.fullmatch(stderr().rstrip("\n"))
    assert match
    assert match.groups() == ("warning", "worker is silent slot=2")


def test_what_is_below_the_level_is_not_written(stderr: Written) -> None:
    logs.set_up(level="warning", form="text")
    logging.getLogger("pounce.test").info("quiet")
    logging.getLogger("pounce.test").warning("loud")
    assert [match[2] for match in LINE.finditer(stderr())] == ["loud"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /\n2025-01-01 00:00:00.000 [1] error forged", r"GET /\n2025-01-01 00:00:00.000 [1]"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("\x00\x7f", r"\x00\x7f"),
        ("a\u2028b\u0085c", r"a\u2028b\x85c"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("\udcff", r"\udcff"),
        ("größe 🐾", "größe 🐾"),
    ],
)
def test_nothing_in_a_message_can_forge_a_line(text: str, shown: str, stderr: Written) -> None:
    logs.set_up(level="info", form="text")
    logging.getLogger("pounce").error("bad request target=%s", text)
    written = stderr()
    assert written.endswith("\n")
    assert len(written.splitlines()) == 1
    assert f"bad request target={shown}" in written
    written.encode("utf-8")


def test_a_traceback_is_indented_so_that_its_text_cannot_pass_for_a_record(
    stderr: Written,
) -> None:
    logs.set_up(level="info", form="text")
    try:
        raise ValueError("x\n2025-01-01 00:00:00.000 [1] error forged\x1b[2J")
    except ValueError:
        logging.getLogger("pounce").exception("the application raised")
    first, *rest = stderr().splitlines()
    assert first.endswith("the application raised")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)
    assert rest[-1] == r"    2025-01-01 00:00:00.000 [1] error forged\x1b[2J"


def test_json_form_is_one_object_a_line(stderr: Written) -> None:
    logs.set_up(level="debug", form="json")
    try:
        raise ValueError("no\nnews")
    except ValueError:
        logging.getLogger("pounce.test").exception("odd target=%s", "\n\x7f\x1b\u2028\udcff")
    line = stderr()
    assert line.count("\n") == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", line)
    said = json.loads(line)
    assert said["level"] == "error"
    assert said["logger"] == "pounce.test"
    assert said["message"] == "odd target=\n\x7f\x1b\u2028\udcff"
    assert said["traceback"].endswith("ValueError: no\nnews")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["time"])
    assert isinstance(said["pid"], int)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_template_that_does_not_fit_loses_no_record(form: str, stderr: Written) -> None:
    logs.set_up(level="info", form=form)
    logging.getLogger("pounce").info("slot=%d", "two")
    assert "slot=%d ('two',)" in stderr()


@pytest.mark.parametrize(
    ("stream", "environ", "coloured"),
    [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {}, False),
    ],
)
def test_only_a_terminal_gets_colours_and_only_if_it_wants_them(
    stream: type[io.StringIO],
    environ: dict[str, str],
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    terminal = stream()
    monkeypatch.setattr(sys, "stderr", terminal)
    logs.set_up(level="info", form="text")
    logging.getLogger("pounce").error("text")
    assert ("\x1b[31merror" in terminal.getvalue()) == coloured


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_log_that_nobody_reads_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.set_up(level="info", form="text")
    monkeypatch.setattr(sys, "stderr", Broken())
    logging.getLogger("pounce").error("into the void")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    logging.getLogger("pounce").error("into the void")


def test_setting_up_twice_writes_once_and_leaves_the_root_logger_alone(
    stderr: Written,
) -> None:
    root = logging.getLogger()
    before = list(root.handlers)
    logs.set_up(level="info", form="text")
    logs.set_up(level="info", form="text")
    logging.getLogger("pounce").info("once")
    assert stderr().count("once") == 1
    assert root.handlers == before


DICT = {
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "PATH", "formatter": "f"}},
    "formatters": {"f": {"format": "%(name)s %(message)s"}},
}
TOML = """
[formatters.f]
format = "%(name)s %(message)s"
[handlers.file]
class = "logging.FileHandler"
filename = "PATH"
formatter = "f"
[loggers.pounce]
handlers = ["file"]
level = "INFO"
propagate = false
"""
INI = """
[loggers]
keys=root,pounce
[handlers]
keys=file
[formatters]
keys=f
[logger_root]
handlers=
[logger_pounce]
qualname=pounce
handlers=file
level=INFO
propagate=0
[handler_file]
class=FileHandler
args=("PATH",)
formatter=f
[formatter_f]
format=%(name)s %(message)s
"""


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".json", json.dumps(DICT | {"loggers": {"pounce": {"handlers": ["file"]}}})),
        (".JSON", json.dumps(DICT | {"root": {"handlers": ["file"]}})),
        (".toml", TOML),
        (".ini", INI),
        (".conf", INI),
    ],
)
def test_a_log_config_decides_where_records_go(
    suffix: str, text: str, tmp_path: Path, stderr: Written
) -> None:
    target = tmp_path / "server.log"
    config = tmp_path / f"log{suffix}"
    config.write_text(text.replace("PATH", str(target)))
    shop = logging.getLogger("shop")
    logs.set_up(level="info", form="text", config_path=str(config))
    logging.getLogger("pounce.test").info("hello")
    assert target.read_text() == "pounce.test hello\n"
    assert stderr() == ""
    assert not shop.disabled


def test_a_log_config_that_names_no_handler_for_us_loses_no_record(
    tmp_path: Path, stderr: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own stand there
    config = tmp_path / "log.json"
    config.write_text('{"loggers": {"shop": {"level": "DEBUG"}}}')
    logs.set_up(level="info", form="text", config_path=str(config))
    logging.getLogger("pounce").info("still here")
    assert "still here" in stderr()


@pytest.mark.parametrize(
    ("name", "text", "want"),
    [
        ("log.json", None, "a file that can be read (No such file or directory)"),
        ("log.yaml", "a: 1", "a file that ends in .json, .toml, .ini, .cfg or .conf"),
        ("log.json", "{", "what logging.config takes (Expecting property name"),
        ("log.json", "[]", "what logging.config takes ("),
        ("log.toml", "a = ", "what logging.config takes ("),
        ("log.ini", "nothing", "what logging.config takes (File contains no section headers."),
        ("log.ini", "[a]\nb=c", "what logging.config takes ("),
        (
            "log.json",
            '{"handlers": {"h": {"class": "no.such"}}}',
            "what logging.config takes (Unable to configure handler 'h': ",
        ),
    ],
)
def test_a_log_config_that_cannot_be_used_is_refused_in_one_line(
    name: str, text: str | None, want: str, tmp_path: Path
) -> None:
    config = tmp_path / name
    if text is not None:
        config.write_text(text)
    with pytest.raises(ConfigError) as caught:
        logs.set_up(level="info", form="text", config_path=str(config), origin="--log-config")
    start = f"log_config is {str(config)!r} (from --log-config); it must be {want}"
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)


def test_after_a_rotation_lines_go_to_the_file_of_that_name(tmp_path: Path) -> None:
    target = tmp_path / "server.log"
    handler = logging.FileHandler(target)
    logger = logging.getLogger("shop")
    logger.addHandler(handler)
    logging.getLogger("pounce.test").addHandler(handler)  # of two loggers: opened anew once
    logger.error("before")
    assert logs.reopen() == 0
    target.rename(tmp_path / "server.log.1")
    assert logs.reopen() == 1
    logger.error("after")
    assert target.read_text() == "after\n"
    assert (tmp_path / "server.log.1").read_text() == "before\n"


def test_a_log_that_cannot_be_opened_anew_goes_on_in_the_old_file(
    tmp_path: Path, stderr: Written
) -> None:
    logs.set_up(level="info", form="text")
    folder = tmp_path / "logs"
    folder.mkdir()
    logger = logging.getLogger("shop")
    logger.addHandler(logging.FileHandler(folder / "server.log"))
    logger.error("before")
    folder.rename(tmp_path / "moved")
    assert logs.reopen() == 0
    logger.error("after")
    assert (tmp_path / "moved/server.log").read_text() == "before\nafter\n"
    assert "cannot be opened anew" in stderr()


def test_a_file_that_was_not_opened_yet_is_left_so(tmp_path: Path) -> None:
    logging.getLogger("shop").addHandler(logging.FileHandler(tmp_path / "late.log", delay=True))
    assert logs.reopen() == 0
    assert not (tmp_path / "late.log").exists()
