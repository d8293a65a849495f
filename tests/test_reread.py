"""Settings that are read again at a reload: all take effect, or none, and some only at a start."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from signal import SIGHUP, SIGTTIN
from typing import Any, Final

import pytest

from pounce.config import Config
from pounce.errors import ConfigError
from pounce.reread import FIXED, read_again
from pounce.sources import Resolved
from tests.support.raw import CLOSED
from tests.support.server import Server, started
from tests.support.serverlog import wait_until

PRESENT: Final = Config(app="main:app", workers=2, port=8000)
NOTHING: Final[Mapping[str, str]] = {}


def again(present: Config, new: Config, *warnings: str) -> Config:
    return read_again(
        present, lambda: (Resolved(new, NOTHING), list(warnings)), lambda config, origins: None
    )[0]


@pytest.fixture
def log_kept() -> Any:
    """The logger, which read_again() may set up anew."""
    logger = logging.getLogger("pounce")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


def test_what_workers_are_made_of_is_taken_over(caplog: pytest.LogCaptureFixture) -> None:
    new = Config(app="main:other", workers=5, port=8000, keep_alive_timeout=1.0, http="h11")
    assert again(PRESENT, new) == new
    assert caplog.messages == []


def test_what_only_a_start_can_change_stays_and_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    new = Config(app="main:app", workers=3, port=9000, backlog=7, pid_file="/run/pounce.pid")
    expected = Config(app="main:app", workers=3, port=8000)
    assert again(PRESENT, new) == expected
    assert caplog.messages == [
        "only a restart or an upgrade can change, so it stays: port, backlog, pid_file",
    ]


def test_all_that_stays_is_a_setting() -> None:
    assert all(hasattr(PRESENT, name) for name in FIXED)


def test_warnings_come_again(caplog: pytest.LogCaptureFixture) -> None:
    assert again(PRESENT, PRESENT, "POUNCE_WROKERS is no setting") == PRESENT
    assert caplog.messages == ["POUNCE_WROKERS is no setting"]


def test_the_log_goes_by_the_new_settings(log_kept: logging.Logger) -> None:
    before = list(log_kept.handlers)
    again(PRESENT, Config(app="main:app", workers=2))
    assert log_kept.handlers == before, "nothing of it has changed"
    again(PRESENT, Config(app="main:app", log_level="debug", log_format="json"))
    assert log_kept.level == logging.DEBUG
    (handler,) = log_kept.handlers
    assert type(handler.formatter).__name__ == "JsonFormatter"


def test_what_cannot_work_changes_nothing(log_kept: logging.Logger) -> None:
    before = log_kept.level

    def refuse(config: Config, origins: Mapping[str, str]) -> None:
        raise ConfigError("loop", config.loop, origin="pounce.toml", want="installed")

    new = Config(app="main:app", log_level="debug")
    with pytest.raises(ConfigError):
        read_again(PRESENT, lambda: (Resolved(new, NOTHING), []), refuse)
    assert log_kept.level == before


# A real server

Write = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def call(text: str) -> None:
        (tmp_path / "pounce.toml").write_text(text)

    return call


def serving(folder: Path, *options: str, **more: Any) -> AbstractContextManager[Server]:
    """By the pounce.toml of the folder, which may say what the access log does."""
    options = ("--probation", "0", "--access-log-exclude", "/none", *options)
    return started("probe", *options, cwd=folder, **more)


def reload(server: Server, generation: int) -> None:
    server.signal(SIGHUP)
    server.log.wait_for(f"serving on .* generation={generation} ")


def test_changed_settings_take_effect_with_the_next_generation(
    tmp_path: Path, write: Write
) -> None:
    write("workers = 1\n")
    lines = tmp_path / "access"
    with lines.open("wb") as stdout, serving(tmp_path, stdout=stdout) as server:
        with server.connect() as raw:
            assert raw.get("/?logged").body == b"hello"
        wait_until(lambda: b"/?logged" in lines.read_bytes(), "an access line")
        write("workers = 3\nkeep_alive_timeout = 0.2\naccess_log = false\nlog_level = 'debug'\n")
        reload(server, 2)
        wait_until(lambda: len(server.workers()) == 3, "three workers")
        with server.connect() as raw:
            assert raw.get("/?silent").body == b"hello"
            assert raw.end() == CLOSED
        assert server.log.find("forked a worker slot=2"), "a line of debug"
    assert b"/?silent" not in lines.read_bytes(), "also not by a worker's last words"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("workers = 3\nkeep_alive_timeout = -1\n", "keep_alive_timeout is -1"),
        ("workers = 3\nworkers = \n", "is not TOML"),
        ("workers = 3\naccess_log_file = '/nowhere/log'\n", "no directory /nowhere"),
    ],
    ids=["value", "syntax", "cannot work"],
)
def test_wrong_settings_change_nothing_until_they_are_mended(
    tmp_path: Path, write: Write, wrong: str, said: str
) -> None:
    write("workers = 1\n")
    with serving(tmp_path) as server:
        before = server.workers()
        write(wrong)
        server.signal(SIGHUP)
        line = f"settings are wrong, nothing is reloaded: .*{said}"
        assert server.log.wait_for(line).level == "error"
        server.log.expect(line)
        with server.connect() as raw:
            assert raw.get("/").body == b"hello"
        assert server.workers() == before
        if "TOML" in said:  # the others are mended in the same way
            write("workers = 2\n")
            reload(server, 2)
            wait_until(lambda: len(server.workers() - before) == 2, "two new workers")


def test_another_address_is_left_to_a_restart(tmp_path: Path, write: Write) -> None:
    write("workers = 1\n")
    with serving(tmp_path) as server:
        write("workers = 2\nhost = '127.0.0.2'\nbacklog = 7\n")
        reload(server, 2)
        server.log.expect("only a restart or an upgrade can change, so it stays: host, backlog$")
        wait_until(lambda: len(server.workers()) == 2, "two workers")
        (first, second) = server.log.find("serving on ")
        assert first.text.split()[2] == second.text.split()[2]
        with server.connect() as raw:
            assert raw.get("/").body == b"hello"


def test_a_number_of_workers_chosen_by_hand_stays_until_the_settings_say_another(
    tmp_path: Path, write: Write
) -> None:
    write("workers = 1\n")
    with serving(tmp_path) as server:
        server.signal(SIGTTIN)
        wait_until(lambda: len(server.workers()) == 2, "two workers")
        write("workers = 1\nkeep_alive_timeout = 5\n")
        reload(server, 2)
        wait_until(lambda: len(server.workers()) == 2, "two new workers alone")
        write("workers = 3\n")
        reload(server, 3)
        wait_until(lambda: len(server.workers()) == 3, "three workers")
