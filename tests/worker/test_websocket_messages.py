"""Messages of a WebSocket by themselves: any size is a frame, a turn is a write, none may come."""

from __future__ import annotations

import asyncio
import zlib

import pytest

from pounce.asgi import Message, Receive, Scope, Send
from pounce.worker.websocket_stream import BULK
from pounce.worker.wire.extensions import Agreed
from pounce.worker.wire.handshake import Asked
from tests.support.frames import FIN, RSV1, TEXT, frame, text
from tests.support.transport import MemoryTransport, connect, make_service, settle
from tests.support.tunnel import ACCEPT, Tunnel

SIZES = (0, 125, 126, 65535, 65536, BULK, BULK + 1, 3 * BULK)
DEFLATE = Agreed(15, 15, True, True, b"")


def take(data: bytes) -> tuple[int, bytes, bytes]:
    """First byte, payload and what follows of a server's frame."""
    start, size = {126: (4, 2), 127: (10, 8)}.get(data[1], (2, 0))
    stop = start + (int.from_bytes(data[2:start], "big") if size else data[1])
    assert stop <= len(data)
    return data[0], data[start:stop], data[stop:]


@pytest.mark.parametrize("deflate", [None, DEFLATE], ids=["plain", "compressed"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_message_of_any_size_is_one_frame(
    kind: type[bytes | bytearray | memoryview], deflate: Agreed | None
) -> None:
    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            for size in SIZES:
                await send({"type": "websocket.send", "bytes": kind(b"\x00" * size)})

        tunnel = Tunnel(app, asked=Asked(b"accepted", [], deflate))
        await tunnel.task
        assert tunnel.stream.sent == len(tunnel.wire.output)
        inflate = zlib.decompressobj(-15)
        sent, left = [], tunnel.wire.output
        while left:
            first, payload, left = take(left)
            if first & RSV1:
                payload = inflate.decompress(payload + b"\x00\x00\xff\xff")
            sent.append((first & ~RSV1, payload))
        assert sent == [*((0x82, b"\x00" * size) for size in SIZES), (0x88, b"\x03\xe8")]

    asyncio.run(main())


def test_who_gives_up_receiving_again_and_again_leaves_nothing_behind() -> None:
    async def main() -> None:
        seen: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            for _ in range(50):
                waiting = asyncio.ensure_future(receive())
                await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.sleep(0)
            assert not tunnel.stream._inbox.awaited
            assert len(tunnel.stream._inbox._waiters) == 1
            seen.append({"type": "gave up"})
            seen.append(await receive())

        tunnel = Tunnel(app)
        while not seen:
            await settle()
        tunnel.stream.data(text("at last"))
        await tunnel.task
        assert seen[1:] == [{"type": "websocket.receive", "text": "at last"}]

    asyncio.run(main())


class Writes(MemoryTransport):
    """Notes each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.state == "broken":
            raise RuntimeError("unable to write")
        self.writes.append(bytes(data))


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in (b"a", b"b", b"c"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await asyncio.Event().wait()


def test_what_connections_send_in_one_turn_leaves_in_one_write_of_each() -> None:
    """One that cannot be written to does not keep the others from it."""

    async def main() -> None:
        told: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context["message"]))
        service = make_service(stream)
        transports = [Writes() for _ in range(3)]
        connections = [connect(service, transport) for transport in transports]
        transports[1].state = "broken"
        for connection in connections:
            connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await settle()
        first, broken, last = (transport.writes for transport in transports)
        assert len(first) == len(last) == 1
        assert first == last
        assert first[0].endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n")
        assert broken == []
        assert told == ["a connection could not be written to"]
        for task in service.running.values():
            task.cancel()
        await settle()

    asyncio.run(main())


def test_of_a_lost_websocket_no_window_is_left_while_its_application_stays() -> None:
    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            while (await receive())["type"] == "websocket.receive":
                pass
            await asyncio.Event().wait()

        tunnel = Tunnel(app, asked=Asked(b"", [], DEFLATE))
        await settle()
        compress = zlib.compressobj(wbits=-15)
        payload = (compress.compress(b"a" * 1000) + compress.flush(zlib.Z_SYNC_FLUSH))[:-4]
        tunnel.stream.data(frame(FIN | TEXT | RSV1, payload))
        await settle()
        compression = tunnel.stream.compression
        assert compression is not None
        assert len(compression.inflater._window or b"") == 1000
        tunnel.stream.gone("connection lost")
        await settle()
        assert not tunnel.task.done()
        assert compression.inflater._window is None
        assert compression.inflater._inflate is None
        assert compression.inflater.plain == 1000  # the counts stay
        tunnel.task.cancel()
        await settle()

    asyncio.run(main())
