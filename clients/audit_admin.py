"""The trail, to read and to search; here, since who may look is this floor's to say, and `audit` is below."""

import json
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from audit.models import Event
from clients.rights_admin import ReadOnlyAdmin, code, status

RESULTS = {
    Event.Result.OK: ("Done", "ok", "check_circle"),
    Event.Result.REFUSED: ("Refused", "warn", "block"),
    Event.Result.FAILED: ("Failed", "bad", "error"),
}


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Who did what to what, from where, and how it ended."""

    list_display = ("exactly", "action_code", "actor", "target_code", "whose", "outcome", "address", "request_code")
    list_display_links = ("exactly",)
    list_filter = ("result", "at")
    search_fields = ("action", "actor", "target", "request_id")
    search_help_text = "Action, actor, target or request id"
    sortable_by = ("exactly",)
    fieldsets: ClassVar = (
        (None, {"fields": ("at", "action_code", "outcome", "actor", "target_type", "target_code", "whose")}),
        ("Request", {"fields": ("request_code", "address")}),
        ("Details", {"fields": ("details",)}),
    )
    readonly_fields = ("action_code", "target_code", "whose", "outcome", "request_code", "details")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Ask once for the users of the whole page."""
        page = super().get_changelist_instance(request)
        names = _usernames({event.data.get("user_id") for event in page.result_list})
        for event in page.result_list:
            event.known_names = names
        return page

    @admin.display(description="At (UTC)", ordering="at")
    def exactly(self, event: Event) -> str:
        """Return the time to the second: events are compared with logs."""
        return f"{event.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Action", ordering="action")
    def action_code(self, event: Event) -> SafeString:
        """Return the dotted name in monospace."""
        return code(event.action)

    @admin.display(description="Target")
    def target_code(self, event: Event) -> SafeString:
        """Return what it was done to."""
        return code(event.target)

    @admin.display(description="Whose")
    def whose(self, event: Any) -> str:
        """Return whose connection it is about, where it is about one; `actor` is who did it."""
        user_id = event.data.get("user_id")
        if user_id is None:
            return "–"
        return _names_for(event).get(user_id, f"deleted user {user_id}")

    @admin.display(description="Result", ordering="result")
    def outcome(self, event: Event) -> SafeString:
        """Return how it ended."""
        return status(*RESULTS[Event.Result(event.result)])

    @admin.display(description="Request")
    def request_code(self, event: Event) -> SafeString:
        """Return the request id, to look up in the logs."""
        return code(event.request_id)

    @admin.display(description="Details")
    def details(self, event: Event) -> SafeString:
        """Return what else was noted."""
        return format_html('<pre class="aigw-pre">{}</pre>', json.dumps(event.data, indent=2, ensure_ascii=False))


def _names_for(event: Any) -> dict[int, str]:
    return event.known_names if hasattr(event, "known_names") else _usernames({event.data.get("user_id")})


def _usernames(pks: set[Any]) -> dict[int, str]:
    return dict(User.objects.filter(pk__in={pk for pk in pks if isinstance(pk, int)}).values_list("pk", "username"))
