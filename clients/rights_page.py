"""The page where an admin grants and takes rights on one object. The verbs decide (`clients.granting`)."""

from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextInputWidget,
)

from clients import granting, rights
from clients.holders import HERE, Holder, holders_of, superusers

SUGGESTED = 200


class GrantForm(forms.Form):
    """Who shall have which rights."""

    kind = forms.ChoiceField(
        label="Give to",
        choices=[("user", "A user"), ("group", "A group")],
        initial="user",
        widget=UnfoldAdminRadioSelectWidget(),
    )
    name = forms.CharField(
        label="Name",
        max_length=150,
        widget=UnfoldAdminTextInputWidget(attrs={"list": "receivers", "autocomplete": "off"}),
    )
    actions = forms.MultipleChoiceField(
        label="May",
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        error_messages={"required": "Tick at least one right."},
    )

    def __init__(self, *args: Any, choices: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast(forms.MultipleChoiceField, self.fields["actions"]).choices = choices

    def clean(self) -> dict[str, Any]:
        """Find the receiver. Adds an error to `name` when there is none."""
        found = granting.receiver_named(self.cleaned_data.get("kind", ""), self.cleaned_data.get("name", ""))
        if found is None and self.cleaned_data.get("name"):
            what = "group" if self.cleaned_data.get("kind") == "group" else "active user"
            self.add_error("name", f"There is no {what} called {self.cleaned_data['name']}.")
        return {**self.cleaned_data, "receiver": found}


def serve(
    model_admin: "ModelAdmin[Any]", request: HttpRequest, target: Model, sentences: dict[str, str]
) -> HttpResponse:
    """Answer the page, a grant or a taking."""
    giver = cast(User, request.user)
    held = [action for action in granting.actions_on(target) if rights.may(giver, action, target)]
    choices = [(action, f"{action}: {sentences.get(action, '')}") for action in held]
    form = GrantForm(choices=choices)
    if request.method == "POST" and "take" in request.POST:
        _take(request, giver, target)
        return redirect(request.path)
    if request.method == "POST":
        form = GrantForm(request.POST, choices=choices)
        if form.is_valid() and _grant(request, giver, target, form.cleaned_data):
            return redirect(request.path)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "original": target,
        "title": f"Rights on {target}",
        "form": form,
        "rows": [_row(holder, held) for holder in holders_of(target)],
        "sentences": sentences,
        "superusers": superusers(),
        "suggestions": _suggestions(),
        "back": f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_change",
    }
    return render(request, "admin/gateway/rights.html", context, status=400 if form.errors else 200)


def _grant(request: HttpRequest, giver: User, target: Model, wanted: dict[str, Any]) -> bool:
    try:
        granting.grant_all(giver, wanted["receiver"], wanted["actions"], target)
    except rights.PermissionRefused as refused:
        messages.error(request, refused.detail)
        return False
    messages.success(request, f"{wanted['name']} may now {', '.join(wanted['actions'])} {target}.")
    return True


def _take(request: HttpRequest, giver: User, target: Model) -> None:
    kind, _, rest = request.POST["take"].partition(":")
    pk, _, action = rest.partition(":")
    model: type[User] | type[Group] = Group if kind == "group" else User
    receiver = model.objects.filter(pk=int(pk)).first() if pk.isdecimal() else None
    if receiver is None:
        messages.error(request, "That user or group is no longer there.")
        return
    try:
        granting.take(giver, receiver, action, target)
    except (rights.PermissionRefused, granting.UnknownAction) as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, f"{receiver} no longer has {action} on {target} by itself.")


def _row(holder: Holder, held: list[str]) -> dict[str, Any]:
    """Return a holder for the table; what was granted here and the viewer holds too can be taken."""
    shown = [
        {
            "action": action,
            "through": "on this object" if HERE in through else "everywhere",
            "take": f"{holder.kind}:{holder.pk}:{action}" if HERE in through and action in held else "",
        }
        for action, through in holder.actions.items()
    ]
    return {"holder": holder, "actions": shown}


def _suggestions() -> list[str]:
    groups = Group.objects.order_by("name").values_list("name", flat=True)[:SUGGESTED]
    users = User.objects.filter(is_active=True).order_by("username").values_list("username", flat=True)[:SUGGESTED]
    return [*groups, *users]
