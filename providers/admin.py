"""OAuth providers in the admin: list, catalog, form, detail. The form asks, `providers.authoring` decides."""

from collections.abc import Iterable
from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from clients import rights
from clients.rights_admin import RightsAdmin, chips, code, enabled, moment, status
from providers import admin_detail, admin_form_page, authoring, impact, registry
from providers.admin_filters import CategoryFilter, GrantTypeFilter, PresetFilter, StatusFilter
from providers.admin_form import ProviderForm
from providers.models import GrantType, OAuthProvider

PAGES = ("change", "delete", "rights_page", "disable", "enable", "history")


class ProviderList(ChangeList):
    """The list; a click opens a provider's own page."""

    def url_for_result(self, result: Model) -> str:
        """Return the address of the page."""
        return page_of(cast(OAuthProvider, result), "detail")

    def get_results(self, request: HttpRequest) -> None:
        """Ask once for the whole page what hangs on its providers."""
        super().get_results(request)
        uids = [provider.uid for provider in self.result_list]
        servers, connections = registry.servers_of_each(uids), registry.connections_of_each(uids)
        standings = registry.standings_of(uids)
        for provider in self.result_list:
            provider.trouble = standings.get(provider.uid)
            provider.server_total = len(servers[provider.uid])
            provider.connection_total = connections[provider.uid].connected


