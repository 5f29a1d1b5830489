"""The pages of a consent: the question, the way back, what came of it. They translate; `consent` decides."""

from typing import cast
from urllib.parse import urlsplit

from csp.decorators import csp_update
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from connections import consent, listing, refusals, registry, scope_words
from connections.consent import Offer
from connections.listing import Connection, Status
from connections.refusals import Code, ConsentRefused

DONE = "consent_done"


@require_http_methods(["GET", "HEAD", "POST"])
def authorize(request: HttpRequest) -> HttpResponseBase:
    """Show what will be asked (GET, which changes nothing), or leave for the provider (POST)."""
    if not isinstance(request.user, User):
        return redirect_to_login(request.get_full_path())
    try:
        offer = consent.read_ticket(request.user, request.GET)
        if request.method == "POST":
            return HttpResponseRedirect(consent.begin(request.user, request.session, offer))
    except ConsentRefused as refused:
        return _refusal(request, refused, may_sign_out=True)
    return _question(request, request.user, offer)


@require_GET
def callback(request: HttpRequest, name: str | None = None) -> HttpResponse:
    """Take the provider's answer, then go on to an address that holds neither code nor state (A14)."""
    try:
        connected = consent.finish(request.user, request.session, request.GET, name)
    except ConsentRefused as refused:
        if refused.is_the_travellers_own:
            refusals.remember(request.session, refused)
            return _unlinked(redirect("connections"))
        return _unlinked(_refusal(request, refused, may_sign_out=False))
    request.session[DONE] = connected.summary()
    return _unlinked(redirect("consent-done", connected.provider.name))


@require_safe
@login_required
def done(request: HttpRequest, name: str) -> HttpResponse:
    """Say what was just connected, as long as it is."""
    summary = request.session.get(DONE, {})
    provider = consent.connected_provider(request.user, name)
    if provider is None or summary.get("provider") != name:
        return redirect("connections")
    needed_by = {need.name for need in registry.server_needs(cast(User, request.user), provider.uid)}
    context = {
        **summary,
        "may_open_server": summary["server_name"] in needed_by,
        "provider": provider,
        "scopes": scope_words.lines(summary["scopes"]),
        "missing": scope_words.lines(summary["missing"]),
    }
    return render(request, "connections/consent_done.html", context)


def _question(request: HttpRequest, user: User, offer: Offer) -> HttpResponseBase:
    provider, connection = offer.provider, listing.connection_of(user, offer.provider.name)
    if connection is None:  # switched off this very moment
        raise Http404
    endpoint = urlsplit(provider.authorization_endpoint)
    context = {
        "provider": provider,
        "server_name": offer.server_name,
        "connection": connection,
        "is_again": connection.status != Status.NOT_CONNECTED,
        "scopes": scope_words.explained(
            offer.scopes,
            provider_scopes=provider.scopes,
            needs=connection.servers,
            granted=connection.scopes_granted,
        ),
        "host": endpoint.hostname,
    }
    # Chromium holds every redirect after a form against form-action, and providers send people on to sign-in
    # hosts of their own: this one page lets its form lead to any https address, or to the provider's on loopback.
    may_lead_to = "https:" if endpoint.scheme == "https" else f"http://{endpoint.netloc}"
    page = csp_update({"form-action": [may_lead_to]})(
        lambda request: render(request, "connections/consent.html", context)
    )
    return page(request)


def _refusal(request: HttpRequest, refused: ConsentRefused, *, may_sign_out: bool) -> HttpResponse:
    # A page without a referrer sends its forms with `Origin: null`, which the CSRF check refuses: no form there.
    context = {
        "refused": refused,
        "again": _anew(request, refused),
        "may_sign_out": may_sign_out,
        "is_someone_elses": may_sign_out and refused.code == Code.USER_MISMATCH,
    }
    return render(request, "connections/consent_failed.html", context, status=refused.status)


def _anew(request: HttpRequest, refused: ConsentRefused) -> Connection | None:
    """Return what a link that has only grown too old was about, so that a new one can be given at once."""
    if refused.code not in {Code.TICKET_EXPIRED, Code.STATE_EXPIRED} or not isinstance(request.user, User):
        return None
    here = request.resolver_match.kwargs if request.resolver_match else {}
    found = listing.connection_of(request.user, here.get("name") or request.GET.get("provider_name", ""))
    return found if found and found.can_connect else None


def _unlinked(response: HttpResponse) -> HttpResponse:
    """Keep the address of this answer, which holds code and state, out of Referer headers and caches (A14)."""
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "no-store"
    return response
