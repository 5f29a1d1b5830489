"""Who may read the metrics: the networks of `AIGW_METRICS_ALLOW`, and API tokens of superusers and `admins`.

A request that a proxy forwarded which is not in `AIGW_TRUSTED_PROXIES` is let in by its token alone: its peer is the
proxy, perhaps on loopback, and whoever sent it may be anyone.
"""

import ipaddress

from django.conf import settings
from django.http import HttpRequest

from clients import addresses, rights, throttle, tokens

FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")


def refusal(request: HttpRequest) -> int:
    """Return 0 when the caller may read, otherwise the status to answer: 401, 403 or 429. Raises DatabaseError."""
    if _is_near(request):
        return 0
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return 401
    row = tokens.recognise(token.strip())
    if row is None:
        if throttle.seconds_to_wait():
            return 429
        throttle.count_failure()
        return 401
    return 0 if rights.is_admin(row.user) else 403


def _is_near(request: HttpRequest) -> bool:
    address = addresses.client_address(request)
    is_forwarded = any(request.headers.get(name) for name in FORWARDED)
    if is_forwarded and address == addresses.judge(request.META.get("REMOTE_ADDR", ""), ""):
        return False
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in ipaddress.ip_network(entry, strict=False) for entry in settings.AIGW_METRICS_ALLOW)
