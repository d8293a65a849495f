"""The server's own log: levels, forms, colours, logging.config. Knows no access line.

One record is one line, whatever is in it: control characters are escaped and the lines of a
traceback indented, so that nothing a client sends can look like a record of ours.
"""

from __future__ import annotations

import configparser
import json
import logging
import logging.config
import os
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pounce.errors import ConfigError

LOGGER: Final = "pounce"

# C0, DEL, C1 (ESC [ and its one-byte form steer terminals), the Unicode line ends, the marks that
# turn the writing direction (they make a line read otherwise than it is), and lone surrogates,
# which a UTF-8 file refuses.
UNSAFE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

COLOUR: Final[Mapping[int, str]] = {
    logging.DEBUG: "\x1b[2m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
RESET: Final = "\x1b[0m"


def escape(text: str) -> str:
    r"""`text` on one line and harmless to a terminal: a line feed becomes ``\n``, ESC ``\x1b``."""
    return UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


class TextFormatter(logging.Formatter):
    """``2025-11-24 08:11:00.123 [4121] warning worker is silent, killing it slot=2``."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower():7}"
        if self._colour:
            level = f"{COLOUR.get(record.levelno, '')}{level}{RESET}"
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        line = f"{at}.{int(record.msecs):03d} [{record.process}] {level} {escape(message(record))}"
        return "\n    ".join([line, *map(escape, traceback_of(record).splitlines())])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339), level, logger, pid, message, traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        said: dict[str, object] = {
            "time": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": message(record),
        }
        if text := traceback_of(record):
            said["traceback"] = text
        # json leaves DEL as it is; all else that UNSAFE names it escapes.
        return json.dumps(said).replace("\x7f", "\\u007f")


def say_with(level: int, text: str, below: str) -> None:
    """A record of ours with lines below it, such as a traceback from elsewhere."""
    log = logging.getLogger(LOGGER)
    if log.isEnabledFor(level):
        record = log.makeRecord(log.name, level, __file__, 0, "%s", (text,), None, "say_with")
        record.exc_text = below or None
        log.handle(record)


def message(record: logging.LogRecord) -> str:
    """The record's text. A template that does not fit its arguments must not lose the record."""
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return f"{record.msg} {record.args}"


def traceback_of(record: logging.LogRecord) -> str:
    text = record.exc_text or ""
    if record.exc_info and not text:
        text = logging.Formatter().formatException(record.exc_info)
    return "\n".join(part for part in (text, record.stack_info or "") if part)


class StderrHandler(logging.Handler):
    """To whatever sys.stderr is at the moment. A log that nobody can read stops no server."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # EPIPE, ENOSPC; ValueError: the stream is closed
            pass
        except Exception:
            self.handleError(record)


def set_up(*, level: str, form: str, config_path: str = "", origin: str = "log_config") -> None:
    """Make the ``pounce`` logger speak. The root logger is the application's and is left alone.

    With `config_path` the file decides: ours is used only where it leaves the logger without any
    handler.

    Args:
        level: a name of log_level.
        form: "text" or "json".
        config_path: a file for logging.config, or "".
        origin: where the path was given, for the error.

    Raises:
        ConfigError: the file cannot be read, or logging.config refuses it.
    """
    logger = logging.getLogger(LOGGER)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = True
    if config_path:
        _apply_file(config_path, origin)
        if logger.hasHandlers():
            return
    logger.propagate = False
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(colour=_colour()))
    logger.addHandler(handler)


def _colour() -> bool:
    """Only a terminal gets colours, and not against the user's wish (https://no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.stderr is not None and sys.stderr.isatty()


def _apply_file(path: str, origin: str) -> None:
    readers: Mapping[str, Callable[[str], dict[str, Any]]] = {
        ".json": json.loads,
        ".toml": tomllib.loads,
    }
    suffix = Path(path).suffix.lower()
    if suffix not in readers and suffix not in (".ini", ".cfg", ".conf"):
        want = "a file that ends in .json, .toml, .ini, .cfg or .conf"
        raise ConfigError("log_config", path, origin=origin, want=want)
    try:
        text = Path(path).read_text("utf-8")
        if suffix in readers:
            # disable_existing_loggers is True by default there and would silence applications.
            table = {"version": 1, "disable_existing_loggers": False, **readers[suffix](text)}
            logging.config.dictConfig(table)
        else:
            parser = configparser.RawConfigParser()
            parser.read_string(text, source=path)
            logging.config.fileConfig(parser, disable_existing_loggers=False)
    except OSError as error:
        want = f"a file that can be read ({error.strerror})"
        raise ConfigError("log_config", path, origin=origin, want=want) from None
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError) as error:
        raise _refused(path, origin, error) from error
    except configparser.Error as error:
        raise _refused(path, origin, error) from error


def _refused(path: str, origin: str, error: Exception) -> ConfigError:
    cause = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
    want = f"what logging.config takes ({escape(' '.join(cause.split()))})"
    return ConfigError("log_config", path, origin=origin, want=want)


def reopen() -> int:
    """Open every log file of the process anew by its name, after a rotation; says how many.

    Only a file whose name stands for another file by now is opened: mode "w" would empty it.
    """
    count = 0
    for handler in _file_handlers():
        handler.acquire()
        try:
            old = handler.stream  # None where delay=True and nothing was written yet
            if old is not None and _moved_away(handler.baseFilename, old.fileno()):
                handler.stream = handler._open()
                old.close()
                count += 1
        except OSError as error:
            # The old file still takes the lines, which beats losing them.
            logging.getLogger(LOGGER).error(
                "a log file cannot be opened anew, the old one goes on path=%s error=%s",
                handler.baseFilename,
                error.strerror,
            )
        finally:
            handler.release()
    return count


def _moved_away(path: str, opened: int) -> bool:
    try:
        return not os.path.samestat(os.stat(path), os.fstat(opened))
    except FileNotFoundError:
        return True


def _file_handlers() -> Iterator[logging.FileHandler]:
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    seen: set[int] = set()
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):  # a PlaceHolder has none
            if isinstance(handler, logging.FileHandler) and id(handler) not in seen:
                seen.add(id(handler))
                yield handler
