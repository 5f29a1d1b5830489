"""May a provider's token endpoint be asked now? One answer for every process (B08, G11).

`Retry-After` is kept by all. `CIRCUIT_FAILURES` failures in a row open the circuit, and a refusal of our own client
credentials opens it at once: then nobody asks but one probe after each pause, whose success closes it. Each opening is
made known once. What a failure means for one connection is for `connections.attempt` to say.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from audit import trail
from connections import backoff, notices
from connections.models import ProviderHealth
from providers.models import OAuthProvider
from vault import entries
from vault.models import Secret

logger = logging.getLogger(__name__)
CIRCUIT_FAILURES = 10
CLIENT_REJECTED = frozenset(["invalid_client", "unauthorized_client"])


class Status(StrEnum):
    """How a provider fares."""

    OK = "ok"
    PAUSED = "paused"
    FAILING = "failing"
    CLIENT_REJECTED = "client_rejected"


class Asked(Protocol):
    """Whoever's token endpoint is asked: a provider, or the endpoint of a server's own client."""

    @property
    def uid(self) -> UUID:
        """Return what its health is kept under."""
        ...

    @property
    def name(self) -> str:
        """Return what it is called."""
        ...


@dataclass(frozen=True, slots=True)
class Health:
    """A provider's `status`, `since` when, its last error code, and until when nobody asks it."""

    status: Status = Status.OK
    since: datetime | None = None
    last_error: str = ""
    paused_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may be made now (`wait_seconds` 0), and whether it is the probe of an open circuit."""

    wait_seconds: float = 0.0
    is_probe: bool = False
    has_failures: bool = False


def of(provider_uids: Collection[UUID]) -> dict[UUID, Health]:
    """Return how each of the providers fares."""
    found = dict.fromkeys(provider_uids, Health())
    for row in ProviderHealth.objects.filter(provider_uid__in=provider_uids):
        found[row.provider_uid] = _health(row, timezone.now())
    return found


def in_trouble(now: datetime) -> dict[UUID, Health]:
    """Return every token endpoint that does not fare well."""
    found = {row.provider_uid: _health(row, now) for row in ProviderHealth.objects.all()}
    return {uid: health for uid, health in found.items() if health.status is not Status.OK}


def may_ask(provider_uid: UUID, now: datetime) -> float:
    """Return how many seconds the provider is to be left alone; 0 when it may be asked."""
    row = ProviderHealth.objects.filter(provider_uid=provider_uid).first()
    return 0.0 if row is None else _wait_seconds(row, now)


def admit(provider_uid: UUID, now: datetime) -> Admission:
    """Return whether to ask right now; of all who want to ask through an open circuit, one is let through."""
    if not _is_in_trouble(provider_uid, now):
        return Admission()
    row = ProviderHealth.objects.filter(provider_uid=provider_uid).first()
    if row is None:
        return Admission()
    if wait_seconds := _wait_seconds(row, now):
        return Admission(wait_seconds)
    if not _is_open(row):
        return Admission(has_failures=row.consecutive_failures > 0)
    probe_ends = now + timedelta(seconds=settings.VAULT_REFRESH_LEASE_SECONDS)
    is_first = ProviderHealth.objects.filter(pk=row.pk, paused_until=row.paused_until).update(paused_until=probe_ends)
    return Admission(is_probe=True) if is_first else Admission(settings.VAULT_REFRESH_LEASE_SECONDS)


def answered(provider: Asked, admission: Admission, now: datetime) -> None:
    """Note that the provider works. A probe closes the circuit, and lets all who waited try again."""
    if not (admission.is_probe or admission.has_failures):
        return
    row = ProviderHealth.objects.filter(provider_uid=provider.uid)
    if admission.is_probe:
        row.update(
            paused_until=None,
            consecutive_failures=0,
            circuit_open_since=None,
            client_rejected_at=None,
            last_error="",
            alerted_at=None,
        )
        waited = entries.end_waits(provider.uid, now=now)
        trail.record("provider.recovered", target_type=_TARGET, target=provider.name, waited=waited)
    else:
        row.filter(circuit_open_since__isnull=True, client_rejected_at__isnull=True).update(consecutive_failures=0)


def unavailable(
    provider: Asked, admission: Admission, why: str, retry_after_seconds: float | None, now: datetime
) -> None:
    """Note a failure that is the provider's; what was under way when the circuit opened no longer counts."""
    row, _ = ProviderHealth.objects.get_or_create(provider_uid=provider.uid)
    rows = ProviderHealth.objects.filter(pk=row.pk)
    if retry_after_seconds:
        leave_alone(provider.uid, retry_after_seconds, why, now)
    if not admission.is_probe:
        rows = rows.filter(circuit_open_since__isnull=True, client_rejected_at__isnull=True)
    if not rows.update(consecutive_failures=F("consecutive_failures") + 1, last_error=why[:64]):
        return
    row.refresh_from_db()
    if row.consecutive_failures < CIRCUIT_FAILURES and not _is_open(row):
        return
    _pause(row, now)
    if ProviderHealth.objects.filter(pk=row.pk, circuit_open_since__isnull=True).update(circuit_open_since=now):
        _alert(provider, "provider.failing", why, now)


