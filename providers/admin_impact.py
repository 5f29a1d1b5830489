"""What the admin asks before a provider is changed: how many connections that costs, once, in one sentence."""

from dataclasses import dataclass

from providers import impact
from providers.models import OAuthProvider

# What cuts connections off when it changes (A18), as the form calls it.
WORDS = {
    "issuer": "the issuer",
    "token_endpoint": "the token endpoint",
    "revocation_endpoint": "the revocation endpoint",
    "userinfo_endpoint": "the userinfo endpoint",
    "device_authorization_endpoint": "the device authorization endpoint",
    "token_endpoint_auth_method": "the client authentication",
    "client_id": "the client ID",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, what will happen, and the verb on the button."""

    title: str
    sentence: str
    button: str


def question_about(before: OAuthProvider, after: OAuthProvider) -> Question | None:
    """Return what to ask before `after` takes the place of `before`; None when it costs nobody a connection."""
    cut, found = impact.change(before, after)
    if not found.reconnects:
        return None
    if cut:
        return Question(
            f"Cut off {cut} connection{'' if cut == 1 else 's'}?",
            _cut_sentence(before, after, cut),
            "Save and cut them off",
        )
    return Question(_will_reconnect(found.reconnects), found.sentence, "Save the new scopes")


def _cut_sentence(before: OAuthProvider, after: OAuthProvider, cut: int) -> str:
    changed = [word for name, word in WORDS.items() if getattr(before, name) != getattr(after, name)]
    which = f"{', '.join(changed[:-1])} and {changed[-1]}" if len(changed) > 1 else "".join(changed)
    verb = "change" if len(changed) > 1 else "changes"
    return (
        f"{_will_reconnect(cut)} because {which} {verb}. "
        "What is stored was given to the old address or client and is never sent to another; it stops working at once."
    )


def _will_reconnect(count: int) -> str:
    return f"{count} connection{'' if count == 1 else 's'} will have to reconnect"
