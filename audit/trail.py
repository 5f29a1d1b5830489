"""Write to the trail.

Actions are dotted names, `what.happened`: `oauth.callback.user_mismatch`, `secret.written`. `data` never
holds a token, secret, code, state or verifier; callers pass names, hosts, counts and reasons only.
"""

from typing import Any, Protocol

from audit import context
from audit.models import Event

OK, REFUSED, FAILED = Event.Result.OK, Event.Result.REFUSED, Event.Result.FAILED


class Actor(Protocol):
    """Whoever did it: a user, anonymous included."""

    @property
    def pk(self) -> Any: ...

    def get_username(self) -> str:
        """Return the name to show."""
        ...


def record(
    action: str,
    *,
    actor: Actor | None = None,
    target_type: str = "",
    target: str = "",
    result: str = OK,
    **data: Any,
) -> None:
    """Append one event about `target`; the request id and address come from the current request.

    Written in the caller's transaction: an action that is rolled back leaves no event. Record a refusal
    outside the transaction that it rolls back.
    """
    request = context.current()
    Event.objects.create(
        action=action,
        actor_id=actor.pk if actor else None,
        actor=actor.get_username() if actor and actor.pk else "",
        target_type=target_type,
        target=_one_line(target)[:200],
        result=result,
        request_id=request.request_id,
        address=request.address or None,
        data={key: _one_line(value) if isinstance(value, str) else value for key, value in data.items()},
    )


def record_refusal(action: str, refused: Exception, *, actor: Actor, target_type: str, target: str) -> None:
    """Append that a change was refused, with the codes of the refusal: never the values that were sent."""
    findings = getattr(refused, "error_dict", None)
    named = {field: [finding.code for finding in found] for field, found in findings.items()} if findings else {}
    codes = named or {getattr(refused, "attr", None) or "": [getattr(refused, "code", "")]}
    record(action, actor=actor, target_type=target_type, target=target, result=REFUSED, codes=codes)


def _one_line(text: str) -> str:
    """Replace control characters, so that one event stays one line wherever it is shown (H04)."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
