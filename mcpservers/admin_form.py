"""The form of an MCP server in the admin: the members of `auth` as fields, by the mode that was chosen."""

from collections.abc import Iterable
from typing import Any, ClassVar, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from clients import rights
from clients.admin_forms import AuthoredForm, LinesField
from mcpservers import authoring, impact, service_account
from mcpservers.admin_pick import PickOrNewField
from mcpservers.admin_service import HOMES as SERVICE_HOMES
from mcpservers.admin_service import ServiceAccountFields
from mcpservers.auth_modes import MODES as MODES
from mcpservers.models import MCPServer
from mcpservers.validation import MODES as MODE_NAMES
from providers.impact import Impact
from providers.models import OAuthProvider
from vault.models import Secret

LEFT_EMPTY = {
    "static_key": ("key_ref", "Choose the secret whose value is sent, or make one with New."),
    "user_oauth": ("provider_name", "Choose the provider where users connect, or make one with New."),
}


def mode_choices(modes: Iterable[str]) -> list[tuple[str, SafeString]]:
    """Return the modes to choose from, each with the sentence on who the upstream will see."""
    sentence = '<span class="aigw-option">{}</span> <span class="aigw-second">{}</span>'
    return [(mode, format_html(sentence, *MODES[mode])) for mode in modes]


