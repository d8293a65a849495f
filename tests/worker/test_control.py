"""The worker's end of the control channel, over a real socket pair."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from pounce import ipc
from pounce.worker.control import Control
from tests.support.transport import settle


class Heard:
    def __init__(self) -> None:
        self.messages: list[ipc.Message] = []
        self.gone = 0

    def hear(self, message: ipc.Message, descriptors: Sequence[int]) -> None:
        self.messages.append(message)

    def end(self) -> None:
        self.gone += 1


def over_a_pair(story: Callable[[Control, Heard, socket.socket], Awaitable[None]]) -> None:
    async def main() -> None:
        master, worker = socket.socketpair()
        heard = Heard()
        control = Control(worker.detach(), heard=heard.hear, master_gone=heard.end)
        control.listen(asyncio.get_running_loop())
        with master:
            await story(control, heard, master)
        control._loop = None
        control._socket.close()

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30.0):  # nothing here takes a second
        while not condition():  # the loop's own turns are what is waited for
            await asyncio.sleep(0)


def test_messages_go_both_ways() -> None:
    async def story(control: Control, heard: Heard, master: socket.socket) -> None:
        control.say(ipc.Ready())
        assert ipc.decode(master.recv(4096)) == ipc.Ready()
        data = ipc.encode(ipc.Go()) + ipc.encode(ipc.Drain("exit", 3.0))
        master.send(data[:10])
        master.send(data[10:])
        await until(lambda: len(heard.messages) == 2)
        assert heard.messages == [ipc.Go(), ipc.Drain("exit", 3.0)]

    over_a_pair(story)


def test_nonsense_is_said_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async def story(control: Control, heard: Heard, master: socket.socket) -> None:
        master.send(b"nonsense\n" + ipc.encode(ipc.Go()))
        await until(lambda: bool(heard.messages))

    over_a_pair(story)
    assert "message from the master ignored" in caplog.text


def test_the_masters_death_is_told_once() -> None:
    async def story(control: Control, heard: Heard, master: socket.socket) -> None:
        master.close()
        await until(lambda: heard.gone == 1)
        await settle()
        assert heard.gone == 1
        control.say(ipc.Ready())  # nobody hears it, and nothing happens

    over_a_pair(story)


def test_a_master_that_does_not_read_gets_what_matters_later_and_no_old_heartbeats() -> None:
    async def story(control: Control, heard: Heard, master: socket.socket) -> None:
        said = 0
        while not control._unsent:
            control.say(ipc.Draining(said, 0))
            said += 1
        control.say(ipc.Heartbeat(1.0, 1, 2, 3, 0, 0))
        control.say(ipc.Drained(7))
        reader = ipc.LineReader()
        got: list[ipc.Message] = []
        master.setblocking(False)
        while not got or got[-1] != ipc.Drained(7):
            try:
                got += [ipc.decode(line) for line in reader.feed(master.recv(65536))]
            except BlockingIOError:
                await asyncio.sleep(0)
        assert got == [*(ipc.Draining(at, 0) for at in range(said)), ipc.Drained(7)]

    over_a_pair(story)


def test_a_master_that_died_with_words_unread_is_told_of_all_the_same() -> None:
    async def story(control: Control, heard: Heard, master: socket.socket) -> None:
        control.say(ipc.Ready())
        master.close()  # now the socket says "reset", not "end"
        await until(lambda: heard.gone == 1)

    over_a_pair(story)


def test_a_wake_up_without_words_is_nothing() -> None:
    async def story(control: Control, heard: Heard, master: socket.socket) -> None:
        control._readable()
        assert (heard.messages, heard.gone) == ([], 0)
        master.send(ipc.encode(ipc.Go()))
        await until(lambda: bool(heard.messages))

    over_a_pair(story)


def test_a_word_before_there_is_a_loop_goes_out_at_once_or_with_the_last() -> None:
    master, worker = socket.socketpair()
    heard = Heard()
    control = Control(worker.detach(), heard=heard.hear, master_gone=heard.end)
    with master:
        said = 0
        while not control._unsent:
            control.say(ipc.Draining(said, 0))
            said += 1
        got = b""

        def read_all() -> None:
            nonlocal got
            while not got.endswith(ipc.encode(ipc.Drained(9))):
                got += master.recv(65536)

        reader = threading.Thread(target=read_all)
        reader.start()
        control.say_last(ipc.Drained(9))  # waits for the one who reads
        reader.join()
    control._socket.close()
    words = [ipc.decode(line) for line in got.splitlines()]
    assert words == [*(ipc.Draining(at, 0) for at in range(said)), ipc.Drained(9)]


def test_the_last_word_goes_out_before_the_process_ends() -> None:
    async def story(control: Control, heard: Heard, master: socket.socket) -> None:
        control.say_last(ipc.Drained(1))
        assert ipc.decode(master.recv(4096)) == ipc.Drained(1)

    over_a_pair(story)
