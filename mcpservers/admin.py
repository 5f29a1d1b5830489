"""MCP servers in the admin: the form asks, `mcpservers.authoring` decides."""

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from clients import rights
from clients.admin_forms import AuthoredForm, LinesField, PickField
from clients.rights_admin import RightsAdmin, chips, code, enabled, moment
from mcpservers import authoring
from mcpservers.models import MCPServer
from providers.admin import offer_secrets
from providers.models import OAuthProvider

MODES = [
    ("none", "None: no credential is sent"),
    ("static_key", "Static key: one secret for everyone"),
    ("user_oauth", "User-delegated OAuth: each user's own token"),
]


class ServerForm(AuthoredForm):
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
    auth_mode = forms.ChoiceField(choices=MODES, label="Credential", widget=UnfoldAdminSelectWidget())
    key_ref = PickField(
        label="Secret", help_text="The secret whose value is sent. Only those that you may use are listed."
    )
    header_name = forms.CharField(
        required=False, initial="Authorization", label="Header name", widget=UnfoldAdminTextInputWidget()
    )
    header_prefix = forms.CharField(
        required=False,
        initial="Bearer",
        label="Header prefix",
        widget=UnfoldAdminTextInputWidget(),
        help_text="Stands before the value. Leave empty to send the bare value.",
    )
    provider_name = PickField(
        label="OAuth provider",
        help_text="Users connect here once. Only providers that you may attach are listed; the address must be https://.",
    )
    required_scopes = LinesField(
        label="Required scopes", help_text="Asked for besides the provider's own, one on a line."
    )
    attach_again = forms.BooleanField(
        required=False,
        label="Attach again",
        widget=UnfoldBooleanSwitchWidget(),
        help_text="The provider that this server was bound to was replaced by another of the same name. "
        "Tick to bind the server to the new one.",
    )

    class Meta:
        model = MCPServer
        fields: ClassVar = ["name", "description", "enabled", "url", "consent_delivery"]
        labels: ClassVar = {"url": "Address"}
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
            offer_secrets(self, "key_ref", auth.get("key_ref", ""), empty="Select a secret")
            self._offer_providers(auth.get("provider_name", ""))

    def _offer_providers(self, current: str) -> None:
        pick = cast(PickField, self.fields["provider_name"])
        rows = rights.allowed(self.actor, "attach", OAuthProvider.objects.all())
        pick.offer(
            [(row.name, f"{row.display_name} ({row.name})") for row in rows], current=current, empty="Select a provider"
        )
        living = OAuthProvider.objects.filter(name=current).values_list("uid", flat=True).first()
        if living is None or living == self.instance.provider_uid:
            del self.fields["attach_again"]

    def fill(self, instance: MCPServer) -> None:
        """Build `auth` from its fields; members that no form shows stay as they are while the mode stays."""
        given, mode = self.cleaned_data, self.cleaned_data.get("auth_mode")
        if mode is None:
            return
        kept = dict(instance.auth) if instance.mode == mode else {"mode": mode}
        if mode == "static_key":
            kept["key_ref"] = given["key_ref"]
            kept["header_name"] = given["header_name"] or "Authorization"
            kept["header_prefix"] = given["header_prefix"]
        if mode == "user_oauth":
            kept["provider_name"], kept["required_scopes"] = given["provider_name"], given["required_scopes"]
        instance.auth = kept

    def author(self, instance: MCPServer) -> None:
        """Save through the verb."""
        authoring.save(self.actor, instance, attach_again=bool(self.cleaned_data.get("attach_again")))


