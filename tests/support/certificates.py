"""Certificates made for one test: an authority, and whom it vouches for. None is ever committed."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM
LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its key."""

    cert: Path
    key: Path
    x509: x509.Certificate

    @property
    def options(self) -> tuple[str, ...]:
        return "--certfile", str(self.cert), "--keyfile", str(self.key)

    @property
    def pem(self) -> str:
        return self.x509.public_bytes(PEM).decode()


class Authority:
    """Signs certificates; `cert` is what a client must trust.

    Args:
        below: the authority that vouches for this one; its chain goes into each file.
    """

    def __init__(self, folder: Path, name: str = "ca", *, below: Authority | None = None) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} of the tests")])
        self._chain = b""
        signer = below or self
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = (
            _builder(self._name, signer._name, days=30)
            .public_key(self._key.public_key())
            .add_extension(constraints, critical=True)
            .sign(signer._key, hashes.SHA256())
        )
        self.x509 = certificate
        self.cert = folder / f"{name}.pem"
        self.cert.write_bytes(certificate.public_bytes(PEM))
        if below:
            self._chain = certificate.public_bytes(PEM)

    def issue(
        self,
        name: str = "server",
        *,
        names: tuple[str, ...] = LOCAL,
        subject: x509.Name | None = None,
        days: int = 10,
        begins: int = -1,
        password: str = "",
    ) -> Pair:
        """A key and its certificate, in files that begin with `name`; those there are replaced.

        Args:
            days, begins: from today, when it ends and begins.
            password: of the key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        if subject is None:
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self._name, days=days, begins=begins)
        if names:
            alternatives = x509.SubjectAlternativeName([_general(each) for each in names])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.public_key(key.public_key()).sign(self._key, hashes.SHA256())
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password.encode())
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key", certificate)
        pair.key.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption))
        pair.cert.write_bytes(certificate.public_bytes(PEM) + self._chain)
        return pair


def _builder(
    subject: x509.Name, issuer: x509.Name, *, days: int, begins: int = -1
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=days))
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
