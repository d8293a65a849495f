"""A WebSocket whose peer or application is slow: what is held, what waits, who gives way."""

from __future__ import annotations

import asyncio
import zlib

import pytest
from wsproto.events import CloseConnection, Pong

from pounce.asgi import App, Message, Receive, Scope, Send
from pounce.worker.inbox import MESSAGE_COST, Inbox
from pounce.worker.websocket_rules import WebSocketRules
from pounce.worker.wire.extensions import Agreed
from pounce.worker.wire.handshake import Asked
from pounce.worker.wire.websocket import FrameLimits
from tests.support.frames import FIN, PING, RSV1, TEXT, binary, close, frame, text
from tests.support.transport import settle
from tests.support.tunnel import Tunnel

ACCEPT: Message = {"type": "websocket.accept"}
SMALL = WebSocketRules(queue=1000)


class Slow:
    """An application that receives when it is told to."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.go = asyncio.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        while True:
            await self.go.acquire()
            message = await receive()
            self.received.append(message)
            if message["type"] == "websocket.disconnect":
                return


async def taken(app: Slow, count: int = 1) -> list[Message]:
    for _ in range(count):
        app.go.release()
    await settle()
    return app.received


def test_a_slow_application_stops_the_reading_until_it_has_taken_half() -> None:
    async def main() -> None:
        app = Slow()
        tunnel = Tunnel(app, rules=SMALL)
        await settle()
        stream = b"".join(binary(bytes([number]) * 100) for number in range(12)) + close(1000)
        tunnel.stream.data(stream)
        assert tunnel.wire.consumed_bytes == 0
        held = tunnel.stream._inbox
        assert held.full
        assert len(held._messages) == 3  # 3 * (100 + 256) is past 1000
        await taken(app)
        assert tunnel.wire.consumed_bytes == 0
        await taken(app)
        assert len(held._messages) <= 4
        await taken(app, 20)
        received = [message.get("bytes", b"")[:1] for message in app.received[:-1]]
        assert received == [bytes([number]) for number in range(12)]
        assert app.received[-1]["code"] == 1000
        await tunnel.task

    asyncio.run(main())


def test_what_was_taken_is_told_to_the_wire() -> None:
    async def main() -> None:
        app = Slow()
        tunnel = Tunnel(app, rules=SMALL)
        await settle()
        small = text("a")
        tunnel.stream.data(small)
        assert tunnel.wire.consumed_bytes == len(small)
        large = binary(bytes(1000))
        tunnel.stream.data(large)
        assert tunnel.wire.consumed_bytes == len(small)
        await taken(app, 2)
        assert tunnel.wire.consumed_bytes == len(small) + len(large)
        tunnel.stream.gone("end of test")
        await taken(app)
        await tunnel.task

    asyncio.run(main())


def test_a_full_inbox_does_not_hide_the_answer_to_our_close() -> None:
    async def main() -> None:
        app = Slow()
        tunnel = Tunnel(app, rules=SMALL)
        await settle()
        tunnel.stream.data(binary(bytes(2000)) + binary(bytes(2000)))
        tunnel.stream.close(1012, "reload")
        tunnel.stream.data(close(1012))
        assert tunnel.wire.calls[-1] == ("end",)
        assert len(tunnel.over) == 1
        await taken(app, 3)
        assert [message["type"] for message in app.received] == [
            "websocket.receive",
            "websocket.disconnect",
        ]
        await tunnel.task

    asyncio.run(main())


@pytest.mark.parametrize(
    ("last", "code"), [(b"", 1006), (frame(FIN | PING), 1006), (close(4000), 4000)]
)
def test_what_came_before_a_loss_is_received_before_the_application_hears_of_it(
    last: bytes, code: int
) -> None:
    async def main() -> None:
        app = Slow()
        tunnel = Tunnel(app, rules=SMALL)
        await settle()
        numbers = range(40)
        tunnel.stream.data(b"".join(binary(bytes([each]) * 100) for each in numbers) + last)
        tunnel.stream.gone("reset by peer")
        assert len(tunnel.over) == 1
        held = tunnel.stream._inbox
        for number in numbers:
            assert len(held._messages) <= 4
            received = await taken(app)
            assert received[number] == {
                "type": "websocket.receive",
                "bytes": bytes([number]) * 100,
            }
        assert (await taken(app))[-1]["code"] == code
        await tunnel.task
        assert tunnel.wire.output == b""

    asyncio.run(main())


def test_an_application_that_sends_behind_a_loss_is_told_though_messages_are_left() -> None:
    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            await receive()
            await gone.wait()
            await send({"type": "websocket.send", "text": "x"})

        gone = asyncio.Event()
        tunnel = Tunnel(app, rules=SMALL)
        await settle()
        tunnel.stream.data(binary(bytes(1000)) * 10)
        tunnel.stream.gone("reset by peer")
        gone.set()
        await tunnel.task
        assert tunnel.stream._frames is None

    asyncio.run(main())


def test_empty_messages_fill_the_inbox_too() -> None:
    inbox = Inbox(10 * MESSAGE_COST)
    for _ in range(10):
        inbox.put({"type": "websocket.receive", "text": ""}, 0)
    assert not inbox.full
    inbox.put({"type": "websocket.receive", "text": ""}, 0)
    assert inbox.full


def test_who_pings_and_does_not_read_is_not_read_either() -> None:
    async def main() -> None:
        tunnel = Tunnel(Slow())
        await settle()
        ping = frame(FIN | PING)
        tunnel.wire.congested = True
        tunnel.stream.data(ping * 1000)
        assert tunnel.sent == [Pong(payload=b"")]
        assert tunnel.wire.consumed_bytes == 0
        tunnel.stream.resumed()
        assert len(tunnel.sent) == 2
        tunnel.wire.congested = False
        tunnel.stream.resumed()
        assert len(tunnel.sent) == 1000
        assert tunnel.wire.consumed_bytes == 1000 * len(ping)
        tunnel.task.cancel()
        await tunnel.task
        tunnel.stream.gone("end of test")

    asyncio.run(main())


def sender(log: list[str], times: int) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        for _ in range(times):
            await send({"type": "websocket.send", "text": "x"})
            log.append("sent")

    return app


def test_send_waits_while_the_peer_does_not_read() -> None:
    async def main() -> None:
        log: list[str] = []
        tunnel = Tunnel(sender(log, 2))
        tunnel.wire.congested = True
        await settle()
        assert log == []
        tunnel.stream.resumed()  # for nothing: it is congested still
        await settle()
        assert log == []
        tunnel.wire.congested = False
        tunnel.stream.resumed()
        await tunnel.task
        assert log == ["sent", "sent"]
        tunnel.stream.gone("end of test")

    asyncio.run(main())


def test_send_stops_waiting_when_the_peer_is_gone() -> None:
    async def main() -> None:
        log: list[str] = []
        tunnel = Tunnel(sender(log, 5))
        tunnel.wire.congested = True
        await settle()
        tunnel.stream.gone("reset by peer")
        await tunnel.task
        assert log == ["sent"]  # the next one raised, which is not logged
        assert tunnel.stream.code == 1006

    asyncio.run(main())


def test_a_send_that_never_has_to_wait_gives_way_to_others() -> None:
    async def main() -> None:
        log: list[str] = []
        tunnel = Tunnel(sender(log, 100))

        async def other() -> None:
            log.append("other")

        others = [asyncio.create_task(other())]
        await asyncio.sleep(0)
        await tunnel.task
        await others[0]
        assert log.index("other") < 64
        tunnel.stream.gone("end of test")

    asyncio.run(main())


def test_several_receivers_are_all_told_of_the_end() -> None:
    async def main() -> None:
        ended: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)

            async def reader() -> None:
                ended.append(await receive())

            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(reader())

        tunnel = Tunnel(app)
        await settle()
        tunnel.stream.data(text("a") + close(1000))
        await tunnel.task
        assert [message["type"] for message in ended].count("websocket.disconnect") == 2
        assert tunnel.sent == [CloseConnection(code=1000, reason="")]

    asyncio.run(main())


def test_an_idle_websocket_gives_its_memory_back_and_goes_on() -> None:
    async def main() -> None:
        app = Slow()
        tunnel = Tunnel(app)
        await settle()
        tunnel.stream.sweep(1.0)
        tunnel.stream.data(frame(FIN | PING))
        tunnel.stream.sweep(2.0)
        tunnel.stream.sweep(3.0)
        tunnel.stream.data(text("a") + close())
        await taken(app, 2)
        assert app.received[0]["text"] == "a"
        await tunnel.task

    asyncio.run(main())


def test_an_answer_of_the_application_s_own_waits_while_the_peer_does_not_read() -> None:
    async def main() -> None:
        log: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 401})
            await send({"type": "websocket.http.response.body", "body": b"a", "more_body": True})
            log.append("sent")
            await send({"type": "websocket.http.response.body", "body": b"b"})

        tunnel = Tunnel(app)
        tunnel.wire.congested = True
        await settle()
        assert log == []
        tunnel.wire.congested = False
        tunnel.stream.resumed()
        await tunnel.task
        assert log == ["sent"]

    asyncio.run(main())


def test_messages_are_compressed_where_that_was_agreed() -> None:
    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(ACCEPT)
            await receive()
            message = await receive()
            await send({"type": "websocket.send", "text": message["text"]})
            await send({"type": "websocket.send", "text": "short"})

        agreed = Agreed(15, 15, True, True, b"permessage-deflate")
        rules = WebSocketRules(smallest=10, limits=FrameLimits(max_message=100))
        tunnel = Tunnel(app, rules=rules, asked=Asked(b"a", [], agreed))
        await settle()
        assert (b"sec-websocket-extensions", b"permessage-deflate") in tunnel.wire.calls[0][1]
        compress = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = compress.compress(b"x" * 100) + compress.flush(zlib.Z_SYNC_FLUSH)
        tunnel.stream.data(frame(FIN | RSV1 | TEXT, packed[:-4]))
        await tunnel.task
        output = tunnel.wire.output
        assert output[0] == FIN | RSV1 | TEXT
        assert len(output) < 30
        assert output[2 + output[1] :].startswith(b"\x81\x05short")
        compress = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = compress.compress(b"x" * 101) + compress.flush(zlib.Z_SYNC_FLUSH)
        tunnel.stream.data(frame(FIN | RSV1 | TEXT, packed[:-4]))
        assert tunnel.wire.calls[-1] == ("end",)  # over the limit
        assert len(tunnel.over) == 1

    asyncio.run(main())


def test_messages_that_nobody_asked_for_are_forgotten_with_the_application_s_close() -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await settle()
        await send({"type": "websocket.close", "code": 4000})
        seen.append(await receive())

    async def main() -> None:
        tunnel = Tunnel(app)
        await asyncio.sleep(0)
        tunnel.stream.data(text("a") + text("b"))
        await tunnel.task
        tunnel.stream.gone("end of test")

    asyncio.run(main())
    assert seen == [{"type": "websocket.disconnect", "code": 4000, "reason": ""}]


def test_a_ping_held_behind_a_full_inbox_hides_nothing_when_the_peer_is_lost_unread() -> None:
    async def main() -> None:
        app = Slow()
        tunnel = Tunnel(app, rules=WebSocketRules(queue=1))
        await settle()
        ping = frame(FIN | PING, b"p")
        tunnel.stream.data(text("a") + ping + text("b") + ping + text("c") + close(4000, b"bye"))
        tunnel.wire.congested = True  # it left without reading what it was sent
        tunnel.stream.gone("connection lost")
        received = await taken(app, 4)
        assert [message.get("text") for message in received[:3]] == ["a", "b", "c"]
        assert received[3] == {"type": "websocket.disconnect", "code": 4000, "reason": "bye"}

    asyncio.run(main())
