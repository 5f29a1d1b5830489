"""The pages of the MCP servers that a user may use. They translate; `listing`, `tool_words` and `snippets` decide."""

from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from clients import rights, token_form
from mcpservers import activity_page, explain, first_steps, inspector, listing, snippets, tool_words
from mcpservers.listing import Offered
from mcpservers.models import MCPServer

PAGE_SIZE = 24
TOOLS_PAGE_SIZE = 50
OVERVIEW, CONNECT, EXPLAIN = "overview", "connect", "explain"
NOT_YOURS = (
    "You may see the server {name}, but not use it. Ask an administrator of this gateway for the permission "
    "“use” on {name}."
)
NOT_YOURS_TO_REFRESH = (
    "Only who may change the server {name} asks it for its tools. Ask an administrator of this gateway to refresh them."
)


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Show the next step of a fresh install; once all are taken, go to Connections."""
    steps = first_steps.of(_caller(request))
    if all(step.is_done for step in steps):
        return redirect("connections")
    return render(request, "mcpservers/home.html", {"steps": steps, "next": next(s for s in steps if not s.is_done)})


@require_safe
@login_required
def servers(request: HttpRequest) -> HttpResponse:
    """List the servers that the caller may use, each with how it stands for them."""
    user, search = _caller(request), _search(request)
    page = Paginator(listing.usable_by(user, search=search), PAGE_SIZE).get_page(request.GET.get("page"))
    shown = listing.offered(user, listing.with_tools(user, cast(Any, page.object_list)))
    return render(request, "mcpservers/servers.html", {"page": page, "rows": shown, **_searched(search)})


@require_safe
@login_required
def server(request: HttpRequest, name: str) -> HttpResponse:
    """Show one server: what it offers, how to connect a client, a tool to try, or what would become of a call."""
    if request.GET.get("tab") == inspector.TAB:
        return inspector.show(request, _offered(request, name))
    if request.GET.get("tab") == activity_page.TAB:
        return activity_page.show(request, _offered(request, name))
    if request.GET.get("tab") == EXPLAIN:
        return _explain(request, _offered(request, name))
    if request.GET.get("tab") == CONNECT:
        return _connect(request, _offered(request, name), token_form.blank(name))
    return _overview(request, _offered(request, name))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def make_token(request: HttpRequest, name: str) -> HttpResponse:
    """Make an API token of the caller's beside the snippets that need it, and show it this once."""
    if request.method != "POST":
        return redirect(f"{reverse('server', args=[name])}?tab={CONNECT}")
    offered, form = _offered(request, name), token_form.TokenForm(request.POST)
    if not form.is_valid():
        return _connect(request, offered, form, status=400)
    made, token = form.make(_caller(request))
    return _connect(request, offered, token_form.blank(name), made=made, token=token)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def call(request: HttpRequest, name: str) -> HttpResponse:
    """Call a tool from the inspector's form, where there is no script to do it."""
    if request.method != "POST":
        return redirect(f"{reverse('server', args=[name])}?tab={inspector.TAB}")
    return inspector.call(request, _offered(request, name))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def refresh(request: HttpRequest, name: str) -> HttpResponse:
    """Ask the server for its tools now, as the caller."""
    if request.method != "POST":
        return redirect("server", name)
    from mcpservers import discovery  # brings the whole MCP SDK, which nothing else here needs

    user = _caller(request)
    found = get_object_or_404(rights.allowed(user, "view", MCPServer.objects.all()), name=name)
    if not rights.may(user, "change", found):
        raise PermissionDenied(NOT_YOURS_TO_REFRESH.format(name=name))
    try:
        discovery.refresh_tools(found, user_id=user.pk)
    except discovery.DiscoveryFailed as failed:
        messages.error(request, f"{name} did not tell its tools. {failed}")
    else:
        messages.success(request, f"{name} was asked just now.")
    return redirect("server", name)


def _offered(request: HttpRequest, name: str) -> Offered:
    """Return the server as it stands for the caller; 404 and 403 as contract §5 has them."""
    user = _caller(request)
    rows = rights.allowed(user, "view", MCPServer.objects.all())
    found = get_object_or_404(listing.with_tools(user, rows), name=name)
    if not rights.may(user, "use", found):
        raise PermissionDenied(NOT_YOURS.format(name=name))
    return listing.offered(user, [found])[0]


def _overview(request: HttpRequest, offered: Offered) -> HttpResponse:
    search = _search(request)
    page = Paginator(tool_words.found(offered.tools, search=search), TOOLS_PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "offered": offered,
        "tab": OVERVIEW,
        "page": page,
        "tools": [tool_words.card_of(tool) for tool in page.object_list],
        "may_refresh": rights.may(_caller(request), "change", offered.server),
        **_searched(search),
    }
    return render(request, "mcpservers/overview.html", context)


def _connect(
    request: HttpRequest, offered: Offered, form: token_form.TokenForm, *, status: int = 200, **made: Any
) -> HttpResponse:
    found = offered.server
    target = snippets.Target(found.name, found.endpoint_url, brings_token=found.mode == "token_passthrough")
    context = {
        "offered": offered,
        "tab": CONNECT,
        "target": target,
        "snippets": snippets.snippets_for(target),
        "form": form,
        **made,
    }
    return render(request, "mcpservers/connect.html", context, status=status)


def _explain(request: HttpRequest, offered: Offered) -> HttpResponse:
    actor, name, tool = _caller(request), _typed(request, "user"), _typed(request, "tool")
    try:
        about = explain.asked_about(actor, name)
    except rights.PermissionRefused as refused:
        raise PermissionDenied(refused.detail) from None
    context = {
        "offered": offered,
        "tab": EXPLAIN,
        "about": about,
        "name": name,
        "tool": tool,
        "may_ask_about_others": rights.is_admin(actor),
        "decisions": explain.explain(offered.server, about, actor=actor, tool=tool) if about else [],
    }
    return render(request, "mcpservers/explain.html", context)


def _caller(request: HttpRequest) -> User:
    return cast(User, request.user)


def _search(request: HttpRequest) -> str:
    return _typed(request, "q")


def _typed(request: HttpRequest, field: str) -> str:
    return request.GET.get(field, "").strip().replace("\0", "")[:150]


def _searched(search: str) -> dict[str, str]:
    return {"search": search, "query": urlencode({"q": search}) + "&" if search else ""}
