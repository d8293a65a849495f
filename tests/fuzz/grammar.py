"""Makes stories from a seed: sound conversations, wrong frames, and bytes that were spoiled.

Knows RFC 6455's grammar well enough to break it anywhere.
"""

from __future__ import annotations

import zlib
from random import Random
from typing import Final

from pounce.worker.wire.extensions import DeflateRules, agree_deflate, parse_extensions
from tests.fuzz.apps import APPS, READS_ALL
from tests.fuzz.case import Case, Message, Step
from tests.support.frames import BINARY, CLOSE, CONT, FIN, PING, PONG, RSV1, RSV2, RSV3, TEXT, frame

REQUEST: Final = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)
OFFERS: Final = (
    b"permessage-deflate",
    b"permessage-deflate; client_max_window_bits",
    b"permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
    b"permessage-deflate; client_no_context_takeover; server_no_context_takeover",
    b"permessage-deflate; server_no_context_takeover; client_max_window_bits=12",
)
SIZES: Final = (0, 0, 1, 2, 5, 124, 125, 126, 127, 500, 1024, 4000, 65535, 65536, 90_000)
CODES: Final = (1000, 1001, 1003, 1007, 1011, 3000, 4999)
BAD_CODES: Final = (0, 999, 1004, 1005, 1006, 1015, 2000, 5000, 65535)
ENDS: Final = ("eof", "lost", "dismiss", "close", "drain", "cut")
OTHERS: Final = ("turns", "turns", "turns", "stall", "unstall", "jump")


