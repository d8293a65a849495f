"""The README and the pages of docs/ do what they say: their commands are run, in their order."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import ROOT, Block, Follower, blocks_of

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
# Written by commands, and followed by their own tests.
MADE = {"docs/settings.md", "docs/performance.md"}
FOLLOWED = [page for page in PAGES if page not in MADE]
RUN = ("python3 -m venv .venv", ". .venv/bin/activate", "pip install -e '.[standard]'")
TEST = ("python3 -m venv .venv", ". .venv/bin/activate", "pip install -e '.[dev]'", "pytest")


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    follower = Follower(tmp_path)
    yield follower
    follower.end()


def command_after(heading: str) -> list[str]:
    """The parts of the one command of the first block below a heading of the README."""
    text = (ROOT / "README.md").read_text("utf-8")
    line = text[: text.index(f"\n## {heading}\n")].count("\n") + 1
    block = next(block for block in blocks_of("README.md") if block.line > line)
    (command,) = block.text.splitlines()
    return command.split(" && ")


def is_followed(block: Block) -> bool:
    """All but the command that runs the tests, which would run itself."""
    return "pytest" not in block.text


@pytest.mark.parametrize("page", FOLLOWED)
def test_whoever_follows_the_page_sees_what_it_promises(page: str, follower: Follower) -> None:
    blocks = [block for block in blocks_of(page) if is_followed(block)]
    used = " ".join(command for block in blocks for command, _ in block.commands)
    if "curl" in used and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    for block in blocks:
        follower.follow(block)
    follower.leave()


def test_the_first_command_sets_up_and_runs_the_demo() -> None:
    assert command_after("Run it") == [*RUN, "pounce pounce.demo:app --workers 2"]


def test_the_second_command_sets_up_and_passes_the_tests() -> None:
    assert command_after("Test it") == list(TEST)


def test_nothing_else_in_the_readme_is_a_command_to_set_up_or_test() -> None:
    commands = [command for block in blocks_of("README.md") for command, _ in block.commands]
    assert sum("venv" in command for command in commands) == 2
    assert sum("pytest" in command for command in commands) == 1


def test_what_must_hold_before_a_change_lands_is_the_same_command() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    body = re.search(r"^install\(\) \{[^\n]*\n(.*?)^\}", script, re.MULTILINE | re.DOTALL)
    assert body is not None
    theirs = [
        step.strip().replace('"$1"', "python3").replace('"$2/bin/activate"', ".venv/bin/activate")
        for step in body[1].splitlines()
    ]
    theirs = [step.replace('"$2"', ".venv") for step in theirs]
    assert theirs == [*TEST[:-1]]
    steps = script[script.index('say "README') :].splitlines()[1:3]
    assert steps == ['. "$work/venv/bin/activate"', 'tests "Python $main_version"']
    assert re.search(r'^    pytest "\$@" \| tee', script, re.MULTILINE)
    assert re.search(r"^set -euo pipefail$", script, re.MULTILINE)
    for check in ("ruff check .", "ruff format --check .", "mypy"):
        assert check in script.splitlines()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        there = (ROOT / page).parent / path if path else ROOT / page
        assert there.exists(), f"{page} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings]
            assert anchor in anchors, f"{page} links to {target}"
