"""``pounce check``: what would run, and whether it would start. Serves nothing.

The application is imported and started in a process of its own: the check's process stays clean,
and a hang is ended in time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

import click

from pounce import log as logs
from pounce.app import load_app
from pounce.asgi import App
from pounce.config import SETTINGS, Config
from pounce.errors import (
    EXIT_CONFIG,
    EXIT_CRASH,
    EXIT_OK,
    BindError,
    BootError,
    LifespanError,
    LoadError,
    PounceError,
    UsageError,
)
from pounce.https import need_together
from pounce.listeners import open_listeners
from pounce.privileges import Identity, identity_of
from pounce.serve import addresses_of, banner, need_access_log, need_extras, redirecting_of
from pounce.sources import Resolved
from pounce.supervisor import process
from pounce.worker.assembly import new_loop
from pounce.worker.lifespan import Lifespan

# What the child says at the end of each stage; the last of them ends the check.
IMPORTED: Final = "imported"
STARTED: Final = "started"
STOPPED: Final = "stopped"
FAILED: Final = "failed"


def check(resolved: Resolved) -> int:
    """Print what would run; the exit status is 0 if it would start.

    Raises:
        PounceError: it would not, with the status that serving would end with.
    """
    config = resolved.config
    logs.set_up(
        level=config.log_level,
        form=config.log_format,
        config_path=config.log_config,
        origin=resolved.origin("log_config"),
    )
    need_extras(config, resolved.origins)
    need_access_log(config, resolved.origins)
    need_together(config, resolved.origins)
    identity = identity_of(config.user, config.group, config.umask, origins=resolved.origins)
    addresses = list(addresses_of(config, resolved.origins))
    names = [*config.addresses, *config.insecure_bind]
    redirecting = range(len(config.addresses), len(names))
    note = ""
    try:
        open_listeners(
            addresses,
            slots=1,
            backlog=config.backlog,
            uds_mode=int(config.uds_mode, 8),
            uds_owner=config.uds_owner,
            uds_owner_origin=resolved.origin("uds_owner"),
            redirecting=list(redirecting_of(config, resolved.origins)),
        ).close()
    except BindError as error:
        if not error.in_use:
            raise
        note = str(error)  # most likely by the very server that the check is for
    title, *rest = banner(config, names, redirecting=redirecting)
    click.echo("\n".join([title.partition(" pid=")[0].replace("serves", "would serve"), *rest]))
    for name, one in SETTINGS.items():
        if name in resolved.origins:
            value = one.shown(getattr(config, name))
            click.echo(f"setting {name} = {value} (from {resolved.origins[name]})")
    if note:
        click.echo(f"note: {note}")
    try_out(config, identity, resolved.origins)
    click.echo(f"ok: {config.app} can be imported and started")
    return EXIT_OK


def try_out(config: Config, identity: Identity, origins: Mapping[str, str]) -> None:
    """Read the certificates, import the application, start and stop it, in a child of that user.

    Raises:
        PounceError: what the child met, or that it hung or died.
    """
    ours, theirs = os.pipe()
    pid = process.fork(
        lambda: _child(config, identity, origins, theirs), first=lambda: os.close(ours)
    )
    os.close(theirs)
    child = _Child(pid, ours)
    try:
        _follow(child, config)
    finally:
        child.end()


def _follow(child: _Child, config: Config) -> None:
    limit_s = config.start_timeout
    deadline = time.monotonic() + limit_s
    stage = ""
    while stage != STOPPED:
        said = child.hear(deadline)
        if said is None:
            raise _overdue(config.app, stage, limit_s)
        if not said:
            raise BootError(f"the process that tried {config.app} {child.end()}")
        if "line" in said:
            click.echo(said["line"])
            continue
        stage = said["stage"]
        if stage == FAILED:
            raise _error_of(said)
        if stage == STARTED:
            limit_s = max(config.shutdown_timeout, 1.0)
            deadline = time.monotonic() + limit_s


def _overdue(app: str, stage: str, limit_s: float) -> PounceError:
    match stage:
        case "":
            return LoadError(f"{app} was not imported within start_timeout ({limit_s:g} s)")
        case "imported":
            return LifespanError(
                f"the lifespan startup of {app} was not over within start_timeout ({limit_s:g} s)"
            )
    return LifespanError(f"the lifespan shutdown of {app} was not over within {limit_s:g} s")


def _error_of(said: dict[str, Any]) -> PounceError:
    """The child's error again; its class goes by the exit status, which is all that is left."""
    if said["code"] == EXIT_CONFIG:
        return UsageError(said["why"])
    for kind in (LoadError, LifespanError):
        if said["code"] == kind.exit_code:
            return kind(said["why"], traceback=said["traceback"])
    return PounceError(said["why"])


@dataclass(slots=True)
class _Child:
    """The child as the check's process holds it."""

    pid: int
    pipe: int
    rest: bytes = b""
    ended: str = ""

    def hear(self, deadline: float) -> dict[str, Any] | None:
        """What it says next; empty at its end, None past the deadline."""
        while b"\n" not in self.rest:
            wait_s = max(0.0, deadline - time.monotonic())
            if not select.select([self.pipe], [], [], wait_s)[0]:
                return None
            data = os.read(self.pipe, 65536)
            if not data:
                return {}
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def end(self) -> str:
        """Make sure that it is gone, and say how it went."""
        if not self.ended:
            os.close(self.pipe)
            os.kill(self.pid, signal.SIGKILL)
            ended = process.decode(*os.waitpid(self.pid, 0))
            self.ended = (
                f"was ended by {ended.signal}"
                if ended.signal
                else (f"exited with status {ended.status} on its own")
            )
        return self.ended


def _child(config: Config, identity: Identity, origins: Mapping[str, str], pipe: int) -> int:
    def say(stage: str, **more: object) -> None:
        tell(stage=stage, **more)

    def tell(**what: object) -> None:
        os.write(pipe, json.dumps(what).encode() + b"\n")

    try:
        identity.become()
        for line in certificates(config, origins):
            tell(line=line)
        app = load_app(config.app, factory=config.factory, app_dir=config.app_dir)
        say(IMPORTED)
        with asyncio.Runner(loop_factory=lambda: new_loop(config.loop)) as runner:
            runner.run(_live(app, config.lifespan, lambda: say(STARTED)))
    except PounceError as error:
        text = getattr(error, "traceback", "")
        say(FAILED, code=error.exit_code, why=str(error), traceback=text)
        return error.exit_code
    except BaseException as error:
        logging.getLogger(logs.LOGGER).exception("the check itself failed")
        say(FAILED, code=EXIT_CRASH, why=f"a bug of pounce: {error!r}", traceback="")
        return EXIT_CRASH
    say(STOPPED)
    return EXIT_OK


def certificates(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    """A line for each certificate, read as serving would, with its key.

    Raises:
        PounceError: it could not be served.
    """
    if not config.certfile:
        return
    from pounce.tls import days_left, load_tls

    for site in load_tls(config, origins).sites:
        certificate = site.certificate
        yield (
            f"certificate {site.file} for {', '.join(certificate.names) or 'nobody'} "
            f"until {certificate.not_after:%Y-%m-%d}, "
            f"{days_left(certificate, datetime.now(UTC))} days left"
        )


async def _live(app: App, mode: str, started: Callable[[], None]) -> None:
    lifespan = Lifespan(app, mode=cast(Any, mode))
    await lifespan.start()
    started()
    await lifespan.stop()
