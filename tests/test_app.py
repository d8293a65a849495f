"""Loading an application: what is found, and which of the four things was wrong if it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pounce.app
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


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    before = (list(sys.path), set(sys.modules))
    for name, text in MODULES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = text.split("\n")
        indent = 8 if text.startswith("\n") else 0
        path.write_text("\n".join(line[indent:] for line in lines))
    yield tmp_path
    sys.path[:] = before[0]
    for name in set(sys.modules) - before[1]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("shop:app", "app"),
        ("shop:plain", "plain"),
        ("shop:loose", "loose"),
        ("shop:site.api.method", "method"),
        ("shop:create_app()", "app"),
        ("shop:create_with_defaults()", "app"),
        ("package.inner:application", "application"),
    ],
)
def test_a_name_gives_the_application(target: str, name: str, here: Path) -> None:
    app = load_app(target, app_dir=str(here))
    assert app.__name__ == name
    assert sys.path[0] == str(here)


def test_an_object_with_an_asgi_call_is_an_application(here: Path) -> None:
    assert type(load_app("shop:instance", app_dir=str(here))).__name__ == "Api"
    assert type(load_app("shop:site.api", app_dir=str(here))).__name__ == "Api"
    assert type(load_app("shop:Api", factory=True, app_dir=str(here))).__name__ == "Api"


def test_a_factory_is_called_when_asked_for(here: Path) -> None:
    app = load_app("shop:create_app", factory=True, app_dir=str(here))
    assert app is load_app("shop:app", app_dir=str(here))


def test_an_app_dir_is_put_on_the_path_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    load_app("shop:app", app_dir=".")
    load_app("shop:app", app_dir=str(here))
    assert sys.path.count(str(here)) == 1


def test_an_object_given_to_run_is_found_under_its_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    monkeypatch.setattr(pounce.app, "given", app)
    assert load_app(pounce.app.GIVEN_TARGET) is app


def refusal(target: str, here: Path, *, factory: bool = False) -> LoadError:
    with pytest.raises(LoadError) as caught:
        load_app(target, factory=factory, app_dir=str(here))
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("target", "message"),
    [
        # a target that cannot be one
        ("", "cannot load '': write module:attribute, such as main:app"),
        (":app", "cannot load ':app': write module:attribute, such as main:app"),
        ("shop:", "cannot load 'shop:': write module:attribute, such as main:app"),
        (
            "shop:create(1)",
            "cannot load 'shop:create(1)': a factory is called without arguments: module:factory()",
        ),
        (
            "./src/shop.py:app",
            "cannot load './src/shop.py:app': a module's name is wanted, not a file; "
            "did you mean src.shop:app?",
        ),
        (
            "shop.py",
            "cannot load 'shop.py': a module's name is wanted, not a file; did you mean shop:app?",
        ),
        # a wrong module
        (
            "shpo:app",
            "cannot load 'shpo:app': there is no module shpo in HERE or elsewhere on sys.path; "
            "did you mean shop:app?",
        ),
        (
            "zzz:app",
            "cannot load 'zzz:app': there is no module zzz in HERE or elsewhere on sys.path",
        ),
        (
            "pakage.inner:application",
            "cannot load 'pakage.inner:application': there is no module pakage in HERE "
            "or elsewhere on sys.path; did you mean package.inner:application?",
        ),
        (
            "package.iner:application",
            "cannot load 'package.iner:application': package package has no module iner; "
            "did you mean package.inner:application?",
        ),
        (
            "shop.app:app",
            "cannot load 'shop.app:app': shop is a module, not a package that has app",
        ),
        # a wrong attribute
        ("shop:ap", "module shop has no attribute ap; did you mean app?"),
        ("many:zzz", "module many has no attribute zzz; did you mean many:first or many:second?"),
        (
            "empty:app",
            "module empty has no attribute app; write module:attribute, such as main:app",
        ),
        ("shop:site.apy", "shop:site has no attribute apy; did you mean api?"),
        ("shop:site.api.zzz", "shop:site.api has no attribute zzz"),
        # no attribute at all
        ("shop", "'shop' names a module, but nothing in it; did you mean shop:app?"),
        (
            "many",
            "'many' names a module, but nothing in it; did you mean many:first or many:second?",
        ),
        (
            "empty",
            "'empty' names a module, but nothing in it; write module:attribute, such as main:app",
        ),
        # not an application
        ("shop:table", "shop:table is a dict, not an ASGI application"),
        ("shop:json", "shop:json is the module json, not an ASGI application"),
        (
            "shop:Api",
            "shop:Api is the class Api, not an ASGI application; "
            "name an instance, or shop:Api() if a bare call makes one",
        ),
        (
            "shop:create_app",
            "shop:create_app takes no arguments, so it looks like a factory; "
            "write shop:create_app() or add --factory",
        ),
        (
            "shop:create_with_defaults",
            "shop:create_with_defaults takes no arguments, so it looks like a factory; "
            "write shop:create_with_defaults() or add --factory",
        ),
        (
            "shop:wsgi",
            "shop:wsgi is a function that takes two arguments, like a WSGI application; pounce "
            "speaks ASGI: wrap it, for example in asgiref.wsgi.WsgiToAsgi",
        ),
        (
            "shop:asgi2",
            "shop:asgi2 is a function that takes the scope alone, which is ASGI 2; pounce speaks "
            "ASGI 3: wrap it in asgiref.compatibility.guarantee_single_callable",
        ),
        (
            "shop:Asgi2",
            "shop:Asgi2 is a class that takes the scope alone, which is ASGI 2; pounce speaks "
            "ASGI 3: wrap it in asgiref.compatibility.guarantee_single_callable",
        ),
        (
            "shop:four",
            "shop:four(scope, receive, send, more) is not an ASGI application, "
            "which is called with (scope, receive, send)",
        ),
        # a factory that makes none
        (
            "shop:create_nothing()",
            "what shop:create_nothing() returned is a NoneType, not an ASGI application",
        ),
        (
            "shop:create_async()",
            "what shop:create_async() returned is a coroutine; a factory must be a plain function",
        ),
        (
            "shop:create_from()",
            "factory shop:create_from(settings) wants arguments; a factory is called without any",
        ),
        (
            "shop:app()",
            "factory shop:app(scope, receive, send) wants arguments; "
            "a factory is called without any; shop:app itself looks like the application",
        ),
        ("shop:table()", "shop:table is a dict, not a factory that could be called"),
    ],
)
def test_a_wrong_name_is_refused_by_the_half_that_is_wrong(
    target: str, message: str, here: Path
) -> None:
    error = refusal(target, here)
    assert str(error) == message.replace("HERE", str(here))
    assert error.traceback == ""


@pytest.mark.parametrize(
    ("target", "message", "last"),
    [
        (
            "raises:app",
            "module raises fails to import: RuntimeError: first",
            "RuntimeError: first\nsecond",
        ),
        (
            "deep:app",
            "module deep fails to import: RuntimeError: first",
            "RuntimeError: first\nsecond",
        ),
        (
            "needs:app",
            "module needs fails to import: ModuleNotFoundError: "
            "No module named 'not_installed_anywhere'",
            "ModuleNotFoundError: No module named 'not_installed_anywhere'",
        ),
        (
            "itself:app",
            "module itself fails to import: ModuleNotFoundError: "
            "No module named 'itself.part'; 'itself' is not a package",
            "'itself' is not a package",
        ),
        (
            "chained:app",
            "module chained fails to import: ValueError: no key",
            "ValueError: no key",
        ),
        (
            "exits:app",
            "module exits ends the process with exit('enough') while it is imported",
            "SystemExit: enough",
        ),
        (
            "shop:create_badly()",
            "factory shop:create_badly() raises KeyError: 'missing'",
            "KeyError: 'missing'",
        ),
        (
            "shop:create_exit()",
            "factory shop:create_exit() ends the process with exit(7)",
            "SystemExit: 7",
        ),
    ],
)
def test_code_that_raises_is_shown_with_its_own_traceback_and_nothing_of_ours(
    target: str, message: str, last: str, here: Path
) -> None:
    error = refusal(target, here)
    assert str(error) == message
    assert error.traceback.rstrip().endswith(last)
    module = target.partition(":")[0]
    assert f'File "{here / module}.py"' in error.traceback
    assert "importlib" not in error.traceback
    assert pounce.app.__file__ not in error.traceback


def test_the_cause_of_an_error_is_shown_too_and_trimmed_alike(here: Path) -> None:
    error = refusal("chained:app", here)
    assert "KeyError: 'key'" in error.traceback
    assert "direct cause" in error.traceback


def test_a_syntax_error_is_shown_with_file_and_line(here: Path) -> None:
    error = refusal("syntax:app", here)
    assert str(error).startswith("module syntax fails to import: SyntaxError: ")
    assert f'File "{here}/syntax.py", line 2' in error.traceback
    assert "def broken(:" in error.traceback


def test_an_app_dir_that_is_none_is_refused(here: Path) -> None:
    with pytest.raises(LoadError) as caught:
        load_app("shop:app", app_dir=str(here / "nowhere"))
    assert str(caught.value) == f"app_dir '{here}/nowhere' is not a directory"


def test_a_callable_that_hides_its_signature_is_given_the_benefit_of_the_doubt(
    here: Path,
) -> None:
    (here / "builtin.py").write_text("app = max")
    assert repr(load_app("builtin:app", app_dir=str(here))) == repr(max)
