"""Reads tests/corpus: raw requests and the verdict on each. Knows the format, not the wire.

The format is described in tests/corpus/README.md.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CORPUS: Final = Path(__file__).parents[1] / "corpus"
HERE: Final = "<here>"
KEYS: Final = {
    "name",
    "why",
    "raw",
    "frame",
    "here",
    "later",
    "limits",
    "websockets",
    "answers",
} | {
    *("requests", "closes", "unfinished", "answering", "after"),  # of accepted cases
    *("status", "opened"),  # of refused ones
}

REPEAT: Final = re.compile(r"\\\((\d+)\*((?:[^\\()]|\\[^(])*)\)")
ESCAPE: Final = re.compile(r"\\(?:x([0-9a-f]{2})|(.))", re.DOTALL)
NAMED: Final = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Expected:
    """A request the application must see, or b"any" for a body that it may or may not see."""

    line: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    tunnel: str


@dataclass(frozen=True, slots=True)
class Case:
    """One entry of the corpus.

    Attributes:
        name, why, path: what it is called, the reason for the verdict, the file it stands in.
        raw: the bytes, and `later` those that the peer sends in a segment of its own.
        status: what a refused request is answered with; 0 for an accepted one.
        opened: how many requests are opened before the refusal.
        requests: what an accepted one gives.
        answers: all status codes on the wire, in order.
        closes: the connection is at its end after the last of `requests`.
        after: what may become of a request that follows: "next", "either" or "body".
        answering: when the recorder answers: "at the end" of a request or "at the head".
        unfinished: the last request is incomplete.
        limits: differing from the defaults.
        websockets: whether WebSockets are served.
    """

    name: str
    why: str
    path: Path
    raw: bytes
    later: bytes
    status: int
    opened: int
    requests: list[Expected]
    answers: list[int]
    closes: bool
    after: str
    answering: str
    unfinished: bool
    limits: dict[str, int]
    websockets: bool

    def __str__(self) -> str:
        return self.name


def decode(text: str) -> bytes:
    r"""The bytes a text of the corpus stands for.

    Line ends of the file are dropped; ``\r \n \t \\ \xNN`` are single bytes and ``\(3*ab)`` is
    ``ababab``. A byte written otherwise than in visible ASCII or space is a mistake.
    """
    text = text.replace("\n", "")
    while REPEAT.search(text):
        text = REPEAT.sub(lambda found: found[2] * int(found[1]), text)
    text = ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else NAMED[found[2]], text)
    return text.encode("latin-1")


def load(folder: str) -> list[Case]:
    """All cases below ``tests/corpus/<folder>``, in the order of files and of what they hold."""
    return [
        _case(entry, document, path)
        for path in sorted((CORPUS / folder).glob("*.toml"))
        for document in [tomllib.loads(path.read_text(encoding="utf-8"))]
        for entry in document["case"]
    ]


def _case(entry: dict[str, Any], document: dict[str, Any], path: Path) -> Case:
    fields = {name: value for name, value in document.items() if name != "case"} | entry
    unknown = fields.keys() - KEYS
    assert not unknown, f"{path.name}: {fields['name']} says {unknown}, which means nothing"
    text = entry["raw"] if "raw" in entry else fields["frame"].replace(HERE, entry["here"])
    requests = [
        request
        for written in fields.get("requests", [])
        for request in [_expected(written)] * written.get("times", 1)
    ]
    status = fields.get("status", 0)
    opened = fields.get("opened", 0)
    unfinished = fields.get("unfinished", False)
    usual = [status] if status else [] if unfinished else [200] * len(requests)
    return Case(
        name=fields["name"],
        why=fields["why"],
        path=path,
        raw=decode(text),
        later=decode(fields.get("later", "")),
        status=status,
        opened=opened,
        requests=requests,
        answers=fields.get("answers", usual),
        closes=fields.get("closes", False),
        after=fields.get("after", "next"),
        answering=fields.get("answering", "at the end"),
        unfinished=unfinished,
        limits=fields.get("limits", {}),
        websockets=fields.get("websockets", False),
    )


def _expected(written: dict[str, Any]) -> Expected:
    headers = [_header(decode(line)) for line in written["headers"]]
    return Expected(
        line=decode(written["line"]).decode("latin-1"),
        headers=headers[:1] * (written.get("repeat_first_header", 1) - 1) + headers,
        body=decode(written.get("body", "")),
        tunnel=written.get("tunnel", ""),
    )


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b": ")
    return name, value
