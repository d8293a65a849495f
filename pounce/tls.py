"""The settings of TLS to what serves it: certificates and keys read, once for each generation.

The master does this, before it forks: all workers of a generation then share the keys of their
session tickets, and a file that is wrong, or half replaced, ends here. Serves nobody.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pounce.certificates import Certificate, pem_certificates, read_certificate
from pounce.config import Config
from pounce.errors import ConfigError

log = logging.getLogger("pounce")

NO_ORIGINS: Final[Mapping[str, str]] = MappingProxyType({})
COMMAND_TIMEOUT: Final = 10.0  # seconds: the master does nothing else meanwhile
PASSWORD_LONGEST: Final = 1024  # bytes; OpenSSL's own limit
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
VERIFY: Final = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL}
READABLE: Final = "a file that can be read"


@dataclass(frozen=True, slots=True)
class Site:
    """One certificate, and what serves it.

    Attributes:
        file: where it was read.
        pem: the certificate itself, without its chain.
    """

    file: str
    pem: str
    certificate: Certificate
    context: ssl.SSLContext


class Tls:
    """What a generation serves TLS with. It goes to the workers by being forked.

    Attributes:
        sites: the first is for whoever asks for no name, or none that is known.
        protocols: for ALPN, the one we like best first.
        cipher_ids: by openssl's names, the numbers that TLS has for them.
    """

    def __init__(self, sites: Sequence[Site], protocols: Sequence[str]) -> None:
        self.sites = tuple(sites)
        self.protocols = tuple(protocols)
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._pems = {id(site.context): site.pem for site in sites}
        self.cipher_ids = {
            cipher["name"]: cipher["id"] & 0xFFFF for cipher in self.context.get_ciphers()
        }
        for site in sites:
            for name in site.certificate.names:
                self._by_name.setdefault(name, site.context)
        if len(self.sites) > 1:
            self.context.sni_callback = self._choose

    @property
    def context(self) -> ssl.SSLContext:
        """What a connection begins with."""
        return self.sites[0].context

    def certificate_of(self, context: ssl.SSLContext) -> str | None:
        """The certificate, in PEM, that a connection was served with."""
        return self._pems.get(id(context))

    def context_for(self, name: str) -> ssl.SSLContext | None:
        """By exact name, or else by a wildcard for its first label (RFC 9525 §6.3)."""
        name = name.lower().removesuffix(".")
        wildcard = "*." + name.partition(".")[2]
        return self._by_name.get(name) or self._by_name.get(wildcard)

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> None:
        if name and (context := self.context_for(name)):
            connection.context = context


def protocols_of(config: Config) -> list[str]:
    """What is offered by ALPN (RFC 7301): what is installed and enabled, the best first."""
    h2 = config.http2 != "off" and importlib.util.find_spec("h2") is not None
    return ["h2", "http/1.1"] if h2 else ["http/1.1"]


def load_tls(config: Config, origins: Mapping[str, str] = NO_ORIGINS) -> Tls:
    """Read all certificates, of which there are some, and keys. Warns of those that are not good.

    Raises:
        PounceError: says which file is wrong, why, and what would do.
    """
    keyfiles = config.keyfile or config.certfile
    password = _Password(config, origins)
    sites = []
    for certfile, keyfile in zip(config.certfile, keyfiles, strict=True):
        site = _site(config, origins, certfile, keyfile, password)
        warn_of(site)
        sites.append(site)
    return Tls(sites, protocols_of(config))


def days_left(certificate: Certificate, now: datetime) -> int:
    """Whole days until it expires; negative once it has."""
    return (certificate.not_after - now).days


def warn_of(site: Site) -> None:
    """Say that a certificate is not good yet, or no longer: browsers will refuse it."""
    now = datetime.now(UTC)
    certificate = site.certificate
    if now > certificate.not_after:
        log.warning("certificate has expired file=%s at=%s", site.file, certificate.not_after)
    elif now < certificate.not_before:
        log.warning(
            "certificate is not valid yet file=%s from=%s", site.file, certificate.not_before
        )


def _site(
    config: Config,
    origins: Mapping[str, str],
    certfile: str,
    keyfile: str,
    password: _Password,
) -> Site:
    data = _read(certfile, "certfile", origins)
    try:
        first = pem_certificates(data)[0]
        certificate = read_certificate(first)
    except (ValueError, IndexError):
        want = "a file that begins with a certificate in PEM (BEGIN CERTIFICATE)"
        raise ConfigError("certfile", certfile, origin=_of("certfile", origins), want=want) from (
            None
        )
    context = _new_context(config, origins)
    _load_key(context, certfile, keyfile, password, origins, is_own=bool(config.keyfile))
    return Site(certfile, ssl.DER_cert_to_PEM_cert(first), certificate, context)


def _new_context(config: Config, origins: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[config.tls_min_version]
    # A peer that asks for new keys all the time makes us do the work of handshakes, and TLS 1.3
    # has none of it (RFC 9325 §3.5).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        context.set_ciphers(config.tls_ciphers)
    except ssl.SSLError:
        raise ConfigError(
            "tls_ciphers",
            config.tls_ciphers,
            origin=_of("tls_ciphers", origins),
            want="a list of which openssl knows at least one; see: openssl ciphers -v",
        ) from None
    context.set_alpn_protocols(protocols_of(config))
    if config.client_ca:
        _read(config.client_ca, "client_ca", origins)
        try:
            context.load_verify_locations(config.client_ca)
        except ssl.SSLError:
            raise ConfigError(
                "client_ca",
                config.client_ca,
                origin=_of("client_ca", origins),
                want="a file of certificates in PEM (BEGIN CERTIFICATE)",
            ) from None
        context.verify_mode = VERIFY[config.client_cert]
    return context


def _load_key(
    context: ssl.SSLContext,
    certfile: str,
    keyfile: str,
    password: _Password,
    origins: Mapping[str, str],
    *,
    is_own: bool,
) -> None:
    """Loads a certificate with its chain and key.

    Args:
        is_own: the key has a setting of its own, which an error should name.
    """
    name = "keyfile" if is_own else "certfile"
    if b"PRIVATE KEY-----" not in _read(keyfile, name, origins):
        want = "a file with a private key in PEM (BEGIN PRIVATE KEY)"
        if not is_own:
            want += ", where no keyfile is given"
        raise ConfigError(name, keyfile, origin=_of(name, origins), want=want)
    try:
        context.load_cert_chain(certfile, keyfile, password=password)
    except OSError as error:  # ssl.SSLError is one
        reason = getattr(error, "reason", None)
        if reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED", "KEY_TYPE_MISMATCH"):
            want = f"the private key of the certificate in {certfile} (it is another's)"
        elif password.was_asked:
            want = f"a private key that the password from {password.source} opens"
        else:
            want = f"a private key that openssl can read, and {certfile} a chain of certificates"
            if reason:
                want += f" ({reason.lower().replace('_', ' ')})"
        raise ConfigError(name, keyfile, origin=_of(name, origins), want=want) from None
    except _NoPassword:
        raise ConfigError(
            name,
            keyfile,
            origin=_of(name, origins),
            want="a private key without a password, or go with keyfile_password_file or "
            "keyfile_password_command",
        ) from None


class _NoPassword(Exception):  # noqa: N818  # what is missing
    """A key wants a password, and none is configured."""


class _Password:
    """The password of the keys, looked for once one of them wants it. openssl calls it."""

    def __init__(self, config: Config, origins: Mapping[str, str]) -> None:
        self._file = config.keyfile_password_file
        self._command = config.keyfile_password_command
        self._origins = origins
        self._found: bytes | None = None
        self.was_asked = False

    @property
    def source(self) -> str:
        return "keyfile_password_file" if self._file else "keyfile_password_command"

    def __call__(self) -> bytes:
        self.was_asked = True
        if self._found is None:
            if self._file:
                text = _read(self._file, "keyfile_password_file", self._origins)
            elif self._command:
                text = _output_of(self._command, _of("keyfile_password_command", self._origins))
            else:
                raise _NoPassword
            self._found = text.partition(b"\n")[0].rstrip(b"\r")
            if not 0 < len(self._found) <= PASSWORD_LONGEST:
                raise ConfigError(
                    self.source,
                    self._file or self._command,
                    origin=_of(self.source, self._origins),
                    want=f"one whose first line is a password of up to {PASSWORD_LONGEST} bytes",
                )
        return self._found


def _output_of(command: str, origin: str) -> bytes:
    import shlex
    import subprocess  # it brings threading, which most masters never need

    reason = ""
    try:
        done = subprocess.run(  # noqa: S603  # whoever sets it runs the server
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=COMMAND_TIMEOUT,
            check=True,
        )
    except subprocess.TimeoutExpired:
        reason = f"it was not over after {COMMAND_TIMEOUT:g} s"
    except subprocess.CalledProcessError as error:
        reason = f"it ended with status {error.returncode}"
    except (OSError, ValueError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "it is no command line"
    else:
        return done.stdout
    want = f"a command that prints the password of the keys ({reason})"
    raise ConfigError("keyfile_password_command", command, origin=origin, want=want)


def _read(path: str, name: str, origins: Mapping[str, str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        want = f"{READABLE} ({(error.strerror or 'unknown error').lower()})"
        if isinstance(error, PermissionError):
            want += f"; it is read by {_who()}, at the start and at each reload"
        raise ConfigError(name, path, origin=_of(name, origins), want=want) from None


def _who() -> str:
    return f"uid {os.geteuid()} gid {os.getegid()}"


def _of(name: str, origins: Mapping[str, str]) -> str:
    return origins.get(name, "Config")
