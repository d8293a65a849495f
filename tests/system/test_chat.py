"""examples/chat for a client that keeps to its rules: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGHUP, SIGKILL
from typing import Any, Final

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.server import Server, started
from tests.support.serverlog import PATIENCE

EXAMPLES: Final = Path(__file__).parent.parent.parent / "examples"


class Visitor:
    """What page.html does, without the page.

    Attributes:
        worker: the process that serves it.
        seen: number, name and text of each message.
        pending: what it said and has not seen back.
        names: who is here.
        code: that its WebSocket was closed with; 0 while it is open.
    """

    def __init__(self, port: int, name: str, room: str) -> None:
        self._url = f"ws://127.0.0.1:{port}/talk"
        self._open = contextlib.ExitStack()
        self._socket: ClientConnection
        self.client = secrets.token_hex(8)
        self.name = name
        self.room = room
        self.worker = 0
        self.last: int | None = None
        self.seen: list[tuple[int, str, str]] = []
        self.pending: dict[str, str] = {}
        self.names: list[str] = []
        self.rooms: dict[str, int] = {}
        self.code = 0
        self._said = 0

    @property
    def texts(self) -> list[str]:
        return [text for _, _, text in self.seen]

    def come(self) -> Visitor:
        """Joins, says again what is pending, and hears that it is in."""
        self.code = self.worker = 0
        self.go()
        # Without a bound for what waits to be heard, or a Close behind it would not be answered.
        opening = connect(self._url, open_timeout=PATIENCE, max_queue=None)
        self._socket = self._open.enter_context(opening)
        joining = {"room": self.room, "name": self.name, "client": self.client, "last": self.last}
        self.tell({"type": "join", **joining})
        for message_id, text in self.pending.items():
            self.tell({"type": "say", "id": message_id, "text": text})
        self.hear_until(lambda: self.worker or self.code)
        return self

    def say(self, text: str) -> None:
        self._said += 1
        self.pending[str(self._said)] = text
        self.tell({"type": "say", "id": str(self._said), "text": text})

    def tell(self, content: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionClosed):  # hear() takes note
            self._socket.send(json.dumps(content))

    def hear(self) -> None:
        """The next thing, if only the end."""
        try:
            said = json.loads(self._socket.recv(PATIENCE))
        except ConnectionClosed as closed:
            self.code = closed.rcvd.code if closed.rcvd else 1006
            return
        match said["type"]:
            case "joined":
                self.worker, self.last = said["worker"], said["last"]
            case "message":
                self.last = said["number"]
                self.seen.append((said["number"], said["name"], said["text"]))
                self.pending.pop(said.get("id", ""), None)
            case "here":
                self.names, self.rooms = said["names"], said["rooms"]

    def hear_until(self, holds: Callable[[], object]) -> None:
        while not holds():
            self.hear()

    def hear_all(self, texts: list[str]) -> None:
        """Until the last of these has come, coming back as often as needed; then compare."""
        while not self.texts or self.texts[-1] != texts[-1] or self.pending:
            if self.code:
                self.come()
            self.hear()
        assert self.texts == texts

    def go(self) -> None:
        self._open.close()


class Chat:
    """The example, served by two workers, and those who talk in it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._visitors: list[Visitor] = []

    def visit(self, name: str, room: str = "lobby") -> Visitor:
        """Somebody who is not there yet."""
        self._visitors.append(Visitor(self.server.port, name, room))
        return self._visitors[-1]

    def elsewhere(self, than: Visitor, name: str) -> Visitor:
        """Somebody who has come, and is served by another worker; their name is unique."""
        for attempt in range(100):
            visitor = self.visit(f"{name} {attempt}").come()
            if visitor.worker != than.worker:
                return visitor
            visitor.go()
        raise AssertionError("every connection goes to the same worker")

    def end(self) -> None:
        for visitor in self._visitors:
            visitor.go()


@contextlib.contextmanager
def chatting(folder: Path, *options: str) -> Iterator[Chat]:
    args = ("--app-dir", str(EXAMPLES), "--workers", "2", *options)
    with started("chat:app", *args, env={"CHAT_FILE": str(folder / "chat.sqlite3")}) as server:
        chat = Chat(server)
        try:
            yield chat
        finally:
            chat.end()


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    with chatting(tmp_path) as chat:
        yield chat


def test_everybody_in_the_room_hears_it_whichever_worker_serves_them(chat: Chat) -> None:
    ann = chat.visit("Ann").come()
    ben = chat.elsewhere(ann, "Ben")
    for text in ("Hello, Jürgen! 🦘", "<b>not bold</b>", " "):
        ann.say(text)
        ben.hear_until(lambda text=text: text in ben.texts)  # type: ignore[misc]
        ben.say(f"you said {text}")
        ann.hear_until(lambda text=text: f"you said {text}" in ann.texts)  # type: ignore[misc]
    ben.hear_until(lambda: len(ben.seen) == 6)
    assert ben.seen == ann.seen
    assert [name for _, name, _ in ann.seen] == ["Ann", ben.name] * 3


def test_rooms_are_apart(chat: Chat) -> None:
    ann, ben = chat.visit("Ann", "tea").come(), chat.visit("Ben", "coffee").come()
    ann.say("milk?")
    ben.say("sugar?")
    ann.say("done")
    ben.say("done")
    ann.hear_all(["milk?", "done"])
    ben.hear_all(["sugar?", "done"])
    ann.hear_until(lambda: ann.rooms == {"coffee": 1, "tea": 1})
    assert ann.names == ["Ann"]


