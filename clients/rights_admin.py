"""The base of the gateway's admin pages: one rule for list and detail, saves and deletes through the verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeVar, cast

from django.contrib import messages
from django.contrib.admin import ModelAdmin as DjangoModelAdmin
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil
from django.views.decorators.csrf import csrf_protect
from unfold.admin import ModelAdmin
from unfold.decorators import action

from clients import rights, rights_page

F = TypeVar("F", bound=Callable[..., Any])


def detail_page(*, description: str, url_path: str, icon: str, permission: str) -> Callable[[F], F]:
    """Make a method the view of a button on an object's page; the button is a link, so a GET must change nothing."""
    decorator = action(description=description, url_path=url_path, icon=icon, permissions=[permission])
    return cast(Callable[[F], F], decorator)


class NoOuterTransaction(DjangoModelAdmin):  # type: ignore[type-arg]
    """Stands last among the bases: forms save through verbs, which look up host names before their transaction.

    Django would open one around the whole request, and SQLite would hold every writer meanwhile.
    """

    @method_decorator(csrf_protect)
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show and take the form."""
        response: HttpResponse = self._changeform_view(request, object_id, form_url, extra_context)  # type: ignore[attr-defined]
        return response


class GatewayAdmin(ModelAdmin):  # type: ignore[misc]
    """What every list and form here has in common."""

    create_label = ""
    list_per_page = 50
    show_full_result_count = False
    warn_unsaved_form = True
    compressed_fields = True

    def _get_obj_does_not_exist_redirect(self, *_: Any) -> HttpResponse:
        """Answer 404 for what is not there and for what may not be seen."""
        raise Http404

    def name_of(self, row: Model) -> str:
        """Return what a question calls a row."""
        return str(row)


class ReadOnlyAdmin(GatewayAdmin):
    """Rows that are made elsewhere and only looked at here, by superusers and the group `admins`."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show it to admins."""
        return rights.is_admin(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Show it to admins."""
        return rights.is_admin(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds a row by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody edits a row by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes a row by hand."""
        return False


class RightsAdmin(GatewayAdmin, NoOuterTransaction):
    """Rows with rights of their own (contract §5).

    What may not be viewed is a 404; what may be viewed but not changed is shown read-only with
    `read_fieldsets`. `sentences` says what each action that can be granted means.
    """

    actions_detail = ("rights_page",)
    read_fieldsets: ClassVar[Sequence[Any]] = ()
    sentences: ClassVar[dict[str, str]] = {}
    refusals: ClassVar[tuple[type[Exception], ...]] = (rights.PermissionRefused,)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the list to whoever may see anything in it or add to it."""
        return self.has_add_permission(request) or self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Ask for the global permission: there is no object yet."""
        return rights.may(request.user, "add", self.model)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Ask for `view` on the object, or on any."""
        return self._may(request, "view", obj)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Ask for `view` and `change` on the object, or on any."""
        return self._may(request, "view", obj) and self._may(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Ask for `view` and `delete` on the object, or on any."""
        return self._may(request, "view", obj) and self._may(request, "delete", obj)

    def has_grant_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether rights on an object are this caller's to grant and take."""
        return rights.is_admin(request.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave out what the caller may not view."""
        return rights.allowed(request.user, "view", super().get_queryset(request))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return what the caller may view; anything else is a 404, before any other permission is asked for."""
        found = super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404
        return found

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Return the form's groups, or the read-only ones."""
        if obj is not None and self.read_fieldsets and not self.has_change_permission(request, obj):
            return self.read_fieldsets
        return list(super().get_fieldsets(request, obj))

    def get_form(
        self, request: HttpRequest, obj: Model | None = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm[Any]]:
        """Bind the form to whoever acts."""
        form: type[ModelForm[Any]] = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"actor": request.user})

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        """Do nothing: `AuthoredForm` has saved it."""

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the verb; what it refuses is one of `refusals`."""
        raise NotImplementedError

    def goes_with(self, objs: Iterable[Any]) -> dict[str, int]:
        """Return what else a deletion hits, in numbers."""
        return {}

    def keeps(self, objs: Iterable[Any]) -> list[str]:
        """Return what forbids the deletion."""
        return []

    def get_deleted_objects(
        self, objs: Iterable[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Say what a deletion will hit, what is not allowed and what stands in the way."""
        rows = list(objs)
        counts = {str(self.opts.verbose_name_plural): len(rows), **self.goes_with(rows)}
        lacking = {str(row) for row in rows if not self.has_delete_permission(request, row)}
        return [str(row) for row in rows], counts, lacking, self.keeps(rows)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete one through its verb."""
        self.remove(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete one by one through the verb; say why when it refuses one."""
        for obj in queryset:
            try:
                self.remove(request, obj)
            except self.refusals as refused:
                messages.error(request, str(refused))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask, then delete; say why when the verb refuses."""
        try:
            return DjangoModelAdmin.delete_view(self, request, object_id, extra_context)
        except self.refusals as refused:
            messages.error(request, str(refused))
            return redirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[object_id]))

    @detail_page(description="Rights", url_path="rights", icon="group", permission="grant")
    def rights_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show who may do what to this object; grant and take."""
        target = self.get_object(request, object_id)
        if target is None:
            raise Http404
        return rights_page.serve(self, request, target, self.sentences)

    def _may(self, request: HttpRequest, action: str, obj: Model | None) -> bool:
        if obj is not None:
            return rights.may(request.user, action, obj)
        # Asked a dozen times for one page: by the list, the side bar and the buttons.
        known: dict[tuple[str, str], bool] = request.__dict__.setdefault("_aigw_may_any", {})
        key = (self.opts.label, action)
        if key not in known:
            known[key] = (
                rights.may(request.user, action, self.model)
                or rights.allowed(request.user, action, self.model._default_manager.all()).exists()
            )
        return known[key]


def chips(names: Iterable[str], *, most: int = 6) -> SafeString:
    """Return names as small labels, the rest as a number."""
    listed = list(names)
    shown = format_html_join(" ", '<code class="aigw-chip">{}</code>', ((name,) for name in listed[:most]))
    return format_html("{} +{}", shown, len(listed) - most) if len(listed) > most else shown or SafeString("–")


def status(word: str, kind: str, icon: str) -> SafeString:
    """Return a state as icon, word and colour; `kind` is `ok`, `warn`, `bad` or `muted`."""
    return format_html(
        '<span class="aigw-status aigw-{}">'
        '<span class="material-symbols-outlined" aria-hidden="true">{}</span>{}</span>',
        kind,
        icon,
        word,
    )


def code(text: str) -> SafeString:
    """Return a name, address or code in monospace that is selected by one click."""
    return format_html('<code class="aigw-code">{}</code>', text) if text else SafeString("–")


def moment(when: datetime | None) -> SafeString:
    """Return a time as how long ago or ahead it is, with the exact one on hover."""
    if when is None:
        return SafeString("–")
    now = timezone.now()
    words = f"in {timeuntil(when, now, depth=1)}" if when > now else f"{timesince(when, now, depth=1)} ago"
    exact = f"{when:%-d %B %Y, %H:%M:%S} UTC"
    return format_html('<time datetime="{}" title="{}">{}</time>', when.isoformat(), exact, words)


def enabled(obj: Any) -> SafeString:
    """Return whether an object is switched on."""
    return status("Enabled", "ok", "check_circle") if obj.enabled else status("Disabled", "muted", "block")
