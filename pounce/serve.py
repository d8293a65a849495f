"""A Config to a running server: what is checked and opened before the first fork, and the banner.

Knows neither command line nor files; how workers live is the supervisor's business.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import platform
import resource
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pounce.app
from pounce import __version__, entries
from pounce import log as logs
from pounce.addresses import Address, parse_address
from pounce.asgi import App
from pounce.config import Config
from pounce.control_path import AUTO, ControlSocket, open_control
from pounce.cores import usable_cores
from pounce.errors import BindError, ConfigError, ExtraMissing, PounceError, UsageError
from pounce.https import Https, https_of, need_together
from pounce.inheritance import Inheritance, take
from pounce.listeners import open_listeners
from pounce.pid_file import PidFile
from pounce.privileges import identity_of
from pounce.reread import read_again
from pounce.scoreboard import Scoreboard
from pounce.socket_file import UNCHANGED
from pounce.sources import Resolved, from_table, resolve
from pounce.supervisor.children import Plan
from pounce.supervisor.crew import Policy
from pounce.supervisor.predecessor import Predecessor
from pounce.supervisor.runner import Runner
from pounce.supervisor.templates import Preload
from pounce.supervisor.upgrade import Command
from pounce.titles import set_title

log = logging.getLogger(logs.LOGGER)

# Slots can have several processes at once: each reload leaves one that drains for shutdown_timeout,
# and there is one reload a second at most. 8 bytes each, all of them summed up when a client
# connects and max_connections is set, which takes 2 us with 4 workers.
RECORDS_PER_SLOT: Final = 64
RECORDS_LEAST: Final = 512  # or a server that starts small could not grow
# As many descriptors as a process of ours can ever use; where the hard limit is "unlimited", more
# would hurt programs that the application starts and that walk through all of them.
DESCRIPTORS_MOST: Final = 1 << 20
NO_ORIGINS: Final[Mapping[str, str]] = MappingProxyType({})


def serve(
    config: Config,
    *,
    origins: Mapping[str, str] = NO_ORIGINS,
    warnings: Sequence[str] = (),
    sources: Callable[[], tuple[Resolved, list[str]]] | None = None,
    inherited: Inheritance | None = None,
) -> int:
    """Serve until a signal ends it; the exit status.

    Args:
        origins: where each setting was given, for the errors.
        warnings: what to say in the log once there is one.
        sources: reads the settings again, for a reload; None where they cannot change.
        inherited: what a master has handed over that we are to follow.

    Raises:
        PounceError: it cannot be served; nothing was forked.
    """
    command = Command.own()
    logs.set_up(
        level=config.log_level,
        form=config.log_format,
        config_path=config.log_config,
        origin=origins.get("log_config", "Config"),
    )
    for warning in warnings:
        log.warning("%s", warning)
    need(config, origins)
    identity = identity_of(config.user, config.group, config.umask, origins=origins)
    pid_file = PidFile(config.pid_file, origin=origins.get("pid_file", "Config"))
    pid_file.need_free(predecessor=inherited.master if inherited else 0)
    raise_descriptor_limit()
    listeners = open_listeners(
        list(addresses_of(config, origins)),
        slots=slots_of(config),
        backlog=config.backlog,
        uds_mode=int(config.uds_mode, 8),
        uds_owner=config.uds_owner or identity.owner,
        uds_owner_origin=origins.get("uds_owner", "Config"),
        shared=config.listen_mode == "shared",
        inherited=inherited.rows if inherited else (),
        redirecting=list(redirecting_of(config, origins)),
    )
    with contextlib.closing(listeners):
        set_title("master", app=name_of(config))
        for line in banner(config, listeners.names, redirecting=listeners.redirecting):
            log.info("%s", line)
        control = None
        if not inherited or config.control_socket == AUTO:  # else the master before listens there
            control = control_of(config, origins, owner=identity.owner_ids)
        if not inherited:
            pid_file.write(owner=identity.owner_ids)
        if identity.is_other:
            listeners.give_to(identity.uid, identity.gid)
            if config.access_log:
                identity.make_log_file(config.access_log_file)
        identity.become()
        need_access_log(config, origins)  # by its rights
        scoreboard = Scoreboard(max(slots_of(config) * RECORDS_PER_SLOT, RECORDS_LEAST))
        present = config
        names, redirecting = listeners.names, listeners.redirecting
        # By its rights too: what can be read at the start can be at each reload.
        https = https_of(config, origins, names=names, redirecting=redirecting)

        def reread() -> Plan:
            nonlocal present, origins
            again = present
            if sources is not None:
                again, origins = read_again(present, sources, need)
            https = https_of(again, origins, names=names, redirecting=redirecting)
            present = again
            return plan_of(present, scoreboard, https)

        def take_over() -> None:
            try:
                pid_file.write()
                if config.control_socket != AUTO:
                    runner.attend(control_of(config, origins, replace=True))
            except PounceError as error:
                log.error("%s", error)

        predecessor = None
        if inherited:
            predecessor = Predecessor(inherited, listeners=listeners, then=take_over)
        runner = Runner(
            plan_of(config, scoreboard, https),
            listeners=listeners,
            scoreboard=scoreboard,
            reread=reread,
            reload_dirs=[Path(config.app_dir)] if config.reload else [],
            control=control,
            app=name_of(config),
            command=command,
            predecessor=predecessor,
        )
        try:
            return runner.run()
        finally:
            if not runner.upgrades.done:
                pid_file.remove()


def plan_of(config: Config, scoreboard: Scoreboard, https: Https | None = None) -> Plan:
    """What the settings say of a generation."""
    preload = Preload(
        load=functools.partial(entries.load, config),
        run=functools.partial(entries.run_loaded, config, scoreboard, https=https),
        always=config.preload == "on",
    )
    return Plan(
        entry=functools.partial(entries.run, config, scoreboard, https=https),
        preload=preload if config.preload != "off" else None,
        policy=Policy(
            start_timeout=config.start_timeout,
            shutdown_timeout=config.shutdown_timeout,
            drain_delay=config.drain_delay,
            # Whoever works on the application wants to see it; nobody else is there to be spared.
            probation=0.0 if config.reload else config.probation,
            max_surge=config.max_surge,
            worker_timeout=config.worker_timeout,
            max_requests=config.max_requests,
            max_worker_age=config.max_worker_age,
            max_worker_memory=config.max_worker_memory,
        ),
        slots=slots_of(config),
    )


def control_of(
    config: Config,
    origins: Mapping[str, str] = NO_ORIGINS,
    *,
    owner: tuple[int, int] = UNCHANGED,
    replace: bool = False,
) -> ControlSocket | None:
    """What `pounce ctl` connects to; the server may do without, unless a path is given.

    Args:
        owner, replace: see open_control().

    Raises:
        ConfigError: there can be no socket at the path that is given.
    """
    try:
        return open_control(
            config.control_socket,
            origin=origins.get("control_socket", "Config"),
            owner=owner,
            replace=replace,
        )
    except BindError as error:
        log.warning("pounce ctl cannot reach this server: %s", error)
        return None


def slots_of(config: Config) -> int:
    """How many workers."""
    return config.workers or usable_cores()


def run(app: str | App, settings: Mapping[str, Any]) -> None:
    """What pounce.run() does; see there."""
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("pounce.run() was called in a thread; only the main one gets signals")
    inherited = take(os.environ)  # before there is anybody else to see it
    if isinstance(app, str):
        target = app
    elif settings.get("reload"):
        raise UsageError(
            "reload needs the application by its name, such as main:app: "
            "an object cannot be imported anew"
        )
    else:
        pounce.app.given = app
        target = pounce.app.GIVEN_TARGET
    resolved = resolve(from_table({"app": target, **settings}, origin="pounce.run()"))
    if status := serve(resolved.config, origins=resolved.origins, inherited=inherited):
        raise SystemExit(status)


def need(config: Config, origins: Mapping[str, str] = NO_ORIGINS) -> None:
    """Refuse settings that cannot work here.

    Raises:
        PounceError: says which and why.
    """
    need_extras(config, origins)
    need_access_log(config, origins)
    need_together(config, origins)


def need_extras(config: Config, origins: Mapping[str, str] = NO_ORIGINS) -> None:
    """Refuse settings whose library is not installed, before anything is opened or forked.

    Raises:
        ExtraMissing: names the extra that brings the library.
    """
    for name, value in (("loop", config.loop), ("http", config.http)):
        if value in ("uvloop", "httptools") and not _is_installed(value):
            what = f"{name} {value} (from {origins.get(name, 'Config')})"
            raise ExtraMissing(what, library=value, extra="fast")
    if config.http2 not in ("auto", "off") and not _is_installed(config.http2):
        what = f"http2 {config.http2} (from {origins.get('http2', 'Config')})"
        raise ExtraMissing(what, library=config.http2, extra=config.http2)
    if config.websockets == "on" and not _is_installed("wsproto"):
        what = f"websockets on (from {origins.get('websockets', 'Config')})"
        raise ExtraMissing(what, library="wsproto", extra="ws")


def need_access_log(config: Config, origins: Mapping[str, str] = NO_ORIGINS) -> None:
    """Refuse an access log that cannot be written, before a worker would die of it. Makes no file.

    Raises:
        ConfigError: says why the file cannot be written.
    """
    path = Path(config.access_log_file)
    if not config.access_log or config.access_log_file == "-":
        return
    if path.is_dir():
        reason = "it is a directory"
    elif not path.exists() and not path.parent.is_dir():
        reason = f"there is no directory {path.parent}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        reason = "not permitted"
    else:
        return
    raise ConfigError(
        "access_log_file",
        config.access_log_file,
        origin=origins.get("access_log_file", "Config"),
        want=f"a file that can be written ({reason})",
    )


def raise_descriptor_limit() -> None:
    """Let this process and its workers open as many files and connections as the system allows.

    The soft limit is 1024 on most systems only for programs that call select(), which fails above.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MOST if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.debug("limit of descriptors stays as it is limit=%d error=%s", soft, error)
    else:
        log.debug("limit of descriptors raised limit=%d was=%d", wanted, soft)


