"""Secrets as admins see them: name, description and who uses them. A value goes in and never comes out (C07)."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminPasswordWidget

from clients.admin_forms import AuthoredForm
from clients.rights_admin import RightsAdmin, chips, code, moment
from vault import registry, secrets
from vault.models import Secret

FORCE = "Delete it all the same: what uses it will fail"


class SecretForm(AuthoredForm):
    """Name, description and a value that is written but never read."""

    homes: ClassVar = {"value": "new_value"}
    new_value = forms.CharField(
        label="Value",
        required=False,
        strip=False,
        max_length=secrets.MAX_VALUE_LENGTH,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password", "spellcheck": "false"}),
    )

    class Meta:
        model = Secret
        fields: ClassVar = ["name", "description"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_value"].help_text = (
            "Kept sealed. It is never shown again, to anyone."
            if self.is_new
            else "Leave empty to keep the value that is stored. A new one replaces it at once, everywhere."
        )

    def check(self, instance: Secret) -> None:
        """Leave it at what the fields found: the rest needs the value."""

    def author(self, instance: Secret) -> None:
        """Write the value, or only the description when none was given."""
        value = self.cleaned_data["new_value"]
        if value:
            secrets.write(instance, value, actor=self.actor)
        elif self.is_new:
            raise ValidationError({"value": ValidationError("Give the value that is to be kept.", code="required")})
        else:
            secrets.describe(instance, actor=self.actor)


@admin.register(Secret)
class SecretAdmin(RightsAdmin):
    """Admins' values, by name."""

    form = SecretForm
    create_label = "Create secret"
    list_display = ("name_code", "description", "users", "updated")
    search_fields = ("name", "description")
    list_filter = ("updated_at",)
    fieldsets = (
        (None, {"fields": ("name", "description")}),
        ("Value", {"fields": ("new_value",), "description": "Write-only: no page, API or export ever shows it."}),
    )
    read_fieldsets = ((None, {"fields": ("name", "description", "users", "created_at", "updated_at")}),)
    refusals = (*RightsAdmin.refusals, secrets.SecretInUse)
    sentences: ClassVar = {
        "view": "see its name, description and who uses it; the value is shown to nobody.",
        "use": "name it in a provider or server, which then sends its value upstream.",
        "change": "give it a new value or description.",
        "delete": "delete it when nothing uses it any more.",
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Secret]:
        """Leave the sealed values in the database."""
        return super().get_queryset(request).defer("value")

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Show who uses a secret that exists."""
        groups = list(super().get_fieldsets(request, obj))
        if obj is not None and self.has_change_permission(request, obj):
            groups.append(("Use", {"fields": ("users", "created_at", "updated_at")}))
        return groups

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """Keep the name as it was made."""
        return ("users", "created_at", "updated_at") + (("name",) if obj else ())

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Ask once for the whole page who uses which secret."""
        page = super().get_changelist_instance(request)
        uses = registry.used_by_each([secret.name for secret in page.result_list])
        for secret in page.result_list:
            secret.uses = uses[secret.name]
        return page

    def remove(self, request: HttpRequest, obj: Secret) -> None:
        """Delete a secret that nothing uses, or one whose users were shown and accepted."""
        secrets.delete(obj, actor=request.user, is_forced=_is_forced(request))  # type: ignore[arg-type]

    def get_deleted_objects(self, objs: Iterable[Secret], request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        """Show what uses a secret: it stands in the way, until one asks to delete the secret all the same."""
        rows = list(objs)
        names, counts, lacking, _ = super().get_deleted_objects(rows, request)
        by_name = registry.used_by_each([secret.name for secret in rows])
        uses = [f"{use} uses {name}" for name, used_by in by_name.items() for use in used_by]
        if not uses or not _is_forced(request):
            ask = [format_html('<a href="?force=true">{}</a>', FORCE)] if uses and _is_one(request) else []
            return names, counts, lacking, [*uses, *ask]
        return [*names, [f"{use}, and will fail" for use in uses]], counts, lacking, []

    @admin.display(description="Name", ordering="name")
    def name_code(self, secret: Secret) -> SafeString:
        """Return the name in monospace."""
        return code(secret.name)

    @admin.display(description="Updated", ordering="updated_at")
    def updated(self, secret: Secret) -> SafeString:
        """Return when it was last written."""
        return moment(secret.updated_at)

    @admin.display(description="Used by")
    def users(self, secret: Secret) -> SafeString:
        """Return what refers to the secret."""
        return chips(str(use) for use in _uses(secret))


def _is_one(request: HttpRequest) -> bool:
    """Tell whether this is the page of one secret: several at once are never forced."""
    match = request.resolver_match
    return bool(match and match.url_name == "vault_secret_delete")


def _is_forced(request: HttpRequest) -> bool:
    return _is_one(request) and request.GET.get("force") == "true"


def _uses(secret: Secret) -> list[registry.Use]:
    known: list[registry.Use] | None = getattr(secret, "uses", None)
    return registry.used_by(secret.name) if known is None else known
