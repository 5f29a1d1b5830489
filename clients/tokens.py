"""Make, recognise and revoke API tokens.

A token is `aigw_` and 43 random characters (256 bits). The database holds its SHA-256: with that much
entropy a slow hash would add nothing but time to every call.
"""

import hashlib
import secrets
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit import trail
from changes import counter
from clients.models import ApiToken

MARK = "aigw_"
PREFIX_LENGTH = len(MARK) + 6


def create(
    user: User, *, name: str, expires_at: datetime | None = None, actor: User | None = None
) -> tuple[ApiToken, str]:
    """Make a token for `user`; return its row and the token itself, which is never shown again."""
    token = MARK + secrets.token_urlsafe(32)
    with transaction.atomic():
        row = ApiToken.objects.create(
            user=user, name=name, prefix=token[:PREFIX_LENGTH], digest=digest(token), expires_at=expires_at
        )
        trail.record(
            "api_token.created", actor=actor or user, target_type="api_token", target=row.prefix, owner=user.username
        )
    return row, token


def recognise(token: str) -> ApiToken | None:
    """Return the usable token row with its user, or None.

    The lookup is by digest, so neither the database nor the time it takes tells how much of a guess was right.
    """
    return usable().select_related("user").filter(digest=digest(token)).first()


def usable() -> QuerySet[ApiToken]:
    """Return the rows that are neither revoked nor expired, of users who are active."""
    return ApiToken.objects.filter(_alive(), revoked_at__isnull=True, user__is_active=True)


def revoke(row: ApiToken, *, actor: User | None = None) -> None:
    """End a token on every process within a second. Revoking twice is the same as once."""
    with transaction.atomic():
        changed = ApiToken.objects.filter(pk=row.pk, revoked_at__isnull=True).update(revoked_at=timezone.now())
        if changed:
            trail.record("api_token.revoked", actor=actor, target_type="api_token", target=row.prefix)
            counter.announce()


def revoke_all(user: User, *, actor: User | None = None) -> int:
    """End every token of `user` that still works; return how many."""
    rows = list(usable_by(user))
    for row in rows:
        revoke(row, actor=actor)
    return len(rows)


def usable_by(user: User) -> QuerySet[ApiToken]:
    """Return the user's tokens that are neither revoked nor expired, whether or not the user is active."""
    return ApiToken.objects.filter(_alive(), revoked_at__isnull=True, user=user)


def digest(token: str) -> str:
    """Return the digest that the database knows the token by."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _alive() -> Q:
    return Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