@admin.register(MCPServer)
class ServerAdmin(RightsAdmin):
    """Where tools live."""

    form = ServerForm
    create_label = "Create server"
    change_form_outer_after_template = "admin/gateway/tools.html"
    list_display = ("name_code", "description", "mode_word", "provider", "tool_count", "state", "updated")
    list_filter = ("enabled", "consent_delivery")
    search_fields = ("name", "description", "url")
    search_help_text = "Name, description or address"
    readonly_fields = ("endpoint", "mode_word", "provider", "scopes", "state")
    fieldsets = (
        (None, {"fields": ("name", "description", "enabled", "url", "endpoint")}),
        (
            "Credential",
            {
                "fields": (
                    "auth_mode",
                    "key_ref",
                    "header_name",
                    "header_prefix",
                    "provider_name",
                    "required_scopes",
                    "attach_again",
                )
            },
        ),
        ("Consent", {"fields": ("consent_delivery",)}),
    )
    read_fieldsets = (
        (None, {"fields": ("name", "description", "state", "url", "endpoint")}),
        ("Credential", {"fields": ("mode_word", "provider", "scopes")}),
        ("Consent", {"fields": ("consent_delivery",)}),
    )
    conditional_fields: ClassVar = {
        "key_ref": "auth_mode == 'static_key'",
        "header_name": "auth_mode == 'static_key'",
        "header_prefix": "auth_mode == 'static_key'",
        "provider_name": "auth_mode == 'user_oauth'",
        "required_scopes": "auth_mode == 'user_oauth'",
        "attach_again": "auth_mode == 'user_oauth'",
    }
    sentences: ClassVar = {
        "view": "see it in lists and look at its tools.",
        "use": "call its tools through the gateway.",
        "change": "change its settings and refresh its tools.",
        "delete": "delete it.",
    }

    def get_urls(self) -> list[URLPattern]:
        """Add the button below the form."""
        refresh = self.admin_site.admin_view(require_POST(self.refresh_tools))
        own = path("<path:object_id>/refresh-tools/", refresh, name="mcpservers_mcpserver_refresh_tools")
        return [own, *super().get_urls()]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """Keep the name as it was made."""
        return self.readonly_fields + (("name",) if obj else ())

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Ask about a replaced provider only where there is one."""
        groups = super().get_fieldsets(request, obj)
        if _was_replaced(obj):
            return groups
        return [
            (title, {**group, "fields": tuple(name for name in group["fields"] if name != "attach_again")})
            for title, group in groups
        ]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Tell the table of tools whether the viewer may refresh it."""
        server = kwargs.get("obj")
        context["may_refresh"] = server is not None and self.has_change_permission(request, server)
        return super().render_change_form(request, context, *args, **kwargs)

    def refresh_tools(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask the server for its tools now."""
        from mcpservers import discovery  # brings the whole MCP SDK, which nothing else here needs

        server = self.get_object(request, object_id)
        if server is None:
            raise Http404
        if not self.has_change_permission(request, server):
            raise PermissionDenied("You need the permission mcpservers.change_mcpserver to refresh a server's tools.")
        try:
            discovery.refresh_tools(server, user_id=request.user.pk)
        except discovery.DiscoveryFailed as failed:
            messages.error(request, str(failed))
        else:
            server.refresh_from_db()
            messages.success(request, f"{server.name} lists {len(server.tools)} tools.")
        return redirect(reverse("admin:mcpservers_mcpserver_change", args=[server.pk]))

    def remove(self, request: HttpRequest, obj: MCPServer) -> None:
        """Delete a server."""
        authoring.delete(request.user, obj)  # type: ignore[arg-type]

    @admin.display(description="Name", ordering="name")
    def name_code(self, server: MCPServer) -> SafeString:
        """Return the name in monospace."""
        return code(server.name)

    @admin.display(description="Credential")
    def mode_word(self, server: MCPServer) -> str:
        """Return the auth mode in words."""
        return dict(MODES).get(server.mode, server.mode).partition(":")[0]

    @admin.display(description="OAuth provider")
    def provider(self, server: MCPServer) -> SafeString:
        """Return the provider's name."""
        return code(server.auth.get("provider_name", ""))

    @admin.display(description="Required scopes")
    def scopes(self, server: MCPServer) -> SafeString:
        """Return what it asks for besides the provider's scopes."""
        return chips(server.required_scopes, most=1000)

    @admin.display(description="Tools")
    def tool_count(self, server: MCPServer) -> str:
        """Return how many tools were last seen."""
        return str(len(server.tools)) if server.tools_refreshed_at else "not asked yet"

    @admin.display(description="State", ordering="enabled")
    def state(self, server: MCPServer) -> SafeString:
        """Return whether it is switched on."""
        return enabled(server)

    @admin.display(description="Updated", ordering="updated_at")
    def updated(self, server: MCPServer) -> SafeString:
        """Return when it was last changed."""
        return moment(server.updated_at)

    @admin.display(description="Endpoint")
    def endpoint(self, server: MCPServer) -> SafeString | str:
        """Return what clients are given."""
        return code(server.endpoint_url) if server.pk else "Shown here after saving; give it to MCP clients."


def _was_replaced(server: Any) -> bool:
    """Tell whether the provider that the server was bound to has a successor of the same name."""
    if server is None or server.mode != "user_oauth":
        return False
    living = OAuthProvider.objects.filter(name=server.auth.get("provider_name")).values_list("uid", flat=True).first()
    return living is not None and living != server.provider_uid
