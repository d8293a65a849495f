"""The status of a server, as the master would say it."""

from __future__ import annotations

from typing import Any

from pounce.ctl.sample import Usage

MIB = 1 << 20


def websockets(**more: Any) -> dict[str, Any]:
    return {
        "open": 0,
        "opened": 0,
        "closed": {},
        "messages_received": 0,
        "messages_sent": 0,
        "bytes_received": 0,
        "bytes_sent": 0,
        "deflate_ratio": None,
        **more,
    }


def worker(slot: int, pid: int, **more: Any) -> dict[str, Any]:
    return {
        "slot": slot,
        "generation": 4,
        "pid": pid,
        "stage": "serving",
        "serving_s": 7320.0,
        "silent_s": 0.3,
        "accepts": True,
        "requests": 123456,
        "connections": 10,
        "accepted": 100,
        "in_flight": 2,
        "memory": 60 * MIB,
        "leaving": False,
        "left_s": None,
        "open_at_drain": None,
        "websockets_at_drain": None,
        "websockets": websockets(),
        **more,
    }


def status(*workers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "ok": True,
        "version": "1.2.3",
        "app": "shop.web:app",
        "pid": 4121,
        "addresses": ["127.0.0.1:8000", "unix:/run/shop.sock"],
        "started_at": 1e9,
        "uptime_s": 8000.0,
        "last_reload": None,
        "state": "serving",
        "generation": 4,
        "coming": 0,
        "slots": 2,
        "slots_out": [],
        "probation_s": None,
        "totals": {"requests": 0, "accepted": 0, "websockets": websockets()},
        "templates": [],
        "workers": list(workers),
        **more,
    }


TWO = status(worker(0, 4140), worker(1, 4141, requests=9_000_000, in_flight=0))

USAGE = {
    4121: Usage(0.4, 9 * MIB, 8 * MIB, 21 * MIB),
    4140: Usage(31.0, 40 * MIB, 30 * MIB, 60 * MIB),
    4141: Usage(97.0, 41 * MIB, 30 * MIB, 61 * MIB),
}
