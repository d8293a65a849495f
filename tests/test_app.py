"""Loading an application: what is found, and which of the four things was wrong if it is not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pounce.app
from pounce.app import load_app
from pounce.errors import LoadError
from tests.support.modules import modules_in, refusal


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    with modules_in(tmp_path):
        yield tmp_path


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


@pytest.mark.parametrize(
    ("target", "message"),
    [
        # a target that cannot be one
        ("", "cannot load '': write module:attribute, such as main:app"),
        (
            ":app",
            "cannot load ':app': the module is missing before the colon; "
            "write module:attribute, such as main:app",
        ),
        (
            "shop:",
            "cannot load 'shop:': nothing stands behind the colon; "
            "write module:attribute, such as shop:app",
        ),
        ("shop app", "cannot load 'shop app': write module:attribute, such as main:app"),
        (
            "my-shop:app",
            "cannot load 'my-shop:app': a module's name has no dash; "
            "rename it, for example to my_shop",
        ),
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
        (
            "src/shop",
            "cannot load 'src/shop': a module's name is wanted, not a file; "
            "did you mean src.shop:app?",
        ),
        (
            "/srv/shop.py:site",
            "cannot load '/srv/shop.py:site': a module's name is wanted, not a file; "
            "did you mean --app-dir /srv shop:site?",
        ),
        (
            "../shop.py",
            "cannot load '../shop.py': a module's name is wanted, not a file; "
            "did you mean --app-dir .. shop:app?",
        ),
        # a wrong module
        (
            "shpo:app",
            "cannot load 'shpo:app': there is no module shpo in HERE or elsewhere on sys.path; "
            "did you mean shop:app?",
        ),
        (
            "inner:application",
            "cannot load 'inner:application': there is no module inner in HERE "
            "or elsewhere on sys.path; did you mean package.inner:application?",
        ),
        (
            "main:app",
            "cannot load 'main:app': there is no module main in HERE "
            "or elsewhere on sys.path; did you mean --app-dir HERE/folder?",
        ),
        (
            "SHOP:app",
            "cannot load 'SHOP:app': there is no module SHOP in HERE or elsewhere on sys.path; "
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
            "cannot load 'shop.app:app': shop is a module, not a package that has app; "
            "did you mean shop:app?",
        ),
        (
            "shop.zzz",
            "cannot load 'shop.zzz': shop is a module, not a package that has zzz",
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
        (
            "package:app",
            "module package has no attribute app: it is a package, and a module of it may be meant",
        ),
        (
            "folder:app",
            "module folder has no attribute app: it is a package, and a module of it may be meant; "
            "did you mean folder.main:app?",
        ),
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
            "add --factory, or write 'shop:create_app()' with the quotes",
        ),
        (
            "shop:create_with_defaults",
            "shop:create_with_defaults takes no arguments, so it looks like a factory; "
            "add --factory, or write 'shop:create_with_defaults()' with the quotes",
        ),
        (
            "shop:wsgi",
            "shop:wsgi is a function that takes two arguments, as in WSGI; pounce speaks ASGI: "
            "pip install a2wsgi, and serve a2wsgi.WSGIMiddleware(app) in its place",
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


def test_who_stands_in_the_package_is_told_to_look_from_the_folder_above(here: Path) -> None:
    assert str(refusal("folder.main:app", here / "folder")) == (
        f"cannot load 'folder.main:app': there is no module folder in {here / 'folder'} "
        f"or elsewhere on sys.path; did you mean --app-dir {here}?"
    )


def test_a_module_that_another_one_stood_in_for_is_told_from_one_without_the_name(
    here: Path,
) -> None:
    (here / "json.py").write_text("async def app(scope, receive, send): ...")
    assert str(refusal("json:app", here)) == (
        f"module json has no attribute app: it is from {json.__file__}; "
        f"that in {here} needs another name, this one is taken"
    )
    (here / "pounce.py").write_text("async def app(scope, receive, send): ...")
    assert str(refusal("pounce:app", here)) == (
        "pounce:app is the module pounce.app, not an ASGI application: "
        f"it is from {pounce.__file__}; that in {here} needs another name, this one is taken"
    )
    assert str(refusal("sys:app", here)) == (
        f"module sys has no attribute app: it is from Python itself, "
        f"and {here} has none of that name"
    )


def test_a_wsgi_application_of_django_is_told_of_the_asgi_one_beside_it(here: Path) -> None:
    pytest.importorskip("django")
    (here / "site_wsgi.py").write_text(
        "from django.core.handlers.wsgi import WSGIHandler\n"
        "application = WSGIHandler.__new__(WSGIHandler)\n"
    )
    assert str(refusal("site_wsgi:application", here)) == (
        "site_wsgi:application is a WSGIHandler that takes two arguments, as in WSGI; pounce "
        "speaks ASGI: Django makes such an application in asgi.py, beside wsgi.py"
    )


def test_an_app_dir_that_is_none_is_refused(here: Path) -> None:
    with pytest.raises(LoadError) as caught:
        load_app("shop:app", app_dir=str(here / "nowhere"))
    assert str(caught.value) == f"app_dir '{here}/nowhere' is not a directory"


def test_a_callable_that_hides_its_signature_is_given_the_benefit_of_the_doubt(
    here: Path,
) -> None:
    (here / "builtin.py").write_text("app = max")
    assert repr(load_app("builtin:app", app_dir=str(here))) == repr(max)
