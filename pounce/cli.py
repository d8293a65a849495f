"""The ``pounce`` command: flags made from Config's fields, TOML files read, errors as one line.

Knows nothing of sockets or processes; serve.py and check.py do the work.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from pounce import __version__, mistakes
from pounce.app import flaw_of
from pounce.config import SETTINGS
from pounce.ctl.commands import ctl
from pounce.errors import EXIT_CONFIG, EXIT_OK, ConfigError, LoadError, PounceError, UsageError
from pounce.log import escape
from pounce.settings import Setting, did_you_mean
from pounce.sources import Layer, Resolved, from_environ, from_flags, from_table, resolve

DEFAULT_COMMAND: Final = "serve"
COMMANDS: Final = ("check", "ctl", "dev-cert")  # those that are shown
NAMES: Final = {"help_option_names": ["-h", "--help"]}
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, what shells show


class Pounce(click.Group):
    """A first argument that is no known command is the application, or a flag of serving it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] not in ([name] for name in self.commands):
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)


class SettingsCommand(click.Command):
    """A command that takes APP and every setting, and shows them under their headings."""

    def __init__(self, name: str, *, usage: str, **rest: Any) -> None:
        argument = click.Argument(["app"], nargs=-1)
        options = [_option(one) for one in SETTINGS.values() if one.name != "app"]
        super().__init__(name, params=[argument, *options], context_settings=NAMES, **rest)
        self._usage = usage

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = tuple(args)  # click empties the list
        rest = super().parse_args(ctx, args)
        words = ctx.params["app"]
        if complaint := mistakes.wrong_words(words, given, COMMANDS):
            raise UsageError(complaint)
        ctx.params["app"] = words[0] if words else None
        return rest

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(self._usage, "[APP] [options]")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for one in SETTINGS.values():
            if one.name != "app":
                text = f"{one.help} [{one.facts}]"
                groups.setdefault(one.group, []).append((_signature(one), text))
        for heading, rows in groups.items():
            with formatter.section(heading):
                formatter.write_dl(rows, col_max=28)
        extra = [param for param in self.get_params(ctx) if param.name not in SETTINGS]
        with formatter.section("Other"):
            formatter.write_dl([row for row in (p.get_help_record(ctx) for p in extra) if row])


def _option(one: Setting) -> click.Option:
    # Texts in, texts out: config.py judges them, so that every source is refused in one form.
    if isinstance(one.default, bool):
        return click.Option([f"{one.flag}/{one.off_flag}"], default=None)
    return click.Option([one.flag], type=str, multiple=isinstance(one.default, tuple))


def _signature(one: Setting) -> str:
    if isinstance(one.default, bool):
        return f"{one.flag} / {one.off_flag}"
    return f"{one.flag} {one.placeholder}"


def gather(arguments: dict[str, Any]) -> tuple[Resolved, list[str]]:
    """The settings of a command line with what lies around it, and what to warn of."""
    flags = {
        name: str(given).lower() if isinstance(given, bool) else given
        for name, given in arguments.items()
        if given is not None and given != ()
    }
    variables, warnings = from_environ(os.environ)
    table, more = read_files(Path())
    return resolve(from_flags(flags), variables, table), warnings + more


def read_files(directory: Path) -> tuple[Layer, list[str]]:
    """The settings of pounce.toml, or else of [tool.pounce] in pyproject.toml, and warnings."""
    own = _read_toml(directory / "pounce.toml")
    project = _read_toml(directory / "pyproject.toml") or {}
    shared = _inside(project, "tool", "pounce")
    origin = "[tool.pounce] of pyproject.toml"
    warnings = []
    if "pounce" in project:
        warnings.append(f"[pounce] of pyproject.toml is ignored: settings are read from {origin}")
    if own is not None:
        for keys in (("tool", "pounce"), ("pounce",)):
            if isinstance(_inside(own, *keys), dict):
                name = f"[{'.'.join(keys)}]"
                raise UsageError(
                    f"pounce.toml has a table {name}, as in pyproject.toml; in pounce.toml the "
                    f"settings stand at the top level: leave the line {name} out"
                )
        if shared:
            warnings.append(f"{origin} is ignored: pounce.toml stands beside it")
        return from_table(own, origin="pounce.toml"), warnings
    if shared is not None and not isinstance(shared, dict):
        raise UsageError(f"{origin} is {shared!r}; it must be a table")
    return from_table(shared or {}, origin=origin), warnings


