"""Count connections, by status and by what they lack, without loading them: the rule of `freshness`, in SQL."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from providers.models import OAuthProvider
from providers.registry import ConnectionCounts
from vault.models import VaultEntry


def counts(provider_uids: Collection[UUID]) -> Iterable[tuple[UUID, ConnectionCounts]]:
    """Return the connections of each provider by status, as `listing.attention` tells them apart; two queries."""
    rows = list(
        VaultEntry.objects.filter(provider_uid__in=provider_uids)
        .values_list("provider_uid", "provider_fingerprint")
        .annotate(total=Count("pk"), well=Count("pk", filter=is_well(timezone.now())), held=Count("pk", filter=_HELD))
        .order_by()
    )
    fingerprints = {row.uid: row.fingerprint() for row in OAuthProvider.everything.filter(uid__in=provider_uids)}
    found: dict[UUID, ConnectionCounts] = {}
    for uid, fingerprint, total, well, held in rows:
        so_far, fits = found.get(uid, ConnectionCounts()), fingerprint == fingerprints.get(uid)
        connected = well if fits else 0
        found[uid] = ConnectionCounts(
            connected=so_far.connected + connected,
            needs_attention=so_far.needs_attention + total - connected,
            usable=so_far.usable + (held if fits else 0),
        )
    return found.items()


_HELD = Q(access_token__isnull=False)


def is_well(now: datetime) -> Q:
    """Match the entries that need no attention, at a provider that has not changed; see `freshness.judge`."""
    given_up = now - timedelta(hours=settings.VAULT_REFRESH_GIVE_UP_HOURS)
    is_fresh = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    is_renewable = (
        Q(refresh_token__isnull=False)
        & (Q(refresh_token_expires_at__isnull=True) | Q(refresh_token_expires_at__gt=now))
        & (Q(failing_since__isnull=True) | Q(failing_since__gt=given_up))
    )
    return _HELD & Q(attention_reason="") & (is_fresh | is_renewable)


def never_asked_for(provider: OAuthProvider, scopes: Collection[str]) -> int:
    """Return how many working connections were neither asked for nor granted one of `scopes`: the card's rule."""
    return sum(count for granted, requested, count in _by_scopes(provider) if not set(scopes) <= {*granted, *requested})


def newly_lacking(
    provider: OAuthProvider, *, before: Collection[str], after: Collection[str], users: QuerySet[User]
) -> int:
    """Return how many working connections of `users` hold what a call needed `before`, not what it needs `after`."""
    return sum(
        count
        for granted, _, count in _by_scopes(provider, user_id__in=users.values("pk"))
        if set(before) <= set(granted) and not set(after) <= set(granted)
    )


def sufficient(provider: OAuthProvider, scopes: Collection[str], users: QuerySet[User]) -> int:
    """Return how many of `users` have a working connection that was granted all of `scopes`."""
    found = _by_scopes(provider, user_id__in=users.values("pk"))
    return sum(count for granted, _, count in found if set(scopes) <= set(granted))


def _by_scopes(provider: OAuthProvider, **narrowed: object) -> Iterable[tuple[list[str], list[str], int]]:
    """Return working connections as `(granted, requested, how many)`: few rows, however many connections."""
    rows = VaultEntry.objects.filter(
        is_well(timezone.now()),
        provider_uid=provider.uid,
        provider_fingerprint=provider.fingerprint(),
        **narrowed,
    )
    return rows.values_list("scopes_granted", "scopes_requested").annotate(count=Count("pk")).order_by()
