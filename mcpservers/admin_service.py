"""The fields of a service account in the form of an MCP server: a provider's client, or one of the server's own."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from clients.admin_forms import LinesField
from mcpservers import service_account
from mcpservers.admin_pick import PickOrNewField
from providers.models import AuthMethod

PREFIX = "service_"
OWN = tuple(PREFIX + member for member in service_account.OWN_CLIENT)
FIELDS = (f"{PREFIX}provider_name", *OWN, f"{PREFIX}scopes")
# Beside which field a refusal of the save stands.
HOMES = {
    "secret_not_found": f"{PREFIX}client_secret_ref",
    "secret_permission_denied": f"{PREFIX}client_secret_ref",
    "oauth_provider_not_found": f"{PREFIX}provider_name",
    "attach_permission_denied": f"{PREFIX}provider_name",
}


def _text(label: str, help_text: str, **kwargs: Any) -> forms.CharField:
    return forms.CharField(
        required=False, label=label, help_text=help_text, widget=UnfoldAdminTextInputWidget(), **kwargs
    )


class ServiceAccountFields(forms.Form):
    """Members of `auth` in the mode `service_account_oauth`; without a provider the client is the server's own."""

    service_provider_name = PickOrNewField(
        label="OAuth provider",
        help_text="Its client, secret and token endpoint are used. Only those that you may attach are listed.",
    )
    service_client_id = _text("Client id", "As registered at the authorization server. Leave empty with a provider.")
    service_client_secret_ref = PickOrNewField(
        label="Client secret",
        help_text="The secret that authenticates the client. Only those that you may use are listed.",
    )
    service_token_endpoint = _text(
        "Token endpoint", "Where tokens are issued, for example https://auth.example.com/token."
    )
    service_token_endpoint_auth_method = forms.ChoiceField(
        required=False,
        choices=[*AuthMethod.choices[:2], (AuthMethod.NONE.value, "None (no secret)")],
        initial=AuthMethod.BASIC.value,
        label="Client authentication",
        help_text="How the client proves who it is at the token endpoint.",
        widget=UnfoldAdminSelectWidget(),
    )
    service_resource = _text("Resource", "Sent as resource (RFC 8707) where the authorization server wants it.")
    service_scopes = LinesField(label="Scopes", help_text="What the token is asked for; one on a line.")

    members_said = False

    def show_service_account(self, auth: dict[str, Any]) -> None:
        """Fill the fields from a server's `auth`."""
        if auth.get("mode") == service_account.MODE:
            for field in FIELDS:
                if (member := field.removeprefix(PREFIX)) in auth:
                    self.fields[field].initial = auth[member]

    def service_account_auth(self) -> dict[str, Any]:
        """Return the `auth` that the fields describe; what a provider brings is left out."""
        given = self.cleaned_data
        scopes = given.get(f"{PREFIX}scopes", [])
        if provider := given.get(f"{PREFIX}provider_name"):
            typed = {field: given.get(field) for field in OWN if field != f"{PREFIX}token_endpoint_auth_method"}
            kept: dict[str, Any] = {"mode": service_account.MODE, "provider_name": provider, "scopes": scopes}
        else:
            typed = {field: given.get(field) for field in OWN}
            kept = {"mode": service_account.MODE, "scopes": scopes}
        return kept | {field.removeprefix(PREFIX): value for field, value in typed.items() if value}

    def check_service_account(self) -> None:
        """Say what is wrong beside each field."""
        for member, finding in service_account.findings(self.service_account_auth()):
            self.add_error(PREFIX + member, finding)
            self.members_said = True
