"""What was granted, in the words in which it was asked: providers echo a scope under another of its names.

Pure. The names are the providers' own and lie in their own namespaces, so no preset is needed to trust them.
"""

from collections.abc import Sequence

from providers.quirks import included_scopes

_GRAPH = "https://graph.microsoft.com/"
_DEFAULT = "/.default"
# OpenID Connect's short names and what Google makes of them.
_GOOGLE = {
    "email": "https://www.googleapis.com/auth/userinfo.email",
    "profile": "https://www.googleapis.com/auth/userinfo.profile",
}
_OTHER_NAMES = {**_GOOGLE, **{long: short for short, long in _GOOGLE.items()}}
# Ask for a refresh token and are granted by one (OIDC Core §11; Salesforce has its own name for it). Microsoft, for
# one, never names it among the granted.
REFRESH_SCOPES = frozenset(["offline_access", "refresh_token"])


def in_asked_words(
    granted: Sequence[str], *, asked: Sequence[str], has_refresh_token: bool, quirks: frozenset[str] = frozenset()
) -> list[str]:
    """Return the granted scopes, each asked one among them under the name by which it was asked."""
    told = set(granted)
    told |= included_scopes(list(granted), quirks)
    if has_refresh_token:
        told |= REFRESH_SCOPES
    found = [scope for scope in asked if told & _names(scope) or _is_default_of(scope, granted)]
    answered = {name for scope in found for name in _names(scope)}
    return list(dict.fromkeys([*found, *(scope for scope in granted if scope not in answered)]))


def _names(scope: str) -> set[str]:
    """Return every name of a scope."""
    if scope in REFRESH_SCOPES:
        return set(REFRESH_SCOPES)
    names = {scope, _OTHER_NAMES.get(scope, scope)}
    if scope.startswith(_GRAPH):
        names.add(scope.removeprefix(_GRAPH))
    elif "/" not in scope and ":" not in scope:
        # Microsoft takes a bare name for one of Graph's.
        names.add(_GRAPH + scope)
    return names


def _is_default_of(scope: str, granted: Sequence[str]) -> bool:
    """Tell Microsoft's `RESOURCE/.default`: everything consented to, which the answer then names one by one."""
    if not scope.endswith(_DEFAULT):
        return False
    resource = scope.removesuffix(_DEFAULT) + "/"
    return any(name.startswith(resource) or (resource == _GRAPH and "/" not in name) for name in granted)
