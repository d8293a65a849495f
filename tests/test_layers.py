"""The rules of the house: who imports whom, what pure code leaves out, how long a file may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "pounce").rglob("*.py"))
OURS = sorted(
    path for folder in ("pounce", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
PURE = [
    ROOT / "pounce" / name
    for name in (
        "addresses.py",
        "asgi.py",
        "certificates.py",
        "config.py",
        "config_http2.py",
        "config_processes.py",
        "config_tls.py",
        "config_websockets.py",
        "ctl/words.py",
        "errors.py",
        "ipc.py",
        "mistakes.py",
        "settings.py",
        "sources.py",
        "supervisor/control_requests.py",
        "supervisor/crew.py",
        "supervisor/desk.py",
        "supervisor/endings.py",
        "supervisor/ledger.py",
        "supervisor/orders.py",
        "supervisor/slots.py",
        "supervisor/stages.py",
        "supervisor/state.py",
        "supervisor/status.py",
        "supervisor/steerage.py",
        "worker/client_hello.py",
        "worker/lifecycle.py",
        "worker/proxy_header.py",
        "worker/scope.py",
        "worker/stats.py",
        "worker/websocket_counts.py",
        "worker/websocket_deadlines.py",
        "worker/websocket_parting.py",
        "worker/websocket_stages.py",
    )
] + sorted((ROOT / "pounce/worker/wire").glob("*.py"))
BLOCKING = {"asyncio", "os", "select", "selectors", "signal", "socket", "threading", "time"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports_of(path: Path) -> set[str]:
    """Full names of what a file imports, anywhere in it: ``from a import b`` gives a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: imports are absolute here"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def under(names: set[str], package: str) -> set[str]:
    return {name for name in names if name == package or name.startswith(package + ".")}


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_pure_code_cannot_block(path: Path) -> None:
    found = {name.partition(".")[0] for name in imports_of(path)} & BLOCKING
    assert not found, f"{name_of(path)} imports {found}: I/O and clocks belong to its caller"


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_pure_code_builds_on_pure_code_alone(path: Path) -> None:
    pure = {name_of(each).removesuffix(".py").replace("/", ".") for each in PURE}
    pure |= {name.removesuffix(".__init__") for name in pure}
    modules = {name_of(each).removesuffix(".py").replace("/", ".") for each in SOURCES}
    impure = {name for name in imports_of(path) if name in modules} - pure
    assert not impure, f"{name_of(path)} imports {impure}, which may block"


@pytest.mark.parametrize(
    ("side", "other"), [("supervisor", "pounce.worker"), ("worker", "pounce.supervisor")]
)
def test_supervisor_and_worker_do_not_know_each_other(side: str, other: str) -> None:
    paths = sorted((ROOT / "pounce" / side).rglob("*.py"))
    assert paths
    for path in paths:
        found = under(imports_of(path), other)
        assert not found, f"{name_of(path)} imports {found}: serve.py joins the two"


@pytest.mark.parametrize("path", sorted((ROOT / "pounce/supervisor").rglob("*.py")), ids=name_of)
def test_the_master_imports_no_application_starts_no_thread_and_runs_no_asyncio(
    path: Path,
) -> None:
    names = imports_of(path)
    for banned in ("asyncio", "threading", "concurrent", "multiprocessing", "pounce.app"):
        assert not under(names, banned), f"{name_of(path)} imports {banned}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_command_line_knows_click(path: Path) -> None:
    if name_of(path) not in ("pounce/cli.py", "pounce/check.py", "pounce/ctl/commands.py"):
        assert not under(imports_of(path), "click"), f"{name_of(path)} imports click"


KNOWS_WSPROTO = {"frames.py", "masking.py", "websocket.py"}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_frames_of_websockets_know_wsproto(path: Path) -> None:
    if path.name not in KNOWS_WSPROTO:
        found = under(imports_of(path), "wsproto")
        assert not found, f"{name_of(path)} imports {found}: a server without the extra starts too"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_wire_of_http2_knows_its_libraries(path: Path) -> None:
    if not path.name.startswith("h2"):
        names = imports_of(path)
        found = under(names, "h2") | under(names, "hpack") | under(names, "hyperframe")
        assert not found, f"{name_of(path)} imports {found}: a server without the extra starts too"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_who_looks_at_a_server_knows_rich(path: Path) -> None:
    if name_of(path) not in ("pounce/ctl/screen.py", "pounce/ctl/terminal.py"):
        assert not under(imports_of(path), "rich"), f"{name_of(path)} imports rich"


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_no_file_holds_two_ideas(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= 400, f"{name_of(path)} has {lines} lines; past 400 it holds two ideas"
    assert path.stem not in ("utils", "util", "helpers", "misc"), "name a file after what it knows"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.stat().st_size], ids=name_of)
def test_a_module_opens_with_what_it_knows(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), f"{name_of(path)} says nothing"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nobody_prints(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if _is_print(node)]
    assert not calls, f"{name_of(path)} prints; say it through the log, or click.echo in a command"


def _is_print(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    )