def _inside(table: object, *keys: str) -> object:
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _read_toml(path: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # tomllib's own, and UnicodeDecodeError
        raise UsageError(f"{path} is not TOML: {error}") from None


def need_app(resolved: Resolved) -> None:
    """Refuse to go on without an application, or with a command's name mistyped in its place."""
    if complaint := mistakes.no_application(resolved.config.app, COMMANDS):
        raise UsageError(complaint)
    app, app_dir = resolved.config.app, resolved.config.app_dir
    if flaw := flaw_of(app):  # before a server is set up for it
        raise LoadError(f"cannot load {app!r} (from {resolved.origin('app')}): {flaw}")
    if not Path(app_dir).is_dir():
        raise ConfigError(
            "app_dir", app_dir, origin=resolved.origin("app_dir"), want="a directory that exists"
        )


EPILOG: Final = """\
Each setting may also be given as a POUNCE_* variable (POUNCE_WORKERS=4) or in TOML (workers = 4,
in pounce.toml or [tool.pounce] of pyproject.toml). A flag wins over a variable, a variable over
TOML.

Exit status: 0 stopped as asked, 2 wrong settings, 3 application cannot be loaded, 4 its lifespan
failed, 5 address cannot be bound, 6 worker cannot boot, 1 a bug of pounce."""


@click.group(cls=Pounce, add_help_option=False)
def pounce() -> None:
    """Serve an ASGI application from pre-forked workers."""


def _serve(**arguments: Any) -> int:
    from pounce.inheritance import take
    from pounce.serve import serve  # `pounce --help` needs no asyncio

    inherited = take(os.environ)  # before it is read for settings
    resolved, warnings = gather(arguments)
    need_app(resolved)
    return serve(
        resolved.config,
        origins=resolved.origins,
        warnings=warnings,
        sources=lambda: gather(arguments),
        inherited=inherited,
    )


def _check(**arguments: Any) -> int:
    from pounce.check import check

    resolved, warnings = gather(arguments)
    need_app(resolved)
    for warning in warnings:
        click.echo(f"warning: {escape(warning)}", err=True)
    return check(resolved)


serve_command = SettingsCommand(
    DEFAULT_COMMAND,
    usage="pounce",
    callback=_serve,
    help="""Serve the ASGI application APP from pre-forked workers.

    APP is module:attribute, or module:factory() to call it without arguments. The built-in demo is
    pounce.demo:app.

    \b
    pounce main:app --workers 4   serve what main.py calls app, from four workers
    pounce check [APP]            say what would run, and whether it would start
    pounce ctl                    show what runs; reload, scale, stop, upgrade it
    pounce dev-cert               make a certificate to try https on this machine
    """,
    epilog=EPILOG,
)
serve_command.params.append(
    click.version_option(__version__, message="pounce %(version)s")(serve_command).params.pop()
)
pounce.add_command(serve_command)
pounce.add_command(
    SettingsCommand(
        "check",
        usage="pounce check",
        callback=_check,
        help="""Say what would run, and whether it would start, without serving.

        Judges the settings, imports APP and runs its lifespan once in a process of its own. Exits
        with the status that serving would end with.
        """,
    )
)
pounce.add_command(ctl)


@pounce.command("dev-cert", context_settings=NAMES)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--dir", "directory", default=".", help="Where to put it.  [default: here]")
@click.option("--replace", is_flag=True, help="Replace one that is there.")
def _dev_cert(names: tuple[str, ...], directory: str, *, replace: bool) -> int:
    """Make a certificate to try https on this machine.

    It is for NAME, hosts or addresses, or else for localhost, and signed by nobody but itself:
    clients must be told to trust it. Writes dev-cert.pem and dev-key.pem.
    """
    from pounce.dev_cert import DAYS, make_dev_cert

    made = make_dev_cert(Path(directory), names, replace=replace)
    click.echo(f"certificate for {', '.join(made.names)}, for {DAYS} days")
    click.echo(f"serve:  pounce APP --certfile {made.certificate} --keyfile {made.key}")
    click.echo(f"try:    curl --cacert {made.certificate} https://{made.names[0]}:8000/")
    return EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit status. Only a bug of ours shows our traceback."""
    try:
        status = pounce.main(args=argv, prog_name="pounce", standalone_mode=False)
    except click.ClickException as error:
        _complain(_plain(error))
        return EXIT_CONFIG
    except PounceError as error:
        report(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    return status if isinstance(status, int) else EXIT_OK


def report(error: PounceError) -> None:
    """Print an error as its one line, below the application's own traceback if there is one."""
    if text := getattr(error, "traceback", ""):
        click.echo(text.rstrip("\n"), err=True)
    _complain(str(error))


def _complain(text: str) -> None:
    click.echo(f"pounce: {escape(text)}", err=True)


def _is_of(error: click.UsageError, group: click.Group) -> bool:
    """Was it made on the command line of this group, or of a command in it?"""
    context = error.ctx
    while context and context.command is not group:
        context = context.parent
    return context is not None


def _plain(error: click.ClickException) -> str:
    match error:
        case click.NoSuchOption() if _is_of(error, ctl):
            hint = did_you_mean(error.option_name, error.possibilities or ()) or (
                f"; {error.ctx.command_path if error.ctx else ctl.name} --help shows all"
            )
            return f"there is no option {error.option_name}{hint}"
        case click.NoSuchOption():
            return mistakes.unknown_option(error.option_name)
        case click.BadOptionUsage() if error.option_name in mistakes.SWITCHES:
            return mistakes.value_of_a_switch(error.option_name)
        case click.BadOptionUsage():
            said = error.message.removeprefix(f"Option {error.option_name!r} ")
            return f"{error.option_name} {said.rstrip('.')}"
    text = error.format_message()
    return text[:1].lower() + text[1:]


if __name__ == "__main__":
    sys.exit(main())
