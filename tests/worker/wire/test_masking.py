"""Taking the mask off: one result, whoever does it."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pounce.worker.wire.masking import INT_LIMIT, find_unmask, unmask, unmask_here
from tests.support.frames import xor

MASKS = st.binary(min_size=4, max_size=4)


@given(st.binary(max_size=40), MASKS)
def test_a_mask_comes_off(data: bytes, mask: bytes) -> None:
    assert unmask_here(data, mask) == xor(data, mask)
    assert unmask(data, mask) == xor(data, mask)


@pytest.mark.parametrize("size", [INT_LIMIT - 1, INT_LIMIT, INT_LIMIT + 1, 4 * INT_LIMIT + 3])
def test_a_mask_comes_off_whatever_the_size(size: int) -> None:
    data = bytes(at % 251 for at in range(size))
    assert unmask_here(data, b"\x01\x80\x00\xff") == xor(data, b"\x01\x80\x00\xff")
    assert type(unmask_here(data, b"abcd")) is bytes


def test_the_helper_in_c_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply_mask(data: bytes, mask: bytes) -> bytes:
        return b""

    speedups = ModuleType("websockets.speedups")
    speedups.apply_mask = apply_mask  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "websockets", ModuleType("websockets"))
    monkeypatch.setitem(sys.modules, "websockets.speedups", speedups)
    assert find_unmask() is apply_mask


def test_without_the_helper_python_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    assert find_unmask() is unmask_here