def leave_alone(provider_uid: UUID, seconds: float, why: str, now: datetime) -> None:
    """Note that the provider has asked to be left alone (`Retry-After`): nobody sends it anything until then."""
    row, _ = ProviderHealth.objects.get_or_create(provider_uid=provider_uid)
    until = now + timedelta(seconds=min(seconds, backoff.RETRY_AFTER_MOST_SECONDS))
    sooner = Q(paused_until__isnull=True) | Q(paused_until__lt=until)
    ProviderHealth.objects.filter(sooner, pk=row.pk).update(paused_until=until, last_error=why[:64])


def client_rejected(provider: Asked, error: str, now: datetime) -> None:
    """Note that the provider refuses our client: no user's problem, and nothing that asking again would heal."""
    row, _ = ProviderHealth.objects.get_or_create(provider_uid=provider.uid)
    ProviderHealth.objects.filter(pk=row.pk).update(
        client_rejected_at=now, last_error=error[:64], consecutive_failures=F("consecutive_failures") + 1
    )
    row.refresh_from_db()
    _pause(row, now)
    _alert(provider, "provider.client_rejected", error, now)


_TARGET = "oauth_provider"
_FIELDS = {field.name: field for field in ProviderHealth._meta.concrete_fields}
_TROUBLE = (
    f"SELECT 1 FROM {ProviderHealth._meta.db_table} WHERE provider_uid = %s AND (consecutive_failures > 0 "  # noqa: S608
    "OR circuit_open_since IS NOT NULL OR client_rejected_at IS NOT NULL OR paused_until > %s)"
)


def _is_in_trouble(provider_uid: UUID, now: datetime) -> bool:
    """Tell whether anything at all is the matter; before each renewal, so without the cost of composing a query."""
    parameters = [
        _FIELDS["provider_uid"].get_db_prep_value(provider_uid, connection),
        _FIELDS["paused_until"].get_db_prep_value(now, connection),
    ]
    with connection.cursor() as cursor:
        cursor.execute(_TROUBLE, parameters)
        return cursor.fetchone() is not None


def _is_open(row: ProviderHealth) -> bool:
    return row.circuit_open_since is not None or row.client_rejected_at is not None


def _wait_seconds(row: ProviderHealth, now: datetime) -> float:
    if row.paused_until is None or row.paused_until <= now:
        return 0.0
    if row.client_rejected_at is not None and _client_changed_since(row.provider_uid, row.client_rejected_at):
        return 0.0
    return (row.paused_until - now).total_seconds()


def _client_changed_since(provider_uid: UUID, moment: datetime) -> bool:
    """Tell whether an admin has touched the provider or its secret, so that a try is worth its while at once."""
    provider = OAuthProvider.objects.filter(uid=provider_uid).first()
    if provider is None:
        return False
    secret = Secret.objects.filter(name=provider.client_secret_ref, updated_at__gt=moment)
    return provider.updated_at > moment or secret.exists()


def _pause(row: ProviderHealth, now: datetime) -> None:
    """Leave the provider alone for a while that grows with each probe that failed."""
    probes = max(row.consecutive_failures - CIRCUIT_FAILURES, 0) if row.circuit_open_since else 0
    if row.client_rejected_at is not None:
        probes = row.consecutive_failures - 1
    until = now + timedelta(seconds=backoff.refresh_delay_seconds(probes + 1))
    if row.paused_until is None or row.paused_until < until:
        ProviderHealth.objects.filter(pk=row.pk).update(paused_until=until)


def _alert(provider: Asked, action: str, why: str, now: datetime) -> None:
    """Say it once, until the provider works again: in the trail, in the log, and to the admins (G11)."""
    if not ProviderHealth.objects.filter(provider_uid=provider.uid, alerted_at__isnull=True).update(alerted_at=now):
        return
    trail.record(action, target_type=_TARGET, target=provider.name, result=trail.FAILED, reason=why)
    logger.error("provider in trouble", extra={"provider": provider.name, "action": action, "error": why})
    notices.provider_in_trouble(provider.uid, is_client_rejected=action == "provider.client_rejected")


def _health(row: ProviderHealth, now: datetime) -> Health:
    if row.client_rejected_at is not None:
        status, since = Status.CLIENT_REJECTED, row.alerted_at or row.client_rejected_at
    elif row.circuit_open_since is not None:
        status, since = Status.FAILING, row.circuit_open_since
    elif row.paused_until is not None and row.paused_until > now:
        status, since = Status.PAUSED, None
    else:
        return Health()
    return Health(status, since, row.last_error, row.paused_until)
