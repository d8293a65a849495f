"""A FastAPI application of some size, made by a loop: 60 models, 60 routes, and two to measure by.

What a service of a few thousand lines has in its workers' memory, and takes to import.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, create_model
from starlette.requests import Request
from starlette.responses import PlainTextResponse

ROUTES = 60

app = FastAPI(title="A service of some size")


def model_of(number: int) -> type[BaseModel]:
    """Sixteen fields: what a table of a database may have."""
    texts: dict[str, Any] = {f"text_{at}": (str, "") for at in range(6)}
    numbers: dict[str, Any] = {f"number_{at}": (int, 0) for at in range(6)}
    rest: dict[str, Any] = {
        "share": (float, 0.0),
        "is_open": (bool, True),
        "tags": (list[str], []),
        "by_name": (dict[str, int], {}),
    }
    return create_model(f"Record{number}", **texts, **numbers, **rest)


def endpoint_of(model: type[BaseModel]) -> Callable[..., Awaitable[Any]]:
    async def take(record: Any) -> Any:
        return record

    take.__annotations__["record"] = model  # FastAPI reads it off here
    return take


for number in range(ROUTES):
    record = model_of(number)
    app.add_api_route(
        f"/records/{number}", endpoint_of(record), methods=["POST"], response_model=record
    )


async def say_pid(_: Request) -> PlainTextResponse:
    """Which worker this is."""
    return PlainTextResponse(str(os.getpid()))


async def collect(_: Request) -> PlainTextResponse:
    """A full collection, which writes into every object that it may visit."""
    gc.collect()
    return PlainTextResponse(str(os.getpid()))


app.add_route("/pid", say_pid)
app.add_route("/collect", collect)
