"""Connections as admins see them: who, where, since when, how it stands; never a token. They can be revoked."""

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from clients import rights
from clients.asking import Question, ask_then_do, ask_then_do_all
from clients.rights_admin import ReadOnlyAdmin, chips, code, detail_page, moment, status
from connections import attention, departures, listing, revocation, tasks, unreadable
from connections.admin_filters import AttentionFilter, ProviderFilter
from providers.models import OAuthProvider
from vault.models import VaultEntry

ADMIN_REVOKED = "admin_revoked"
QUESTION = Question(
    one="Disconnect this connection?",
    many="Disconnect {count} connections?",
    consequence="The tokens become unusable here at once and the provider is told to revoke them. "
    "The users have to connect again before their next call.",
    button="Disconnect",
)
# So many are ended one after the other while the admin waits, each with what its provider said; more go together.
TOLD_WHILE_ASKING = 20
AT_PROVIDER = {
    revocation.Outcome.REVOKED: "the provider confirmed.",
    revocation.Outcome.UNSUPPORTED: "the provider offers no revocation, so its token lapses by itself.",
    revocation.Outcome.PENDING: "the provider did not answer yet and will be asked again.",
    revocation.Outcome.FAILED: "the provider could not be told.",
    revocation.Outcome.NOT_CONNECTED: "no token was left to revoke.",
}


