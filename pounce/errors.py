"""The errors a user meets, and the exit status each of them ends the process with.

Every one prints as a single line, ``pounce: ...``; only LoadError and LifespanError may carry the
application's own traceback with it.
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_OK: Final = 0
EXIT_CRASH: Final = 1  # a bug of ours: the only case in which our own traceback is shown
EXIT_CONFIG: Final = 2  # what click uses for a wrong command line as well
EXIT_LOAD: Final = 3
EXIT_LIFESPAN: Final = 4
EXIT_BIND: Final = 5
EXIT_BOOT: Final = 6


class PounceError(Exception):
    """Anything pounce refuses, in one line, with the exit status it ends with."""

    exit_code: ClassVar[int] = EXIT_CRASH


class ConfigError(PounceError):
    """A setting cannot be used. Says what was given, where, and what would do."""

    exit_code = EXIT_CONFIG

    def __init__(self, name: str, value: object, *, origin: str, want: str) -> None:
        super().__init__(f"{name} is {value!r} (from {origin}); it must be {want}")
        self.name = name
        self.value = value
        self.origin = origin
        self.want = want


class UsageError(PounceError):
    """Settings that are each right but do not go together, or one that is missing."""

    exit_code = EXIT_CONFIG


class ExtraMissing(PounceError):  # noqa: N818  # says what it is about
    """A setting asks for a library that is not installed. Names the extra that brings it."""

    exit_code = EXIT_CONFIG

    def __init__(self, what: str, *, library: str, extra: str) -> None:
        super().__init__(
            f"{what} needs {library}, which is not installed; "
            f"pip install 'bengal-pounce[{extra}]' brings it"
        )
        self.extra = extra


class LoadError(PounceError):
    """The application cannot be loaded.

    Attributes:
        traceback: the application's own traceback when its code raised, else "".
    """

    exit_code = EXIT_LOAD

    def __init__(self, message: str, *, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class LifespanError(PounceError):
    """The application's lifespan startup failed, or lifespan was required and is missing."""

    exit_code = EXIT_LIFESPAN

    def __init__(self, message: str, *, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class BindError(PounceError):
    """An address cannot be bound: not ours, not permitted, or in use.

    Attributes:
        in_use: somebody listens there; nothing else is wrong with it.
    """

    exit_code = EXIT_BIND

    def __init__(self, message: str, *, in_use: bool = False) -> None:
        super().__init__(message)
        self.in_use = in_use


class BootError(PounceError):
    """A worker died or stayed silent before it was ready."""

    exit_code = EXIT_BOOT
