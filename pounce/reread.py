"""The settings read again for a reload: all of them, or none where one is wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from pounce import log as logs
from pounce.config import Config
from pounce.sources import Resolved

log = logging.getLogger(logs.LOGGER)

# What the master did once, before there was a worker; only a start can do it otherwise.
FIXED: Final = (
    "bind",
    "insecure_bind",
    "host",
    "port",
    "uds_mode",
    "uds_owner",
    "backlog",
    "listen_mode",
    "reload",
    "pid_file",
    "control_socket",
    "user",
    "group",
    "umask",
)


def read_again(
    present: Config,
    sources: Callable[[], tuple[Resolved, list[str]]],
    need: Callable[[Config, Mapping[str, str]], None],
) -> tuple[Config, Mapping[str, str]]:
    """The settings for the next generation, and their origins; the log goes by them from now on.

    Args:
        sources: reads flags, variables and files as at the start; also what to warn of.
        need: refuses what cannot work here.

    Raises:
        PounceError: a setting is wrong. Nothing has changed.
    """
    resolved, warnings = sources()
    config, origins = resolved.config, resolved.origins
    need(config, origins)
    kept = {name: getattr(present, name) for name in FIXED}
    changed = [name for name in FIXED if getattr(config, name) != kept[name]]
    if (config.log_level, config.log_format, config.log_config) != (
        present.log_level,
        present.log_format,
        present.log_config,
    ):
        logs.set_up(
            level=config.log_level,
            form=config.log_format,
            config_path=config.log_config,
            origin=origins.get("log_config", "Config"),
        )
    for warning in warnings:
        log.warning("%s", warning)
    if changed:
        log.warning("only a restart or an upgrade can change, so it stays: %s", ", ".join(changed))
    return replace(config, **kept), origins
