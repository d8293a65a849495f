"""The commands of `pounce ctl`: words of the command line to requests, answers to words."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pounce.config import SETTINGS
from pounce.ctl.client import Client, RefusedError, ServerEnded, find
from pounce.errors import EXIT_OK, ExtraMissing, PounceError, UsageError
from pounce.settings import did_you_mean

if TYPE_CHECKING:
    # Every server imports this module: psutil and rich are for those who look.
    from pounce.ctl.sample import Sample, Sampler
    from pounce.ctl.terminal import Terminal

NAMES: Final = {"help_option_names": ["-h", "--help"]}
MOST_WORKERS: Final = int(SETTINGS["workers"].most or 0)
VARIABLE: Final = "POUNCE_CONTROL_SOCKET"
# CPU is what was used between two looks; the kernel counts in hundredths of a second.
FIRST_LOOK_S: Final = 0.3

Command = Callable[..., int]

HELP: Final = """Speak to a running server through its control socket.

The server is the only one that runs here, unless --control or --pid, the variable
POUNCE_CONTROL_SOCKET, or control_socket in this directory's pounce.toml or pyproject.toml says
which.
"""
EPILOG: Final = """\
Exit status: 0 done, 1 the server did not do it (the reason is said), 2 wrong command line, or
several servers and no word which, 7 no server found."""


def _aimed(command: Callable[..., int]) -> Command:
    """Gives a command the connection to the server that its options mean."""

    @functools.wraps(command)
    def aimed(control: str | None, pid: int | None, **rest: Any) -> int:
        above = _above()
        control = control or above.get("control") or os.environ.get(VARIABLE) or _from_files()
        pid = pid or above.get("pid") or 0
        with find("" if pid else control, pid) as client:
            return command(client, **rest)

    return _where(aimed)


def _above() -> dict[str, Any]:
    """The same options before the command's own name."""
    context = click.get_current_context(silent=True)
    return context.parent.params if context and context.parent else {}


def _from_files() -> str:
    """What a server that is started in this directory would take."""
    from pounce.cli import read_files

    with contextlib.suppress(PounceError):  # no settings of ours are to be judged here
        layer, _ = read_files(Path())
        if given := layer.get("control_socket"):
            return str(given.value)
    return ""


def _where(command: Callable[..., Any]) -> Callable[..., Any]:
    pid = click.option("--pid", type=click.IntRange(1), metavar="N", help="The master's process.")
    control = click.option("--control", metavar="PATH", help="Its control socket.")
    return control(pid(command))


class InOrder(click.Group):
    """Lists its commands as they stand here, the most used ones first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            meant = "reload" if name == "restart" else name
            hint = did_you_mean(meant, self.commands) or f"; {ctx.command_path} --help shows all"
            raise UsageError(f"there is no command {ctx.command_path} {name}{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    "ctl",
    cls=InOrder,
    invoke_without_command=True,
    help=HELP,
    epilog=EPILOG,
    context_settings=NAMES,
)
@_where
@click.pass_context
def ctl(ctx: click.Context, control: str | None, pid: int | None) -> None:  # for _above()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@ctl.command(epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@_aimed
def status(client: Client, as_json: bool) -> int:
    """Show the server and its workers, once."""
    if not as_json:
        terminal = _terminal("pounce ctl status (without --json)")
    try:
        sampler = _sampler(client)
        sampler.look(client.ask("status"))
        time.sleep(FIRST_LOOK_S)
        sample = sampler.look(client.ask("status"))
    except ServerEnded:
        raise RefusedError("the server has ended") from None
    if as_json:
        click.echo(json.dumps(sample.as_json(), indent=2))
    else:
        terminal.show(sample)
    return EXIT_OK


@ctl.command(epilog=EPILOG)
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks.",
)
@_aimed
def top(client: Client, interval: float) -> int:
    """Show them and go on, until q or Ctrl-C."""
    terminal = _terminal("pounce ctl top")
    sampler = _sampler(client)

    def look() -> Sample:
        return sampler.look(client.ask("status"))

    try:
        terminal.follow(look, interval_s=interval)
    except ServerEnded:
        click.echo("the server has ended")
    return EXIT_OK


@ctl.command(epilog=EPILOG)
@click.option(
    "--wait", is_flag=True, help="Until the new workers are there to stay, or were given up."
)
@_aimed
def reload(client: Client, wait: bool) -> int:
    """Exchange all workers for new ones.

    They have the code and the settings of now; if they fail, the old ones serve on.
    """
    begun = time.monotonic()
    try:
        said = client.ask("reload", wait=wait, patience_s=None)
    except ServerEnded:
        raise RefusedError("the server has ended, and with it the reload") from None
    except RefusedError as error:
        raise RefusedError(f"{_given_up(error.answer)}: {error}") from None
    if wait:
        took_s = time.monotonic() - begun
        click.echo(f"generation {said['generation']} serves, after {took_s:.1f} s")
    else:
        click.echo(f"reloading, generation {said['generation']}")
    return EXIT_OK


def _given_up(answer: Mapping[str, Any]) -> str:
    if "serving" not in answer:
        return "nothing is reloaded"
    return f"generation {answer['generation']} was given up, {answer['serving']} serves on"


@ctl.command(epilog=EPILOG)
@click.argument("workers", type=click.IntRange(1, MOST_WORKERS), metavar="N")
@_aimed
def scale(client: Client, workers: int) -> int:
    """Have N workers.

    It stays so until the settings say another number than before.
    """
    _ask(client, "scale", workers=workers)
    click.echo(f"scaling to {workers} worker{'s' if workers > 1 else ''}")
    return EXIT_OK


@ctl.command(epilog=EPILOG)
@click.option("--wait", is_flag=True, help="Until the server has ended.")
@_aimed
def stop(client: Client, wait: bool) -> int:
    """Finish what is under way, and end.

    A second time hurries, a third time kills.
    """
    _ask(client, "stop")
    if wait:
        click.echo("stopping; another pounce ctl stop hurries")
        client.wait_for_the_end()
    click.echo("stopped" if wait else "stopping")
    return EXIT_OK


@ctl.command(epilog=EPILOG)
@_aimed
def upgrade(client: Client) -> int:
    """Have a new master take over.

    It is of the pounce and the Python that are installed now. If it fails, this one goes on.
    """
    _ask(client, "upgrade")
    click.echo("a new master is being started; the log says whether it takes over")
    return EXIT_OK


def _ask(client: Client, do: str, **more: Any) -> None:
    try:
        client.ask(do, **more)
    except ServerEnded:
        raise RefusedError("the server has ended") from None


def _sampler(client: Client) -> Sampler:
    from pounce.ctl.sample import Sampler

    here = client.pid == client.ask("status")["pid"]
    return Sampler(here=here)


def _terminal(what: str) -> Terminal:
    if importlib.util.find_spec("rich") is None:
        raise ExtraMissing(what, library="rich", extra="ctl")
    from pounce.ctl.terminal import Terminal

    return Terminal()
