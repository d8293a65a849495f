"""The contract in FastAPI."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import BackgroundTasks, Cookie, FastAPI, Form, Request, UploadFile
from fastapi.responses import (
    FileResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from pydantic import BaseModel

from tests.system.apps.contract import DOWNLOAD_NAME, EVENTS, LINES, download, note


class Number(BaseModel):
    number: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    note("started")
    yield {"started": True}
    note("stopped")


app = FastAPI(lifespan=lifespan)


@app.get("/json")
async def get_json(name: str) -> dict[str, str]:
    return {"hello": name}


@app.post("/json")
def post_json(number: Number) -> dict[str, int]:  # not async: it runs in a thread
    return {"twice": 2 * number.number}


@app.post("/form")
async def form(
    name: Annotated[str, Form()], colours: Annotated[list[str], Form()]
) -> dict[str, Any]:
    return {"name": name, "colours": colours}


@app.post("/upload")
async def upload(file: UploadFile, note: Annotated[str, Form()]) -> dict[str, Any]:
    data = await file.read()
    return {
        "note": note,
        "name": file.filename,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


@app.get("/download")
async def get_download() -> Response:
    return FileResponse(download(), filename=DOWNLOAD_NAME)


@app.get("/stream")
async def stream() -> Response:
    return StreamingResponse(iter(LINES), media_type="text/plain")  # pulled in a thread


@app.get("/events")
async def events() -> Response:
    async def lines() -> AsyncIterator[str]:
        for event in EVENTS:
            yield f"data: {json.dumps(event)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


@app.get("/error")
async def error() -> None:
    raise ValueError("the application's own fault")


@app.get("/late-error")
async def late_error() -> Response:
    async def lines() -> AsyncIterator[str]:
        yield "begun\n"
        raise ValueError("the application's late fault")

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/background", response_class=PlainTextResponse)
async def background(tasks: BackgroundTasks) -> str:
    tasks.add_task(note, "background")
    return "answered"


@app.get("/state")
async def state(request: Request) -> dict[str, bool]:
    return {"started": request.state.started}


@app.get("/cookie")
async def cookie() -> Response:
    response = PlainTextResponse("baked")
    response.set_cookie("taste", "sweet", httponly=True)
    response.set_cookie("second", "2")
    return response


@app.get("/cookies")
async def cookies(taste: Annotated[str | None, Cookie()] = None) -> dict[str, str | None]:
    return {"taste": taste}


@app.get("/redirect")
async def redirect() -> Response:
    return RedirectResponse("/json?name=redirected", 302)


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


@app.get("/worker")
async def worker() -> dict[str, int]:
    return {"pid": os.getpid()}
