"""What a certificate says: for whom it is, and from when to when. Trusts nobody, verifies nothing.

The standard library reads a certificate only where it has been verified, which a server's own is
not. Source: RFC 5280 §4.1 and §4.2.1.6; X.690 for the encoding.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

PEM: Final = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.*?)-----END (?:X509 |TRUSTED )?CERTIFICATE",
    re.DOTALL,
)
TIME: Final = re.compile(r"([0-9]{4})" + 5 * r"([0-9]{2})" + "Z")
UTC_TIME: Final = 0x17
VERSION: Final = 0xA0
EXTENSIONS: Final = 0xA3
OCTET_STRING: Final = 0x04
DNS_NAME: Final = 0x82
IP_ADDRESS: Final = 0x87
SUBJECT_ALT_NAME: Final = "2.5.29.17"
COMMON_NAME: Final = "2.5.4.3"
# The names that every reader of RFC 4514 knows (§3, table); others are written as numbers.
SHORT: Final = {
    COMMON_NAME: "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
CODECS: Final = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}


class Part(NamedTuple):
    """One element of DER.

    Attributes:
        whole: with its tag and length.
    """

    tag: int
    value: bytes
    whole: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is of interest in one certificate.

    Attributes:
        subject: whom it names, as RFC 4514 writes it.
        names: host names and addresses it is for, the former in lower case; the common name where
            it says no others.
        not_before, not_after: when it is good.
    """

    subject: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime


def pem_certificates(data: bytes) -> list[bytes]:
    """The DER of each certificate in a PEM file; what is no base64 is left out."""
    found = []
    for each in PEM.finditer(data):
        try:
            found.append(base64.b64decode(b"".join(each[1].split()), validate=True))
        except binascii.Error:
            continue
    return found


def read_certificate(der: bytes) -> Certificate:
    """What the certificate says.

    Raises:
        ValueError: it is none.
    """
    try:
        return _read(der)
    except (IndexError, StopIteration, OverflowError) as error:
        raise ValueError(f"no certificate: {error!r}") from None


def _read(der: bytes) -> Certificate:
    signed = next(_parts(next(_parts(der)).value))
    fields = [part for part in _parts(signed.value) if part.tag != VERSION]
    _serial, _algorithm, _issuer, validity, subject = fields[:5]
    not_before, not_after = (_time(part) for part in _parts(validity.value))
    names = [name for part in fields[5:] if part.tag == EXTENSIONS for name in _names(part)]
    relative = [[_attribute(one) for one in _parts(each.value)] for each in _parts(subject.value)]
    if not names:
        names = [
            text.lower()
            for each in relative
            for oid, text, _ in each
            if oid == COMMON_NAME and text is not None
        ]
    return Certificate(
        # The last comes first (RFC 4514 §2.1).
        subject=",".join("+".join(map(_written, each)) for each in reversed(relative)),
        names=tuple(dict.fromkeys(names)),
        not_before=not_before,
        not_after=not_after,
    )


def _parts(data: bytes) -> Iterator[Part]:
    at = 0
    while at < len(data):
        begin, tag, size = at, data[at], data[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + size > len(data):
            raise ValueError("no certificate: it is cut off")
        yield Part(tag, data[at : at + size], data[begin : at + size])
        at += size


def _time(part: Part) -> datetime:
    text = part.value.decode("ascii")
    if part.tag == UTC_TIME:  # up to 2049 (RFC 5280 §4.1.2.5.1)
        text = ("19" if text[:2] >= "50" else "20") + text
    found = TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"no certificate: {text!r} is no time")
    return datetime(*map(int, found.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]


def _names(extensions: Part) -> Iterator[str]:
    for extension in _parts(next(_parts(extensions.value)).value):
        oid, *_, content = _parts(extension.value)
        if _oid(oid.value) != SUBJECT_ALT_NAME or content.tag != OCTET_STRING:
            continue
        for name in _parts(next(_parts(content.value)).value):
            if name.tag == DNS_NAME:
                yield name.value.decode("ascii").lower()
            elif name.tag == IP_ADDRESS:
                yield str(ipaddress.ip_address(name.value))


def _oid(value: bytes) -> str:
    numbers, number = [], 0
    for byte in value:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _attribute(part: Part) -> tuple[str, str | None, bytes]:
    """Type, value as text (None where it is none), and value as it came."""
    oid, value = _parts(part.value)
    codec = CODECS.get(value.tag)
    return _oid(oid.value), value.value.decode(codec) if codec else None, value.whole


def _written(attribute: tuple[str, str | None, bytes]) -> str:
    oid, text, raw = attribute
    short = SHORT.get(oid)
    if short is None or text is None:
        return f"{short or oid}=#{raw.hex()}"  # RFC 4514 §2.4
    escaped = re.sub(r'(["+,;<>\\])', r"\\\1", text).replace("\0", "\\00")
    if escaped[:1] in (" ", "#"):
        escaped = "\\" + escaped
    if escaped.endswith(" ") and len(text) > 1:
        escaped = escaped[:-1] + "\\ "
    return f"{short}={escaped}"
