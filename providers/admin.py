"""OAuth providers in the admin: the form asks, `providers.authoring` decides."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget

from clients import rights
from clients.admin_forms import AuthoredForm, LinesField, ParametersField, PickField
from clients.rights_admin import RightsAdmin, chips, code, enabled, moment
from providers import authoring
from providers.models import GrantType, OAuthProvider, default_grant_types
from vault.models import Secret, VaultEntry

DELIMITERS = [(" ", "Space, as in RFC 6749"), (",", "Comma"), ("+", "Plus")]

ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "revocation_endpoint",
    "userinfo_endpoint",
    "device_authorization_endpoint",
    "issuer",
    "resource",
)
CLIENT = ("client_id", "token_endpoint_auth_method", "client_secret_ref", "callback_mode", "require_pkce")
UNCHANGING_GROUPS: tuple[Any, ...] = (("Endpoints", {"fields": ENDPOINTS}), ("Client", {"fields": CLIENT}))


class ProviderForm(AuthoredForm):
    """Every field of a provider that an admin sets."""

    grant_types = forms.MultipleChoiceField(
        choices=GrantType.choices,
        initial=default_grant_types,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="How a user's tokens may be obtained.",
        error_messages={"required": "Tick at least one."},
    )
    client_secret_ref = PickField(
        label="Client secret", help_text="The secret that holds it. Only secrets that you may use are listed."
    )
    scopes = LinesField(help_text="Asked for at every consent, one on a line.")
    scope_delimiter = forms.ChoiceField(
        choices=DELIMITERS, widget=UnfoldAdminSelectWidget(), help_text="What stands between two scopes on the wire."
    )
    authorize_params = ParametersField(
        label="Extra parameters",
        help_text="Added to the authorization request: name=value, one on a line. For example access_type=offline.",
    )

    class Meta:
        model = OAuthProvider
        fields: ClassVar = [
            "name",
            "display_name",
            "enabled",
            *ENDPOINTS,
            *CLIENT,
            "grant_types",
            "scopes",
            "scope_delimiter",
            "authorize_params",
            "account_claim",
        ]
        help_texts: ClassVar = {
            "name": "Lower-case letters, digits and hyphens. It is part of the callback URL and cannot change later.",
            "display_name": "What users see on their Connections page.",
            "enabled": "When off, nobody can connect and calls that need it are refused.",
            "revocation_endpoint": "Told when a user disconnects (RFC 7009).",
            "userinfo_endpoint": "Asked which account a user connected.",
            "device_authorization_endpoint": "For sign-in on another device (RFC 8628).",
            "issuer": "Compared with iss in the answer, letter for letter (RFC 9207).",
            "resource": "Sent with every request, when the provider wants it (RFC 8707).",
            "client_id": "From the app that you registered at the provider.",
            "account_claim": "Which member of the userinfo answer names the account, for example login or email.",
            "require_pkce": "Refuse a consent that could not be protected by PKCE. It is used whenever possible.",
            "callback_mode": "Per provider is safer: answers of two providers cannot be mixed up (RFC 9700 §4.4).",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer_secrets(self, "client_secret_ref", self.instance.client_secret_ref, empty="No secret: a public client")

    def author(self, instance: OAuthProvider) -> None:
        """Save through the verb."""
        authoring.save(self.actor, instance)


def offer_secrets(form: AuthoredForm, field: str, current: str, *, empty: str) -> None:
    """Offer the secrets that the form's actor may use."""
    pick = form.fields.get(field)
    if isinstance(pick, PickField):
        usable = rights.allowed(form.actor, "use", Secret.objects.all()).order_by("name")
        pick.offer([(name, name) for name in usable.values_list("name", flat=True)], current=current, empty=empty)


@admin.register(OAuthProvider)
class ProviderAdmin(RightsAdmin):
    """Upstream authorization servers."""

    form = ProviderForm
    create_label = "Create provider"
    list_display = ("display_name", "name_code", "grants", "state", "scope_chips", "updated")
    list_filter = ("enabled", "token_endpoint_auth_method", "callback_mode")
    search_fields = ("name", "display_name", "issuer", "client_id")
    search_help_text = "Name, display name, issuer or client id"
    fieldsets = (
        (None, {"fields": ("name", "display_name", "enabled", "callback")}),
        *UNCHANGING_GROUPS,
        ("Consent", {"fields": ("grant_types", "scopes", "scope_delimiter", "authorize_params", "account_claim")}),
    )
    read_fieldsets = (
        (None, {"fields": ("name", "display_name", "state", "callback")}),
        *UNCHANGING_GROUPS,
        ("Consent", {"fields": ("grants", "all_scopes", "parameters", "account_claim")}),
    )
    sentences: ClassVar = {
        "view": "see its settings.",
        "attach": "bind MCP servers to it, so that they receive their users' tokens.",
        "change": "change its endpoints, client and scopes.",
        "delete": "delete it; everyone connected through it is disconnected.",
    }

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """Keep the name as it was made."""
        return ("callback", "state", "grants", "all_scopes", "parameters") + (("name",) if obj else ())

    def remove(self, request: HttpRequest, obj: OAuthProvider) -> None:
        """Bury the provider."""
        authoring.delete(request.user, obj)  # type: ignore[arg-type]

    def goes_with(self, objs: Iterable[OAuthProvider]) -> dict[str, int]:
        """Count the connections that will be revoked."""
        uids = [provider.uid for provider in objs]
        return {"connections of users, which will be revoked": VaultEntry.objects.filter(provider_uid__in=uids).count()}

    @admin.display(description="Name", ordering="name")
    def name_code(self, provider: OAuthProvider) -> SafeString:
        """Return the name in monospace."""
        return code(provider.name)

    @admin.display(description="Grant types")
    def grants(self, provider: OAuthProvider) -> str:
        """Return the grants in words."""
        labels = dict(GrantType.choices)
        return ", ".join(str(labels.get(grant, grant)) for grant in provider.grant_types)

    @admin.display(description="State", ordering="enabled")
    def state(self, provider: OAuthProvider) -> SafeString:
        """Return whether it is switched on."""
        return enabled(provider)

    @admin.display(description="Scopes")
    def scope_chips(self, provider: OAuthProvider) -> SafeString:
        """Return the first scopes and how many more there are."""
        return chips(provider.scopes, most=3)

    @admin.display(description="Updated", ordering="updated_at")
    def updated(self, provider: OAuthProvider) -> SafeString:
        """Return when it was last changed."""
        return moment(provider.updated_at)

    @admin.display(description="Scopes")
    def all_scopes(self, provider: OAuthProvider) -> SafeString:
        """Return every scope."""
        return chips(provider.scopes, most=1000)

    @admin.display(description="Extra parameters")
    def parameters(self, provider: OAuthProvider) -> SafeString:
        """Return the extra parameters of the authorization request."""
        return chips((f"{name}={value}" for name, value in provider.authorize_params.items()), most=100)

    @admin.display(description="Callback URL")
    def callback(self, provider: OAuthProvider) -> SafeString | str:
        """Return what to register at the provider."""
        if not provider.pk:
            return "Shown here after saving; register it at the provider as the redirect URI."
        return code(provider.callback_url)
