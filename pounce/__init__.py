"""A pre-fork ASGI server: ``pounce --workers 4 module:app``, or ``pounce.run("module:app")``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pounce.config import Config
from pounce.errors import (
    BindError,
    BootError,
    ConfigError,
    ExtraMissing,
    LifespanError,
    LoadError,
    PounceError,
    UsageError,
)

if TYPE_CHECKING:
    from pounce.asgi import App

__version__ = "0.1.0"

__all__ = [
    "BindError",
    "BootError",
    "Config",
    "ConfigError",
    "ExtraMissing",
    "LifespanError",
    "LoadError",
    "PounceError",
    "UsageError",
    "__version__",
    "run",
]


def run(app: str | App, **settings: Any) -> None:
    """Serve `app` until a signal ends it, from the calling process, as ``pounce APP`` does.

    POUNCE_* variables and TOML files are not read: what the code says is what runs.

    Args:
        app: "module:attribute", or the application itself. An object lives in this process, so a
            reload cannot renew it; a name can be imported anew.
        settings: any setting of Config, by its name: ``workers=4, bind=["127.0.0.1:8000"]``.

    Raises:
        PounceError: it cannot be served; the message is one line.
    """
    import pounce.app
    from pounce.serve import run as serve_app  # asyncio, click and the rest only when asked for

    if pounce.app.loading:
        raise UsageError(
            f"pounce.run() was called while {pounce.app.loading} is loaded, by its own code; "
            'put the call below: if __name__ == "__main__":'
        )
    serve_app(app, settings)
