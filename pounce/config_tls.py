"""The settings of TLS: certificates and keys, what is offered, who must show one, plain HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pounce.addresses import WANT
from pounce.config_http2 import Http2Settings
from pounce.settings import Form, setting

TLS: Final = "TLS"
FILE: Final = Form(bool, "names of files")
# Forward secrecy and authenticated encryption alone: what RFC 9113 §9.2.2 leaves of TLS 1.2, and
# what all clients of the last ten years have. The suites of TLS 1.3 are all like that.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings(Http2Settings):
    """See Config. Slots allow one line of descent only, hence this one."""

    certfile: tuple[str, ...] = setting(
        (),
        metavar="FILE",
        group=TLS,
        form=FILE,
        help="Certificate with its chain, in PEM, and perhaps its key: serves https on all TCP "
        "addresses. Of several, a client gets the one for the name it asks for, or the first.",
    )
    keyfile: tuple[str, ...] = setting(
        (),
        metavar="FILE",
        group=TLS,
        form=FILE,
        help="Private key in PEM, one for each certfile; none: the certfiles hold them.",
    )
    keyfile_password_file: str = setting(
        "",
        metavar="FILE",
        group=TLS,
        help="File whose first line is the password of the private keys.",
    )
    keyfile_password_command: str = setting(
        "",
        metavar="COMMAND",
        group=TLS,
        help="Command whose first line of output is the password of the private keys; run without "
        "a shell.",
    )
    tls_min_version: str = setting(
        "1.2", group=TLS, choices=("1.2", "1.3"), help="Least version of TLS."
    )
    tls_ciphers: str = setting(
        CIPHERS,
        metavar="CIPHERS",
        group=TLS,
        help="Ciphers of TLS 1.2, as openssl writes them; those of TLS 1.3 are fixed.",
    )
    tls_handshake_timeout: float = setting(
        10.0,
        group=TLS,
        unit="seconds",
        least=0.1,
        help="How long a client may take from connecting to the end of the TLS handshake.",
    )
    client_ca: str = setting(
        "",
        metavar="FILE",
        group=TLS,
        help="Certificates, in PEM, of those who may vouch for clients: clients are asked for a "
        "certificate.",
    )
    client_cert: str = setting(
        "required",
        group=TLS,
        choices=("required", "optional"),
        help="Refuse clients that show no certificate, or let the application see who does. Only "
        "with client_ca; one that is wrong is refused either way.",
    )
    insecure_bind: tuple[str, ...] = setting(
        (),
        metavar="ADDRESS",
        group=TLS,
        form=Form(bool, WANT),
        help="Address for plain HTTP beside https, where every request is redirected to https.",
    )
    hsts: int = setting(
        0,
        group=TLS,
        unit="seconds",
        least=0,
        zero="off",
        help="Tell browsers to use nothing but https for so long: Strict-Transport-Security.",
    )
