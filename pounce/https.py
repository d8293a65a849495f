"""How a generation serves https: what its settings say together.

The master imports ssl, megabytes, only for a server that is to serve TLS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pounce.config import Config
from pounce.errors import UsageError

if TYPE_CHECKING:
    from pounce.tls import Tls

NO_ORIGINS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Https:
    """What the workers of one generation need to know.

    Attributes:
        tls: certificates and keys, read.
        redirecting: places, among the listeners of each slot, of those for plain HTTP that send
            everybody to https.
        port: where they send them; 0 where no TCP address serves https.
        hsts: seconds for Strict-Transport-Security, 0 for none.
    """

    tls: Tls
    redirecting: frozenset[int]
    port: int
    hsts: int


def https_of(
    config: Config,
    origins: Mapping[str, str],
    *,
    names: Sequence[str],
    redirecting: Sequence[int],
) -> Https | None:
    """Reads certificates and keys, by the rights this process has now; None for plain HTTP.

    Args:
        names: the addresses that are bound, as Listeners has them.
        redirecting: places in `names` of those for plain HTTP.

    Raises:
        PounceError: which setting or file is wrong, and what would do.
    """
    need_together(config, origins)
    if not config.certfile:
        return None
    from pounce.tls import load_tls

    ports = [
        int(name.rpartition(":")[2])
        for at, name in enumerate(names)
        if at not in redirecting and not name.startswith("unix:")
    ]
    return Https(
        tls=load_tls(config, origins),
        redirecting=frozenset(redirecting),
        port=ports[0] if ports else 0,
        hsts=config.hsts,
    )


def need_together(config: Config, origins: Mapping[str, str] = NO_ORIGINS) -> None:
    """Refuse settings of TLS that do not go together, or cannot be served by this Python.

    Raises:
        UsageError: says which.
    """

    def said(name: str) -> str:
        return f"{name} (from {origins.get(name, 'Config')})"

    if not config.certfile:
        for name in ("keyfile", "client_ca", "insecure_bind", "hsts"):
            if getattr(config, name):
                raise UsageError(f"{said(name)} is for https, which needs a certfile")
        return
    certificates, keys = len(config.certfile), len(config.keyfile)
    if keys not in (0, certificates):
        raise UsageError(
            f"{said('certfile')} names {certificates} files and {said('keyfile')} {keys}; there "
            "must be a keyfile for each certfile, or none where the certfiles hold the keys"
        )
    if config.keyfile_password_file and config.keyfile_password_command:
        raise UsageError(
            f"{said('keyfile_password_file')} and {said('keyfile_password_command')} both say "
            "the password of the keys; give one of them"
        )
    try:
        import pounce.tls  # noqa: F401  # while we may read all of Python: see --user
    except ImportError as error:
        raise UsageError(f"{said('certfile')} needs Python's ssl, which is missing: {error}") from (
            None
        )