class ServerForm(AuthoredForm, ServiceAccountFields):
    """A remote server; the members of `auth` are fields of their own."""

    homes: ClassVar = {
        "invalid_ref": "key_ref",
        "secret_not_found": "key_ref",
        "secret_permission_denied": "key_ref",
        "invalid_header": "header_name",
        "oauth_provider_not_found": "provider_name",
        "attach_permission_denied": "provider_name",
        "invalid_scopes": "required_scopes",
    }
    auth_mode = forms.ChoiceField(
        choices=mode_choices(MODE_NAMES),
        initial="none",
        label="Who the upstream sees",
        widget=UnfoldAdminRadioSelectWidget(),
        error_messages={
            "required": "Choose one.",
            "invalid_choice": "There is no mode %(value)s. Choose one of these.",
        },
    )
    key_ref = PickOrNewField(
        label="Secret", help_text="The secret whose value is sent. Only those that you may use are listed."
    )
    header_name = forms.CharField(
        required=False,
        initial="Authorization",
        label="Header name",
        widget=UnfoldAdminTextInputWidget(),
        help_text="The header that carries the value, for example Authorization or X-Api-Key.",
    )
    header_prefix = forms.CharField(
        required=False,
        initial="Bearer",
        label="Header prefix",
        widget=UnfoldAdminTextInputWidget(),
        help_text="Stands before the value. Leave empty to send the bare value.",
    )
    provider_name = PickOrNewField(
        label="OAuth provider",
        help_text="Where users connect, once. Only those that you may attach are listed; "
        "the server's address must be https://.",
    )
    required_scopes = LinesField(
        label="Required scopes", help_text="What the tools need, asked for besides the provider's own; one on a line."
    )
    attach_again = forms.BooleanField(
        required=False,
        label="Attach again",
        widget=UnfoldBooleanSwitchWidget(),
        help_text="The provider that this server was bound to was replaced by another of the same name. "
        "Tick to bind the server to the new one.",
    )

    question = ""
    saves = "the new scopes"
    confirmation = ""

    class Meta:
        model = MCPServer
        fields: ClassVar = ["name", "description", "enabled", "url", "consent_delivery"]
        labels: ClassVar = {"url": "Address", "consent_delivery": "Ask to connect"}
        help_texts: ClassVar = {
            "name": "Lower-case letters, digits and hyphens. It is part of the endpoint and cannot change later.",
            "description": "What its tools are for; users see it.",
            "enabled": "When off, calls are answered with ServerDisabled.",
            "url": "Its MCP endpoint (Streamable HTTP), for example https://mcp.example.com/mcp.",
            "consent_delivery": "How a client is told that its user must connect first. Automatic suits nearly all.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        auth = self.instance.auth
        for member in ("key_ref", "header_name", "header_prefix", "provider_name", "required_scopes"):
            if member in self.fields and member in auth:
                self.fields[member].initial = auth[member]
        if "auth_mode" in self.fields:
            self.fields["auth_mode"].initial = auth.get("mode", "none")
            self.show_service_account(auth)
            self._offer_secrets(auth)
            self._offer_providers(auth.get("provider_name", ""))

    def _offer_secrets(self, auth: dict[str, Any]) -> None:
        usable = rights.allowed(self.actor, "use", Secret.objects.all()).order_by("name")
        names = [(name, name) for name in usable.values_list("name", flat=True)]
        for field, member in (("key_ref", "key_ref"), ("service_client_secret_ref", "client_secret_ref")):
            pick = cast(PickOrNewField, self.fields[field])
            pick.offer(names, current=auth.get(member, ""), empty="Select one")
            pick.offer_new(self.actor, Secret, "New secret")

    def _offer_providers(self, current: str) -> None:
        attachable = rights.allowed(self.actor, "attach", OAuthProvider.objects.all())
        names = [(row.name, _called(row)) for row in attachable]
        for field, empty in (("provider_name", "Select one"), ("service_provider_name", "None: a client of its own")):
            pick = cast(PickOrNewField, self.fields[field])
            pick.offer(names, current=current, empty=empty)
            pick.offer_new(self.actor, OAuthProvider, "New OAuth provider")
        living = OAuthProvider.objects.filter(name=current).values_list("uid", flat=True).first()
        if living is None or living == self.instance.provider_uid:
            del self.fields["attach_again"]

    def clean(self) -> dict[str, Any]:
        """Say which list was left empty in the form's own words; the verb would speak of names."""
        given = cast(dict[str, Any], super().clean())
        field, finding = LEFT_EMPTY.get(given.get("auth_mode", ""), ("", ""))
        if field in self.fields and not given.get(field):
            self.add_error(field, ValidationError(finding, code="required"))
        if given.get("auth_mode") == service_account.MODE:
            self.check_service_account()
        return given

    def _home(self, field: str, code: str) -> str | None:
        is_service = self.cleaned_data.get("auth_mode") == service_account.MODE
        return SERVICE_HOMES[code] if is_service and code in SERVICE_HOMES else super()._home(field, code)

    def check(self, instance: MCPServer) -> None:
        """Leave out what was said of the members of `auth` one by one. Raises ValidationError."""
        try:
            super().check(instance)
        except ValidationError as refused:
            left = {
                name: found for name, found in refused.error_dict.items() if name != "auth" or not self.members_said
            }
            if left:
                raise ValidationError(left) from None

    def fill(self, instance: MCPServer) -> None:
        """Build `auth` from its fields; members that no form shows stay as they are while the mode stays."""
        given, mode = self.cleaned_data, self.cleaned_data.get("auth_mode")
        if mode is None:
            return
        kept = dict(instance.auth) if instance.mode == mode else {"mode": mode}
        if mode == "static_key":
            kept["key_ref"] = given.get("key_ref", "")
            kept["header_name"] = given["header_name"] or "Authorization"
            kept["header_prefix"] = given["header_prefix"]
        if mode == service_account.MODE:
            kept = self.service_account_auth()
        if mode == "user_oauth":
            kept["provider_name"], kept["required_scopes"] = given.get("provider_name", ""), given["required_scopes"]
        instance.auth = kept

    def author(self, instance: MCPServer) -> None:
        """Save through the verb, after asking once about those who will have to reconnect."""
        found = _reconnects(instance)
        if found and self.data.get("confirmed") != _asked(instance):
            self.question, self.confirmation = found.sentence, _asked(instance)
            self.saves = "the new scopes" if _is_kept(instance) else "the new authentication"
            raise ValidationError({"required_scopes": ValidationError(found.sentence, code="confirm")})
        authoring.save(self.actor, instance, attach_again=bool(self.cleaned_data.get("attach_again")))


def _reconnects(server: MCPServer) -> Impact | None:
    """Return what a change of mode, provider or required scopes costs, if it costs anybody anything."""
    before = MCPServer.objects.filter(pk=server.pk).first()
    if before is None:
        return None
    found = impact.auth_impact(before, server.auth)
    return found if found.reconnects else None


def _asked(server: MCPServer) -> str:
    """Return what a confirmation is of: other scopes, or another provider, are asked about again."""
    scopes = " ".join(server.required_scopes)
    return scopes if _is_kept(server) else f"{server.auth.get('provider_name')}: {scopes}"


def _is_kept(server: MCPServer) -> bool:
    """Tell whether mode and provider are what they were."""
    auth = MCPServer.objects.filter(pk=server.pk).values_list("auth", flat=True).first() or {}
    return all(auth.get(member) == server.auth.get(member) for member in ("mode", "provider_name"))


def _called(provider: OAuthProvider) -> str:
    """Return what the list calls a provider."""
    state = "" if provider.enabled else ", disabled"
    return f"{provider.display_name} ({provider.name}{state})"
