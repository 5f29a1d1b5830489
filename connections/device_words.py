"""What came of a code, in words for the person who waited for it: what happened, and what to do."""

from connections.models import DeviceState
from connections.refusals import ASK_ADMIN, Code

_AGAIN = "To connect after all, get a new code."
_OUTCOMES = {
    DeviceState.CONNECTED: ("{name} is connected", ""),
    DeviceState.DENIED: ("You, or {name}, said no. Nothing was connected.", _AGAIN),
    DeviceState.EXPIRED: ("The code ran out before it was used. Nothing was connected.", "Get a new code to go on."),
}
_GONE = ("{name} was switched off or removed while the code was waiting, so nothing was connected.", ASK_ADMIN)
_FAILURES = {
    Code.PROVIDER_NOT_FOUND: _GONE,
    Code.PROVIDER_DISABLED: _GONE,
    Code.PROVIDER_UNSAFE: _GONE,
    Code.PROVIDER_CHANGED: (
        "The settings of {name} were changed while the code was waiting, so nothing was connected.",
        "Get a new code to go on.",
    ),
    Code.SECRET_MISSING: ("The gateway's own credentials for {name} are missing.", ASK_ADMIN),
    "invalid_client": ("{name} does not accept this gateway's client id or secret.", ASK_ADMIN),
    Code.DEVICE_BAD_ANSWER: ("{name} answered in a way that this gateway does not understand.", ASK_ADMIN),
}
_OTHERWISE = ("{name} ended this without connecting you.", "Get a new code and try once more.")


def outcome(state: DeviceState, reason: str, name: str) -> tuple[str, str]:
    """Return what happened and what to do then; the latter is empty when nothing is left to do."""
    what, then = _OUTCOMES.get(state) or _FAILURES.get(reason, _OTHERWISE)
    return what.format(name=name), then