@admin.register(VaultEntry)
class ConnectionAdmin(ReadOnlyAdmin):
    """Users' connections."""

    actions = ("disconnect_selected",)
    actions_detail = ("disconnect", "disconnect_user", "disconnect_provider")
    list_display = ("who", "provider", "state", "scopes", "connected", "last_used", "expires")
    list_display_links = ("who",)
    list_filter = (AttentionFilter, ProviderFilter, "connected_at")
    search_fields = ("username", "provider_name", "account")
    search_help_text = "User, provider or account"
    ordering = ("-connected_at",)
    sortable_by = ("who", "provider", "connected", "last_used", "expires")
    readonly_fields = ("user", "provider", "state", "reason", "all_scopes", "asked_scopes", "renewal")
    fieldsets: ClassVar = (
        (None, {"fields": ("user", "provider", "account", "state", "reason")}),
        ("Scopes", {"fields": ("all_scopes", "asked_scopes")}),
        ("Times", {"fields": ("connected_at", "refreshed_at", "last_used_at", "expires_at", "renewal")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Add names. The tokens stay sealed: nothing here opens them."""
        users = User.objects.filter(pk=OuterRef("user_id"))
        providers = OAuthProvider.everything.filter(uid=OuterRef("provider_uid"))
        rows: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(
                username=Subquery(users.values("username")[:1]),
                provider_name=Subquery(providers.values("name")[:1]),
            )
        )
        return rows

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Ask once for the providers of the whole page."""
        page = super().get_changelist_instance(request)
        uids = {entry.provider_uid for entry in page.result_list}
        known = {row.uid: row for row in OAuthProvider.objects.filter(uid__in=uids)}
        for entry in page.result_list:
            entry.known_provider = known.get(entry.provider_uid)
        return page

    def has_disconnect_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let admins end a connection."""
        return rights.is_admin(request.user)

    @detail_page(description="Disconnect", icon="link_off", permission="disconnect", url_path="disconnect")
    def disconnect(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then end one connection."""
        return self.disconnect_selected(
            request, self.get_queryset(request).filter(pk=self._found(request, object_id).pk)
        )

    @detail_page(
        description="Disconnect everything of this user",
        icon="person_off",
        permission="disconnect",
        url_path="disconnect-user",
    )
    def disconnect_user(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then end all connections of the user."""
        user_id = self._found(request, object_id).user_id
        return self._disconnect_all(request, self.get_queryset(request).filter(user_id=user_id))

    @detail_page(
        description="Disconnect everyone from this provider",
        icon="group_off",
        permission="disconnect",
        url_path="disconnect-provider",
    )
    def disconnect_provider(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Go to the question that the provider's page asks, too."""
        return redirect("admin:vault_vaultentry_disconnect_everyone", self._found(request, object_id).provider_uid)

    def disconnect_everyone(self, request: HttpRequest, provider_uid: UUID) -> HttpResponse:
        """Ask, then end all connections of a provider."""
        if not self.has_disconnect_permission(request):
            raise PermissionDenied
        return self._disconnect_all(request, self.get_queryset(request).filter(provider_uid=provider_uid))

    def get_urls(self) -> list[URLPattern]:
        """Add the end of all of a provider."""
        view = self.admin_site.admin_view(self.disconnect_everyone)
        own = path("of-provider/<uuid:provider_uid>/disconnect/", view, name="vault_vaultentry_disconnect_everyone")
        return [own, *super().get_urls()]

    @admin.action(description="Disconnect selected", permissions=["disconnect"])
    def disconnect_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        """Ask, then end each connection."""
        if queryset.count() > TOLD_WHILE_ASKING:
            return self._disconnect_all(request, queryset)

        def end(entry: Any) -> str:
            outcome = revocation.disconnect(
                entry.user_id,
                entry.provider_uid,
                reason=ADMIN_REVOKED,
                actor=request.user,  # type: ignore[arg-type]
            )
            return f"Disconnected {self.name_of(entry)}; {AT_PROVIDER[outcome]}"

        return ask_then_do(self, request, queryset, QUESTION, end)

    def _found(self, request: HttpRequest, object_id: str) -> Any:
        entry = self.get_object(request, object_id)
        if entry is None:
            raise Http404
        return entry

    def _disconnect_all(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        def end(rows: QuerySet[Any]) -> str:
            ended = revocation.disconnect_all(rows, reason=ADMIN_REVOKED, actor=request.user)  # type: ignore[arg-type]
            departures.hasten(tasks.retry_revocations, "revocation")
            return f"Disconnected {ended}; the providers are told in the background."

        return ask_then_do_all(self, request, queryset, QUESTION, end)

    def name_of(self, row: Any) -> str:
        """Name a connection by user and provider."""
        return f"{row.username or row.user_id} at {row.provider_name or row.provider_uid}"

    @admin.display(description="User", ordering="username")
    def who(self, entry: Any) -> SafeString:
        """Return the user's name, and below it the account at the provider."""
        return format_html('{}<span class="aigw-second">{}</span>', self.user(entry), entry.account)

    @admin.display(description="User", ordering="username")
    def user(self, entry: Any) -> str:
        """Return the user's name."""
        return entry.username or f"deleted user {entry.user_id}"

    @admin.display(description="Provider", ordering="provider_name")
    def provider(self, entry: Any) -> SafeString:
        """Return the provider's name."""
        return code(entry.provider_name or str(entry.provider_uid))

    @admin.display(description="Status", ordering="attention_reason")
    def state(self, entry: Any) -> SafeString:
        """Return what the user sees, too."""
        reason = _reason(entry)
        if reason == unreadable.REASON:
            return status("Unreadable: reconnect", "warn", "warning")
        if reason:
            return status("Needs attention", "warn", "warning")
        return status("Connected", "ok", "check_circle")

    @admin.display(description="Why")
    def reason(self, entry: Any) -> str:
        """Return the reason in words."""
        reason = _reason(entry)
        return attention.explain(reason, entry.provider_name or "the provider") if reason else ""

    @admin.display(description="Scopes")
    def scopes(self, entry: Any) -> SafeString:
        """Return the first scopes and how many more there are."""
        return chips(entry.scopes_granted, most=3)

    @admin.display(description="Connected", ordering="connected_at")
    def connected(self, entry: Any) -> SafeString:
        """Return since when."""
        return moment(entry.connected_at)

    @admin.display(description="Last used", ordering="last_used_at")
    def last_used(self, entry: Any) -> SafeString:
        """Return when a call last used it."""
        return moment(entry.last_used_at)

    @admin.display(description="Expires", ordering="expires_at")
    def expires(self, entry: Any) -> SafeString:
        """Return when the access token lapses."""
        return moment(entry.expires_at)

    @admin.display(description="Granted")
    def all_scopes(self, entry: Any) -> SafeString:
        """Return what was granted."""
        return chips(entry.scopes_granted, most=1000)

    @admin.display(description="Asked for")
    def asked_scopes(self, entry: Any) -> SafeString:
        """Return what was asked for."""
        return chips(entry.scopes_requested, most=1000)

    @admin.display(description="Renewal")
    def renewal(self, entry: Any) -> str:
        """Return whether it goes on by itself."""
        return (
            "Renews by itself"
            if entry.refresh_token is not None
            else "Ends when it expires: the provider gave no way to renew it"
        )


def _reason(entry: Any) -> str:
    provider: OAuthProvider | None = (
        entry.known_provider
        if hasattr(entry, "known_provider")
        else OAuthProvider.objects.filter(uid=entry.provider_uid).first()
    )
    if provider is None:
        return "provider_gone"
    return listing.attention(entry, provider, timezone.now())
