"""What an application may know of the TLS below its request. Costs once for each connection.

Source: ASGI TLS extension, version 0.2.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

from pounce.certificates import read_certificate
from pounce.tls import Tls

VERSIONS: Final = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}  # RFC 5246, RFC 8446


def tls_extension(connection: ssl.SSLObject, tls: Tls) -> dict[str, Any]:
    """``scope["extensions"]["tls"]`` of a connection whose handshake is over.

    There is never a ``client_cert_error``: a certificate that cannot be verified ends in the
    handshake, also where none would have done.
    """
    context = connection.context
    cipher = connection.cipher()
    leaf = connection.getpeercert(binary_form=True)
    return {
        "server_cert": tls.certificate_of(context) if context is not None else None,
        "client_cert_chain": _client_chain(connection, leaf) if leaf else [],
        "client_cert_name": _name(leaf) if leaf else None,
        "client_cert_error": None,
        "tls_version": VERSIONS.get(connection.version() or ""),
        "cipher_suite": tls.cipher_ids.get(cipher[0]) if cipher else None,
    }


def _client_chain(connection: ssl.SSLObject, leaf: bytes) -> list[str]:
    """What the client has sent, its own certificate first; that alone where a session is resumed.

    The method is public from Python 3.13 on, and in its sockets below that for longer.
    """
    if hasattr(connection, "get_unverified_chain"):
        chain = connection.get_unverified_chain()
    else:
        inner: Any = connection._sslobj  # type: ignore[attr-defined]
        # Its own enumeration is out of reach without the module that is private too; 2 is DER.
        chain = [each.public_bytes(2) for each in inner.get_unverified_chain() or ()]
    return [ssl.DER_cert_to_PEM_cert(each) for each in chain or (leaf,)]


def _name(leaf: bytes) -> str | None:
    try:
        return read_certificate(leaf).subject
    except ValueError:
        return None
