"""The chunked coding: every edge, whole and in any pieces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pounce.worker.wire import chunked
from pounce.worker.wire.chunked import (
    EXTENSION_LIMIT,
    FORBIDDEN_TRAILERS,
    TRAILER_FIELDS_LIMIT,
    TRAILER_LIMIT,
    ChunkedDecoder,
)
from pounce.worker.wire.h1_request import Refusal


def decode(data: bytes, step: int = 1 << 30) -> tuple[bytes, bytes, bool]:
    """Body, what is behind its end, and whether the end was there."""
    decoder = ChunkedDecoder()
    body = b""
    for at in range(0, len(data), step):
        pieces, rest = decoder.feed(data[at : at + step])
        body += b"".join(pieces)
        if decoder.done:
            return body, rest + data[at + step :], True
    return body, b"", False


GOOD = {
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "several": (b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
    "none": (b"0\r\n\r\n", b""),
    "upper and lower case": (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    "leading zeros": (b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    "extension": (b'5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n', b"hello"),
    "trailers": (b"5\r\nhello\r\n0\r\nX-A: 1\r\nX-B:\r\n\r\n", b"hello"),
    "data that looks like framing": (b"7\r\n0\r\n\r\n0\r\r\n0\r\n\r\n", b"0\r\n\r\n0\r"),
}
BAD = {
    "no size": b"\r\nhello\r\n",
    "not hexadecimal": b"g\r\n",
    "0x": b"0x5\r\nhello\r\n",
    "sign": b"+5\r\nhello\r\n",
    "space before": b" 5\r\nhello\r\n",
    "space behind": b"5 \r\nhello\r\n",
    "space before the extension": b"5 ;a\r\nhello\r\n",
    "underscore": b"0_5\r\nhello\r\n",
    "16 digits": b"0000000000000005\r\nhello\r\n",
    "bare LF behind the size": b"5\nhello\r\n",
    "bare CR behind the size": b"5\rhello\r\n",
    "LF in the extension": b"5;a\nhello\r\n",
    "CR in the extension": b"5;a\rb\r\nhello\r\n",
    "NUL in the extension": b"5;a\0\r\nhello\r\n",
    "8 bits in the extension": b"5;\xff\r\nhello\r\n",
    "data too long": b"5\r\nhello!\r\n",
    "no CRLF behind the data": b"5\r\nhello0\r\n\r\n",
    "bare LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "CR without LF behind the data": b"5\r\nhello\rX0\r\n\r\n",
    "trailer without colon": b"0\r\nnonsense\r\n\r\n",
    "space before the colon": b"0\r\nX : 1\r\n\r\n",
    "folded trailer": b"0\r\nX: 1\r\n 2\r\n\r\n",
    "NUL in a trailer": b"0\r\nX: \0\r\n\r\n",
    "bare CR in a trailer": b"0\r\nX: a\rb\r\n\r\n",
    "bare LF in a trailer": b"0\r\nX: a\nY: b\r\n\r\n",
}


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
@pytest.mark.parametrize("name", GOOD)
def test_a_body_comes_out_and_what_follows_is_left(name: str, step: int) -> None:
    data, body = GOOD[name]
    assert decode(data + b"GET / HTTP/1.1", step) == (body, b"GET / HTTP/1.1", True)


@pytest.mark.parametrize("name", GOOD)
def test_a_body_cut_anywhere_is_not_whole(name: str) -> None:
    data, body = GOOD[name]
    for size in range(len(data)):
        part, rest, done = decode(data[:size])
        assert body.startswith(part)
        assert (rest, done) == (b"", False)


@pytest.mark.parametrize("step", [1, 2, 1000])
@pytest.mark.parametrize("name", BAD)
def test_anything_doubtful_is_refused(name: str, step: int) -> None:
    with pytest.raises(Refusal) as caught:
        decode(BAD[name], step)
    assert caught.value.status == 400


@pytest.mark.parametrize("name", sorted(FORBIDDEN_TRAILERS))
def test_a_trailer_may_not_change_framing_or_routing(name: bytes) -> None:
    with pytest.raises(Refusal, match="framing or routing") as caught:
        decode(b"0\r\n" + name.title() + b": 5\r\n\r\n")
    assert caught.value.status == 400


@pytest.mark.parametrize("step", [1, 1 << 30])
@pytest.mark.parametrize(
    "begun",
    [b"g", b"-", b"5 ", b"5x", b"0" * 16, b"5\rx", b"5;a\n", b"5;a\rb", b"5;" + b"a" * 50 + b"\0"],
)
def test_what_cannot_become_a_size_is_refused_before_its_line_ends(begun: bytes, step: int) -> None:
    assert decode(begun[:-1], step) == (b"", b"", False)
    with pytest.raises(Refusal, match="hexadecimal number of up to 15 digits") as caught:
        decode(begun, step)
    assert caught.value.status == 400


# Bounds


def refused(data: bytes, step: int) -> str:
    """Why, or "" where it is not."""
    try:
        decode(data, step)
    except Refusal as refusal:
        return f"{refusal.status} {refusal}"
    return ""


@pytest.mark.parametrize("step", [1, 1000, 1 << 30])
def test_an_extension_may_be_so_long_and_not_longer(step: int) -> None:
    for digits in (b"1", b"00000000000000a"):
        line = digits + b";" + b"a" * (EXTENSION_LIMIT - 1)
        assert refused(line + b"\r\nx\r\n", step) == ""
        assert "400 chunk extensions over" in refused(line + b"a\r\n", step)
    assert "400 chunk extensions over" in refused(b"5;" + b"a" * (EXTENSION_LIMIT + 20), step)


@pytest.mark.parametrize("step", [1, 1000, 1 << 30])
def test_trailers_may_be_so_long_and_not_longer(step: int) -> None:
    trailers = b"0\r\nX: y\r\nX: " + b"a" * (TRAILER_LIMIT - 11)
    assert decode(trailers + b"\r\n\r\n", step)[2]
    assert "400 trailers over" in refused(trailers + b"a\r\n", step)
    assert "400 trailers over" in refused(trailers + b"aaaa", step)


def test_many_extensions_add_up() -> None:
    chunk = b"1;" + b"a" * 900 + b"\r\nx\r\n"
    assert decode(chunk * (EXTENSION_LIMIT // 901))[0] == b"x" * (EXTENSION_LIMIT // 901)
    with pytest.raises(Refusal, match="extensions over"):
        decode(chunk * (EXTENSION_LIMIT // 901 + 1))


@pytest.mark.parametrize("step", [1000, 1 << 30])
@pytest.mark.parametrize(
    "trailers",
    [
        b"X: " + b"a" * TRAILER_LIMIT,
        b"X: " + b"a" * TRAILER_LIMIT + b"\r\n\r\n",
        b"X-Long: a\r\n" * (TRAILER_FIELDS_LIMIT + 1) + b"\r\n",
    ],
    ids=["endless", "long", "many"],
)
def test_trailers_have_a_bound(trailers: bytes, step: int) -> None:
    assert "400 trailers over" in refused(b"0\r\n" + trailers, step)


class Counted:
    """A pattern that notes how many bytes it was given to look at."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self.bytes = 0

    def fullmatch(self, data: bytes, at: int = 0) -> re.Match[bytes] | None:
        self.bytes += len(data) - at
        return self._pattern.fullmatch(data, at)

    def search(self, data: bytes, at: int) -> re.Match[bytes] | None:
        self.bytes += len(data) - at
        return self._pattern.search(data, at)


