"""Windows, order and deadlines of HTTP/2 streams: who waits for whom, and for how long."""

from __future__ import annotations

import asyncio

from pounce.asgi import Receive, Scope, Send
from tests.support.h2 import GET, POST, frame, http2_client
from tests.support.transport import settle
from tests.worker.wire.test_h2 import BODY, START, echo, hello, run


def test_credit_is_given_only_for_what_the_application_takes() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            await echo(scope, receive, send)

        client = await http2_client(app, rules={"stream_window": 65536})
        number = await client.ask(POST, end=False)
        for _ in range(4):
            client.h2.send_data(number, bytes(16384))
        await client.go()
        assert client.h2.local_flow_control_window(number) == 0
        go.set()
        await client.go()
        assert client.h2.local_flow_control_window(number) == 65536
        assert len(client.answer(number).body) == 65536

    run(main())


def test_a_body_nobody_reads_gives_its_credit_back_to_the_connection() -> None:
    async def main() -> None:
        client = await http2_client(hello, rules={"connection_window": 65535})
        for _ in range(20):
            number = await client.ask(POST, bytes(16000))
            assert client.answer(number).status == 200
        assert client.h2.outbound_flow_control_window > 16000
        assert not client.wire.streams

    run(main())


def test_an_answer_waits_for_the_peers_window() -> None:
    sent: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(16):
            await send({**BODY, "body": bytes(65536), "more_body": True})
            sent.append("part")
        await send({**BODY, "body": b""})

    async def main() -> None:
        client = await http2_client(app, credit=False)
        number = await client.ask()
        assert len(client.answer(number).body) == 65535
        assert len(sent) < 4, "send() waits"
        client.h2.increment_flow_control_window(2**24)
        client.h2.increment_flow_control_window(2**24, number)
        await client.go()
        assert len(client.answer(number).body) == 16 * 65536
        assert client.answer(number).ended

    run(main())


def test_what_all_streams_together_hold_is_bounded() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        while True:
            await send({**BODY, "body": bytes(16384), "more_body": True})

    async def main() -> None:
        client = await http2_client(app, credit=False)
        for _ in range(100):
            await client.ask()
        assert client.wire.held < 100 * 2 * 16384 + 4 * 65536
        client.connection.connection_lost(None)
        await settle()

    run(main())


def test_a_more_urgent_answer_is_sent_first_and_a_priority_update_counts() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({**BODY, "body": bytes(40000)})

    async def main() -> None:
        client = await http2_client(app, credit=False)
        client.h2.increment_flow_control_window(1)  # something to write
        await client.ask()  # uses the connection's window up, but for 25535 bytes
        low = await client.ask([*GET, (b"priority", b"u=6")])
        high = await client.ask([*GET, (b"priority", b"u=1")])
        got = [len(client.answer(number).body) for number in (low, high)]
        assert got == [25536, 0]
        client.h2.increment_flow_control_window(30000)
        await client.go()
        got = [len(client.answer(number).body) for number in (low, high)]
        assert got == [25536, 30000]
        update = low.to_bytes(4, "big") + b"u=0"
        await client.say(frame(0x10, 0, 0, update))
        client.h2.increment_flow_control_window(14464)
        await client.go()
        assert client.answer(low).ended

    run(main())


def test_a_stream_that_its_peer_does_not_read_is_reset_and_others_are_not() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({**BODY, "body": bytes(100)})

    async def main() -> None:
        client = await http2_client(app, credit=False)
        client.h2.update_settings({4: 0})
        await client.go()
        stalled = await client.ask()
        client.wire.sweep(0.0)
        client.wire.sweep(59.0)
        await client.go()
        assert client.answer(stalled).reset is None
        client.wire.sweep(60.0)
        await client.go()
        assert client.answer(stalled).reset == 8
        client.h2.update_settings({4: 1000})
        await client.go()
        assert client.answer(await client.ask()).ended

    run(main())


def test_a_body_that_does_not_come_is_408() -> None:
    async def main() -> None:
        client = await http2_client(echo_late)
        number = await client.ask(POST, end=False)
        client.wire.sweep(0.0)
        client.wire.sweep(30.0)
        await client.go()
        assert client.answer(number).status == 408

    async def echo_late(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await hello(scope, receive, send)

    run(main())


def test_a_rest_of_a_body_that_nobody_wants_is_waited_for_a_moment() -> None:
    async def main() -> None:
        client = await http2_client(hello)
        number = await client.ask(POST, b"x", end=False)
        assert client.answer(number).ended
        assert client.answer(number).reset is None
        client.wire.sweep(0.0)
        client.wire.sweep(2.0)
        await client.go()
        assert client.answer(number).reset == 0
        assert not client.wire.streams

    run(main())
