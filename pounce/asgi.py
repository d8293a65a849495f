"""The types of ASGI 3.0 (spec version 2.5): scopes, messages, and the application itself.

Messages stay plain dictionaries on the wire between application and server; these types are for
the reader and for mypy.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html and .../specs/lifespan.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

SPEC_VERSION: Final = "2.5"

# Name and value of one header field, as bytes; names are lower case in scopes.
Header: TypeAlias = tuple[bytes, bytes]
Headers: TypeAlias = Iterable[Header]

# What an application gets and sends has string keys and mixed values by design; a TypedDict per
# message would be cast away at every hop, and applications may add keys of their own.
Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]

Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
