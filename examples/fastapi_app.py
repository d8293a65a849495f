"""A small FastAPI application: ``pounce --app-dir examples fastapi_app:app``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, PositiveInt


class Order(BaseModel):
    item: str
    count: PositiveInt = 1


class State(TypedDict):
    orders: list[Order]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    """Runs once in each worker: connections to a database would be opened and closed here."""
    yield {"orders": []}


app = FastAPI(lifespan=lifespan)


@app.post("/orders", status_code=201)
async def add_order(order: Order, request: Request) -> dict[str, int]:
    orders: list[Order] = request.state.orders
    orders.append(order)
    return {"number": len(orders)}


@app.get("/orders/{number}")
async def get_order(number: PositiveInt, request: Request) -> Order:
    orders: list[Order] = request.state.orders
    if number > len(orders):
        raise HTTPException(404, f"there is no order {number} in this worker")
    return orders[number - 1]
