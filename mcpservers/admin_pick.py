"""A list to pick a name from, with *New* beside it for what the list does not hold yet."""

from typing import Any, cast

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget

from clients import rights
from clients.admin_forms import PickField


class PickOrNew(UnfoldAdminSelectWidget):  # type: ignore[misc]
    """A list with a link beside it to the page that makes what the list does not hold yet."""

    class Media:
        js = ("aigateway-admin-pick.js",)

    new_url = ""
    new_label = ""

    def render(self, name: str, *args: Any, **kwargs: Any) -> SafeString:
        """Return the list, and the link where the viewer may follow it."""
        pick = super().render(name, *args, **kwargs)
        if not self.new_url:
            return cast(SafeString, pick)
        return format_html(
            '<div class="aigw-pick">{}<a class="aigw-link" href="{}" target="_blank" rel="noopener" '
            'data-new-for="id_{}" aria-label="{} (opens in a new tab)">New</a></div>',
            pick,
            self.new_url,
            name,
            self.new_label,
        )


class PickOrNewField(PickField):
    """A name picked from a list, with *New* beside it for whoever may add one."""

    widget: PickOrNew

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.widget = PickOrNew()

    def offer_new(self, actor: Any, model: type[Model], label: str) -> None:
        """Link to the form that adds one, if `actor` may."""
        if rights.may(actor, "add", model):
            meta = model._meta
            self.widget.new_url = reverse(f"admin:{meta.app_label}_{meta.model_name}_add")
            self.widget.new_label = label
