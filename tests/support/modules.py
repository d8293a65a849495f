"""Modules with applications good and bad, and what is said when one of them cannot be loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pounce.app import load_app
from pounce.errors import LoadError

MODULES = {
    "shop.py": """
        import typing
        import json

        async def app(scope, receive, send): ...

        class Api:
            async def __call__(self, scope, receive, send): ...
            async def method(self, scope, receive, send): ...

        class Site:
            api = Api()

        site = Site()
        instance = Api()
        def plain(scope, receive, send):
            return app(scope, receive, send)
        def loose(*args, **kwargs):
            return app(*args, **kwargs)
        def create_app():
            return app
        def create_with_defaults(debug=False):
            return app
        def create_from(settings):
            return app
        async def create_async():
            return app
        def create_nothing():
            return None
        def create_badly():
            return {}["missing"]
        def create_exit():
            raise SystemExit(7)
        table = {"a": 1}
        async def four(scope, receive, send, more): ...
        def wsgi(environ, start_response): ...
        def asgi2(scope): ...
        class Asgi2:
            def __init__(self, scope): ...
            async def __call__(self, receive, send): ...
    """,
    "package/__init__.py": "",
    "folder/main.py": "async def app(scope, receive, send): ...",
    "folder/other.py": "",
    "package/inner.py": "async def application(scope, receive, send): ...",
    "empty.py": "import os",
    "many.py": """
        async def first(scope, receive, send): ...
        async def second(scope, receive, send): ...
    """,
    "raises.py": "def inner():\n    raise RuntimeError('first\\nsecond')\ninner()",
    "needs.py": "import not_installed_anywhere",
    "itself.py": "import itself.part",
    "syntax.py": "x = 1\ndef broken(:\n    pass\n",
    "exits.py": "import sys\nsys.exit('enough')",
    "chained.py": """
        try:
            {}["key"]
        except KeyError as error:
            raise ValueError("no key") from error
    """,
    "deep.py": "import raises",
}


@contextmanager
def modules_in(folder: Path) -> Iterator[Path]:
    """Write them there; afterwards forget those that were imported."""
    before = (list(sys.path), set(sys.modules))
    for name, text in MODULES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        lines = text.split("\n")
        indent = 8 if text.startswith("\n") else 0
        path.write_text("\n".join(line[indent:] for line in lines))
    yield folder
    sys.path[:] = before[0]
    for name in set(sys.modules) - before[1]:
        del sys.modules[name]


def refusal(target: str, here: Path, *, factory: bool = False) -> LoadError:
    """The error that loading `target` ends with; its text is one line."""
    with pytest.raises(LoadError) as caught:
        load_app(target, factory=factory, app_dir=str(here))
    assert "\n" not in str(caught.value)
    return caught.value
