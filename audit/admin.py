"""The trail, to read and to search."""

import json
from typing import ClassVar

from django.contrib import admin
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

    list_display = ("exactly", "action_code", "actor", "target_code", "outcome", "address", "request_code")
    list_display_links = ("exactly",)
    list_filter = ("result", "at")
    search_fields = ("action", "actor", "target", "request_id")
    search_help_text = "Action, actor, target or request id"
    sortable_by = ("exactly",)
    fieldsets: ClassVar = (
        (None, {"fields": ("at", "action_code", "outcome", "actor", "target_type", "target_code")}),
        ("Request", {"fields": ("request_code", "address")}),
        ("Details", {"fields": ("details",)}),
    )
    readonly_fields = ("action_code", "target_code", "outcome", "request_code", "details")

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