def addresses_of(config: Config, origins: Mapping[str, str] = NO_ORIGINS) -> Iterator[Address]:
    """What to listen on, parsed; an error names the setting that said so."""
    given = [origins[name] for name in ("bind", "host", "port") if name in origins]
    for text in config.addresses:
        yield parse_address(text, origin=" and ".join(dict.fromkeys(given)) or "default")


def redirecting_of(config: Config, origins: Mapping[str, str] = NO_ORIGINS) -> Iterator[Address]:
    """What to listen on for plain HTTP that is redirected."""
    origin = origins.get("insecure_bind", "Config")
    for text in config.insecure_bind:
        yield parse_address(text, origin=origin, name="insecure_bind")


def banner(config: Config, names: Sequence[str], *, redirecting: Collection[int] = ()) -> list[str]:
    """The few lines a start begins with.

    Args:
        names: the addresses that are really bound.
        redirecting: places in `names` of those that only redirect to https.
    """
    addresses = [
        f"address {url_of(name)} redirects to https"
        if at in redirecting
        else f"address {url_of(name, https=bool(config.certfile))}"
        for at, name in enumerate(names)
    ]
    loop, parser = config.loop, config.http
    if loop == "auto":
        loop = "uvloop" if _is_installed("uvloop") else "asyncio"
    if parser == "auto":
        parser = "httptools" if _is_installed("httptools") else "h11"
    return [
        f"pounce {__version__} serves {name_of(config)} pid={os.getpid()} "
        f"python={platform.python_version()}",
        *addresses,
        f"workers={slots_of(config)} loop={loop} http={parser} http2={_http2(config)} "
        f"websockets={_websockets(config)}",
    ]


def _http2(config: Config) -> str:
    if config.http2 == "auto" and not _is_installed("h2"):
        return "off (h2 is not installed; the extra h2 brings it)"
    return "off" if config.http2 == "off" else "h2"


def _websockets(config: Config) -> str:
    if config.websockets == "auto" and not _is_installed("wsproto"):
        return "off (wsproto is not installed; the extra ws brings it)"
    return "off" if config.websockets == "off" else "on"


def name_of(config: Config) -> str:
    """The application as its user knows it."""
    if config.app == pounce.app.GIVEN_TARGET:
        return f"an object of the calling program ({type(pounce.app.given).__name__})"
    return config.app


def url_of(name: str, *, https: bool = False) -> str:
    """An address as something to click on, where it is one."""
    return name if name.startswith("unix:") else f"{'https' if https else 'http'}://{name}"


def _is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
