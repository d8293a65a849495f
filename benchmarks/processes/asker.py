"""A client that opens new connections at a fixed rate and tells which process answered each.

It never waits for an answer before it asks again: a server that holds connections back for a while
is asked as often as one that does not. It runs as a process of its own, so that what it sees does
not depend on what the harness does meanwhile.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import time

HOST = "127.0.0.1"
REQUEST = b"GET /pid HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def pid_in(answer: bytes) -> int:
    """Whose answer it is; 0 if it is none."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 200 ") and body.isdigit():
        return int(body)
    return 0


class Asker:
    """Connections under way; `tell` gets when each was begun and over, and who answered."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.selector = selectors.DefaultSelector()
        self.lines: list[str] = []

    def ask(self) -> None:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((HOST, self.port))
        # Over the loopback that is done or refused by now, unless the server's queue is full: then
        # the kernel tries again after a second, as it would for any client.
        self.selector.register(
            client, selectors.EVENT_WRITE, (client, time.monotonic(), bytearray())
        )

    def note(self, asked_at: float, pid: int) -> None:
        self.lines.append(f"{asked_at:.6f} {time.monotonic():.6f} {pid}\n")

    def attend(self, within_s: float) -> None:
        """Send where a connection stands, and read what has come."""
        for key, ready in self.selector.select(within_s):
            client, asked_at, got = key.data
            try:
                if ready & selectors.EVENT_WRITE:
                    client.send(REQUEST)
                    self.selector.modify(client, selectors.EVENT_READ, key.data)
                    continue
                data = client.recv(4096)
            except OSError:
                data, got = b"", b""
            if data:
                got += data
                continue
            self.selector.unregister(client)
            client.close()
            self.note(asked_at, pid_in(bytes(got)))

    def run(self, every_s: float, burst: int) -> None:
        """Until nobody reads what it says."""
        next_at = time.monotonic()
        while True:
            if time.monotonic() >= next_at:
                next_at += every_s
                for _ in range(burst):
                    self.ask()
            self.attend(max(0.0, next_at - time.monotonic()))
            if self.lines:
                sys.stdout.write("".join(self.lines))
                sys.stdout.flush()
                self.lines.clear()


if __name__ == "__main__":
    port, every_ms, burst = map(int, sys.argv[1:])
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        Asker(port).run(every_ms / 1000, burst)