class Talk:
    """One conversation, growing."""

    def __init__(self, random: Random, rules: dict[str, int], offer: bytes) -> None:
        self.random = random
        self.rules = rules
        self.data = bytearray(
            REQUEST % (b"Sec-WebSocket-Extensions: %b\r\n" % offer if offer else b"")
        )
        self.messages: list[Message] = []
        self.sound = -1  # where the first fault is
        self.close = 0
        offers = parse_extensions([offer]) if offer else None
        deflate = DeflateRules(
            server_bits=rules.get("bits", 12),
            client_bits=rules.get("bits", 12),
            client_takeover=bool(rules.get("takeover", 1)),
            server_takeover=bool(rules.get("takeover", 1)),
        )
        self.agreed = agree_deflate(offers, deflate) if offers else None
        self.deflate: zlib._Compress | None = None

    def compressed(self, payload: bytes) -> bytes:
        assert self.agreed is not None
        if self.deflate is None or not self.agreed.client_takeover:
            level = self.random.choice((0, 1, 9))
            self.deflate = zlib.compressobj(level, zlib.DEFLATED, -max(9, self.agreed.client_bits))
        out = self.deflate.compress(payload) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        return out[:-4] or b"\0"

    def fault(self) -> None:
        if self.sound < 0:
            self.sound = len(self.data)

    def add(self, first: int, payload: bytes = b"") -> None:
        self.data += frame(first, payload, mask=self.random.randbytes(4))

    def message(self) -> None:
        random, rules = self.random, self.rules
        size = min(random.choice(SIZES), int(rules["max_message"] * 0.9) - 40)
        is_text = random.random() < 0.5
        payload = (
            ("aä€𝄞"[random.randrange(4)] * size).encode()[: size // 12 * 12]
            if is_text
            else random.choice((bytes, random.randbytes))(size)
        )
        first = TEXT if is_text else BINARY
        body = payload
        if self.agreed is not None and random.random() < 0.6:
            body = self.compressed(payload)
            first |= RSV1
        most = min(rules["max_fragments"] or 9, 9)
        parts = random.randint(1, most) if random.random() < 0.4 else 1
        most_bytes = rules["max_frame"] or len(body) + 1
        if len(body) > most_bytes * parts:
            parts = -(-len(body) // most_bytes)
            if rules["max_fragments"] and parts > rules["max_fragments"]:
                self.fault()
        step = max(1, -(-len(body) // parts))
        pieces = [body[at : at + step] for at in range(0, len(body), step)] or [b""]
        for number, piece in enumerate(pieces):
            last = FIN if number == len(pieces) - 1 else 0
            self.add(last | (CONT if number else first), piece)
            if not last and random.random() < 0.3:
                self.add(FIN | random.choice((PING, PONG)), random.randbytes(random.randrange(126)))
        if self.sound < 0:
            self.messages.append(Message(len(self.data), is_text, payload))

    def flood(self) -> None:
        size = self.random.choice((1, 400))
        for _ in range(1500):
            self.add(FIN | BINARY, bytes(size))
            if self.sound < 0:
                self.messages.append(Message(len(self.data), False, bytes(size)))

    def wrong(self) -> None:
        """A frame that may not come, or one that nobody knows what it is."""
        self.fault()
        random = self.random
        payload = random.randbytes(random.choice((0, 1, 2, 5, 130, 3000)))
        match random.randrange(9):
            case 0:  # anything in the first byte
                self.add(random.randrange(256), payload)
            case 1:  # without a mask
                self.data += frame(FIN | random.choice((TEXT, BINARY, PING)), payload, mask=None)
            case 2:  # a length in a form that is too long, or longer than what is there
                size = random.choice(
                    (0, 5, 125, 126, 65535, 65536, 1 << 40, 1 << 63, (1 << 64) - 1)
                )
                form = random.choice((2, 8)) if size < 65536 else 8
                self.data += frame(FIN | BINARY, payload, form=form, size=size)
            case 3:  # control frames in parts, or too long
                self.add(random.choice((0, FIN)) | random.choice((CLOSE, PING, PONG)), payload)
            case 4:  # a Close with a code that is none
                code = random.choice(BAD_CODES).to_bytes(2, "big")
                self.add(FIN | CLOSE, random.choice((code, code[:1], code + b"\xff")))
            case 5:  # not UTF-8
                self.add(FIN | TEXT, b"a" * random.randrange(300) + b"\xed\xa0\x80")
            case 6:  # nothing deflate knows
                self.add(FIN | RSV1 | random.choice((TEXT, BINARY)), payload)
            case 7:  # a bomb
                packed = zlib.compress(bytes(random.choice((100_000, 3_000_000))), 9, -15)
                self.add(FIN | RSV1 | BINARY, packed)
            case _:  # a message in a message, reserved bits, a continuation of nothing
                for _ in range(random.randrange(1, 30)):
                    flags = random.choice((0, FIN)) | random.choice((0, 0, RSV1, RSV2, RSV3))
                    self.add(flags | random.choice((CONT, TEXT, BINARY)), payload[:100])

    def end(self) -> None:
        random = self.random
        code = random.choice(CODES)
        self.add(FIN | CLOSE, code.to_bytes(2, "big") + random.choice((b"", b"bye")))
        if self.sound < 0:
            self.close = code
        self.fault()
        if random.random() < 0.3:
            self.message()

    def spoil(self) -> None:
        """Something happens to the bytes on their way."""
        random, data = self.random, self.data
        if not data:
            return
        head = len(data) if random.random() < 0.1 else data.find(b"\r\n\r\n") + 4
        at = random.randrange(len(data)) if head >= len(data) else random.randrange(head, len(data))
        other = random.randrange(len(data))
        match random.randrange(6):
            case 0:
                data[at] ^= 1 << random.randrange(8)
            case 1:
                del data[at:]
            case 2:
                del data[at : at + random.randrange(1, 20)]
            case 3:
                data[at:at] = random.randbytes(random.randrange(1, 20))
            case 4:
                data[at:at] = data[min(at, other) : max(at, other)][:5000]
            case _:
                data[at : at + 4] = random.choice((b"\xff" * 4, bytes(4), b"\x88\x80\0\0"))
        if at < self.sound:
            self.close = 0
        self.sound = at if self.sound < 0 else min(self.sound, at)


def make(seed: int) -> Case:
    """The story of a seed."""
    random = Random(seed)
    if random.random() < 0.15:
        return make_http(random)
    rules = {
        "max_message": random.choice((1000, 5000, 70_000, 300_000)),
        "max_frame": random.choice((0, 0, 500, 70_000)),
        "max_fragments": random.choice((0, 4, 1024)),
        "queue": random.choice((1, 1000, 65536)),
        "max_rate": random.choice((0, 0, 0, 3)),
        "bits": random.choice((9, 12, 15)),
        "takeover": random.choice((0, 1, 1)),
        "smallest": random.choice((0, 32, 1000)),
        "httptools": random.choice((0, 1)),
    }
    offer = random.choice((b"", *OFFERS))
    talk = Talk(random, rules, offer)
    for _ in range(random.choice((1, 3, 8, 20))):
        draw = random.random()
        if draw < 0.65:
            talk.message()
        elif draw < 0.7:  # more than an inbox takes
            talk.flood()
        elif draw < 0.9:
            times = random.choice((1, 1, 1, 400, 3000))
            for _ in range(times):
                talk.add(
                    FIN | random.choice((PING, PONG)), random.randbytes(random.choice((0, 125)))
                )
        elif draw < 0.97:
            talk.wrong()
        else:
            talk.end()
    if random.random() < 0.3:
        talk.end()
    if random.random() < 0.4:
        for _ in range(random.choice((1, 1, 1, 5))):
            talk.spoil()
    app = random.choice((*READS_ALL, *READS_ALL, *APPS))
    sound = len(talk.data) if talk.sound < 0 else talk.sound
    steps = tuple(played(random, bytes(talk.data), gentle=app in READS_ALL))
    messages = tuple(each for each in talk.messages if each.end <= sound)
    close = talk.close if talk.close and len(messages) == len(talk.messages) else 0
    return Case(app, steps, rules, messages, sound, close)


def make_http(random: Random) -> Case:
    """Requests, whole and spoiled, in place of WebSockets."""
    some = (
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        REQUEST % b"",
    )
    talk = Talk(random, {"max_message": 1000}, b"")
    talk.data = bytearray(b"".join(random.choice(some) for _ in range(random.choice((1, 2, 9)))))
    for _ in range(random.choice((0, 1, 3))):
        if talk.data:
            talk.spoil()
    rules = {"max_message": 1000, "httptools": random.choice((0, 1))}
    return Case("reader", tuple(played(random, bytes(talk.data), gentle=False)), rules)


def played(random: Random, data: bytes, *, gentle: bool) -> list[Step]:
    """The bytes in pieces, and what else happens meanwhile."""
    most = random.choice((1, 7, 100, 5000, 65536, 65536))
    if len(data) > 300 * most:
        most = len(data) // 300
    disturbed = random.random() < (0.4 if gentle else 0.7)
    steps: list[Step] = []
    at = 0
    while at < len(data):
        size = random.randint(1, most)
        steps.append(("data", data[at : at + size]))
        at += size
        if random.random() < 0.3:
            steps.append(("turns", random.choice((1, 2, 10))))
        if disturbed and random.random() < 0.15:
            steps.append(other(random))
    if disturbed:
        steps.insert(random.randint(0, len(steps)), (random.choice(ENDS), 0))
    elif random.random() < 0.5:
        steps.append(("turns", 30))
    return steps


def other(random: Random) -> Step:
    what = random.choice(OTHERS)
    much = {"turns": random.choice((1, 3, 30)), "jump": random.choice((1, 5, 31, 400))}
    return what, much.get(what, 0)
