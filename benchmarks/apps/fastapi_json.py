"""A FastAPI application with one JSON route; what most users of an ASGI server run."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.get("/json")
async def read_greeting() -> dict[str, str]:
    return {"message": "Hello, World!"}
