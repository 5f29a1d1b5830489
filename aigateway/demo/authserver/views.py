"""The pages and endpoints of the authorization server: Django OAuth Toolkit's, with looks, `iss` and counting added."""

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from oauth2_provider.views.base import AuthorizationView, RevokeTokenView, TokenView
from oauth2_provider.views.generic import ScopedProtectedResourceView
from oauth2_provider.views.mixins import ProtectedResourceMetadataMixin

from aigateway.demo.authserver import devices
from aigateway.demo.authserver.ledger import ledger
from aigateway.demo.authserver.settings import ISSUER, REGISTRATION


class OwnedRequest(HttpRequest):
    """A request whose bearer token was found good."""

    resource_owner: User


@method_decorator(never_cache, name="dispatch")
class ConsentView(AuthorizationView):
    """Ask the user whether the client may act for them (RFC 6749 section 4.1.1)."""

    template_name = "authserver/consent.html"

    def redirect(self, redirect_to: str, application: Any) -> HttpResponse:
        """Name the issuer in error responses as well (RFC 9207 section 2); the toolkit does so on success only."""
        if "iss" not in parse_qs(urlsplit(redirect_to).query):
            redirect_to += "&" + urlencode({"iss": ISSUER})
        response: HttpResponse = super().redirect(redirect_to, application)  # type: ignore[no-untyped-call]
        return response


class CountedTokenView(TokenView):
    """The token endpoint (RFC 6749 section 3.2), counted."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer as the toolkit does and count the answer."""
        grant_type = request.POST.get("grant_type", "")
        if grant_type == devices.GRANT_TYPE:
            devices.expire(request.POST.get("device_code", ""))
        response: HttpResponse = super().post(request, *args, **kwargs)
        ledger.record_token_request(grant_type.rpartition(":")[2], issued=response.status_code == 200)
        return response


class CountedRevokeView(RevokeTokenView):
    """The revocation endpoint (RFC 7009), counted."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer as the toolkit does and count the answer."""
        response: HttpResponse = super().post(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        ledger.record_revocation(accepted=response.status_code == 200)
        return response


class UserInfoView(ProtectedResourceMetadataMixin, ScopedProtectedResourceView):
    """Tell the bearer of a token with scope `profile` whose token it is."""

    required_scopes = ["profile"]  # type: ignore[assignment]

    def get(self, request: OwnedRequest) -> JsonResponse:
        """Answer the claims of the token's owner."""
        user = request.resource_owner
        return JsonResponse({"sub": str(user.pk), "preferred_username": user.username, "email": user.email})


def show_ledger(request: HttpRequest) -> JsonResponse:
    """Answer the counts to the operator, who holds the key of this run."""
    expected = f"Bearer {REGISTRATION.operator_key}"
    if not constant_time_compare(request.headers.get("Authorization", ""), expected):
        return JsonResponse({"error": "the operator's key is required"}, status=403)
    return JsonResponse(ledger.snapshot())
