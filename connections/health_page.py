"""*Vault health*: how renewals, revocations and keys fare, in numbers and charts, and which providers need help."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from clients import rights
from clients.admin_site import Page
from clients.rights_admin import moment
from connections import attention, charts, standing, trouble
from connections.charts import Chart, Part, Slices
from metrics import history
from providers.models import OAuthProvider
from vault import keyring
from vault import standing as keys
from vault.models import Secret, VaultEntry
from vault.rows import UNREADABLE

TITLE = "Vault health"
_CHARTS: tuple[tuple[str, str, tuple[Part, ...], bool], ...] = (
    (
        "Renewals",
        "renewals",
        (
            Part("Renewed", "ok", "aigw_refreshes", frozenset(["renewed", "late"])),
            Part("Put off", "warn", "aigw_refreshes", frozenset(["unavailable", "throttled"])),
            Part(
                "Failed",
                "bad",
                "aigw_refreshes",
                frozenset(
                    ["rejected", "lost_rotation", "refused", "client_refused", "secret_missing", "unreadable", "other"]
                ),
            ),
        ),
        False,
    ),
    ("Most that was due", "connections", (Part("Due", "accent", standing.DUE),), True),
    ("Longest overdue", "seconds", (Part("Seconds", "accent", standing.DUE_SECONDS),), True),
    ("Waits for another's renewal", "waits", (Part("Waits", "accent", "aigw_lease_wait_seconds"),), False),
    (
        "Revocations",
        "tries",
        (
            Part("Revoked", "ok", "aigw_revocations", frozenset(["revoked"])),
            Part("Not offered", "accent", "aigw_revocations", frozenset(["unsupported"])),
            Part("To be tried again", "warn", "aigw_revocations", frozenset(["pending"])),
            Part("Given up", "bad", "aigw_revocations", frozenset(["failed", "other"])),
        ),
        False,
    ),
    ("Values that did not open", "values", (Part("Not opened", "bad", "aigw_decrypt_failures"),), False),
)


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show it to superusers and `admins`."""
    if not may_open(request):
        raise PermissionDenied("Vault health is for superusers and the group admins.")
    now = timezone.now()
    context = {**admin.site.each_context(request), "title": TITLE, **_numbers(now), "charts": _charts(now)}
    return render(request, "admin/gateway/vault_health.html", context)


def may_open(request: HttpRequest) -> bool:
    """Tell whether the caller may see connections and every provider."""
    return rights.is_admin(request.user) and rights.may(request.user, "view", OAuthProvider)


def _charts(now: datetime) -> list[Chart]:
    slices: Slices = history.since(charts.begins(now))
    return [
        charts.draw(title, unit, parts, slices, now, is_height=is_height) for title, unit, parts, is_height in _CHARTS
    ]


def _numbers(now: datetime) -> dict[str, Any]:
    backlog, told = standing.backlog(now), standing.revocations()
    reasons = standing.attention_by_reason(now)
    last_scan = history.last_written("aigw_scan_seconds")
    troubles = trouble.troubles(backlog.waiting)
    entries_by_key, secrets_by_key = keys.rows_by_key(VaultEntry), keys.rows_by_key(Secret)
    unreadable = entries_by_key[UNREADABLE] + secrets_by_key[UNREADABLE]
    is_late = last_scan is not None and now - last_scan > _late_after()
    return {
        "statuses": standing.entries_by_status(sum(reasons.values())),
        "reasons": [(count, attention.in_short(reason)) for reason, count in reasons.items()],
        "backlog": backlog,
        "oldest_due": moment(backlog.oldest),
        "waiting": sum(backlog.waiting.values()),
        "in_flight": standing.requests_in_flight(now),
        "last_scan": last_scan and moment(last_scan),
        "next_scan": _next_scan(last_scan, now),
        "scan_interval": settings.VAULT_SCAN_INTERVAL_SECONDS,
        "is_scan_late": is_late,
        "told": told,
        "oldest_revocation": moment(told.oldest),
        "keys": _keys(entries_by_key, secrets_by_key),
        "unreadable": unreadable,
        "troubles": [(each, moment(each.standing.since), _ahead(each.standing.until, now)) for each in troubles],
        "is_well": not (troubles or unreadable or is_late or backlog.age_seconds(now) > _LONG_OVERDUE_SECONDS),
    }


_LONG_OVERDUE_SECONDS = 600.0


def _ahead(when: datetime | None, now: datetime) -> str:
    return moment(when) if when is not None and when > now else ""


def _next_scan(last: datetime | None, now: datetime) -> str:
    """Say when the schedule should scan next; each process's clock ticks by itself, so not to the second."""
    if last is None:
        return "with the first worker and scheduler"
    due = last + timedelta(seconds=settings.VAULT_SCAN_INTERVAL_SECONDS)
    if due > now:
        return f"about {moment(due)}"
    return "overdue" if now - last > _late_after() else "at any moment"


def _late_after() -> timedelta:
    """Return after how long without a finished scan the schedule is surely not running."""
    return timedelta(seconds=max(300.0, 5 * settings.VAULT_SCAN_INTERVAL_SECONDS))


def _keys(*counted: dict[str, int]) -> list[tuple[str, str, list[int]]]:
    """Return for each key its id, what it is, and how many connections and secrets are under it; newest first."""
    order = keyring.ids()
    others = sorted({key for counts in counted for key in counts if key not in order and key != UNREADABLE})
    words = {key: "newest, seals" if key == order[0] else "older, still opens" for key in order}
    return [
        (key, words.get(key, "not in FERNET_KEYS"), [counts.get(key, 0) for counts in counted])
        for key in (*order, *others)
    ]


PAGE = Page("Gateway", TITLE, "monitor_heart", "vault-health", page, may_open)
