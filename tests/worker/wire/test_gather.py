"""Parts of a message: in their order, whatever their sizes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pounce.worker.wire.gather import CRUMB, CRUMBS_LIMIT, Gathered

PARTS = st.lists(
    st.tuples(st.sampled_from(["", "a", "bc", "d" * CRUMB, "e" * (CRUMB - 1)]), st.integers(1, 3)),
    max_size=30,
)


@given(PARTS)
def test_parts_come_together_in_their_order(parts: list[tuple[str, int]]) -> None:
    texts, data = Gathered(""), Gathered(b"")
    expected = ""
    for part, times in parts:
        for _ in range(times * CRUMBS_LIMIT // 2 if len(part) < 3 else times):
            texts.add(part)
            data.add(part.encode())
            expected += part
    assert texts.whole() == expected
    assert data.whole() == expected.encode()


def test_nothing_gathered_is_empty() -> None:
    assert Gathered("").whole() == ""
    assert Gathered(b"").whole() == b""
