"""API tokens, and users and groups: only superusers touch the latter, so nobody raises their own rights (F07)."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from audit import trail
from clients import audit_admin as audit_admin  # its pages are registered by the import
from clients import rights, tokens
from clients.asking import Question, ask_then_do
from clients.models import ApiToken
from clients.rights_admin import GatewayAdmin, ReadOnlyAdmin, code, detail_page, moment, status

admin.site.unregister([User, Group])

QUESTION = Question(
    one="Revoke this API token?",
    many="Revoke {count} API tokens?",
    consequence="Programs that call with them are refused within a second. This cannot be undone.",
    button="Revoke",
)


class SuperusersOnly(GatewayAdmin):
    """Rows that only superusers see and touch; every change is recorded."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Let superusers in."""
        return _is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let superusers look."""
        return _is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let superusers add."""
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let superusers change."""
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let superusers delete."""
        return _is_superuser(request)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save, and record which fields changed."""
        super().save_related(request, form, formsets, change)
        fields = [name for name in form.changed_data if not name.startswith("password")]
        self._record(request, form.instance, "changed" if change else "created", fields=fields)

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        """Delete, and record it."""
        self._record(request, obj, "deleted")
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete one by one, so that each is recorded."""
        for obj in queryset:
            self.delete_model(request, obj)

    def _record(self, request: HttpRequest, obj: Model, what: str, **data: Any) -> None:
        kind = str(self.opts.model_name)
        trail.record(f"{kind}.{what}", actor=request.user, target_type=kind, target=str(obj), **data)


@admin.register(User)
class UserAdmin(SuperusersOnly, DjangoUserAdmin):  # type: ignore[type-arg]
    """People who sign in."""

    create_label = "Create user"
    filter_horizontal = ()
    form = UserChangeForm
    add_form = UserCreationForm
    # The theme's empty one would come first, and the form be without a field.
    add_fieldsets = DjangoUserAdmin.add_fieldsets
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "state", "group_names", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Load the groups with the users."""
        users: QuerySet[User] = super().get_queryset(request).prefetch_related("groups")
        return users

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Tick groups; two lists side by side do not fit beside the labels."""
        if db_field.name == "groups":
            kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget()
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Change a password, and record that it was."""
        response: HttpResponse = super().user_change_password(request, id, form_url)
        if request.method == "POST" and response.status_code == 302:
            self._record(request, User.objects.get(pk=id), "password_changed")
        return response

    @admin.display(description="Groups")
    def group_names(self, user: User) -> str:
        """Return the groups."""
        return ", ".join(group.name for group in user.groups.all())

    @admin.display(description="State", ordering="is_active")
    def state(self, user: User) -> SafeString:
        """Return what kind of account it is."""
        if not user.is_active:
            return status("Inactive", "muted", "block")
        return (
            status("Superuser", "warn", "shield_person")
            if user.is_superuser
            else status("Active", "ok", "check_circle")
        )


@admin.register(Group)
class GroupAdmin(SuperusersOnly, DjangoGroupAdmin):
    """Sets of people with the same rights."""

    create_label = "Create group"
    filter_horizontal = ()


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """API tokens by their prefix; neither token nor digest is shown."""

    actions = ("revoke_selected",)
    actions_detail = ("revoke",)
    list_display = ("prefix_code", "name", "user", "state", "created", "expires", "last_used")
    list_filter = ("revoked_at", "expires_at", "created_at")
    list_select_related = ("user",)
    search_fields = ("prefix", "name", "user__username")
    search_help_text = "Prefix, name or owner"
    readonly_fields = ("prefix_code", "state")
    fieldsets: ClassVar = (
        (None, {"fields": ("prefix_code", "name", "user", "state")}),
        ("Times", {"fields": ("created_at", "expires_at", "last_used_at", "revoked_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """Leave the digests in the database."""
        rows: QuerySet[ApiToken] = super().get_queryset(request).defer("digest")
        return rows

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let admins revoke."""
        return rights.is_admin(request.user)

    @detail_page(description="Revoke", icon="block", permission="revoke", url_path="revoke")
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then revoke one token."""
        token = self.get_object(request, object_id)
        if token is None:
            raise Http404
        return self.revoke_selected(request, self.get_queryset(request).filter(pk=token.pk))

    @admin.action(description="Revoke selected", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> HttpResponse:
        """Ask, then revoke each token."""

        def end(token: ApiToken) -> str:
            tokens.revoke(token, actor=request.user)  # type: ignore[arg-type]
            return f"Revoked {token.name} ({token.prefix}…)."

        return ask_then_do(self, request, queryset, QUESTION, end)

    @admin.display(description="Token", ordering="prefix")
    def prefix_code(self, token: ApiToken) -> SafeString:
        """Return how the token begins."""
        return code(f"{token.prefix}…")

    @admin.display(description="Created", ordering="created_at")
    def created(self, token: ApiToken) -> SafeString:
        """Return when it was made."""
        return moment(token.created_at)

    @admin.display(description="Expires", ordering="expires_at")
    def expires(self, token: ApiToken) -> SafeString:
        """Return when it lapses."""
        return moment(token.expires_at)

    @admin.display(description="Last used", ordering="last_used_at")
    def last_used(self, token: ApiToken) -> SafeString:
        """Return when a program last called with it."""
        return moment(token.last_used_at)

    @admin.display(description="State", ordering="revoked_at")
    def state(self, token: ApiToken) -> SafeString:
        """Return whether it still works."""
        if token.revoked_at:
            return status("Revoked", "muted", "block")
        if token.expires_at and token.expires_at <= timezone.now():
            return status("Expired", "muted", "schedule")
        if not token.user.is_active:
            return status("Owner inactive", "muted", "person_off")
        return status("Usable", "ok", "check_circle")


def _is_superuser(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_superuser
