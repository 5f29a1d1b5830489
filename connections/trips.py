"""A trip to a provider and back: what is remembered under the digest of `state` (RFC 6749 §10.12).

A trip is taken by deleting its row: of any number of callbacks that present the same state, the database lets
exactly one delete it.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.utils.crypto import constant_time_compare

from connections.models import ConsentRequest
from providers.models import OAuthProvider
from vault.sealing import Unreadable, open_sealed, seal

SESSION_KEY = "consent_nonce"
STATE_BYTES = 32


def start(
    *,
    user_id: int,
    session: SessionBase,
    provider: OAuthProvider,
    scopes: Sequence[str],
    server_name: str,
    code_verifier: str,
    now: datetime,
) -> str:
    """Remember a trip and return its `state`, which is kept nowhere; `code_verifier` is empty without PKCE."""
    state = secrets.token_urlsafe(STATE_BYTES)
    nonce = session.setdefault(SESSION_KEY, secrets.token_urlsafe(STATE_BYTES))
    trip = ConsentRequest(
        state_digest=_digest(state),
        user_id=user_id,
        session_digest=_digest(nonce),
        provider_uid=provider.uid,
        provider_fingerprint=provider.fingerprint(),
        scopes=list(scopes),
        server_name=server_name,
        expires_at=now + timedelta(seconds=settings.CONSENT_STATE_SECONDS),
    )
    trip.code_verifier = seal(trip, "code_verifier", code_verifier)
    trip.save()
    return state


def take(state: str) -> ConsentRequest | None:
    """Return the trip of this state to exactly one caller, once; None to everyone else."""
    trip = ConsentRequest.objects.filter(state_digest=_digest(state)).first()
    if trip is None:
        return None
    taken, _ = ConsentRequest.objects.filter(pk=trip.pk).delete()
    return trip if taken else None


def belongs_to(trip: ConsentRequest, session: SessionBase) -> bool:
    """Tell whether the trip began in this browser session."""
    nonce = session.get(SESSION_KEY)
    return isinstance(nonce, str) and constant_time_compare(trip.session_digest, _digest(nonce))


def code_verifier(trip: ConsentRequest) -> str | None:
    """Open the trip's PKCE verifier; None when it does not open, as under a key that is gone."""
    try:
        return open_sealed(trip, "code_verifier")
    except Unreadable:
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
