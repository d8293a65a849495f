"""``pounce dev-cert``: a certificate of one's own, to try https at home. Nobody else trusts it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pounce.errors import ExtraMissing, UsageError

if TYPE_CHECKING:
    from cryptography import x509

NAMES: Final = ("localhost", "127.0.0.1", "::1")
# Browsers refuse what is good for longer than 398 days, whoever has signed it.
DAYS: Final = 365
CERTIFICATE: Final = "dev-cert.pem"
KEY: Final = "dev-key.pem"


@dataclass(frozen=True, slots=True)
class DevCert:
    """What was made, and where it is."""

    certificate: Path
    key: Path
    names: tuple[str, ...]


def make_dev_cert(directory: Path, names: Sequence[str] = (), *, replace: bool = False) -> DevCert:
    """Makes a key and a certificate that it has signed itself.

    Args:
        names: hosts and addresses; none: those of this machine for itself.
        replace: what is there already.

    Raises:
        ExtraMissing: without cryptography.
        UsageError: there is one already, or nothing can be written there.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise ExtraMissing("dev-cert", library="cryptography", extra="dev-cert") from None
    made = DevCert(directory / CERTIFICATE, directory / KEY, tuple(names) or NAMES)
    for path in (made.certificate, made.key):
        if path.exists() and not replace:
            raise UsageError(f"{path} is there already; --replace makes a new one in its place")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, made.names[0][:64])])
    now = datetime.now(UTC)
    try:
        alternatives = [_general_name(name) for name in made.names]
    except ValueError as error:
        raise UsageError(f"a name is neither a host nor an address: {error}") from None
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        # Whoever comes to trust it trusts it for these names, and for nothing it might sign.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    _write(
        made.key,
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        mode=0o600,
    )
    _write(made.certificate, certificate.public_bytes(pem), mode=0o644)
    return made


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """As a whole, and never readable by more than `mode` says."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(file, "wb") as opened:
            opened.write(data)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
