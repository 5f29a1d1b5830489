"""What a provider's metadata promised, remembered with the provider: `iss` (RFC 9207 §3) and the forms of PKCE.

A promise binds for as long as the issuer stays the same; an issuer that cannot be asked for a while breaks none.
"""

from datetime import datetime, timedelta
from typing import Any

from django.utils.dateparse import parse_datetime

from providers import metadata
from providers.metadata import Metadata, MetadataError
from providers.models import OAuthProvider

GOOD_FOR = timedelta(days=1)
NEXT_TRY_AFTER = timedelta(minutes=10)
# Someone waits for a page meanwhile.
TIMEOUT_SECONDS = 3.0


def promises_iss(provider: OAuthProvider) -> bool:
    """Tell whether an authorization response must carry `iss`."""
    return bool(_kept(provider).get("iss_parameter"))


def code_challenge_methods(provider: OAuthProvider) -> tuple[str, ...] | None:
    """Return the forms of PKCE that the issuer names, none if it names none; None when it was never heard."""
    methods = _kept(provider).get("code_challenge_methods")
    return None if methods is None else tuple(methods)


def remember(provider: OAuthProvider, said: Metadata, *, now: datetime) -> None:
    """Keep what an issuer promised, if it is still this provider's."""
    _keep(
        provider,
        {
            "iss_parameter": said.authorization_response_iss_parameter_supported,
            "code_challenge_methods": list(said.code_challenge_methods_supported or ()),
            "ask_again_at": (now + GOOD_FOR).isoformat(),
        },
    )


def refresh(provider: OAuthProvider, *, now: datetime) -> None:
    """Ask the issuer again when it is time to; one that does not answer is left alone for a while. Never raises."""
    kept = _kept(provider)
    ask_again_at = parse_datetime(str(kept.get("ask_again_at", "")))
    if not provider.issuer or (ask_again_at is not None and now < ask_again_at):
        return
    try:
        said = metadata.fetch(provider.issuer, timeout_seconds=TIMEOUT_SECONDS)
    except MetadataError:
        _keep(provider, {**kept, "ask_again_at": (now + NEXT_TRY_AFTER).isoformat()})
    else:
        remember(provider, said, now=now)


def _kept(provider: OAuthProvider) -> dict[str, Any]:
    """Return what the provider's present issuer promised."""
    kept: dict[str, Any] = provider.issuer_promises
    return kept if kept.get("issuer") == provider.issuer else {}


def _keep(provider: OAuthProvider, promises: dict[str, Any]) -> None:
    provider.issuer_promises = {**promises, "issuer": provider.issuer}
    # A row that is not saved yet, or has another issuer by now, keeps nothing.
    rows = OAuthProvider.everything.filter(pk=provider.pk, issuer=provider.issuer)
    rows.update(issuer_promises=provider.issuer_promises)
