"""Connect with a code instead of a redirect (RFC 8628): ask the provider for one, keep it sealed, show it to its user.

The waiting, and what comes of it, is `connections.device_poll`.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone

from audit import trail
from connections import database, destinations
from connections.models import DeviceRequest, DeviceState
from connections.refusals import ASK_ADMIN, Code, ConsentRefused, token_error
from outbound import addresses
from outbound.errors import OutboundError
from providers import oauth2
from providers.models import OAuthProvider
from vault.sealing import Unreadable, open_sealed, seal


@dataclass(frozen=True, slots=True)
class UserCode:
    """What the user needs to see; `verification_uri_complete` is empty where the provider has none."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_at: datetime
    interval: float


def start(user: User, provider_uid: UUID, scopes: Sequence[str]) -> DeviceRequest:
    """Get a code for this user, in place of any earlier one. Raises ConsentRefused, audited."""
    name = ""
    try:
        provider = destinations.usable(provider_uid)
        name = provider.name
        grant = _grant(provider, scopes)
    except ConsentRefused as refused:
        record("oauth.device.refused", user, name, result=trail.REFUSED, reason=refused.reason)
        raise
    request = _keep(user, provider, scopes, grant, timezone.now())
    record("oauth.device.started", user, name, scopes=list(scopes))
    return request


def find(user: User, uid: UUID) -> DeviceRequest | None:
    """Return the user's own request of this `uid`."""
    return DeviceRequest.objects.filter(user_id=user.pk, uid=uid).first()


def waiting(user: User, provider_uid: UUID) -> DeviceRequest | None:
    """Return the user's request at this provider, if its code can still be entered."""
    pending = DeviceRequest.objects.filter(state=DeviceState.PENDING, expires_at__gt=timezone.now())
    return pending.filter(user_id=user.pk, provider_uid=provider_uid).first()


def latest(user: User, provider_uid: UUID) -> DeviceRequest | None:
    """Return the user's request at this provider, waiting or ended, as long as it is kept."""
    return DeviceRequest.objects.filter(user_id=user.pk, provider_uid=provider_uid).first()


def waiting_at(user: User) -> dict[UUID, UUID]:
    """Return the `uid` of each request of the user whose code can still be entered, by provider."""
    pending = DeviceRequest.objects.filter(state=DeviceState.PENDING, expires_at__gt=timezone.now(), user_id=user.pk)
    return dict(pending.values_list("provider_uid", "uid"))


def cancel(request: DeviceRequest) -> None:
    """Forget a request; should its code be entered all the same, nobody asks for the tokens."""
    DeviceRequest.objects.filter(pk=request.pk, uid=request.uid).delete()


def user_code(request: DeviceRequest) -> UserCode | None:
    """Open what the user needs to see; None when it is erased or does not open."""
    try:
        code = open_sealed(request, "user_code")
        complete = open_sealed(request, "verification_uri_complete")
    except Unreadable:
        return None
    if code is None:
        return None
    return UserCode(code, request.verification_uri, complete or "", request.expires_at, request.interval)


def record(action: str, user: User | None, name: str, *, result: str = trail.OK, **data: object) -> None:
    """Write the trail of a device request: names and reasons, never a code."""
    trail.record(action, actor=user, target_type="connection", target=name, result=result, **data)


def _grant(provider: OAuthProvider, scopes: Sequence[str]) -> oauth2.DeviceGrant:
    name = provider.display_name
    if not provider.device_authorization_endpoint:
        raise ConsentRefused(Code.DEVICE_NOT_AVAILABLE, f"{name} offers no way to connect with a code.")
    client = destinations.client_of(provider)
    database.let_go()
    try:
        grant = oauth2.start_device(client, scopes=scopes)
    except oauth2.ProviderRefused as exc:
        refused = token_error(exc.error, name=name, callback_url=client.redirect_uri)
        what, then = f"{name} gave no code. {refused.what}", ASK_ADMIN
        raise ConsentRefused(Code.DEVICE_REFUSED, what, then, reason=exc.error) from None
    except oauth2.ProviderUnavailable as exc:
        what, then = f"{name} could not be reached to get a code.", "Try again in a few minutes."
        raise ConsentRefused(Code.DEVICE_UNAVAILABLE, what, then, reason=exc.why) from None
    except oauth2.OAuthError:
        raise _bad_answer(provider) from None
    if not _is_safe(grant.verification_uri):
        raise _bad_answer(provider)
    return grant


def _is_safe(uri: str) -> bool:
    """Tell whether a browser may be sent there (A12)."""
    try:
        addresses.check_url(uri)
    except OutboundError:
        return False
    return True


def _bad_answer(provider: OAuthProvider) -> ConsentRefused:
    what = f"{provider.display_name} answered in a way that this gateway does not understand, so there is no code."
    return ConsentRefused(Code.DEVICE_BAD_ANSWER, what, ASK_ADMIN)


def _keep(
    user: User, provider: OAuthProvider, scopes: Sequence[str], grant: oauth2.DeviceGrant, now: datetime
) -> DeviceRequest:
    request, _ = DeviceRequest.objects.update_or_create(
        user_id=user.pk,
        provider_uid=provider.uid,
        defaults={
            **_sealed(grant),
            "provider_fingerprint": provider.fingerprint(),
            "scopes": list(scopes),
            "verification_uri": grant.verification_uri,
            "interval": grant.interval,
            "created_at": now,
            "expires_at": now + timedelta(seconds=grant.expires_in),
            "next_poll_at": now + timedelta(seconds=grant.interval),
            "state": DeviceState.PENDING,
            "reason": "",
        },
    )
    return request


def _sealed(grant: oauth2.DeviceGrant) -> dict[str, object]:
    """Return the codes, sealed to a `uid` of their own."""
    owner = DeviceRequest(uid=uuid.uuid4())
    complete = grant.verification_uri_complete if _is_safe(grant.verification_uri_complete) else ""
    codes = {
        "device_code": grant.device_code,
        "user_code": grant.user_code,
        "verification_uri_complete": complete,
    }
    return {"uid": owner.uid, **{column: seal(owner, column, value) for column, value in codes.items()}}
