"""One story of the fuzzer as data: what comes on a connection, what else happens, what must follow.

Knows how it is written down. Who makes stories is in grammar.py, who plays them in play.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

# What happens, and how much of it: bytes that come ("data"), turns of the loop ("turns"), seconds
# that pass ("jump"), or nothing to be said of it (0).
Step = tuple[str, bytes | int]


@dataclass(frozen=True)
class Message:
    """A message of the client, whole once `end` bytes have come."""

    end: int
    text: bool
    payload: bytes


@dataclass(frozen=True)
class Case:
    """One story.

    Attributes:
        app: a name of apps.APPS.
        rules: what differs from the defaults, as play.Rules says.
        messages: what the application must see of the bytes before `sound`.
        sound: the bytes before it are as a client should send them, the rest may be anything.
        close: code of the Close that ends the sound bytes; 0 without one.
    """

    app: str
    steps: tuple[Step, ...]
    rules: dict[str, int] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    sound: int = 0
    close: int = 0
    why: str = ""

    def with_steps(self, steps: tuple[Step, ...]) -> Case:
        return replace(self, steps=steps)


def dumped(case: Case) -> str:
    """As JSON, bytes in hex."""
    raw = {
        "why": case.why,
        "app": case.app,
        "rules": case.rules,
        "sound": case.sound,
        "close": case.close,
        "messages": [[each.end, each.text, each.payload.hex()] for each in case.messages],
        "steps": [
            [what, much.hex() if isinstance(much, bytes) else much] for what, much in case.steps
        ],
    }
    return json.dumps(raw, indent=1)


def loaded(text: str) -> Case:
    raw: dict[str, Any] = json.loads(text)
    return Case(
        app=raw["app"],
        rules=raw["rules"],
        sound=raw["sound"],
        close=raw["close"],
        messages=tuple(
            Message(end, text, bytes.fromhex(hexed)) for end, text, hexed in raw["messages"]
        ),
        steps=tuple(
            (what, bytes.fromhex(much) if isinstance(much, str) else much)
            for what, much in raw["steps"]
        ),
        why=raw["why"],
    )


def read(path: Path) -> Case:
    return loaded(path.read_text("utf-8"))
