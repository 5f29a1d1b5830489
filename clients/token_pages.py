"""The page of one's own API tokens. It is for a signed-in browser: a token makes no tokens."""

from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from clients import token_form, tokens
from clients.models import ApiToken

PAGE_SIZE = 50
ENDED_SHOWN = 20


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def own(request: HttpRequest) -> HttpResponse:
    """List the caller's tokens; the POST makes one and shows it, this once."""
    user = cast(User, request.user)
    if request.method != "POST":
        return _page(request, user, token_form.blank())
    form = token_form.TokenForm(request.POST)
    if not form.is_valid():
        return _page(request, user, form, status=400)
    row, token = form.make(user)
    return _page(request, user, token_form.blank(), made=row, token=token)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def revoke(request: HttpRequest, uid: str) -> HttpResponse:
    """Ask once; the POST ends the token on every process within a second."""
    user = cast(User, request.user)
    row = get_object_or_404(tokens.usable_by(user).defer("digest"), uid=uid)
    if request.method == "POST":
        tokens.revoke(row, actor=user)
        messages.success(request, f"{row.name} ({row.prefix}…) is revoked. Programs that call with it are refused.")
        return redirect("tokens")
    return render(request, "clients/token_revoke.html", {"row": row})


def _page(
    request: HttpRequest,
    user: User,
    form: token_form.TokenForm,
    *,
    made: ApiToken | None = None,
    token: str = "",
    status: int = 200,
) -> HttpResponse:
    usable = tokens.usable_by(user).defer("digest")
    context = {
        "page": Paginator(usable, PAGE_SIZE).get_page(request.GET.get("page")),
        "ended": user.api_tokens.exclude(pk__in=usable.values("pk")).defer("digest")[:ENDED_SHOWN],
        "form": form,
        "made": made,
        "token": token,
    }
    return render(request, "clients/tokens.html", context, status=status)
