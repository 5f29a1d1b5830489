"""What the templates of the pages need: times in words, a colour per name, the request id, who may see the admin."""

import zlib
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from audit import context
from clients import rights

register = template.Library()
HUES = 12


@register.simple_tag
def request_id() -> str:
    """Return the id of the request being served, also where a page has no context (400, 500)."""
    return context.current().request_id


@register.simple_tag(takes_context=True)
def nav_link(context: dict[str, Any], path: str, words: str) -> SafeString:
    """Return a link of the top bar; it is marked on its own page, and on those below as the section one is in."""
    here = getattr(context.get("request"), "path", "")
    current = {True: "page", False: "true"}[here == path] if here.startswith(path) else ""
    mark = format_html(' aria-current="{}"', current) if current else ""
    return format_html('<a href="{}"{}>{}</a>', path, mark, words)


@register.filter
def hue(name: str) -> str:
    """Return the class that colours the monogram of `name`, always the same one."""
    return f"hue-{zlib.crc32(name.encode()) % HUES}"


@register.filter
def ago(moment: datetime) -> SafeString:
    """Return how long ago `moment` was, in its largest unit, with the exact time on hover."""
    seconds = (timezone.now() - moment).total_seconds()
    return _time(moment, "just now" if seconds < 60 else f"{timesince(moment, depth=1)} ago")


@register.filter
def until(moment: datetime) -> SafeString:
    """Return when `moment` comes: a time today, else a day, with the exact time on hover."""
    now = timezone.now()
    if moment.date() == now.date():
        return _time(moment, f"{moment:%H:%M} UTC")
    return _time(moment, f"{moment.day} {moment:%B}" + ("" if moment.year == now.year else f" {moment.year}"))


@register.filter
def may_enter_admin(user: rights.Caller) -> bool:
    """Tell whether the top bar shows the admin."""
    return rights.may_enter_admin(user)


def _time(moment: datetime, words: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), f"{moment:%-d %B %Y, %H:%M:%S} UTC", words
    )
