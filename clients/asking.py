"""An admin action that cannot be undone asks once, on a page that works without script, then is done by POST."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from clients.rights import PermissionRefused

SHOWN = 50


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of one row or of `{count}`; what will happen; and the verb on the button."""

    one: str
    many: str
    consequence: str
    button: str


def ask_then_do(
    model_admin: "ModelAdmin[Any]",
    request: HttpRequest,
    rows: QuerySet[Any],
    question: Question,
    do: Callable[[Any], str],
) -> HttpResponse:
    """Ask, or when it was answered do it row by row; `do` returns the sentence that says how it went."""
    if not _is_confirmed(request):
        return _ask(model_admin, request, rows, question)
    for row in rows:
        try:
            messages.success(request, do(row))
        except PermissionRefused as refused:
            messages.error(request, refused.detail)
    return redirect(_changelist(model_admin))


def ask_then_do_all(
    model_admin: "ModelAdmin[Any]",
    request: HttpRequest,
    rows: QuerySet[Any],
    question: Question,
    do: Callable[[QuerySet[Any]], str],
) -> HttpResponse:
    """Ask, or when it was answered do it to all rows at once; `do` returns the sentence that says how it went."""
    if not _is_confirmed(request):
        return _ask(model_admin, request, rows, question)
    messages.success(request, do(rows))
    return redirect(_changelist(model_admin))


def _is_confirmed(request: HttpRequest) -> bool:
    return request.method == "POST" and "confirmed" in request.POST


def _changelist(model_admin: "ModelAdmin[Any]") -> str:
    return reverse(f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_changelist")


def _ask(model_admin: "ModelAdmin[Any]", request: HttpRequest, rows: QuerySet[Any], question: Question) -> HttpResponse:
    count = rows.count()
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": question.one if count == 1 else question.many.format(count=count),
        "question": question,
        "count": count,
        "rows": _shown(model_admin, rows[:SHOWN]),
        "more": max(0, count - SHOWN),
        "carried": _carried(request),
        "changelist": _changelist(model_admin),
    }
    return render(request, "admin/gateway/ask.html", context)


def _shown(model_admin: "ModelAdmin[Any]", rows: Iterable[Model]) -> list[str]:
    name: Callable[[Model], str] = getattr(model_admin, "name_of", str)
    return [name(row) for row in rows]


def _carried(request: HttpRequest) -> list[tuple[str, str]]:
    """Return what a list action needs to be repeated by the answer."""
    names = ("action", "select_across", "index", ACTION_CHECKBOX_NAME)
    return [(name, value) for name in names for value in request.POST.getlist(name)]
