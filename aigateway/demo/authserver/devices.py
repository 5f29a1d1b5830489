"""The device authorization grant (RFC 8628): Django OAuth Toolkit's, with what 3.4.1 leaves out.

Beside oauthlib 4 it fails on every code: it does not expect the `scope` that oauthlib echoes, and has no
`validate_device_code`. Beside any, a code that nobody enters never expires, a code that was used can be used again
(section 5.5), the metadata do not name the endpoint, and a client that uses authorization codes may not use these.
"""

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from oauth2_provider.models import DeviceGrant
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.views.device import DeviceAuthorizationView, DeviceConfirmView, DeviceGrantForm, DeviceUserCodeView
from oauth2_provider.views.metadata import OAuthServerMetadataView

from aigateway.demo.authserver.settings import ISSUER, REGISTRATION

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"


class DeviceValidator(OAuth2Validator):
    """Knows device codes, and lets the gateway use them."""

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """Allow the gateway the device grant too; a client has one grant at the toolkit."""
        if grant_type == GRANT_TYPE and request.client.client_id == REGISTRATION.gateway.client_id:
            return True
        return bool(super().validate_grant_type(client_id, grant_type, client, request, *args, **kwargs))  # type: ignore[no-untyped-call]

    def validate_device_code(self, client_id: str, code: str, request: Any, *args: Any, **kwargs: Any) -> str | None:
        """Take an allowed code, once, and tell whose it is and for what; None for a code that is not known."""
        grant = DeviceGrant._default_manager.filter(device_code=code, client_id=request.client.client_id).first()
        if grant is None or grant.status != grant.AUTHORIZED or grant.is_expired():  # type: ignore[no-untyped-call]
            return None
        taken, _ = DeviceGrant._default_manager.filter(pk=grant.pk, status=grant.AUTHORIZED).delete()
        request.user, request.scopes = grant.user, grant.scope.split()
        return "authorized" if taken else None


class DeviceEndpoint(DeviceAuthorizationView):
    """The device authorization endpoint (RFC 8628 section 3.1)."""

    def create_device_authorization_response(self, request: HttpRequest) -> tuple[Any, Any, int]:
        """Answer as oauthlib does, without the scope."""
        headers, answer, status = super().create_device_authorization_response(request)
        if status == 200:
            answer.pop("scope", None)
        return headers, answer, status


def expire(device_code: str) -> None:
    """Notice that a code has run out; the toolkit does so only when someone enters it."""
    grant = DeviceGrant._default_manager.filter(device_code=device_code).first()
    if grant is not None:
        grant.is_expired()  # type: ignore[no-untyped-call]


class UserCodeForm(DeviceGrantForm):
    """Takes a code however it was typed (RFC 8628 section 6.1)."""

    def clean_user_code(self) -> str:
        """Return the code as it was handed out."""
        self.cleaned_data["user_code"] = "".join(filter(str.isalnum, self.cleaned_data["user_code"].upper()))
        code: str = super().clean_user_code()  # type: ignore[no-untyped-call]
        return code


@method_decorator(never_cache, name="dispatch")
class UserCodeView(DeviceUserCodeView):
    """Ask for the code."""

    template_name = "authserver/device.html"
    form_class = UserCodeForm


@method_decorator(never_cache, name="dispatch")
class ConfirmView(DeviceConfirmView):
    """Ask whether the client may act for the user."""

    template_name = "authserver/device_confirm.html"

    def get_success_url(self) -> str:
        """Go on to a page that does not read the code: by then it may have been used."""
        return reverse("device-allowed" if self.request.POST["action"] == "accept" else "device-denied")


class MetadataView(OAuthServerMetadataView):
    """RFC 8414 metadata with the endpoint of RFC 8628 section 4."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer as the toolkit does, and the one endpoint more."""
        answer: HttpResponse = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        fields = json.loads(answer.content)
        return JsonResponse({**fields, "device_authorization_endpoint": f"{ISSUER}/device-authorization"})
