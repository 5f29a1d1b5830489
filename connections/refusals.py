"""Why a consent does not go on, in words for the person in front of it: what happened, and what to do."""

from enum import StrEnum
from typing import Any

from django.contrib.sessions.backends.base import SessionBase

from audit import context

SESSION_KEY = "consent_refused"
START_AGAIN = "Open Connections and press Connect."
ASK_ADMIN = "Tell whoever runs this gateway; nothing about your other connections has changed."


class Code(StrEnum):
    """What the audit trail calls it."""

    TICKET_INVALID = "ticket_invalid"
    TICKET_EXPIRED = "ticket_expired"
    TICKET_MISMATCH = "ticket_mismatch"
    USER_MISMATCH = "user_mismatch"
    SIGNED_OUT = "signed_out"
    PROVIDER_NOT_FOUND = "oauth_provider_not_found"
    PROVIDER_DISABLED = "provider_disabled"
    PROVIDER_CHANGED = "provider_changed"
    PROVIDER_UNSAFE = "provider_unsafe"
    STATE_UNKNOWN = "state_unknown"
    STATE_EXPIRED = "state_expired"
    SESSION_MISMATCH = "session_mismatch"
    WRONG_CALLBACK = "wrong_callback"
    ISSUER_MISMATCH = "issuer_mismatch"
    PARAMETER_REPEATED = "parameter_repeated"
    CODE_MISSING = "code_missing"
    PROVIDER_ERROR = "provider_error"
    PKCE_NOT_AVAILABLE = "pkce_not_available"
    SECRET_MISSING = "secret_not_found"  # noqa: S105 - the name of a refusal
    EXCHANGE_REFUSED = "exchange_refused"
    EXCHANGE_UNAVAILABLE = "exchange_unavailable"
    EXCHANGE_BAD_ANSWER = "exchange_bad_answer"
    DEVICE_NOT_AVAILABLE = "device_not_available"
    DEVICE_REFUSED = "device_refused"
    DEVICE_UNAVAILABLE = "provider_unavailable"
    DEVICE_BAD_ANSWER = "provider_bad_answer"


class ConsentRefused(Exception):
    """The consent ends here and nothing was stored. `what` and `then` are fit for the page; `said` is the provider's
    own text, to be escaped like any other.
    """

    def __init__(self, code: Code, what: str, then: str = START_AGAIN, *, reason: str = "", said: str = "") -> None:
        super().__init__(f"{code}: {what}")
        self.code, self.what, self.then, self.reason, self.said = code, what, then, reason or str(code), said
        self.provider_name = ""

    @property
    def status(self) -> int:
        """Return the HTTP status of the page."""
        return 403 if self.code == Code.USER_MISMATCH else 400

    @property
    def is_the_travellers_own(self) -> bool:
        """Tell whether it ends a trip of the very person who is back, so that Connections may say it."""
        return self.code in _AFTER_A_TRIP

    @property
    def outcome(self) -> str:
        """Return what the metrics count it as."""
        return "declined" if self.reason == "access_denied" else _OUTCOMES.get(self.code, "refused")


_AFTER_A_TRIP = {
    Code.PROVIDER_ERROR,
    Code.CODE_MISSING,
    Code.SECRET_MISSING,
    Code.EXCHANGE_REFUSED,
    Code.EXCHANGE_UNAVAILABLE,
    Code.EXCHANGE_BAD_ANSWER,
}
_OUTCOMES = {
    Code.STATE_EXPIRED: "expired",
    Code.TICKET_EXPIRED: "expired",
    Code.PROVIDER_ERROR: "provider_failed",
    Code.EXCHANGE_REFUSED: "provider_failed",
    Code.EXCHANGE_UNAVAILABLE: "provider_failed",
    Code.EXCHANGE_BAD_ANSWER: "provider_failed",
}
_CLIENT = "{name} does not accept this gateway's client id or secret."
_SCOPE = "{name} does not know one of the permissions that were asked for."
_REDIRECT = "{name} has a different redirect URI registered for this gateway."
_REGISTER = "Ask whoever runs this gateway to register {callback_url} at {name}."
# RFC 6749 §4.1.2.1, GitHub's and others' own, and OpenID Connect Core §3.1.2.6; {name} is the provider's display name.
_AUTHORIZATION_ERRORS = {
    "access_denied": ("You, or {name}, said no. Nothing was connected.", "To connect after all, press Connect again."),
    "invalid_scope": (_SCOPE, ASK_ADMIN),
    "invalid_client": (_CLIENT, ASK_ADMIN),
    "redirect_uri_mismatch": (_REDIRECT, _REGISTER),
    "unauthorized_client": ("{name} does not let this gateway ask for your consent.", ASK_ADMIN),
    "invalid_request": ("{name} could not make sense of the request.", ASK_ADMIN),
    "invalid_target": ("{name} does not know the resource that was asked for.", ASK_ADMIN),
    "unsupported_response_type": ("{name} does not offer this way to connect.", ASK_ADMIN),
    "server_error": ("{name} had a problem of its own.", "Try again in a few minutes."),
    "temporarily_unavailable": ("{name} is not available at the moment.", "Try again in a few minutes."),
    "login_required": ("{name} wants you to sign in there first.", "Sign in at {name}, then press Connect again."),
    "interaction_required": ("{name} wants to ask you something first.", "Press Connect again and follow its pages."),
    "consent_required": ("{name} still needs your consent.", "Press Connect again and allow what it asks."),
}
# RFC 6749 §5.2, as the token endpoint says it.
_TOKEN_ERRORS = {
    "invalid_client": (_CLIENT, ASK_ADMIN),
    "unauthorized_client": ("{name} does not accept this gateway's client id for this way to connect.", ASK_ADMIN),
    "redirect_uri_mismatch": (_REDIRECT, _REGISTER),
    "invalid_grant": ("{name} did not accept the code that it had just sent.", START_AGAIN),
    "invalid_scope": (_SCOPE, ASK_ADMIN),
}


def authorization_error(error: str, *, name: str, callback_url: str, said: str) -> ConsentRefused:
    """Say what an `error` at the redirect URI means (RFC 6749 §4.1.2.1)."""
    known = _AUTHORIZATION_ERRORS.get(error)
    what, then = known or ("{name} answered with an error. Nothing was connected.", START_AGAIN)
    reason = error if known else Code.PROVIDER_ERROR
    return ConsentRefused(
        Code.PROVIDER_ERROR,
        what.format(name=name),
        then.format(name=name, callback_url=callback_url),
        reason=reason,
        said=_printable(said),
    )


def token_error(error: str, *, name: str, callback_url: str) -> ConsentRefused:
    """Say what an error of the token endpoint means (RFC 6749 §5.2)."""
    known = _TOKEN_ERRORS.get(error)
    what, then = known or ("{name} refused to complete the connection.", START_AGAIN)
    return ConsentRefused(
        Code.EXCHANGE_REFUSED,
        what.format(name=name),
        then.format(name=name, callback_url=callback_url),
        reason=error if known else Code.EXCHANGE_REFUSED,
    )


def remember(session: SessionBase, refused: ConsentRefused) -> None:
    """Keep for the Connections page what ended the trip; it is said there once."""
    session[SESSION_KEY] = {
        "provider": refused.provider_name,
        "what": refused.what,
        "then": refused.then,
        "said": refused.said,
        "request_id": context.current().request_id,
    }


def take(session: SessionBase) -> dict[str, Any] | None:
    """Return what `remember` kept, once."""
    kept: dict[str, Any] | None = session.pop(SESSION_KEY, None)
    return kept


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:300]).strip()
