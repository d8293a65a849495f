"""What a command line that cannot be right was most likely meant to say. Words in, sentences out.

Knows what other servers call their options; how a right command line is read is cli.py's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import Final

from pounce.config import SETTINGS
from pounce.settings import TRUTH, did_you_mean

WAYS: Final = (
    "name it as an argument (pounce main:app), in POUNCE_APP, or as "
    'app = "main:app" in pounce.toml or [tool.pounce] of pyproject.toml; '
    "the built-in demo is: pounce pounce.demo:app"
)

# Options of uvicorn, gunicorn, hypercorn and granian, and what they are called here.
RENAMED: Final[Mapping[str, str]] = {
    "-b": "--bind",
    "-w": "--workers",
    "-p": "--port",
    "-v": "--version",
    "-V": "--version",
    "-c": "pounce.toml, or [tool.pounce] of pyproject.toml, in the working directory",
    "-k": "--loop (workers are always asyncio processes)",
    "-t": "--worker-timeout for one that hangs, --start-timeout, --shutdown-timeout",
    "--timeout": "--worker-timeout for one that hangs, --start-timeout, --shutdown-timeout",
    "-u": "--user",
    "-g": "--group",
    "-m": "--umask",
    "--pid": "--pid-file",
    "--pidfile": "--pid-file",
    "--limit-max-requests": "--max-requests",
    "--workers-lifetime": "--max-worker-age",
    "--workers-max-rss": "--max-worker-memory",
    "--preload-app": "--preload",
    "--config": "pounce.toml, or [tool.pounce] of pyproject.toml, in the working directory",
    "--worker-class": "--loop (workers are always asyncio processes)",
    "--listen": "--bind",
    "--address": "--bind",
    "--uds": "--bind unix:/path",
    "--unix-socket": "--bind unix:/path",
    "--socket": "--bind unix:/path",
    "--fd": "--bind fd://N",
    "--processes": "--workers",
    "--num-workers": "--workers",
    "--threads": "--workers (each is one asyncio process)",
    "--asgi-loop": "--loop",
    "--asgi-lifespan": "--lifespan",
    "--http-parser": "--http",
    "--chdir": "--app-dir",
    "--pythonpath": "--app-dir",
    "--dir": "--app-dir",
    "--reload-dir": "--reload, which watches the Python files below --app-dir",
    "--reload-dirs": "--reload, which watches the Python files below --app-dir",
    "--reload-include": "--reload, which watches the Python files below --app-dir",
    "--timeout-keep-alive": "--keep-alive-timeout",
    "--keep-alive": "--keep-alive-timeout",
    "--keepalive": "--keep-alive-timeout",
    "--timeout-graceful-shutdown": "--shutdown-timeout",
    "--graceful-timeout": "--shutdown-timeout",
    "--limit-concurrency": "--max-connections",
    "--worker-connections": "--max-connections",
    "--concurrency": "--max-connections",
    "--h11-max-incomplete-event-size": "--max-head-size",
    "--limit-request-line": "--max-target-size",
    "--limit-request-fields": "--max-headers",
    "--limit-request-field-size": "--max-field-size",
    "--limit-request-field_size": "--max-field-size",
    "--ws": "--websockets",
    "--ws-max-size": "--websocket-max-message",
    "--ws-max-queue": "--websocket-queue, in bytes",
    "--ws-ping-interval": "--websocket-ping-interval",
    "--ws-ping-timeout": "--websocket-ping-timeout",
    "--websocket-max-size": "--websocket-max-message",
    "--ws-per-message-deflate": "--websocket-deflate or --no-websocket-deflate",
    "--no-ws": "--websockets off",
    "--proxy-headers": "--forwarded-allow-ips with the addresses that are believed",
    "--no-proxy-headers": "--forwarded-allow-ips '' (nobody is believed)",
    "--proxy-allow-from": "--forwarded-allow-ips",
    "--access-logfile": "--access-log-file",
    "--access-logformat": "--log-format",
    "--verbose": "--log-level debug",
    "--debug": "--log-level debug",
    "-q": "--log-level warning --no-access-log",
    "--quiet": "--log-level warning --no-access-log",
    "--ssl-certfile": "--certfile",
    "--ssl-certificate": "--certfile",
    "--ssl-keyfile": "--keyfile",
    "--ssl-keyfile-password": "--keyfile-password-file or --keyfile-password-command: what stands "
    "on a command line is seen by everybody",
    "--keyfile-password": "--keyfile-password-file or --keyfile-password-command: what stands on "
    "a command line is seen by everybody",
    "--ssl-ca-certs": "--client-ca",
    "--ca-certs": "--client-ca",
    "--ssl-ca": "--client-ca",
    "--ssl-cert-reqs": "--client-cert, required or optional",
    "--cert-reqs": "--client-cert, required or optional",
    "--verify-mode": "--client-cert, required or optional",
    "--ssl-client-verify": "--client-cert, required or optional",
    "--ssl-ciphers": "--tls-ciphers",
    "--ciphers": "--tls-ciphers",
    "--ssl-version": "--tls-min-version",
    "--ssl-protocol-min": "--tls-min-version",
    "--ssl-handshake-timeout": "--tls-handshake-timeout",
    "--check-config": "pounce check",
    "--print-config": "pounce check",
}
# And what has no counterpart, with what would do.
ABSENT: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("-D", "--daemon"), "pounce stays in the foreground, as systemd and containers want it"
    ),
    **dict.fromkeys(
        ("--error-logfile", "--log-file"), "the server's log is on standard error: 2>FILE"
    ),
    "--env-file": "pounce reads no such file; set the variables first: set -a; . ./.env",
    "--interface": "the application must be ASGI 3",
}

SWITCHES: Final[Mapping[str, tuple[str, str]]] = {
    flag: (one.flag, one.off_flag)
    for one in SETTINGS.values()
    if isinstance(one.default, bool)
    for flag in (one.flag, one.off_flag)
}
# First words of other programs' command lines, and what does that here.
HABITS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("run", "start", "dev"), "to serve, write: pounce APP"),
    "help": "for help, write: pounce --help",
    "version": "for the version, write: pounce --version",
    **{
        word: f"for a server that runs, write: pounce ctl {word}"
        for word in ("status", "top", "reload", "scale", "stop", "upgrade")
    },
    "restart": "for new code in a server that runs, write: pounce ctl reload",
}


def unknown_option(name: str) -> str:
    """Why there is no such option, and which does what it was to do."""
    if name == "--app":
        return "the application is no option; write its name alone: pounce main:app"
    if name in RENAMED:
        return f"there is no option {name}; here it is {RENAMED[name]}"
    if name in ABSENT:
        return f"there is no option {name}; {ABSENT[name]}"
    flags = [*(one.flag for one in SETTINGS.values() if one.name != "app"), *SWITCHES]
    hint = did_you_mean(name, flags) or "; pounce --help shows all"
    return f"there is no option {name}{hint}"


def renamed(name: str, form: Callable[[str], str] = str) -> str:
    """``; here it is ...``: what a setting that others call `name` is here, or nothing."""
    there = RENAMED.get("--" + name.replace("_", "-"), "")
    if not there.startswith("--") or there == "--version":
        return ""

    def own(flag: re.Match[str]) -> str:
        # A flag that turns something off exists on the command line alone.
        on, off = SWITCHES.get(flag[0], ("", ""))
        key = form((on or flag[0])[2:].replace("-", "_"))
        return f"{key} false" if flag[0] == off else key

    return f"; here it is {re.sub('--[a-z-]+', own, there)}"


def value_of_a_switch(flag: str, value: str = "") -> str:
    """Why ``--reload=yes`` and ``--reload yes`` cannot be."""
    on, off = SWITCHES[flag]
    given = f", but {value!r} stands behind it" if value else ""
    return f"{flag} takes no value{given}; write {on} for yes, {off} for no"


def wrong_words(words: Sequence[str], args: Sequence[str], commands: Collection[str]) -> str:
    """Why `words` cannot be all that stands beside the flags in `args`; "" if they can."""
    for flag, word in pairwise(args):
        if flag in SWITCHES and word in words and word.lower() in TRUTH:
            return value_of_a_switch(flag, word)
    if len(words) < 2:
        return ""
    first, second, *_ = words
    if second in commands or first in commands:
        command, app = (second, first) if second in commands else (first, second)
        return f"a command stands before all else: pounce {command} {app}"
    if first in HABITS:
        return f"{first} is no command; {HABITS[first].replace('APP', second)}"
    if hint := did_you_mean(first, commands, form=f"pounce {{}} {second}"):
        return f"{first} is no command{hint}"
    if re.fullmatch(r"[0-9]+", second):
        return f"nothing is expected after {first}; did you mean --port {second}?"
    if re.fullmatch(r"[\w.]*:[0-9]+|\[[0-9a-f:]+\]:[0-9]+|unix:.+", second):
        return f"nothing is expected after {first}; did you mean --bind {second}?"
    hint = f"; did you mean {first}:{second}?" if (first + second).isidentifier() else ""
    return f"one application is served, but {first} and {second} are named{hint}"


def no_application(word: str, commands: Collection[str]) -> str:
    """Why `word`, given alone as the application, is none; "" if it may be one."""
    if not word:
        return f"no application given; {WAYS}"
    if ":" in word:
        return ""
    if word in HABITS:
        hint = f"; {HABITS[word]}" if "APP" not in HABITS[word] else ""
    elif not (hint := did_you_mean(word, commands, form="pounce {}")):
        return ""
    end = "" if hint.endswith("?") else ";"
    what = f"{word} is neither a command nor module:attribute{hint}{end}"
    return f"{what} to serve an application, {WAYS}"
