"""The pages of a consent: the question, the way back, what came of it. They translate; `consent` decides."""

from urllib.parse import urlsplit

from csp.decorators import csp_update
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from connections import consent, registry, scope_words
from connections.consent import Offer
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
    context = {
        **summary,
        "provider": provider,
        "scopes": scope_words.lines(summary["scopes"]),
        "missing": scope_words.lines(summary["missing"]),
    }
    return render(request, "connections/consent_done.html", context)


def _question(request: HttpRequest, user: User, offer: Offer) -> HttpResponseBase:
    provider = offer.provider
    endpoint = urlsplit(provider.authorization_endpoint)
    context = {
        "provider": provider,
        "server_name": offer.server_name,
        "scopes": scope_words.explained(
            offer.scopes,
            provider_scopes=provider.scopes,
            needs=registry.server_needs(user, provider.uid),
            granted=consent.granted_before(user, provider),
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
        "may_sign_out": may_sign_out,
        "is_someone_elses": may_sign_out and refused.code == Code.USER_MISMATCH,
    }
    return render(request, "connections/consent_failed.html", context, status=refused.status)


def _unlinked(response: HttpResponse) -> HttpResponse:
    """Keep the address of this answer, which holds code and state, out of Referer headers and caches (A14)."""
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "no-store"
    return response
