"""What a certificate says, as read here and by a library that knows all of it."""

from __future__ import annotations

import contextlib
from datetime import UTC
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from pounce.certificates import pem_certificates, read_certificate
from tests.support.certificates import LOCAL, Authority

ATTRIBUTES = (
    NameOID.COMMON_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.LOCALITY_NAME,
    NameOID.STREET_ADDRESS,
    NameOID.USER_ID,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def test_names_and_times_are_read(authority: Authority) -> None:
    names = (*LOCAL, "*.Example.COM", "10.1.2.3", "example.com", "example.com")
    issued = authority.issue(names=names).x509
    found = read_certificate(der(issued))
    assert found.names == (*LOCAL, "*.example.com", "10.1.2.3", "example.com")
    assert found.not_before.astimezone(UTC) == issued.not_valid_before_utc
    assert found.not_after == issued.not_valid_after_utc


def test_times_after_2049_are_written_otherwise_and_read(authority: Authority) -> None:
    issued = authority.issue(days=40 * 365).x509
    assert read_certificate(der(issued)).not_after == issued.not_valid_after_utc
    assert issued.not_valid_after_utc.year > 2049


def test_where_no_names_are_given_it_is_for_its_common_name(authority: Authority) -> None:
    assert read_certificate(der(authority.issue("Old.example", names=()).x509)).names == (
        "old.example",
    )


values = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\0"), min_size=1, max_size=20
)


@given(st.lists(st.tuples(st.sampled_from(ATTRIBUTES), values), max_size=4))
def test_any_subject_is_written_as_rfc_4514_says(
    authority: Authority, parts: list[tuple[x509.ObjectIdentifier, str]]
) -> None:
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
    issued = authority.issue(names=(), subject=subject).x509
    assert read_certificate(der(issued)).subject == subject.rfc4514_string()


def test_values_that_stand_together_and_types_that_nobody_knows_are_written_too(
    authority: Authority,
) -> None:
    together = x509.RelativeDistinguishedName(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "a"),
            x509.NameAttribute(NameOID.USER_ID, "b"),
        ]
    )
    unknown = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b")])
    issued = authority.issue(names=(), subject=x509.Name([together, unknown])).x509
    said = read_certificate(der(issued)).subject
    assert said in (
        "1.2.840.113549.1.9.1=#1603614062,CN=a+UID=b",  # RFC 4514 section 2.4
        "1.2.840.113549.1.9.1=#1603614062,UID=b+CN=a",  # a set has no order
    )


@given(st.data())
def test_what_is_no_certificate_is_refused_and_nothing_else_happens(
    authority: Authority, data: st.DataObject
) -> None:
    good = der(authority.x509)
    at = data.draw(st.integers(0, len(good) - 1))
    spoilt = data.draw(
        st.one_of(
            st.binary(max_size=200),
            st.just(good[:at]),
            st.integers(0, 255).map(lambda byte: good[:at] + bytes([byte]) + good[at + 1 :]),
        )
    )
    with contextlib.suppress(ValueError):
        read_certificate(spoilt)


def test_a_chain_is_read_in_its_order_and_other_things_are_left_out(tmp_path: Path) -> None:
    root = Authority(tmp_path)
    middle = Authority(tmp_path, "middle", below=root)
    pair = middle.issue()
    text = b"a remark\n" + pair.key.read_bytes() + pair.cert.read_bytes()
    assert pem_certificates(text) == [der(pair.x509), der(middle.x509)]
    assert pem_certificates(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n") == []
    assert pem_certificates(pair.key.read_bytes()) == []
