"""The echo that the documentation of pounce began with, to the letter."""


async def websocket_app(scope, receive, send):  # type: ignore[no-untyped-def]
    assert scope["type"] == "websocket"

    # Wait for connection
    event = await receive()
    assert event["type"] == "websocket.connect"

    # Accept the connection
    await send({"type": "websocket.accept"})

    # Echo messages
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            break
        await send({
            "type": "websocket.send",
            "text": event.get("text", ""),
        })  # fmt: skip
