"""What is left of a WebSocket when it is over: its access line, and its part in the counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from wsproto.events import CloseConnection, Event, RejectConnection, TextMessage
from wsproto.extensions import PerMessageDeflate

from pounce import ipc
from pounce.access_log import AccessLog, LineWriter
from pounce.asgi import App, Receive, Scope, Send
from tests.support.transport import settle
from tests.worker.test_websocket_opening import Client, ask, echo, serve

TEXT = "the same again " * 100


def seen(
    app: App,
    story: Callable[[Client], Awaitable[None]],
    path: Path,
    *,
    afterwards: Callable[[Client], Awaitable[None]] | None = None,
) -> tuple[list[dict[str, Any]], ipc.WebSockets]:
    """The access lines of one client's story, and the counts after it.

    Args:
        afterwards: what happens when the connection is lost.
    """

    async def main() -> ipc.WebSockets:
        service = serve(app)
        service.access = AccessLog(LineWriter(str(path)), worker=7, form="json")
        client = Client(service)
        await story(client)
        client.connection.connection_lost(None)
        await settle()
        if afterwards is not None:
            await afterwards(client)
        assert service.access.flush() == 0
        service.access.writer.close()
        assert not service.running
        assert service.stats.websockets.running == 0
        return service.stats.websockets.look(service.websockets, float("inf"))

    counts = asyncio.run(main())
    return [json.loads(line) for line in path.read_text("ascii").splitlines()], counts


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
def test_a_whole_conversation_is_one_line_and_one_in_the_counts(
    deflate: bool, tmp_path: Path
) -> None:
    wire = {"received": 0, "sent": 0}

    async def story(client: Client) -> None:
        await client.say(ask(extensions=[PerMessageDeflate()] if deflate else []))
        opened = len(client.transport.output)

        async def say(*events: Event) -> None:
            data = b"".join(map(client.wsproto.send, events))
            wire["received"] += len(data)
            client.connection.data_received(data)
            await client.hear()

        await say(TextMessage(data=TEXT), TextMessage(data="a"))
        await say(TextMessage(data=TEXT))
        counts = client.service.stats.websockets.look(client.service.websockets, 1e9)
        assert (counts.open, counts.opened, counts.closed) == (1, 1, {})
        assert (counts.messages_received, counts.messages_sent) == (3, 3)
        await say(CloseConnection(code=4321))
        wire["sent"] = len(client.transport.output) - opened

    (line,), counts = seen(echo, story, tmp_path / "log")
    assert line["status"] == 101
    assert line["target"] == "/chat?b=c"
    assert line["close_code"] == 4321
    assert (line["messages_received"], line["messages_sent"]) == (3, 3)
    assert (line["bytes_received"], line["bytes"]) == (wire["received"], wire["sent"])
    assert line["duration_us"] > 0
    assert counts.closed == {"4xxx": 1}
    assert (counts.open, counts.opened) == (0, 1)
    assert (counts.received, counts.sent) == (wire["received"], wire["sent"])
    if not deflate:
        assert line["deflate_ratio"] is None
        assert (counts.plain, counts.packed) == (0, 0)
        return
    # The client compresses every message, the server none as short as "a".
    assert counts.plain == 4 * len(TEXT) + 1
    assert counts.packed < wire["received"] + wire["sent"] < counts.plain / 4
    assert line["deflate_ratio"] == round(counts.plain / counts.packed, 2)


def test_fragments_of_a_compressed_message_count_as_what_they_make(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        await client.say(ask(extensions=[PerMessageDeflate()]))
        await client.say(
            TextMessage(data=TEXT, message_finished=False), TextMessage(data=TEXT)
        )  # comes back as one

    (line,), counts = seen(echo, story, tmp_path / "log")
    assert (line["messages_received"], line["messages_sent"]) == (1, 1)
    assert counts.plain == 4 * len(TEXT)
    # All but the heads: two with a mask, one without.
    assert counts.packed == counts.received - 2 * 6 + counts.sent - 2


def test_a_lost_connection_is_an_abrupt_end(tmp_path: Path) -> None:
    async def story(client: Client) -> None:
        await client.say(ask())

    (line,), counts = seen(echo, story, tmp_path / "log")
    assert line["close_code"] == 1006
    assert counts.closed == {"1006": 1}


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
def test_what_is_read_after_the_loss_still_counts(deflate: bool, tmp_path: Path) -> None:
    path, gate, codes = tmp_path / "log", asyncio.Event(), list[int]()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await gate.wait()
        while (message := await receive())["type"] != "websocket.disconnect":
            pass
        codes.append(message["code"])

    async def story(client: Client) -> None:
        await client.say(ask(extensions=[PerMessageDeflate()] if deflate else []))
        await client.say(*[TextMessage(data="x" * 10_000)] * 20, CloseConnection(code=1001))

    async def afterwards(client: Client) -> None:
        counts = client.service.stats.websockets.look(client.service.websockets, 1e9)
        assert (counts.open, counts.opened, counts.closed) == (1, 1, {})
        gate.set()
        await settle()

    (line,), counts = seen(slow, story, path, afterwards=afterwards)
    assert codes == [1001]
    assert (line["close_code"], line["messages_received"]) == (1001, 20)
    assert (counts.open, counts.opened, counts.closed) == (0, 1, {"1001": 1})
    assert counts.messages_received == 20
    assert counts.plain == (200_000 if deflate else 0)
    assert (line["deflate_ratio"] is not None) is deflate


async def denies(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})


async def raises(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("before it has decided")


@pytest.mark.parametrize(
    ("app", "headers", "status"),
    [(denies, [], 403), (raises, [], 500), (echo, [(b"Origin", b"http://b")], 403)],
    ids=["denied", "failed", "refused"],
)
def test_a_handshake_that_fails_is_a_request_like_any_other(
    app: App, headers: list[tuple[bytes, bytes]], status: int, tmp_path: Path
) -> None:
    async def story(client: Client) -> None:
        (rejected, *_) = await client.say(ask(extra_headers=headers))
        assert isinstance(rejected, RejectConnection)
        assert client.service.stats.requests == 1

    (line,), counts = seen(app, story, tmp_path / "log")
    assert line["status"] == status
    assert "close_code" not in line
    assert counts == ipc.WebSockets()