def test_who_is_here_is_seen_by_all_workers(chat: Chat) -> None:
    ann = chat.visit("Ann").come()
    ben = chat.elsewhere(ann, "Ben")
    ann.hear_until(lambda: ann.names == ["Ann", ben.name])
    ben.hear_until(lambda: ben.names == ["Ann", ben.name])
    ben.go()
    ann.hear_until(lambda: ann.names == ["Ann"])


def test_whose_worker_was_killed_is_not_listed_for_ever(chat: Chat) -> None:
    chat.server.log.allow("worker died", "keep dying")
    ann = chat.visit("Ann").come()
    ben = chat.elsewhere(ann, "Ben")
    ann.hear_until(lambda: ann.names == ["Ann", ben.name])
    os.kill(ben.worker, SIGKILL)
    ann.hear_until(lambda: ann.names == ["Ann"])


def test_who_comes_back_gets_what_was_said_meanwhile_and_nothing_twice(chat: Chat) -> None:
    ann, ben = chat.visit("Ann").come(), chat.visit("Ben").come()
    texts = [f"message {number}" for number in range(250)]
    ann.say(texts[0])
    ben.hear_until(lambda: ben.texts == texts[:1])
    ben.go()
    for text in texts[1:]:
        ann.say(text)
    ann.hear_all(texts)
    ben.come().hear_all(texts)


def test_who_is_new_gets_the_last_hundred(chat: Chat) -> None:
    ann = chat.visit("Ann").come()
    texts = [f"message {number}" for number in range(120)]
    for text in texts:
        ann.say(text)
    ann.hear_all(texts)
    ben = chat.visit("Ben").come()
    ben.hear_all(texts[-100:])


def test_what_is_sent_again_with_its_id_counts_once(chat: Chat) -> None:
    ann = chat.visit("Ann").come()
    once = {"type": "say", "id": "of once", "text": "once"}
    ann.tell(once)
    ann.tell(once)
    ann.hear_until(lambda: ann.texts == ["once"])
    ann.go()
    ann.come()
    ann.tell(once)
    ben = chat.visit("Ben").come()
    ben.tell(once)  # the same id of somebody else is something else
    ben.say("end")
    assert ann.last == ann.seen[-1][0]
    ann.hear_until(lambda: "end" in ann.texts)
    assert [(name, text) for _, name, text in ann.seen] == [
        ("Ann", "once"),
        ("Ben", "once"),
        ("Ben", "end"),
    ]


def test_ids_are_told_to_their_author_alone(chat: Chat) -> None:
    ann, ben = chat.visit("Ann").come(), chat.visit("Ben").come()
    ben.pending["1"] = "of Ben's, and not sent"
    ann.say("from Ann")  # with the id 1
    ann.hear_all(["from Ann"])
    ben.hear_until(lambda: ben.texts)
    assert ben.pending


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "expected JSON with the type join"),
        ("[" * 100_000, "expected JSON with the type join"),
        ('{"type": "say"}', "expected JSON with the type join"),
        ('{"type": "join", "client": "x", "room": "", "name": "x"}',
         "room is a text of 1 to 40 characters"),
        ('{"type": "join", "client": "x", "room": "x", "name": "x", "last": "7"}',
         "last is a number, or null"),
    ],
)  # fmt: skip
def test_who_talks_nonsense_is_closed_with_a_reason(chat: Chat, said: str, reason: str) -> None:
    with connect(f"ws://127.0.0.1:{chat.server.port}/talk") as socket:
        socket.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(PATIENCE)
    assert closed.value.rcvd
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, reason)


def test_half_a_character_and_a_number_past_all_are_taken_for_what_can_be_stored(
    chat: Chat,
) -> None:
    ann = chat.visit("Ann")
    ann.last = 2**80  # of a file that was removed since
    ann.come()
    assert ann.last == 0
    ann.say("half \ud83e")
    ann.pending.clear()
    ann.hear_until(lambda: ann.texts == ["half ?"])


def test_killing_the_workers_loses_nothing_and_doubles_nothing(chat: Chat) -> None:
    chat.server.log.allow("worker died", "keep dying")
    ann, ben = chat.visit("Ann").come(), chat.visit("Ben").come()
    texts = [f"message {number}" for number in range(300)]
    for number, text in enumerate(texts):
        if ann.code:
            ann.come()
        ann.say(text)
        if number % 100 == 50:  # what was said before is partly stored, and partly seen
            ann.hear_until(lambda number=number: len(ann.seen) > number - 20 or ann.code)  # type: ignore[misc]
            os.kill(ann.worker, SIGKILL)
            ann.hear_until(lambda: ann.code)
            assert ann.code == 1006
    ann.hear_all(texts)
    ben.hear_all(texts)
    assert ann.seen == ben.seen


def test_a_reload_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    with chatting(tmp_path, "--shutdown-timeout", "2", "--probation", "0") as chat:
        ann, ben = chat.visit("Ann").come(), chat.visit("Ben").come()
        ann.say("message 0")
        ann.hear_all(["message 0"])
        chat.server.signal(SIGHUP)
        texts = ["message 0"]
        while not ann.code:
            texts.append(f"message {len(texts)}")
            ann.say(texts[-1])
            ann.hear()
        assert ann.code == 1012
        ann.come()
        ann.say("the last")
        ann.hear_all([*texts, "the last"])
        ben.hear_all([*texts, "the last"])
        assert ann.seen == ben.seen


def test_the_file_cannot_be_opened_and_the_server_says_why(tmp_path: Path) -> None:
    args = ("--app-dir", str(EXAMPLES))
    file = tmp_path / "nowhere" / "chat.sqlite3"
    with started("chat:app", *args, env={"CHAT_FILE": str(file)}, serving=False) as server:
        server.log.allow(".*")
        assert server.wait() == 4
        assert server.log.find(f"{file}: unable to open database file")
