"""What the walk may know about the authorization server: how often it was asked, and what is still alive. No tokens."""

import threading
from collections import Counter
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken

from aigateway.demo.authserver.registration import USERNAMES

GRANT_TYPES = ("authorization_code", "refresh_token", "device_code")


class Ledger:
    """Counts since the process started; one process serves, so memory is enough."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def record_token_request(self, grant_type: str, *, issued: bool) -> None:
        """Count one answered request to the token endpoint."""
        # What a caller invents as a grant type is not repeated to anyone.
        known = grant_type if grant_type in GRANT_TYPES else "other"
        self._count(f"token.{known}.{'issued' if issued else 'refused'}")

    def record_revocation(self, *, accepted: bool) -> None:
        """Count one answered request to the revocation endpoint."""
        self._count(f"revocation.{'accepted' if accepted else 'refused'}")

    def snapshot(self) -> dict[str, Any]:
        """Read all counts, and how many tokens of each user are alive now."""
        with self._lock:
            counts = dict(self._counts)
        return {"counts": counts, "live_tokens": {name: _live_tokens(name) for name in USERNAMES}}

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1


def _live_tokens(username: str) -> dict[str, int]:
    user = User.objects.get(username=username)
    return {
        "access": AccessToken._default_manager.filter(user=user, expires__gt=timezone.now()).count(),
        "refresh": RefreshToken._default_manager.filter(
            user=user, revoked__isnull=True, access_token__isnull=False
        ).count(),
    }


ledger = Ledger()
