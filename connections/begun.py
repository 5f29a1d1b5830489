"""May what was begun with a user's token go on? Asked of open streams after a change; nothing is renewed for them."""

from uuid import UUID

from providers.models import OAuthProvider
from vault import entries


def may_go_on(*, user_id: int, provider_uid: UUID, generation: int) -> bool:
    """Tell whether the connection that gave the token of `generation` still stands, and its provider is enabled.

    A token that was renewed since, or has expired, takes nothing away: what it opened is the upstream's to end.
    """
    provider = OAuthProvider.objects.filter(uid=provider_uid, enabled=True).first()
    entry = entries.find(user_id, provider_uid)
    if provider is None or entry is None or entry.provider_fingerprint != provider.fingerprint():
        return False
    # A row of a lower generation is of another connection, made since: the first one was ended.
    return entry.access_token is not None and entry.generation >= generation
