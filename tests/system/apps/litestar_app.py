"""The contract in Litestar."""

import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import Cookie, UploadFile
from litestar.enums import RequestEncodingType
from litestar.logging import LoggingConfig
from litestar.params import Body
from litestar.response import File, Redirect, ServerSentEvent, Stream

from tests.system.apps.contract import DOWNLOAD_NAME, EVENTS, LINES, download, note

Plain = Request[Any, Any, Any]


@get("/json")
async def get_json(name: str) -> dict[str, str]:
    return {"hello": name}


@post("/json", status_code=200, sync_to_thread=True)
def post_json(data: dict[str, int]) -> dict[str, int]:
    return {"twice": 2 * data["number"]}


@dataclass
class Fields:
    name: str
    colours: list[str]


@post("/form", status_code=200)
async def form(
    data: Annotated[Fields, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> dict[str, Any]:
    return {"name": data.name, "colours": data.colours}


@dataclass
class Parts:
    note: str
    file: UploadFile


@post("/upload", status_code=200)
async def upload(
    data: Annotated[Parts, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> dict[str, Any]:
    content = await data.file.read()
    return {
        "note": data.note,
        "name": data.file.filename,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


@get("/download")
async def get_download() -> File:
    return File(download(), filename=DOWNLOAD_NAME)


@get("/stream")
async def stream() -> Stream:
    return Stream(iter(LINES), media_type="text/plain; charset=utf-8")


@get("/events")
async def events() -> ServerSentEvent:
    async def data() -> AsyncIterator[str]:
        for event in EVENTS:
            yield json.dumps(event)

    return ServerSentEvent(data())


@get("/error")
async def error() -> None:
    raise ValueError("the application's own fault")


@get("/late-error")
async def late_error() -> Stream:
    async def lines() -> AsyncIterator[str]:
        yield "begun\n"
        raise ValueError("the application's late fault")

    return Stream(lines(), media_type="text/plain")


@get("/background", media_type=MediaType.TEXT, sync_to_thread=False)
def background() -> Response[str]:
    return Response("answered", background=BackgroundTask(note, "background"))


@get("/state")
async def state(request: Plain) -> dict[str, bool]:
    return {"started": request.app.state.started}


@get("/cookie", media_type=MediaType.TEXT)
async def cookie() -> Response[str]:
    return Response(
        "baked",
        cookies=[
            Cookie(key="taste", value="sweet", httponly=True),
            Cookie(key="second", value="2"),
        ],
    )


@get("/cookies")
async def cookies(request: Plain) -> dict[str, str | None]:
    return {"taste": request.cookies.get("taste")}


@get("/redirect", status_code=302)
async def redirect() -> Redirect:
    return Redirect("/json?name=redirected")


@post("/echo", status_code=200, media_type="application/octet-stream")
async def echo(request: Plain) -> Response[bytes]:
    return Response(await request.body(), media_type="application/octet-stream")


@get("/worker")
async def worker() -> dict[str, int]:
    return {"pid": os.getpid()}


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    note("started")
    app.state.started = True
    yield
    note("stopped")


app = Litestar(
    [
        get_json,
        post_json,
        form,
        upload,
        get_download,
        stream,
        events,
        error,
        late_error,
        background,
        state,
        cookie,
        cookies,
        redirect,
        echo,
        worker,
    ],
    lifespan=[lifespan],
    request_max_body_size=None,
    # Its own words about errors are not what is tested here.
    logging_config=LoggingConfig(log_exceptions="never"),
    openapi_config=None,
)
