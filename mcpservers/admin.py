"""MCP servers in the admin: the form asks, `mcpservers.authoring` decides."""

from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from clients.rights_admin import RightsAdmin, chips, code, enabled, moment, status
from mcpservers import admin_activity, admin_detail, admin_tools, authoring
from mcpservers.admin_form import MODES, ServerForm
from mcpservers.admin_service import FIELDS as SERVICE_FIELDS
from mcpservers.admin_tools import ToolPolicyPages
from mcpservers.models import MCPServer
from mcpservers.tool_policy import definitions
from providers.models import OAuthProvider

PAGES = {"activity": "activity", "edit": "change", "rights": "rights_page", "delete": "delete"}


def _mode_group(mode: str, *fields: str) -> list[Any]:
    """Return the fields of one auth mode; the style sheet shows them while the mode is chosen."""
    return [(MODES[mode].label, {"fields": fields, "classes": ("aigw-mode", f"aigw-mode-{mode}")})]


@admin.register(MCPServer)
class ServerAdmin(ToolPolicyPages, RightsAdmin):
    """Where tools live."""

    form = ServerForm
    create_label = "Create server"
    change_form_before_template = "admin/mcpservers/question.html"
    change_form_outer_after_template = "admin/gateway/tools.html"
    list_display_links = None
    list_select_related = ("tool_policy",)
    list_display = ("name_link", "description", "mode_word", "provider", "tool_count", "state", "updated")
    list_filter = ("enabled", "consent_delivery")
    search_fields = ("name", "description", "url")
    search_help_text = "Name, description or address"
    readonly_fields = ("endpoint", "mode_word", "provider", "scopes", "state")
    fieldsets = (
        (None, {"fields": ("name", "description", "enabled", "url", "endpoint")}),
        ("Authentication", {"fields": ("auth_mode",), "classes": ("aigw-modes",)}),
        *_mode_group("static_key", "key_ref", "header_name", "header_prefix"),
        *_mode_group("service_account_oauth", *SERVICE_FIELDS),
        *_mode_group("user_oauth", "provider_name", "required_scopes", "attach_again", "consent_delivery"),
    )
    read_fieldsets = (
        (None, {"fields": ("name", "description", "state", "url", "endpoint")}),
        ("Authentication", {"fields": ("mode_word", "provider", "scopes", "consent_delivery")}),
    )
    sentences: ClassVar = {
        "view": "see it in lists and look at its tools.",
        "use": "call its tools through the gateway.",
        "change": "change its settings and refresh its tools.",
        "delete": "delete it.",
    }

    def get_urls(self) -> list[URLPattern]:
        """Add the page of one server, and the button that refreshes its tools."""
        refresh = self.admin_site.admin_view(require_POST(self.refresh_tools))
        detail = self.admin_site.admin_view(require_safe(self.detail_page))
        activity = self.admin_site.admin_view(require_safe(self.activity_page))
        return [
            path("<path:object_id>/activity/", activity, name="mcpservers_mcpserver_activity"),
            path("<path:object_id>/refresh-tools/", refresh, name="mcpservers_mcpserver_refresh_tools"),
            path("<path:object_id>/detail/", detail, name="mcpservers_mcpserver_detail"),
            *super().get_urls(),
        ]

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
        """Tell the table of tools whether the viewer may refresh it; a question is no error."""
        server = kwargs.get("obj")
        context["may_refresh"] = server is not None and self.has_change_permission(request, server)
        if server is not None:
            context |= admin_tools.shown_tools(request.user, server)
        form = context["adminform"].form
        if getattr(form, "question", "") and set(form.errors) == {"required_scopes"}:
            context["errors"] = None
        return super().render_change_form(request, context, *args, **kwargs)

    def detail_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show a server: endpoint, authentication, tools."""
        server = self.get_object(request, object_id)
        if server is None or not self.has_view_permission(request, server):
            raise Http404
        return render(request, "admin/mcpservers/detail.html", self._detail(request, server))

    def activity_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the calls of a server: everybody's to who may change it, else one's own."""
        server = self.get_object(request, object_id)
        if server is None or not self.has_view_permission(request, server):
            raise Http404
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Activity of {server.name}",
            "original": server,
            **{f"{what}_url": _page(server, what) for what in ("detail", "activity")},
            **admin_activity.page(cast(User, request.user), server, request.GET),
        }
        return render(request, "admin/mcpservers/activity.html", context)

    def _detail(self, request: HttpRequest, server: MCPServer) -> dict[str, Any]:
        may_change = self.has_change_permission(request, server)
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": server.name,
            "original": server,
            "state": enabled(server),
            "authentication": admin_detail.authentication(server, cast(User, request.user)),
            "created": moment(server.created_at),
            "changed": moment(server.updated_at),
            "may_change": may_change,
            "may_refresh": may_change,
            "may_grant": self.has_grant_permission(request, server),
            "may_delete": self.has_delete_permission(request, server),
            **{f"{what}_url": _page(server, name) for what, name in PAGES.items()},
            **admin_tools.shown_tools(request.user, server),
        }

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
        return redirect(_page(server, "detail"))

    def remove(self, request: HttpRequest, obj: MCPServer) -> None:
        """Delete a server."""
        authoring.delete(request.user, obj)  # type: ignore[arg-type]

    @admin.display(description="Name", ordering="name")
    def name_link(self, server: MCPServer) -> SafeString:
        """Return the name as a link to the server's page."""
        return format_html('<a class="aigw-link" href="{}">{}</a>', _page(server, "detail"), code(server.name))

    @admin.display(description="Authentication")
    def mode_word(self, server: MCPServer) -> str:
        """Return the auth mode in words."""
        return MODES[server.mode].label if server.mode in MODES else server.mode

    @admin.display(description="OAuth provider")
    def provider(self, server: MCPServer) -> SafeString:
        """Return the provider's name."""
        return code(server.auth.get("provider_name", ""))

    @admin.display(description="Required scopes")
    def scopes(self, server: MCPServer) -> SafeString:
        """Return what it asks for besides the provider's scopes."""
        return chips(server.required_scopes, most=1000)

    @admin.display(description="Tools")
    def tool_count(self, server: MCPServer) -> SafeString | str:
        """Return how many tools were last seen, and how many of them wait for review."""
        if not server.tools_refreshed_at:
            return "not asked yet"
        row = getattr(server, "tool_policy", None)
        waiting = len(definitions.changes(server.tools, row.approved)) if row else 0
        flag = status(f"{waiting} to review", "warn", "difference") if waiting else ""
        return format_html("{} {}", len(server.tools), flag)

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


def _page(server: MCPServer, what: str) -> str:
    return reverse(f"admin:mcpservers_mcpserver_{what}", args=[server.pk])


def _was_replaced(server: Any) -> bool:
    """Tell whether the provider that the server was bound to has a successor of the same name."""
    if server is None or not server.auth.get("provider_name"):
        return False
    living = OAuthProvider.objects.filter(name=server.auth.get("provider_name")).values_list("uid", flat=True).first()
    return living is not None and living != server.provider_uid
