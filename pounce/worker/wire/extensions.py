"""The Sec-WebSocket-Extensions field: its grammar, and what of permessage-deflate is agreed to.

Knows what the two sides may say to each other, and nothing of compressing itself.

Source: RFC 6455 §9.1 (grammar), RFC 7692 §5 and §7.1 (negotiation).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from pounce.worker.wire.h1_request import TOKEN, TOKEN_ONLY

PERMESSAGE_DEFLATE: Final = "permessage-deflate"

# One parameter, or an extension's name, with what ends it. A quoted value has to be a token once it
# is unquoted, so that a comma or semicolon inside the quotes is an error and nothing to skip.
PART: Final = re.compile(
    rb"[ \t]*(" + TOKEN + rb"++)(?:[ \t]*=[ \t]*(?:(" + TOKEN + rb'++)|"((?:[^"\\]|\\.)*+)"))?'
    rb"[ \t]*([;,]|\Z)"
)
EMPTY_ELEMENT: Final = re.compile(rb"[ \t]*(?:,|\Z)")
ESCAPE: Final = re.compile(rb"\\(.)")
BITS: Final = re.compile("[89]|1[0-5]")  # RFC 7692 §7.1.2.1: no leading zeros

# zlib cannot compress with a window of 256 bytes: it takes 512, and the peer may have no room for
# that. Inflating is no matter: a larger window reads what a smaller one wrote.
LEAST_DEFLATE_BITS: Final = 9


class Offer(NamedTuple):
    """One extension that the client offers. A parameter without a value has None."""

    name: str
    parameters: tuple[tuple[str, str | None], ...]


class DeflateRules(NamedTuple):
    """What the server is ready to spend on compression.

    12 bits, 4 KiB, each way: a compressor of 15 costs 256 KiB of memory for a few percent of size.

    Attributes:
        server_bits, client_bits: windows of 2**n bytes, 9 to 15, for what we and the client send.
        server_takeover, client_takeover: messages are compressed with those before as their
            dictionary; without it memory is given back after each message.
    """

    server_bits: int = 12
    client_bits: int = 12
    server_takeover: bool = True
    client_takeover: bool = True


class Agreed(NamedTuple):
    """How both sides compress.

    Attributes:
        server_bits, client_bits: the windows' sizes; `client_bits` 15 where nothing was agreed.
        server_takeover, client_takeover: as in DeflateRules.
        field: the value of the answer's Sec-WebSocket-Extensions field.
    """

    server_bits: int
    client_bits: int
    server_takeover: bool
    client_takeover: bool
    field: bytes


def parse_extensions(values: Sequence[bytes]) -> list[Offer] | None:
    """The offers in the order of the client's wish; None if the grammar forbids what is there.

    Args:
        values: of all the Sec-WebSocket-Extensions fields, in their order.
    """
    offers: list[Offer] = []
    for value in values:
        at = 0
        parts: list[tuple[str, str | None]] = []
        while at < len(value):
            if not parts and (empty := EMPTY_ELEMENT.match(value, at)):
                at = empty.end()  # RFC 9110 §5.6.1.2: a list's empty elements are ignored
                continue
            part = PART.match(value, at)
            if part is None:
                return None
            name, plain, quoted, ending = part.groups()
            if quoted is not None:
                plain = ESCAPE.sub(rb"\1", quoted)
                if not TOKEN_ONLY.fullmatch(plain):
                    return None
            if not parts and plain is not None:
                return None  # an extension's name has no value
            parts.append((name.decode("ascii"), None if plain is None else plain.decode("ascii")))
            at = part.end()
            if ending != b";":
                offers.append(Offer(parts[0][0], tuple(parts[1:])))
                parts = []
        if parts:
            return None  # ends in a semicolon
    return offers


def agree_deflate(offers: Sequence[Offer], rules: DeflateRules) -> Agreed | None:
    """The first offer of permessage-deflate that can be accepted, and how; None without one."""
    for offer in offers:
        if offer.name == PERMESSAGE_DEFLATE:
            agreed = _accept(offer, rules)
            if agreed is not None:
                return agreed
    return None


def _accept(offer: Offer, rules: DeflateRules) -> Agreed | None:
    """None declines the offer: a parameter is unknown, comes twice, or is more than can be done."""
    server_bits, client_bits = rules.server_bits, 15
    server_takeover, client_takeover = rules.server_takeover, rules.client_takeover
    seen: set[str] = set()
    for name, value in offer.parameters:
        if name in seen:
            return None
        seen.add(name)
        if value is not None and name.endswith("max_window_bits") and not BITS.fullmatch(value):
            return None
        match name:
            case "server_no_context_takeover" if value is None:
                server_takeover = False
            case "client_no_context_takeover" if value is None:
                client_takeover = False
            case "server_max_window_bits" if value is not None:
                server_bits = min(server_bits, int(value))
                if server_bits < LEAST_DEFLATE_BITS:
                    return None
            case "client_max_window_bits":
                client_bits = min(rules.client_bits, int(value or 15))
            case _:
                return None
    answer = [PERMESSAGE_DEFLATE]
    if not server_takeover:
        answer.append("server_no_context_takeover")
    if not client_takeover:
        answer.append("client_no_context_takeover")
    if server_bits < 15 or "server_max_window_bits" in seen:
        answer.append(f"server_max_window_bits={server_bits}")
    if "client_max_window_bits" in seen:  # only then may it be in the answer (RFC 7692 §7.1.2.2)
        answer.append(f"client_max_window_bits={client_bits}")
    field = "; ".join(answer).encode("ascii")
    return Agreed(server_bits, client_bits, server_takeover, client_takeover, field)
