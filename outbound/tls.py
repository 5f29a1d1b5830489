"""Whom we believe: the system's roots and the operator's private CA, nothing less."""

from __future__ import annotations

import ssl
from functools import lru_cache

from django.conf import settings


class VerifyingContext(ssl.SSLContext):
    """A context whose verification cannot be switched off, by us or by a library."""

    def __setattr__(self, name: str, value: object) -> None:
        if (name == "check_hostname" and not value) or (name == "verify_mode" and value != ssl.CERT_REQUIRED):
            raise ValueError("TLS verification cannot be switched off")
        super().__setattr__(name, value)


def ssl_context(ca_bundle: str | None = None) -> ssl.SSLContext:
    """Give the client context; `ca_bundle` stands in for AIGW_OUTBOUND_CA_BUNDLE.

    Raises OSError when the bundle cannot be read or is not PEM.
    """
    return _context(settings.AIGW_OUTBOUND_CA_BUNDLE if ca_bundle is None else ca_bundle)


@lru_cache(maxsize=8)
def _context(ca_bundle: str) -> ssl.SSLContext:
    # PROTOCOL_TLS_CLIENT verifies chain and host name; unlike
    # create_default_context it ignores SSLKEYLOGFILE.
    context = VerifyingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    if ca_bundle:
        context.load_verify_locations(cafile=ca_bundle)
    return context
