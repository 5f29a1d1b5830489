"""Why a connection needs its user, in words: what happened and what to do, one sentence or two per reason."""

_NOTHING_ELSE = "Reconnect to go on; nothing else is lost."
_REASONS = {
    "invalid_grant": "{name} no longer accepts the saved sign-in. " + _NOTHING_ELSE,
    "upstream_rejected": "{name} refused the saved sign-in when it was used. " + _NOTHING_ELSE,
    "no_refresh_token": "The sign-in at {name} has run out, and {name} gave no way to renew it. " + _NOTHING_ELSE,
    "idle": "This connection was not used for so long that {name} ended it. " + _NOTHING_ELSE,
    "lost_rotation": (
        "A renewal was cut off after {name} had been asked and before its answer could be kept here, so the saved "
        "sign-in no longer fits. " + _NOTHING_ELSE
    ),
    "upstream_error": (
        "{name} has not answered renewals for a long time. The gateway keeps trying, and one success heals this; "
        "reconnect if you cannot wait."
    ),
    "missing_scopes": "{name} granted less than is needed here. Reconnect, and leave every permission ticked.",
    "provider_changed": (
        "An administrator changed where {name} is reached, so the saved sign-in is no longer sent there. "
        "Reconnect to go on."
    ),
    "unreadable": "The saved sign-in at {name} is kept here but unreadable: it no longer opens. " + _NOTHING_ELSE,
}
_OTHERWISE = "The saved sign-in at {name} can no longer be used. " + _NOTHING_ELSE


def explain(reason: str, display_name: str) -> str:
    """Return what to tell the user about an `attention_reason`."""
    return _REASONS.get(reason, _OTHERWISE).format(name=display_name)


_IN_SHORT = {
    "invalid_grant": "no longer accepted by the provider",
    "upstream_rejected": "refused by the upstream",
    "no_refresh_token": "lapsed without a way to renew",
    "idle": "ended because nobody used it",
    "lost_rotation": "renewal cut off",
    "upstream_error": "provider silent for long",
    "missing_scopes": "granted less than is needed",
    "provider_changed": "provider was changed",
    "unreadable": "cannot be read",
}


def in_short(reason: str) -> str:
    """Return the reason in a few words, for an admin's list."""
    return _IN_SHORT.get(reason, "other reasons")