@pytest.mark.parametrize("begin", [b"5;", b"0\r\nX: "])
def test_a_line_that_drips_is_looked_at_once(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for name in ("SIZE_LINE", "SIZE_LINE_BEGUN", "EXTENSION_BEGUN", "HOPELESS", "FIELD_LINE"):
        counts.append(Counted(getattr(chunked, name)))
        monkeypatch.setattr(chunked, name, counts[-1])
    data = begin + b"a" * 10_000
    decode(data, 1)
    assert len(data) <= sum(count.bytes for count in counts) <= 3 * len(data)


def test_what_cannot_become_a_trailer_is_refused_before_its_line_ends() -> None:
    for wrong in (b"X: a\nY", b"X: \0", b"X: a\rb"):
        for step in (1, 1000):
            with pytest.raises(Refusal, match="control byte"):
                decode(b"0\r\n" + wrong, step)


def test_a_hundred_trailers_pass() -> None:
    assert decode(b"0\r\n" + b"X-Long: a\r\n" * TRAILER_FIELDS_LIMIT + b"\r\n")[2]


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=30),
    behind=st.binary(max_size=20),
)
def test_any_way_of_cutting_gives_the_same(
    chunks: list[bytes], cuts: list[int], behind: bytes
) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    data += b"0\r\nX: y\r\n\r\n" + behind
    decoder, body, at = ChunkedDecoder(), b"", 0
    rest = b""
    while not decoder.done:
        size = cuts[at % len(cuts)]
        pieces, rest = decoder.feed(data[:size])
        data = data[size:]
        body += b"".join(pieces)
        at += 1
    assert body == b"".join(chunks)
    assert rest + data == behind


@given(data=st.binary(max_size=80), step=st.integers(1, 80))
def test_no_bytes_bring_anything_but_a_body_or_a_refusal(data: bytes, step: int) -> None:
    try:
        whole = decode(data)
    except Refusal:
        with pytest.raises(Refusal):
            decode(data, step)
    else:
        assert decode(data, step) == whole
