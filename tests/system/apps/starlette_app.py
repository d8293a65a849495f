"""The contract in Starlette."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from tests.system.apps.contract import DOWNLOAD_NAME, EVENTS, LINES, download, note


async def get_json(request: Request) -> Response:
    return JSONResponse({"hello": request.query_params["name"]})


async def post_json(request: Request) -> Response:
    return JSONResponse({"twice": 2 * (await request.json())["number"]})


async def form(request: Request) -> Response:
    async with request.form() as fields:
        return JSONResponse({"name": fields["name"], "colours": fields.getlist("colours")})


async def upload(request: Request) -> Response:
    async with request.form() as fields:
        part = fields["file"]
        assert isinstance(part, UploadFile)
        data = await part.read()
        return JSONResponse(
            {
                "note": fields["note"],
                "name": part.filename,
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )


async def get_download(request: Request) -> Response:
    return FileResponse(download(), filename=DOWNLOAD_NAME)


async def stream(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        for line in LINES:
            yield line

    return StreamingResponse(lines(), media_type="text/plain")


async def events(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        for event in EVENTS:
            yield f"data: {json.dumps(event)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


async def error(request: Request) -> Response:
    raise ValueError("the application's own fault")


async def late_error(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        yield "begun\n"
        raise ValueError("the application's late fault")

    return StreamingResponse(lines(), media_type="text/plain")


async def background(request: Request) -> Response:
    return PlainTextResponse("answered", background=BackgroundTask(note, "background"))


async def state(request: Request) -> Response:
    return JSONResponse({"started": request.state.started})


async def cookie(request: Request) -> Response:
    response = PlainTextResponse("baked")
    response.set_cookie("taste", "sweet", httponly=True)
    response.set_cookie("second", "2")
    return response


async def cookies(request: Request) -> Response:
    return JSONResponse({"taste": request.cookies.get("taste")})


async def redirect(request: Request) -> Response:
    return RedirectResponse("/json?name=redirected", 302)


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


async def worker(request: Request) -> Response:
    return JSONResponse({"pid": os.getpid()})


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    note("started")
    yield {"started": True}
    note("stopped")


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/json", get_json),
        Route("/json", post_json, methods=["POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/download", get_download),
        Route("/stream", stream),
        Route("/events", events),
        Route("/error", error),
        Route("/late-error", late_error),
        Route("/background", background),
        Route("/state", state),
        Route("/cookie", cookie),
        Route("/cookies", cookies),
        Route("/redirect", redirect),
        Route("/echo", echo, methods=["POST"]),
        Route("/worker", worker),
    ],
)
