"""The words on a connection's card."""

from collections.abc import Iterable

from django import template

from connections import attention as reasons
from connections import scope_words as words
from connections.listing import Connection

register = template.Library()


@register.filter
def attention(connection: Connection) -> str:
    """Return why the connection needs its user, and the fix."""
    return reasons.explain(connection.attention_reason, connection.display_name)


@register.filter
def scope_words(scope: str) -> str:
    """Return the scope in plain words, or nothing."""
    return words.in_words(scope)


@register.filter
def same_scopes(scopes: Iterable[str], others: Iterable[str]) -> bool:
    """Tell whether two lists hold the same scopes, in whatever order."""
    return set(scopes) == set(others)
