"""The extensions a client offers: the field's grammar, and what of compression is agreed to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pounce.worker.wire.extensions import (
    Agreed,
    DeflateRules,
    Offer,
    agree_deflate,
    parse_extensions,
)

NAME = "permessage-deflate"


@pytest.mark.parametrize(
    ("values", "offers"),
    [
        ([], []),
        ([b""], []),
        ([b" , ,"], []),
        ([b"foo"], [Offer("foo", ())]),
        ([b"foo,bar"], [Offer("foo", ()), Offer("bar", ())]),
        ([b"foo", b"bar , baz"], [Offer("foo", ()), Offer("bar", ()), Offer("baz", ())]),
        ([b",foo,,bar,"], [Offer("foo", ()), Offer("bar", ())]),
        ([b"foo; a; b=1"], [Offer("foo", (("a", None), ("b", "1")))]),
        ([b"\tfoo ;a = 1 ;\tb , bar"], [Offer("foo", (("a", "1"), ("b", None))), Offer("bar", ())]),
        ([b'foo; a="1"'], [Offer("foo", (("a", "1"),))]),
        ([rb'foo; a="\1\2"; b'], [Offer("foo", (("a", "12"), ("b", None)))]),
        ([b"foo;a;a"], [Offer("foo", (("a", None), ("a", None)))]),
    ],
)
def test_offers_are_read_in_their_order(values: list[bytes], offers: list[Offer]) -> None:
    assert parse_extensions(values) == offers


@pytest.mark.parametrize(
    "value",
    [
        b"foo bar",
        b"foo;",
        b"foo; ;a",
        b";a",
        b"foo;,bar",
        b"foo=1",
        b"foo; a=",
        b"foo; =1",
        b"foo; a=1=2",
        b'foo; a="1',
        b'foo; a=""',
        b'foo; a="1 2"',
        b'foo; a="1,2"',
        b'foo; a="1;2"',
        b'foo; a=1"2"',
        b'foo; a="1"2',
        b'"foo"',
        b"foo/bar",
        b"f\xc3\xb6\xc3\xb6",
        b"foo;\x00a",
    ],
)
def test_what_the_grammar_forbids_is_no_list_of_offers(value: bytes) -> None:
    assert parse_extensions([value]) is None
    assert parse_extensions([b"foo", value]) is None


@given(st.lists(st.text(st.sampled_from('ab;,="\\ \t1')).map(str.encode), max_size=3))
def test_any_field_is_read_or_refused(values: list[bytes]) -> None:
    offers = parse_extensions(values)
    assert offers is None or all(offer.name for offer in offers)


WIDE = DeflateRules(server_bits=15, client_bits=15)
NARROW = DeflateRules()  # 12 and 12
SPARING = DeflateRules(15, 15, server_takeover=False, client_takeover=False)


@pytest.mark.parametrize(
    ("offered", "rules", "field", "how"),
    [
        # Nothing asked: the most we allow ourselves; the client's window cannot be narrowed.
        ("", WIDE, "", (15, 15, True, True)),
        ("", NARROW, "; server_max_window_bits=12", (12, 15, True, True)),
        (
            "",
            SPARING,
            "; server_no_context_takeover; client_no_context_takeover",
            (15, 15, False, False),
        ),
        # What a browser offers.
        ("; client_max_window_bits", WIDE, "; client_max_window_bits=15", (15, 15, True, True)),
        (
            "; client_max_window_bits",
            NARROW,
            "; server_max_window_bits=12; client_max_window_bits=12",
            (12, 12, True, True),
        ),
        # The client's window, with a value.
        ("; client_max_window_bits=9", WIDE, "; client_max_window_bits=9", (15, 9, True, True)),
        ("; client_max_window_bits=8", WIDE, "; client_max_window_bits=8", (15, 8, True, True)),
        ('; client_max_window_bits="9"', WIDE, "; client_max_window_bits=9", (15, 9, True, True)),
        (
            "; client_max_window_bits=15",
            NARROW,
            "; server_max_window_bits=12; client_max_window_bits=12",
            (12, 12, True, True),
        ),
        # Ours.
        ("; server_max_window_bits=15", WIDE, "; server_max_window_bits=15", (15, 15, True, True)),
        ("; server_max_window_bits=9", WIDE, "; server_max_window_bits=9", (9, 15, True, True)),
        (
            "; server_max_window_bits=14",
            NARROW,
            "; server_max_window_bits=12",
            (12, 15, True, True),
        ),
        (
            "; server_max_window_bits=10",
            NARROW,
            "; server_max_window_bits=10",
            (10, 15, True, True),
        ),
        # Takeover.
        (
            "; server_no_context_takeover",
            WIDE,
            "; server_no_context_takeover",
            (15, 15, False, True),
        ),
        (
            "; client_no_context_takeover",
            WIDE,
            "; client_no_context_takeover",
            (15, 15, True, False),
        ),
        # All of them.
        (
            "; client_max_window_bits=10; server_max_window_bits=11; client_no_context_takeover; "
            "server_no_context_takeover",
            WIDE,
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11; "
            "client_max_window_bits=10",
            (11, 10, False, False),
        ),
    ],
)
def test_an_offer_of_compression_is_answered(
    offered: str, rules: DeflateRules, field: str, how: tuple[int, int, bool, bool]
) -> None:
    offers = parse_extensions([(NAME + offered).encode()])
    assert offers is not None
    assert agree_deflate(offers, rules) == Agreed(*how, (NAME + field).encode())


DECLINED = [
    "; foo",
    "; foo=1",
    "; server_no_context_takeover=1",
    "; client_no_context_takeover=1",
    "; server_max_window_bits",
    "; server_max_window_bits=8",  # zlib cannot
    "; server_max_window_bits=7",
    "; server_max_window_bits=16",
    "; server_max_window_bits=010",
    "; server_max_window_bits=1e1",
    "; client_max_window_bits=7",
    "; client_max_window_bits=16",
    "; client_max_window_bits=09",
    "; client_max_window_bits=-9",
    "; client_max_window_bits; client_max_window_bits",
    "; client_max_window_bits=9; client_max_window_bits=9",
    "; server_max_window_bits=9; server_max_window_bits=9",
    "; server_no_context_takeover; server_no_context_takeover",
    "; client_no_context_takeover; client_no_context_takeover",
]


@pytest.mark.parametrize("parameters", DECLINED)
def test_an_offer_that_cannot_be_kept_is_declined_and_the_next_one_taken(parameters: str) -> None:
    declined = (NAME + parameters).encode()
    offers = parse_extensions([declined])
    assert offers is not None
    assert agree_deflate(offers, WIDE) is None

    offers = parse_extensions([declined + b", x-other", NAME.encode()])
    assert offers is not None
    assert agree_deflate(offers, WIDE) == Agreed(15, 15, True, True, NAME.encode())


def test_the_client_s_first_acceptable_offer_wins() -> None:
    offers = parse_extensions(
        [b"permessage-deflate; server_max_window_bits=10, permessage-deflate"]
    )
    assert offers is not None
    agreed = agree_deflate(offers, WIDE)
    assert agreed is not None
    assert agreed.field == b"permessage-deflate; server_max_window_bits=10"


def test_other_extensions_are_not_agreed_to() -> None:
    offers = parse_extensions([b"x-webkit-deflate-frame, permessage-bzip2; level=9"])
    assert offers is not None
    assert agree_deflate(offers, WIDE) is None
