"""WebSockets in Django Channels, with its layer in memory, as its tutorial builds a chat."""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    SECRET_KEY="of no use outside of a test",
    ROOT_URLCONF=__name__,
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()

from channels.exceptions import DenyConnection  # noqa: E402
from channels.generic.websocket import (  # noqa: E402
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402


def note(line: str) -> None:
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{line}\n")


class Room(AsyncWebsocketConsumer):
    """Tells all in a room what each of them says."""

    async def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if bytes_data is not None:
            await self.send(bytes_data=bytes_data)
        else:
            await self.channel_layer.group_send(self.room, {"type": "said", "text": text_data})

    async def said(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.room, self.channel_name)
        note(f"room {code}")


class Double(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept(self.scope["subprotocols"][0])

    async def receive_json(self, content: Any, **more: Any) -> None:
        if content is None:
            await self.close(4000, "nothing to double")
        else:
            await self.send_json(2 * content)

    async def disconnect(self, code: int) -> None:
        note(f"double {code}")


class InThread(JsonWebsocketConsumer):
    """Runs in a thread."""

    def receive_json(self, content: Any, **more: Any) -> None:
        self.send_json({"got": content})

    def disconnect(self, code: int) -> None:
        note(f"thread {code}")


class Denied(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        raise DenyConnection

    async def disconnect(self, code: int) -> None:
        note(f"denied {code}")


class Broken(AsyncWebsocketConsumer):
    async def receive(self, **data: Any) -> None:
        raise ValueError("the application's own fault")


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


urlpatterns = [path("", hello)]
app = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter(
            [
                path("room/<room>", Room.as_asgi()),
                path("double", Double.as_asgi()),
                path("thread", InThread.as_asgi()),
                path("denied", Denied.as_asgi()),
                path("broken", Broken.as_asgi()),
            ]
        ),
    }
)
