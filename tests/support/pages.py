"""Follows a page of the docs as its reader would: writes its files, types its commands, compares.

What a page may hold, by the language of its fenced blocks:

- ``sh``: one command a line.
- ``console``: commands behind ``$ ``, each with what it must print; ``...`` stands for anything.
- ``python``, ``toml``, ``json``: a file, written where the first line is its name as a comment.
- anything else is only read.

A line that begins with ``pounce`` starts a server which the commands after it speak to. Pages say
8000 for its port and 4121 for its process; both are replaced by the real ones. What would fetch or
install something is not run; ``install_of`` judges it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.support.command import environment
from tests.support.served import Server

ROOT: Final = Path(__file__).parent.parent.parent
FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE: Final = re.compile(r"(?:#|//) ([\w.-]+\.(?:py|toml|json))\n")
PORT: Final = "8000"
PID: Final = "4121"
# Programs that a page may use, beside pounce itself.
PROGRAMS: Final = frozenset(("cat", "curl", "head", "kill", "printf", "python3", "tail", "true"))
INSTALL: Final = ("python3 -m venv ", ". .venv/bin/activate", "pip install ", "git clone ")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, and the line of the page that it begins at."""

    page: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> Iterator[tuple[str, str | None]]:
        """Each command, and what it must print (None: not said)."""
        text = self.text.replace("\\\n", "")
        if self.language == "sh":
            yield from ((line, None) for line in text.splitlines() if line)
        elif self.language == "console":
            assert text.startswith("$ "), f"{self.page}:{self.line} begins with no command"
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, printed = part.partition("\n")
                yield command, printed


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in FENCE.finditer(text)
    ]


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return str(one.getsockname()[1])


def install_of(command: str) -> None:
    """Fail unless a command that installs asks only for what there is."""
    if not command.startswith("pip install "):
        return
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for word in command.replace("'", "").split()[2:]:
        name, _, extras = word.rstrip("]").partition("[")
        if word in ("-e", "--editable"):
            continue
        assert name in (".", "bengal-pounce", "../pounce", "fastapi"), f"{word} of {command!r}"
        assert not extras or set(extras.split(",")) <= set(project["optional-dependencies"])


class Follower:
    """Someone who reads a page from its beginning, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._server: Server | None = None
        self._reloads = False
        bin_folder = folder / ".bin"
        bin_folder.mkdir()
        for name, command in (("pounce", "-m pounce"), ("python3", "")):
            script = bin_folder / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
            script.chmod(0o755)
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        self._variables = {
            "PATH": path,
            "POUNCE_PORT": self._port,
            "PYTHONDONTWRITEBYTECODE": "1",
            "RUNTIME_DIRECTORY": str(folder / ".run"),  # pounce ctl finds no other server
        }

    def follow(self, block: Block) -> None:
        if block.language in ("python", "toml", "json"):
            self._write(block)
        for command, printed in block.commands:
            try:
                self._type(command, printed)
            except Exception as error:
                error.add_note(f"at {block.page}:{block.line}, command {command!r}")
                raise

    def leave(self) -> None:
        """Ctrl-C for a server that runs; it must end well."""
        if self._server:
            server, self._server = self._server, None
            try:
                assert server.stop(signal.SIGINT) == 0, server.log
            finally:
                server.end()

    def end(self) -> None:
        if self._server:
            self._server.end()

    def _write(self, block: Block) -> None:
        if block.language == "python":
            compile(block.text, f"{block.page}:{block.line}", "exec")
        elif block.language == "toml":
            tomllib.loads(block.text)
        if not (named := FILE.match(block.text)):
            return
        file = self._folder / named[1]
        text = block.text.replace(PORT, self._port)
        file.write_text(text[named.end() :] if block.language == "json" else text)
        if self._server and self._reloads and file.suffix == ".py":
            while True:  # a save before the watcher's first look would be missed
                try:
                    self._server.wait_for("serving on", patience=5)
                except TimeoutError:
                    file.touch()
                else:
                    break

    def _type(self, command: str, printed: str | None) -> None:
        parts = re.sub(r"\s+# .*$", "", command).split(" && ")
        while parts and parts[0].startswith(INSTALL):
            install_of(parts.pop(0))
        command = " && ".join(parts)
        if not command:
            return
        program = command.split()[0].rpartition("/")[2]
        if program == "pounce" and not re.search(
            r"^pounce (check|ctl|dev-cert|--help|--version)|[|;&]", command
        ):
            self._serve(command, printed)
            return
        assert program in PROGRAMS | {"pounce"}, f"{program} is no program that pages use"
        family = self._family() if command == f"kill -9 {PID}" else []
        done = subprocess.run(
            ["sh", "-c", self._real(command)],
            cwd=self._folder,
            env=environment(**self._variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        if printed is None:
            assert done.returncode == 0, done.stdout
        else:
            assert_printed(self._shown(done.stdout), printed)
        if self._server and command.startswith("kill -HUP "):
            self._server.wait_for("serving on|the old code serves on")
        elif family:
            _, left = psutil.wait_procs(family, timeout=60)
            assert not left, f"{left} outlived the master"
            assert self._server
            self._server.end()
            self._server = None

    def _family(self) -> list[psutil.Process]:
        """The server's master and its workers."""
        assert self._server
        master = psutil.Process(self._server.process.pid)
        return [master, *master.children(recursive=True)]

    def _serve(self, command: str, printed: str | None) -> None:
        self.leave()
        words = [word.strip("'") for word in self._real(command).split()[1:]]
        self._reloads = "--reload" in words
        self._server = Server(
            [sys.executable, "-m", "pounce", *words],
            folder=self._folder,
            variables=self._variables,
            stdout=subprocess.DEVNULL,
        )
        line = self._server.wait_for("serving on|the server cannot start")
        if printed is not None:
            until = self._server.log.index(line) + 1
            assert_printed(self._shown("\n".join(self._server.log[:until]) + "\n"), printed)

    def _real(self, text: str) -> str:
        text = text.replace(PORT, self._port)
        return text.replace(PID, str(self._server.process.pid)) if self._server else text

    def _shown(self, text: str) -> str:
        text = text.replace(self._port, PORT)
        text = re.sub(r"\bpython[\d.]* \(pid", "pounce (pid", text)  # we start it by -m pounce
        return text.replace(str(self._server.process.pid), PID) if self._server else text


def assert_printed(real: str, expected: str) -> None:
    """`expected` as a page shows it; ``...`` stands for anything, also for several lines."""
    real = textwrap.dedent(real.replace("\r", ""))
    pattern = ".*".join(map(re.escape, expected.strip("\n").split("...")))
    assert re.fullmatch(pattern, real.strip("\n"), re.DOTALL), f"{expected!r} was promised: {real}"


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    text = (ROOT / page).read_text("utf-8")
    found = re.search(
        rf"^#+ {re.escape(heading)}\n.*?^(\|.*?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found, f"{page} has no table under {heading!r}"
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        for line in found[1].splitlines()[2:]
    ]


def value_of(name: str) -> Any:
    """A constant by its full name, such as pounce.supervisor.state.GRACE_S."""
    import importlib

    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
