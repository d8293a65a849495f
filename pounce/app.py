"""``module:attribute`` to an ASGI callable, and which half of the name was wrong if it is none.

Knows nothing of how an application is run.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import sys
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

from pounce.asgi import App
from pounce.errors import LoadError
from pounce.settings import did_you_mean

TARGET: Final = re.compile(r"(\w+(?:\.\w+)*)(?::(\w+(?:\.\w+)*)(\(\))?)?")

HERE: Final = os.path.dirname(__file__)

# Where an application usually is in a package.
USUAL_MODULES: Final = frozenset(("app", "application", "asgi", "main", "server"))

# Where run() puts an application that is given as an object; workers get it by fork.
GIVEN_TARGET: Final = "pounce.app:given"
given: App | None = None
# What load_app() is importing or calling now; a pounce.run() out of that would serve in a worker.
loading: str = ""


def load_app(target: str, *, factory: bool = False, app_dir: str = ".") -> App:
    """The ASGI application that `target` names. Puts `app_dir` first on sys.path.

    Args:
        target: "module:attribute", "module:outer.inner" or "module:factory()".
        factory: call what the target names, without arguments, as "()" does.
        app_dir: the directory that the module is looked for in before all others.

    Raises:
        LoadError: one of: no such module, no such attribute, the module or factory raised (then
            with the application's own traceback), or what was found is no ASGI application.
    """
    if flaw := flaw_of(target):
        raise LoadError(f"cannot load {target!r}: {flaw}")
    module_name, attribute, call = cast(re.Match[str], TARGET.fullmatch(target)).groups()
    _put_first(app_dir)
    global loading
    loading = target
    try:
        return _load(target, module_name, attribute, factory=bool(factory or call), app_dir=app_dir)
    finally:
        loading = ""


def _load(target: str, module_name: str, attribute: str, *, factory: bool, app_dir: str) -> App:
    module = _import(target, module_name, app_dir)
    if not attribute:
        raise LoadError(f"{target!r} names a module, but nothing in it{_candidates(module)}")
    found = _look_up(module, attribute, app_dir)
    if factory:
        found = _call(f"{module_name}:{attribute}", found)
        name = f"what {module_name}:{attribute}() returned"
    else:
        name = f"{module_name}:{attribute}"
    if objection := _objection(name, found, called=factory):
        raise LoadError(objection + _taken(module, app_dir))
    return cast(App, found)


def flaw_of(target: str) -> str:
    """Why `target` cannot be module:attribute, and how to write it; "" if it can."""
    match = TARGET.fullmatch(target)
    if match and not match[1].endswith(".py"):
        return ""
    module, colon, attribute = target.partition(":")
    if module.endswith(".py") or "/" in module:
        path = Path(module.removesuffix(".py"))
        meant = f"{'.'.join(path.parts)}:{attribute or 'app'}"
        if path.is_absolute() or ".." in path.parts:
            meant = f"--app-dir {path.parent} {path.name}:{attribute or 'app'}"
        return f"a module's name is wanted, not a file; did you mean {meant}?"
    if attribute.endswith(")"):
        return "a factory is called without arguments: module:factory()"
    if colon and not module:
        return "the module is missing before the colon; write module:attribute, such as main:app"
    if colon and not attribute:
        return f"nothing stands behind the colon; write module:attribute, such as {module}:app"
    if "-" in module:
        return f"a module's name has no dash; rename it, for example to {module.replace('-', '_')}"
    return "write module:attribute, such as main:app"


def application_traceback(error: BaseException) -> str:
    """The traceback of `error` without the frames of the import machinery and of pounce itself."""
    whole = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None
    parts, seen = [whole], set()
    while parts:
        part = parts.pop()
        seen.add(id(part))
        frames = [frame for frame in part.stack if not _is_machinery(frame.filename)]
        part.stack = traceback.StackSummary.from_list(frames)
        chained = (part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ()))
        parts += [each for each in chained if each and id(each) not in seen]
    return "".join(whole.format())


def _is_machinery(filename: str) -> bool:
    folder, name = os.path.split(filename)
    if folder.startswith(HERE):
        return not name.startswith("demo")  # an application that happens to live here
    return filename == importlib.__file__ or filename.startswith("<frozen importlib")


def _put_first(app_dir: str) -> None:
    directory = os.path.abspath(app_dir)
    if not os.path.isdir(directory):
        try:
            os.stat(directory)
        except PermissionError:
            why = f"cannot be reached by user {os.geteuid()}"
            raise LoadError(f"app_dir {app_dir!r} {why}") from None
        except OSError:
            pass
        raise LoadError(f"app_dir {app_dir!r} is not a directory")
    if sys.path[:1] != [directory]:
        sys.path.insert(0, directory)
    importlib.invalidate_caches()


def _import(target: str, name: str, app_dir: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The name we asked for, or a parent of it, and nobody's code ran in between: ours to say.
        ours = error.name and (name == error.name or name.startswith(error.name + "."))
        if ours and not list(_application_frames(error)):
            raise LoadError(_no_module(target, name, error.name or name, app_dir)) from None
        raise _import_failed(name, error, app_dir) from error
    except SystemExit as error:
        raise LoadError(
            f"module {name} ends the process with exit({error.code!r}) while it is imported",
            traceback=application_traceback(error),
        ) from error
    except Exception as error:
        raise _import_failed(name, error, app_dir) from error


def _application_frames(error: BaseException) -> Iterator[str]:
    for frame in traceback.extract_tb(error.__traceback__):
        if not _is_machinery(frame.filename):
            yield frame.filename


def _import_failed(name: str, error: Exception, app_dir: str) -> LoadError:
    what = f"{type(error).__name__}: {error}".split("\n")[0]
    hint = ""
    if isinstance(error, ImportError | AttributeError):
        directory = os.path.abspath(app_dir)
        # Those that the error speaks of, and that are found before Python's own.
        names = sys.stdlib_module_names & set(re.findall(r"\w+", str(error)))
        if hiding := sorted(names & set(_modules([directory]))):
            hint = f"; {hiding[0]} in {directory} hides Python's own module of that name"
        elif isinstance(error, ModuleNotFoundError) and (closed := _closed_directory()):
            hint = closed
        elif isinstance(error, ModuleNotFoundError) and "." not in (error.name or "."):
            hint = f"; is it installed in {sys.prefix}?"
    return LoadError(
        f"module {name} fails to import: {what}{hint}", traceback=application_traceback(error)
    )


def _closed_directory() -> str:
    """A hint where modules may be that we cannot see, as after --user; "" for none."""
    for directory in sys.path:
        try:
            os.listdir(directory or ".")
        except PermissionError:
            return f"; user {os.geteuid()} may not read {directory}, where modules are looked for"
        except OSError:  # a zip file, or not there
            continue
    return ""


def _no_module(target: str, name: str, missing: str, app_dir: str) -> str:
    parent, _, last = missing.rpartition(".")
    colon = target.find(":")
    rest = target[colon:] if colon >= 0 else ":app"
    if parent:
        package = sys.modules[parent]
        if not hasattr(package, "__path__"):
            hint = f"; did you mean {parent}:{last}?" if hasattr(package, last) else ""
            return (
                f"cannot load {target!r}: {parent} is a module, not a package that has {last}{hint}"
            )
        near = did_you_mean(last, _modules(list(package.__path__)), form=f"{parent}.{{}}{rest}")
        return f"cannot load {target!r}: package {parent} has no module {last}{near}"
    directory = os.path.abspath(app_dir)
    near = _closed_directory() or _another_folder(name, directory, rest)
    near = near or did_you_mean(
        last, _modules([directory]), form="{}" + name[len(missing) :] + rest
    )
    return (
        f"cannot load {target!r}: there is no module {missing} in {directory} "
        f"or elsewhere on sys.path{near}"
    )


def _another_folder(name: str, directory: str, rest: str) -> str:
    """The hint for a module that stands one folder below or above the one it is looked for in."""
    top, _, below = name.partition(".")
    if os.path.basename(directory) == top and below.partition(".")[0] in _modules([directory]):
        return f"; did you mean --app-dir {os.path.dirname(directory)}?"
    for folder in sorted(Path(directory).glob("[!.]*/")):
        if top in _modules([str(folder)]):
            if (folder / "__init__.py").exists():
                return f"; did you mean {folder.name}.{name}{rest}?"
            return f"; did you mean --app-dir {folder}?"
    return ""


def _modules(paths: list[str]) -> list[str]:
    return [module.name for module in pkgutil.iter_modules(paths)]


def _look_up(module: types.ModuleType, dotted: str, app_dir: str) -> object:
    found: object = module
    path = module.__name__
    for step, part in enumerate(dotted.split(".")):
        try:
            found = getattr(found, part)
        except AttributeError:
            holder = f"module {path}" if step == 0 else path
            hint = did_you_mean(part, [name for name in dir(found) if name[0] != "_"])
            if step == 0:
                hint = _elsewhere(module, app_dir) or hint or _candidates(module)
            raise LoadError(f"{holder} has no attribute {part}{hint}") from None
        path += (":" if step == 0 else ".") + part
    return found


def _elsewhere(module: types.ModuleType, app_dir: str) -> str:
    """The hint for a module that did not come from `app_dir`: most likely another one was meant."""
    directory, file = os.path.abspath(app_dir), getattr(module, "__file__", None)
    if module.__name__ in sys.builtin_module_names:
        file = "Python itself"
    if not file or file.startswith(directory + os.sep):
        return ""
    return _taken(module, app_dir) or f": it is from {file}, and {directory} has none of that name"


def _taken(module: types.ModuleType, app_dir: str) -> str:
    """The hint for a module of `app_dir` that cannot be had: one of that name was there before."""
    directory, name = os.path.abspath(app_dir), module.__name__
    file = getattr(module, "__file__", None) or "Python itself"
    if name not in _modules([directory]) or file.startswith(directory + os.sep):
        return ""
    return f": it is from {file}; that in {directory} needs another name, this one is taken"


def _candidates(module: types.ModuleType) -> str:
    """Which names of the module could be meant, to stand after an error."""
    names = [
        name
        for name, value in vars(module).items()
        if name[0] != "_"
        and not inspect.isclass(value)
        and not inspect.ismodule(value)
        and callable(value)
        and getattr(value, "__module__", module.__name__) != "typing"
        and _takes(value, 3) is True
    ]
    if not names and hasattr(module, "__path__"):
        within = [name for name in _modules(list(module.__path__)) if name in USUAL_MODULES]
        meant = f"; did you mean {module.__name__}.{within[0]}:app?" if within else ""
        return f": it is a package, and a module of it may be meant{meant}"
    if not names:
        return "; write module:attribute, such as main:app"
    best = [name for name in ("app", "application", "api") if name in names] or names
    return f"; did you mean {' or '.join(f'{module.__name__}:{name}' for name in best[:3])}?"


def _call(name: str, factory: Any) -> object:
    if not callable(factory):
        raise LoadError(f"{name} is {_a(factory)}, not a factory that could be called")
    if _takes(factory, 0) is False:
        hint = f"; {name} itself looks like the application" if _takes(factory, 3) else ""
        raise LoadError(
            f"factory {name}{_signature(factory)} wants arguments; "
            f"a factory is called without any{hint}"
        )
    try:
        return factory()
    except SystemExit as error:
        raise LoadError(
            f"factory {name}() ends the process with exit({error.code!r})",
            traceback=application_traceback(error),
        ) from error
    except Exception as error:
        what = f"{type(error).__name__}: {error}".split("\n")[0]
        raise LoadError(
            f"factory {name}() raises {what}", traceback=application_traceback(error)
        ) from error


def _objection(name: str, found: Any, *, called: bool) -> str:
    """Why `found` is no ASGI application, or "". A callable that hides its signature passes."""
    if inspect.iscoroutine(found):
        found.close()
        return f"{name} is a coroutine; a factory must be a plain function"
    if not callable(found):
        return f"{name} is {_a(found)}, not an ASGI application"
    if inspect.isclass(found):
        inner = inspect.getattr_static(found, "__call__", None)
        if _takes(found, 1) and inspect.iscoroutinefunction(inner) and _takes(inner, 3):
            return f"{name} is a class{_asgi2()}"  # __call__(self, receive, send)
        hint = "" if called else f"; name an instance, or {name}() if a bare call makes one"
        return f"{name} is the class {found.__qualname__}, not an ASGI application{hint}"
    if _takes(found, 3) is not False:
        return ""
    if _takes(found, 0) and not called:
        return (
            f"{name} takes no arguments, so it looks like a factory; "
            f"add --factory, or write '{name}()' with the quotes"
        )
    if _takes(found, 2):
        return f"{name} is {_a(found)} that takes two arguments, as in WSGI{_wsgi(found)}"
    if _takes(found, 1) and "(scope" in _signature(found):
        return f"{name} is {_a(found)}{_asgi2()}"
    return (
        f"{name}{_signature(found)} is not an ASGI application, "
        "which is called with (scope, receive, send)"
    )


def _wsgi(found: object) -> str:
    if type(found).__module__.partition(".")[0] == "django":
        return "; pounce speaks ASGI: Django makes such an application in asgi.py, beside wsgi.py"
    return (
        "; pounce speaks ASGI: pip install a2wsgi, and serve a2wsgi.WSGIMiddleware(app) in its "
        "place"
    )


def _asgi2() -> str:
    return (
        " that takes the scope alone, which is ASGI 2; pounce speaks ASGI 3: wrap it in "
        "asgiref.compatibility.guarantee_single_callable"
    )


def _takes(callee: Any, count: int) -> bool | None:
    """Whether it can be called with `count` arguments; None where it does not tell."""
    try:
        inspect.signature(callee).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return None
    return True


def _signature(callee: Any) -> str:
    try:
        text = str(inspect.signature(callee))
    except (TypeError, ValueError):
        return "(...)"
    return text if len(text) <= 60 else "(...)"


def _a(thing: object) -> str:
    if inspect.ismodule(thing):
        return f"the module {thing.__name__}"
    if inspect.isfunction(thing):
        return "a function"
    kind = type(thing).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
