"""The Connections page and its disconnect page. They translate; `listing` and `revocation` decide."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from connections import device, listing, refusals, revocation
from connections.listing import Connection, Status
from connections.revocation import Outcome

PAGE_SIZE = 24
# Fewer than this are found faster with the eye.
SEARCH_FROM = 5
_GROUPS = (
    (Status.NEEDS_ATTENTION, "Needs attention"),
    (Status.CONNECTED, "Connected"),
    (Status.NOT_CONNECTED, "Available to connect"),
)
_AFTERWARDS = {
    Outcome.REVOKED: "{name} is disconnected, and it has confirmed that the access is withdrawn.",
    Outcome.UNSUPPORTED: (
        "{name} is disconnected here. {name} offers no way to withdraw the access from here; "
        "you can also remove it in your settings at {name}."
    ),
    Outcome.PENDING: (
        "{name} is disconnected here and can no longer be used. {name} did not answer yet; "
        "the gateway keeps telling it to withdraw the access."
    ),
    Outcome.FAILED: (
        "{name} is disconnected here and can no longer be used. {name} refused to withdraw the access; "
        "remove it in your settings at {name}."
    ),
    Outcome.NOT_CONNECTED: "{name} is disconnected. No saved sign-in was left that could be withdrawn.",
}


@require_safe
@login_required
def connections(request: HttpRequest) -> HttpResponse:
    """Show the caller's own connections, those that need attention first, and what became of a consent."""
    user, search = _caller(request), request.GET.get("q", "").strip().replace("\0", "")[:100]
    rows, codes = listing.connections_of(user), device.waiting_at(user)
    found = _in_order(row for row in rows if row.matches(search))
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    refused = refusals.take(request.session) if request.method == "GET" else None
    context = {
        "groups": _grouped(list(page.object_list), Counter(row.status for row in found)),
        "page": page,
        "has_search": bool(search) or len(rows) > SEARCH_FROM,
        "search": search,
        "query": urlencode({"q": search}) + "&" if search else "",
        "waiting": [(row, codes[row.provider_uid]) for row in rows if row.provider_uid in codes],
        "refused": refused,
        "refused_connection": next((row for row in rows if refused and row.provider == refused["provider"]), None),
    }
    return render(request, "connections/connections.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def disconnect(request: HttpRequest, provider_name: str) -> HttpResponse:
    """Ask once, saying what it will hit; the POST disconnects (A15: a GET changes nothing)."""
    user = _caller(request)
    connection = listing.connection_of(user, provider_name)
    if connection is None:
        raise Http404
    if request.method == "POST":
        outcome = revocation.disconnect(user.pk, connection.provider_uid, reason="user_disconnected", actor=user)
        level = messages.WARNING if outcome in {Outcome.PENDING, Outcome.FAILED} else messages.SUCCESS
        messages.add_message(request, level, _AFTERWARDS[outcome].format(name=connection.display_name))
        return redirect("connections")
    if connection.status == Status.NOT_CONNECTED:
        return redirect("connections")
    return render(request, "connections/disconnect.html", {"connection": connection})


def _caller(request: HttpRequest) -> User:
    return cast(User, request.user)


def _in_order(rows: Iterable[Connection]) -> list[Connection]:
    return sorted(rows, key=lambda row: [status for status, _ in _GROUPS].index(row.status))


def _grouped(rows: Sequence[Connection], counts: Mapping[Status, int]) -> list[tuple[str, int, list[Connection]]]:
    """Return the groups of which this page has members, each with how many there are on all pages."""
    groups = [(title, counts[status], [row for row in rows if row.status == status]) for status, title in _GROUPS]
    return [(title, count, members) for title, count, members in groups if members]
