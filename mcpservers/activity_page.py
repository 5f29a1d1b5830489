"""*Activity* of a server for whoever may use it: their own calls, the newest first, and what they add up to."""

from datetime import timedelta
from typing import cast

from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from mcpservers.activity import reading
from mcpservers.activity.outcomes import WELL, Outcome
from mcpservers.activity.reading import Wanted
from mcpservers.listing import Offered

TAB = "activity"
ROWS_PER_PAGE = 25


def show(request: HttpRequest, offered: Offered) -> HttpResponse:
    """Show the caller's own calls. Those of others are on the page in the admin, for who may change the server."""
    user, now = cast(User, request.user), timezone.now()
    rows = reading.narrowed(reading.calls(user, offered.server), Wanted(user=user.get_username()))
    page = Paginator(reading.last(rows), ROWS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "offered": offered,
        "tab": TAB,
        "page": page,
        "calls": [(call, Outcome(call.outcome).label, call.outcome in WELL) for call in page],
        "summary": reading.summary(rows, now - timedelta(days=1), now),
    }
    return render(request, "mcpservers/activity.html", context)
