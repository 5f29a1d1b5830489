"""What may come of a call. The words are the same in rows, log lines, metrics, the API and on the page."""

from django.db.models import TextChoices


class Outcome(TextChoices):
    """How a call ended, as the gateway saw it."""

    ANSWERED = "answered", "Answered"
    TOOL_ERROR = "tool_error", "Tool error"
    ERROR = "error", "Server error"
    CONSENT = "consent", "Consent asked"
    REFUSED = "refused", "Refused"
    UNAVAILABLE = "unavailable", "Unavailable"
    CUT_OFF = "cut_off", "Cut off"
    FAILED = "failed", "Gateway failed"


# Whoever is asked to connect has met no fault.
WELL = frozenset({Outcome.ANSWERED, Outcome.CONSENT})
ERRORS = tuple(outcome for outcome in Outcome if outcome not in WELL)
