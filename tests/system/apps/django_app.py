"""The contract in Django, as one file."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import warnings
from collections.abc import AsyncIterator
from typing import Any

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import request_finished
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path

from tests.system.apps.contract import DOWNLOAD_NAME, EVENTS, LINES, download, note

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    SECRET_KEY="of no use outside of a test",
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    # Its own words about errors are not what is tested here. As most users write it: without
    # "disable_existing_loggers", which by default disables the server's logger as well.
    LOGGING={
        "version": 1,
        "handlers": {"none": {"class": "logging.NullHandler"}},
        "loggers": {"django": {"handlers": ["none"], "propagate": False}},
    },
)
django.setup()


def json_view(request: HttpRequest) -> HttpResponseBase:  # not async: it runs in a thread
    if request.method == "POST":
        return JsonResponse({"twice": 2 * json.loads(request.body)["number"]})
    return JsonResponse({"hello": request.GET["name"]})


async def form(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"name": request.POST["name"], "colours": request.POST.getlist("colours")})


async def upload(request: HttpRequest) -> HttpResponseBase:
    part: Any = request.FILES["file"]
    data = part.read()
    return JsonResponse(
        {
            "note": request.POST["note"],
            "name": part.name,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    )


def get_download(request: HttpRequest) -> HttpResponseBase:
    # Django warns that it will read the file in a thread, and has no other way to send one.
    warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous")
    return FileResponse(download().open("rb"), as_attachment=True, filename=DOWNLOAD_NAME)


async def stream(request: HttpRequest) -> HttpResponseBase:
    async def lines() -> AsyncIterator[str]:
        for line in LINES:
            yield line

    return StreamingHttpResponse(lines(), content_type="text/plain; charset=utf-8")


async def events(request: HttpRequest) -> HttpResponseBase:
    async def lines() -> AsyncIterator[str]:
        for event in EVENTS:
            yield f"data: {json.dumps(event)}\n\n"

    return StreamingHttpResponse(lines(), content_type="text/event-stream; charset=utf-8")


async def error(request: HttpRequest) -> HttpResponseBase:
    raise ValueError("the application's own fault")


async def late_error(request: HttpRequest) -> HttpResponseBase:
    async def lines() -> AsyncIterator[str]:
        yield "begun\n"
        raise ValueError("the application's late fault")

    return StreamingHttpResponse(lines(), content_type="text/plain")


async def background(request: HttpRequest) -> HttpResponseBase:
    def once(**_: Any) -> None:
        request_finished.disconnect(once)
        note("background")

    request_finished.connect(once, weak=False)
    return HttpResponse("answered", content_type="text/plain")


async def state(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"started": threading.current_thread() is threading.main_thread()})


async def cookie(request: HttpRequest) -> HttpResponseBase:
    response = HttpResponse("baked", content_type="text/plain")
    response.set_cookie("taste", "sweet", httponly=True)
    response.set_cookie("second", "2")
    return response


async def cookies(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"taste": request.COOKIES.get("taste")})


async def redirect(request: HttpRequest) -> HttpResponseBase:
    return HttpResponseRedirect("/json?name=redirected")


async def echo(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse(request.body, content_type="application/octet-stream")


async def worker(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"pid": os.getpid()})


urlpatterns = [
    path("json", json_view),
    path("form", form),
    path("upload", upload),
    path("download", get_download),
    path("stream", stream),
    path("events", events),
    path("error", error),
    path("late-error", late_error),
    path("background", background),
    path("state", state),
    path("cookie", cookie),
    path("cookies", cookies),
    path("redirect", redirect),
    path("echo", echo),
    path("worker", worker),
]

app = ASGIHandler()
