"""The pages of connecting with a code: what will be asked, the code and the waiting, what came of it.

They translate; `device` and `device_poll` decide. The waiting page loads itself anew, without script.
"""

from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from connections import consent, device, device_words, listing, registry, scope_words
from connections.device import UserCode
from connections.listing import Connection, Status
from connections.models import DeviceRequest, DeviceState
from connections.refusals import ConsentRefused
from connections.scope_words import ScopeLine
from providers.models import OAuthProvider

MIN_RELOAD_SECONDS, MAX_RELOAD_SECONDS = 5, 15


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def ask(request: HttpRequest, provider_name: str) -> HttpResponse:
    """Show what will be asked (GET, which changes nothing), or get a code (POST)."""
    user = cast(User, request.user)
    connection = listing.connection_of(user, provider_name)
    if connection is None or not connection.can_use_code:
        raise Http404
    if request.method == "POST":
        return _start(request, user, connection)
    waiting = device.waiting(user, connection.provider_uid)
    if waiting is not None:
        return redirect("connection-device-code", provider_name, waiting.uid)
    return render(request, "connections/device_ask.html", _question(user, connection))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def code(request: HttpRequest, provider_name: str, uid: UUID) -> HttpResponse:
    """Show the code and wait, or say what came of it; the POST cancels."""
    user = cast(User, request.user)
    started = device.find(user, uid)
    if started is None:  # not theirs, long gone, or another one took its place
        raise Http404
    provider = get_object_or_404(OAuthProvider.everything, name=provider_name, uid=started.provider_uid)
    if request.method == "POST":
        device.cancel(started)
        return redirect("connections")
    shown = device.user_code(started) if started.state_at(timezone.now()) == DeviceState.PENDING else None
    return _waiting(request, user, provider, started, shown) if shown else _outcome(request, user, provider, started)


def _start(request: HttpRequest, user: User, connection: Connection) -> HttpResponse:
    try:
        started = device.start(user, connection.provider_uid, connection.wanted)
    except ConsentRefused as refused:
        context = {**_question(user, connection), "refused": refused}
        return render(request, "connections/device_ask.html", context, status=refused.status)
    return redirect("connection-device-code", connection.provider, started.uid)


def _waiting(
    request: HttpRequest, user: User, provider: OAuthProvider, started: DeviceRequest, shown: UserCode
) -> HttpResponse:
    context = {
        "provider": provider,
        "code": shown,
        "host": urlsplit(shown.verification_uri).netloc,
        "scopes": _lines(user, provider, started.scopes),
    }
    page = render(request, "connections/device_code.html", context)
    # A reload takes a selection away, so it comes no oftener than the provider is asked.
    page["Refresh"] = str(round(min(max(shown.interval, MIN_RELOAD_SECONDS), MAX_RELOAD_SECONDS)))
    return page


def _outcome(request: HttpRequest, user: User, provider: OAuthProvider, started: DeviceRequest) -> HttpResponse:
    state = started.state_at(timezone.now())
    connection = listing.connection_of(user, provider.name)
    if state == DeviceState.CONNECTED and (connection is None or connection.status == Status.NOT_CONNECTED):
        return redirect("connections")  # connected then, disconnected since
    what, then = device_words.outcome(state, started.reason, provider.display_name)
    context = {
        "provider": provider,
        "connection": connection,
        "state": state.value,
        "what": what,
        "then": then,
        "granted": scope_words.lines(connection.scopes_granted) if connection else [],
        "can_try_again": state != DeviceState.CONNECTED and connection is not None and connection.can_use_code,
    }
    return render(request, "connections/device_outcome.html", context)


def _question(user: User, connection: Connection) -> dict[str, object]:
    provider = OAuthProvider.objects.get(uid=connection.provider_uid)
    return {"connection": connection, "provider": provider, "scopes": _lines(user, provider, connection.wanted)}


def _lines(user: User, provider: OAuthProvider, scopes: Sequence[str]) -> list[ScopeLine]:
    return scope_words.explained(
        scopes,
        provider_scopes=provider.scopes,
        needs=registry.server_needs(user, provider.uid),
        granted=consent.granted_before(user, provider),
    )
