"""What of a compressed message is held against the limits: what it was, not what came of it."""

from __future__ import annotations

import random

import pytest

from pounce.worker.wire.websocket import FrameLimits
from tests.support.frames import BINARY, CONT, FIN, RSV1, frame
from tests.worker.wire.test_websocket import every, packed, read


@pytest.mark.parametrize("step", [1000, 10_000_000], ids="{} bytes at a time".format)
@pytest.mark.parametrize("fragments", [1, 3])
def test_what_compressing_made_longer_is_measured_by_what_it_was(step: int, fragments: int) -> None:
    limits = FrameLimits(max_message=10_000)
    noise = random.Random(1).randbytes(10_001)
    for size, expected in (
        (10_000, ("binary", noise[:-1])),
        (10_001, ("failed", 1009, "message over 10000 bytes")),
    ):
        payload = packed(noise[:size])
        assert len(payload) > limits.max_message
        part = len(payload) // fragments + 1
        pieces = [payload[at : at + part] for at in range(0, len(payload), part)]
        stream = b"".join(
            frame(
                (FIN if number == fragments else 0) | (BINARY | RSV1 if number == 1 else CONT),
                piece,
            )
            for number, piece in enumerate(pieces, 1)
        )
        assert read(stream, every(step, stream), limits=limits, deflate=True) == [expected]


def test_what_is_far_longer_than_compressing_could_have_made_it_is_refused_on_its_head() -> None:
    limits = FrameLimits(max_message=10_000)
    head = frame(FIN | BINARY | RSV1, form=2, size=12_000)
    assert read(head, limits=limits, deflate=True) == [("failed", 1009, "message over 10000 bytes")]
