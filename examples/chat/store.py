"""What all workers share: the messages and who is here, in one SQLite file.

Its calls block, for microseconds mostly. Knows neither asyncio nor WebSockets.

A worker may be killed between any two instructions. In WAL mode a committed message outlives that
(synchronous=NORMAL: what a power cut may cost is the last moments, never the file), and whoever is
listed as here without somebody renewing it is gone after a while.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# One writer at a time gives out the numbers, and commits before the next one starts: who has seen
# a number has seen all that are lower and will ever be. Sequences of other databases do not
# promise that.
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS message (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    room TEXT NOT NULL,
    client TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    said_at REAL NOT NULL,
    UNIQUE (client, id)
);
CREATE INDEX IF NOT EXISTS message_of_room ON message (room, number);
CREATE TABLE IF NOT EXISTS presence (
    client TEXT PRIMARY KEY,
    talk TEXT NOT NULL,
    worker TEXT NOT NULL,
    room TEXT NOT NULL,
    name TEXT NOT NULL,
    until REAL NOT NULL
);
"""
BUSY_S: Final = 10.0  # how long to wait for another worker's write; each takes well under 1 ms


@dataclass(frozen=True, slots=True)
class Message:
    """One that was said.

    Attributes:
        number: grows with every message of any room.
        client: who said it; known to that page alone.
        id: the client's own, so that what it sends again counts once.
        said_at: on time.time().
    """

    number: int
    client: str
    id: str
    name: str
    text: str
    said_at: float


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who is in a room.

    Attributes:
        talk: the WebSocket; a client that reconnects has a new one.
        worker: the process that serves it.
    """

    client: str
    talk: str
    worker: str
    room: str
    name: str


class Store:
    """The file, opened by one thread of one worker. Must not go through a fork."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        with alone(path):  # a file that is just being made WAL is "locked" at once for others
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")
            self._file.executescript(SCHEMA)
        self._version = -1

    def close(self) -> None:
        self._file.close()

    def changed_by_others(self) -> bool:
        """Has another worker written since the last call? Costs a look into shared memory."""
        (version,) = self._file.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        return bool(version != before)

    def add(
        self, room: str, *, client: str, message_id: str, name: str, text: str, now: float
    ) -> None:
        """Add a message; nothing happens if the client's id is known, whoever stored it."""
        self._file.execute(
            "INSERT INTO message (room, client, id, name, text, said_at)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (client, id) DO NOTHING",
            (room, client, message_id, name, text, now),
        )

    def after(self, room: str, number: int, *, most: int) -> list[Message]:
        """The room's next messages after a number."""
        rows = self._file.execute(
            "SELECT number, client, id, name, text, said_at FROM message"
            " WHERE room = ? AND number > ? ORDER BY number LIMIT ?",
            (room, number, most),
        )
        return [Message(*row) for row in rows]

    def before_last(self, room: str, count: int) -> int:
        """The number after which the room has so many messages, or all it has."""
        row = self._file.execute(
            "SELECT number FROM message WHERE room = ? ORDER BY number DESC LIMIT 1 OFFSET ?",
            (room, count),
        ).fetchone()
        return row[0] if row else 0

    def newest(self) -> int:
        """The highest number of all rooms; 0 when nothing was ever said."""
        (number,) = self._file.execute("SELECT max(number) FROM message").fetchone()
        return number or 0

    def rooms_after(self, number: int) -> dict[str, int]:
        """The rooms in which something was said after a number, each with its newest."""
        return dict(
            self._file.execute(
                "SELECT room, max(number) FROM message WHERE number > ? GROUP BY room", (number,)
            ).fetchall()
        )

    def enter(self, guest: Guest, *, until: float) -> None:
        """List somebody as here; a former talk of the same client is no more."""
        self._file.execute(
            "INSERT OR REPLACE INTO presence (client, talk, worker, room, name, until)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (guest.client, guest.talk, guest.worker, guest.room, guest.name, until),
        )

    def leave(self, guest: Guest) -> None:
        """Strike somebody from the list, unless they are back already by another talk."""
        self._file.execute("DELETE FROM presence WHERE talk = ?", (guest.talk,))

    def renew(self, talks: list[str], *, now: float, until: float) -> None:
        """These are still here; whose time is over is forgotten."""
        with self._file:  # commits, or takes all of it back
            self._file.execute("BEGIN IMMEDIATE")
            self._file.executemany(
                "UPDATE presence SET until = ? WHERE talk = ?", [(until, talk) for talk in talks]
            )
            self._file.execute("DELETE FROM presence WHERE until <= ?", (now,))

    def here(self, now: float) -> dict[str, list[str]]:
        """The names in each room."""
        rooms: dict[str, list[str]] = {}
        for room, name in self._file.execute(
            "SELECT DISTINCT room, name FROM presence WHERE until > ? ORDER BY room, name", (now,)
        ):
            rooms.setdefault(room, []).append(name)
        return rooms


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """No other process is in here; a lock that ends with its process, however that ends."""
    with path.with_name(f"{path.name}-open").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
