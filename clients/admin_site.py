"""The site under `/admin/`: who may enter it, where to sign in, and what its side bar shows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, path, reverse
from unfold.sites import UnfoldAdminSite

from clients import rights

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the side bar that is no list of a model, at `/admin/PATH/`; `may_open` decides who sees its link."""

    section: str
    title: str
    icon: str
    path: str
    view: View
    may_open: Callable[[HttpRequest], bool]

    @property
    def url_name(self) -> str:
        """Return the name of its address, within `admin:`."""
        return self.path.replace("-", "_")


_pages: list[Page] = []


def register_page(page: Page) -> None:
    """Have `page` served and shown. Called in `AppConfig.ready()`."""
    _pages.append(page)


# title, then (label, icon, model)
SECTIONS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Gateway",
        (
            ("OAuth Providers", "shield_lock", "providers.oauthprovider"),
            ("MCP servers", "dns", "mcpservers.mcpserver"),
            ("Secrets", "key", "vault.secret"),
            ("Connections", "link", "vault.vaultentry"),
        ),
    ),
    (
        "Access",
        (
            ("API tokens", "confirmation_number", "clients.apitoken"),
            ("Users", "person", "auth.user"),
            ("Groups", "group", "auth.group"),
        ),
    ),
    ("Audit", (("Events", "history", "audit.event"),)),
)


class GatewayAdminSite(UnfoldAdminSite):  # type: ignore[misc]
    """Django's admin with the gateway's own door."""

    index_title = "Administration"
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        """Let in staff, superusers, `admins` and `mcp-editors`."""
        return rights.may_enter_admin(request.user)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """Return what the viewer may see under the side bar's titles, not under the names of Django apps."""
        apps = super().get_app_list(request, app_label)
        return apps if app_label else _in_sections(apps)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Add the registered pages."""
        own = [path(f"{page.path}/", self.admin_view(page.view), name=page.url_name) for page in _pages]
        return [*own, *super().get_urls()]

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """Guard a view: signed out, go and sign in; signed in without the right, 403."""
        guarded: View = super().admin_view(view, cacheable)

        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if self.has_permission(request) or request.path == reverse("admin:logout", current_app=self.name):
                return guarded(request, *args, **kwargs)
            return _turned_away(request, request.get_full_path())

        return update_wrapper(inner, guarded)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """Leave signing in to the gateway's own page: one place that throttles, one that is looked at."""
        if self.has_permission(request):
            return redirect("admin:index")
        return _turned_away(request, request.GET.get("next") or reverse("admin:index"))


def _in_sections(apps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort the models of Django's list of apps into `SECTIONS`; a section of which nothing may be seen is left out."""
    models = {model["model"]._meta.label_lower: model for app in apps for model in app["models"]}
    sections = ((title, [models[label] for _, _, label in entries if label in models]) for title, entries in SECTIONS)
    return [
        {"name": title, "app_label": title.lower(), "app_url": reverse("admin:index"), "models": shown}
        for title, shown in sections
        if shown
    ]


def _turned_away(request: HttpRequest, wanted: str) -> HttpResponseBase:
    """Send whoever is signed out to the sign-in page and back; refuse an account without the right."""
    if not request.user.is_authenticated:
        return redirect_to_login(wanted)
    raise PermissionDenied(
        f"The administration is open to staff and to the groups admins and mcp-editors; "
        f"{request.user.get_username()} is in none of them. Ask an admin, or sign in with another account."
    )


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the side bar: only what the caller may open."""
    sections: list[dict[str, Any]] = []
    for title, entries in SECTIONS:
        items = [
            {"title": label, "icon": icon, "link": reverse(f"admin:{model.replace('.', '_')}_changelist")}
            for label, icon, model in entries
            if _may_open(request, model)
        ]
        items += [
            {"title": page.title, "icon": page.icon, "link": reverse(f"admin:{page.url_name}")}
            for page in _pages
            if page.section == title and page.may_open(request)
        ]
        if items:
            sections.append({"title": title, "separator": bool(sections), "items": items})
    return sections


def _may_open(request: HttpRequest, label: str) -> bool:
    for model, model_admin in admin.site._registry.items():
        if model._meta.label_lower == label:
            return bool(model_admin.has_module_permission(request))
    return False
