"""Ask the providers whether their users have entered the codes (RFC 8628 §3.4, §3.5), and store what they answer.

A request is polled by whoever moves its `next_poll_at`: of any number of workers that see it due, one. The claim
outlasts the slowest answer and lapses by itself. Nothing is held in the database while the provider is asked.
"""

import time
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit import trail
from connections import database, destinations, granting
from connections.device import record
from connections.models import DeviceRequest, DeviceState
from connections.refusals import Code, ConsentRefused
from metrics import catalog
from providers import oauth2
from providers.models import OAuthProvider
from vault.sealing import Unreadable, open_sealed

RUN_SECONDS = 60.0
SLOW_DOWN_SECONDS = 5.0
MAX_INTERVAL_SECONDS = 120.0
MAX_BACKOFF_SECONDS = 30.0
_OUTCOMES = {DeviceState.DENIED: "declined", DeviceState.EXPIRED: "expired"}


def poll_due() -> dict[str, int]:
    """Poll what is due, in bounded time; return how often each state came about.

    A provider that does not answer is left alone for the rest of the run.
    """
    counts: dict[str, int] = {}
    silent: set[UUID] = set()
    ends = time.monotonic() + RUN_SECONDS
    for _ in range(settings.VAULT_SCAN_BATCH):
        request = _next_due(timezone.now(), silent)
        if request is None or time.monotonic() > ends:
            break
        state = poll(request, silent)
        counts[state] = counts.get(state, 0) + 1
    return counts


def poll(request: DeviceRequest, silent: set[UUID]) -> DeviceState:
    """Ask once, unless someone else is asking; return how the request then stands."""
    now = timezone.now()
    if not _claim(request, now):
        return DeviceState.PENDING
    if request.expires_at <= now:
        return _end(request, DeviceState.EXPIRED, "expired_token")
    if _user_of(request) is None:
        return _end(request, DeviceState.FAILED, "user_inactive")
    try:
        provider = destinations.unchanged(request)
        client = destinations.client_of(provider, is_recorded=True)  # by `device.start`: the trail is no log of polls
        device_code = open_sealed(request, "device_code")
    except ConsentRefused as refused:
        return _end(request, DeviceState.FAILED, refused.code)
    except Unreadable:
        return _end(request, DeviceState.FAILED, "unreadable")
    database.let_go()
    try:
        answer = oauth2.poll_device(client, device_code=device_code or "", asked=request.scopes)
    except oauth2.OAuthError as failure:
        return _after_failure(request, failure, silent)
    account = oauth2.userinfo_account(client, answer.access_token, id_token=answer.id_token) or ""
    return _store(request, answer, account)


def _next_due(now: datetime, silent: set[UUID]) -> DeviceRequest | None:
    due = DeviceRequest.objects.filter(state=DeviceState.PENDING, next_poll_at__lte=now)
    return due.exclude(provider_uid__in=silent).order_by("next_poll_at", "pk").first()


def _claim(request: DeviceRequest, now: datetime) -> bool:
    """Move `next_poll_at` beyond the slowest answers; False when someone else moved it first."""
    longest = timedelta(seconds=request.interval + 3 * settings.AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS)
    seen = DeviceRequest.objects.filter(
        pk=request.pk, uid=request.uid, state=DeviceState.PENDING, next_poll_at=request.next_poll_at
    )
    return bool(seen.update(next_poll_at=now + longest))


def _after_failure(request: DeviceRequest, failure: oauth2.OAuthError, silent: set[UUID]) -> DeviceState:
    if isinstance(failure, oauth2.SlowDown):
        return _again(request, request.interval + SLOW_DOWN_SECONDS)
    if isinstance(failure, oauth2.AuthorizationPending):
        return _again(request, request.interval)
    if isinstance(failure, oauth2.ProviderUnavailable):
        silent.add(request.provider_uid)
        # RFC 8628 §3.5: back off, doubling, when there is no answer.
        interval = max(request.interval, min(request.interval * 2, MAX_BACKOFF_SECONDS))
        return _again(request, interval, at_least=failure.retry_after_seconds)
    if isinstance(failure, oauth2.ProviderRefused):
        ends = {"access_denied": DeviceState.DENIED, "expired_token": DeviceState.EXPIRED}
        return _end(request, ends.get(failure.error, DeviceState.FAILED), failure.error)
    return _end(request, DeviceState.FAILED, Code.DEVICE_BAD_ANSWER)


def _again(request: DeviceRequest, interval: float, *, at_least: float | None = None) -> DeviceState:
    interval = min(interval, MAX_INTERVAL_SECONDS)
    wait = timedelta(seconds=max(interval, at_least or 0))
    _pending(request).update(interval=interval, next_poll_at=timezone.now() + wait)
    return DeviceState.PENDING


def _store(request: DeviceRequest, answer: oauth2.TokenAnswer, account: str) -> DeviceState:
    """Keep the tokens, unless the request ended or its provider or user changed while the provider was asked."""
    now, user = timezone.now(), _user_of(request)
    try:
        provider = destinations.unchanged(request)
    except ConsentRefused as refused:
        return _give_back(request, answer, refused.code)
    if user is None:
        return _give_back(request, answer, "user_inactive")
    with transaction.atomic():
        if _finish(request, DeviceState.CONNECTED):
            granting.store(user, provider, request, answer, account=account, now=now)
            record("oauth.device.connected", user, provider.name, scopes=request.scopes)
            return DeviceState.CONNECTED
    return _give_back(request, answer, "replaced")


def _give_back(request: DeviceRequest, answer: oauth2.TokenAnswer, reason: str) -> DeviceState:
    granting.give_back(request, answer, now=timezone.now())
    return _end(request, DeviceState.FAILED, reason)


def _end(request: DeviceRequest, state: DeviceState, reason: str) -> DeviceState:
    catalog.consents.count(_OUTCOMES.get(state, "provider_failed"))
    provider = OAuthProvider.everything.filter(uid=request.provider_uid).first()
    with transaction.atomic():
        _finish(request, state, reason)
        record(
            "oauth.device.refused",
            _user_of(request),
            provider.name if provider else str(request.provider_uid),
            result=trail.REFUSED,
            user_id=request.user_id,
            reason=reason,
        )
    return state


def _finish(request: DeviceRequest, state: DeviceState, reason: str = "") -> bool:
    """Note how it ended and erase the codes; False when it had ended, or been replaced, before."""
    erased = {"device_code": None, "user_code": None, "verification_uri_complete": None}
    return bool(_pending(request).update(state=state, reason=str(reason), **erased))


def _pending(request: DeviceRequest) -> QuerySet[DeviceRequest]:
    return DeviceRequest.objects.filter(pk=request.pk, uid=request.uid, state=DeviceState.PENDING)


def _user_of(request: DeviceRequest) -> User | None:
    return User.objects.filter(pk=request.user_id, is_active=True).first()
