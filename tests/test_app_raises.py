"""An application whose own code raises while it is loaded: its traceback, and nothing of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import pounce.app
from tests.support.modules import modules_in, refusal


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    with modules_in(tmp_path):
        yield tmp_path


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
            f"No module named 'not_installed_anywhere'; is it installed in {sys.prefix}?",
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


def test_a_module_that_hides_one_of_pythons_own_is_named(here: Path) -> None:
    (here / "tabnanny.py").write_text("")
    (here / "sched.py").write_text("")  # not spoken of
    (here / "hidden.py").write_text("import tabnanny\ntabnanny.check\n")
    assert str(refusal("hidden:app", here)) == (
        "module hidden fails to import: AttributeError: module 'tabnanny' has no attribute "
        f"'check'; tabnanny in {here} hides Python's own module of that name"
    )


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that we may not read, whoever we are; its path is open to all."""
    user = os.geteuid()
    with TemporaryDirectory() as name, modules_in(Path(name)):
        os.chmod(name, 0)
        if user == 0:  # who may read everything
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(user)
            os.chmod(name, 0o700)


def test_a_directory_of_modules_that_this_user_may_not_read_is_named(closed: Path) -> None:
    reader = os.geteuid()
    error = refusal("shop:app", closed)
    assert f"; user {reader} may not read {closed}, where modules are" in str(error)


def test_an_app_dir_that_this_user_cannot_reach_is_no_missing_one(closed: Path) -> None:
    error = refusal("shop:app", closed / "below")
    assert str(error) == f"app_dir '{closed}/below' cannot be reached by user {os.geteuid()}"


def test_the_cause_of_an_error_is_shown_too_and_trimmed_alike(here: Path) -> None:
    error = refusal("chained:app", here)
    assert "KeyError: 'key'" in error.traceback
    assert "direct cause" in error.traceback


def test_a_syntax_error_is_shown_with_file_and_line(here: Path) -> None:
    error = refusal("syntax:app", here)
    assert str(error).startswith("module syntax fails to import: SyntaxError: ")
    assert f'File "{here}/syntax.py", line 2' in error.traceback
    assert "def broken(:" in error.traceback


@pytest.mark.parametrize("target", ["served:app", "served:make()"])
def test_a_module_that_serves_itself_while_it_is_imported_is_told_how_to_begin(
    target: str, here: Path
) -> None:
    (here / "served.py").write_text(
        "import pounce\n"
        "async def app(scope, receive, send): ...\n"
        "def make(): pounce.run(app, loop=0)\n"
        + ("pounce.run(app, loop=0)\n" if target == "served:app" else "")
    )
    error = refusal(target, here)
    assert str(error).endswith(
        f"UsageError: pounce.run() was called while {target} is loaded, by its own code; "
        'put the call below: if __name__ == "__main__":'
    )
    assert pounce.app.loading == ""