@admin.register(OAuthProvider)
class ProviderAdmin(RightsAdmin):
    """Upstream authorization servers."""

    form = ProviderForm
    create_label = "Create provider"
    list_display = ("display_name", "name_code", "grants", "state", "scope_chips", "connection_count", "server_count")
    list_filter = (StatusFilter, GrantTypeFilter, CategoryFilter, PresetFilter)
    search_fields = ("name", "display_name")
    search_help_text = "Name or display name"
    fields = tuple(ProviderForm.Meta.fields)
    sentences: ClassVar = {
        "view": "see its settings.",
        "attach": "bind MCP servers to it, so that they receive their users' tokens.",
        "change": "change its endpoints, client and scopes.",
        "delete": "delete it; everyone connected through it is disconnected.",
    }

    def get_urls(self) -> list[URLPattern]:
        """Add the page of one provider and its switch."""
        views = {
            "detail": require_safe(self.detail_view),
            "disable": self.disable_view,
            "enable": require_POST(self.enable_view),
        }
        own = [
            path(f"<path:object_id>/{what}/", self.admin_site.admin_view(view), name=f"providers_oauthprovider_{what}")
            for what, view in views.items()
        ]
        return [*own, *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list."""
        return ProviderList

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """Keep the name as it was made."""
        return ("name",) if obj else ()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show and take the form; who may only look is shown the provider."""
        if object_id is None:
            return admin_form_page.create(self, request)
        provider = self._viewed(request, object_id)
        if self.has_change_permission(request, provider):
            return admin_form_page.edit(self, request, provider)
        if request.method == "POST":
            raise PermissionDenied(rights.refusal("change", provider))
        return self.detail_view(request, object_id)

    def detail_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show a provider: settings, what hangs on it, who may do what."""
        provider = self._viewed(request, object_id)
        context = {
            **self._page(request, provider),
            **admin_detail.context(provider, cast(User, request.user)),
            "state": enabled(provider),
            "trouble": registry.standings_of([provider.uid]).get(provider.uid),
            "created": moment(provider.created_at),
            "changed": moment(provider.updated_at),
        }
        return render(request, "admin/providers/oauthprovider/detail.html", context)

    def disable_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask once, saying what stops meanwhile; the POST switches the provider off."""
        provider = self._changed(request, object_id)
        if request.method == "POST":
            return self._switch(request, provider, is_on=False)
        uses = impact.uses(provider, cast(User, request.user))
        context = {**self._page(request, provider), "title": f"Disable {provider}", "uses": uses}
        return render(request, "admin/providers/oauthprovider/disable.html", context)

    def enable_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Switch the provider on."""
        return self._switch(request, self._changed(request, object_id), is_on=True)

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        """Ask, saying which servers and how many connections a deletion hits."""
        provider = cast(OAuthProvider, context["object"])
        uses = impact.uses(provider, cast(User, request.user))
        may_change = self.has_change_permission(request, provider)
        own = {**self._page(request, provider), "title": f"Delete {provider}", "uses": uses, "may_change": may_change}
        return render(request, "admin/providers/oauthprovider/delete.html", own)

    def remove(self, request: HttpRequest, obj: OAuthProvider) -> None:
        """Bury the provider."""
        authoring.delete(cast(User, request.user), obj)

    def goes_with(self, objs: Iterable[OAuthProvider]) -> dict[str, int]:
        """Count the connections that will be revoked and the servers that lose their provider."""
        uids = [provider.uid for provider in objs]
        connections = registry.connections_of_each(uids).values()
        servers = registry.servers_of_each(uids).values()
        return {
            "connections of users, which will be revoked": sum(counts.total for counts in connections),
            "MCP servers, which will answer OAuthProviderNotFound": sum(map(len, servers)),
        }

    def _viewed(self, request: HttpRequest, object_id: str) -> OAuthProvider:
        provider = self.get_object(request, object_id)
        if provider is None:
            raise Http404
        return cast(OAuthProvider, provider)

    def _changed(self, request: HttpRequest, object_id: str) -> OAuthProvider:
        provider = self._viewed(request, object_id)
        if not self.has_change_permission(request, provider):
            raise PermissionDenied(rights.refusal("change", provider))
        return provider

    def _switch(self, request: HttpRequest, provider: OAuthProvider, *, is_on: bool) -> HttpResponse:
        try:
            authoring.switch(cast(User, request.user), provider, is_on=is_on)
        except ValidationError as refused:
            messages.error(request, f"{provider} stays as it was. {' '.join(refused.messages)}")
        else:
            what = "enabled" if is_on else "disabled; nobody's connection is lost"
            self.log_change(request, provider, f"{'Enabled' if is_on else 'Disabled'}.")
            messages.success(request, f"{provider} is {what}.")
        return redirect(page_of(provider, "detail"))

    def _page(self, request: HttpRequest, provider: OAuthProvider) -> dict[str, Any]:
        """Return what every page of one provider needs."""
        urls = {f"{what}_url": page_of(provider, what) for what in ("detail", *PAGES)}
        return {**self.admin_site.each_context(request), "opts": self.opts, "original": provider, **urls}

    @admin.display(description="Name", ordering="name")
    def name_code(self, provider: OAuthProvider) -> SafeString:
        """Return the name in monospace."""
        return code(provider.name)

    @admin.display(description="Grant types")
    def grants(self, provider: OAuthProvider) -> SafeString:
        """Return a badge for each grant."""
        labels = dict(GrantType.choices)
        words = ((str(labels.get(grant, grant)),) for grant in provider.grant_types)
        return in_one(format_html_join(" ", '<span class="aigw-badge">{}</span>', words))

    @admin.display(description="Status", ordering="enabled")
    def state(self, provider: Any) -> SafeString:
        """Return whether it is switched on, and what is wrong with it."""
        return in_one(format_html("{} {}", enabled(provider), trouble_of(provider.trouble)))

    @admin.display(description="Scopes")
    def scope_chips(self, provider: OAuthProvider) -> SafeString:
        """Return the first scopes and how many more there are."""
        return in_one(chips(provider.scopes, most=3))

    @admin.display(description="Connections")
    def connection_count(self, provider: Any) -> SafeString:
        """Return how many users' connections work."""
        return format_html("{}", provider.connection_total)

    @admin.display(description="Servers")
    def server_count(self, provider: Any) -> SafeString:
        """Return how many servers are bound to it."""
        return format_html("{}", provider.server_total)


def trouble_of(standing: registry.Standing | None) -> SafeString:
    """Return a badge for a provider in trouble, its sentence on hover; nothing for one that is well."""
    if standing is None:
        return SafeString("")
    badge = status(standing.word, standing.kind, standing.icon)
    return format_html('<span title="{}">{}</span>', standing.sentence, badge)


def in_one(parts: SafeString) -> SafeString:
    """Keep the parts of a cell together where the theme lays a table out as cards."""
    return format_html('<span class="aigw-cell">{}</span>', parts)


def page_of(provider: OAuthProvider, what: str) -> str:
    """Return the address of one of a provider's pages."""
    return reverse(f"admin:providers_oauthprovider_{what}", args=[provider.pk])
