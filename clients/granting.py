"""Grant and take rights on one object: the only way in which object permissions change hands (contract §5).

Only superusers and members of `admins` may, and never beyond what they hold themselves (F07).
"""

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Model
from guardian.shortcuts import assign_perm, remove_perm

from audit import trail
from clients import rights

Receiver = User | Group


class UnknownAction(ValueError):
    """There is no such right on this kind of object."""


def actions_on(model: type[Model] | Model) -> list[str]:
    """Return the actions that can be granted on one object: everything but `add`, which has no object yet."""
    meta = model._meta
    own = [codename.removesuffix(f"_{meta.model_name}") for codename, _ in meta.permissions]
    order = ["view", *own, "change", "delete"]
    return [action for action in order if action in own or action in meta.default_permissions]


def grant(giver: User, receiver: Receiver, action: str, target: Model) -> None:
    """Give `receiver` the right to do `action` to `target`. Raises PermissionRefused, UnknownAction."""
    _require(giver, receiver, action, target, "permission.granted")
    with transaction.atomic():
        assign_perm(_codename(action, target), receiver, target)
        _record("permission.granted", giver, receiver, action, target)


def take(giver: User, receiver: Receiver, action: str, target: Model) -> None:
    """Take back what was granted on `target` itself. Raises PermissionRefused, UnknownAction."""
    _require(giver, receiver, action, target, "permission.taken")
    with transaction.atomic():
        remove_perm(_codename(action, target), receiver, target)
        _record("permission.taken", giver, receiver, action, target)


def _require(giver: User, receiver: Receiver, action: str, target: Model, event: str) -> None:
    if action not in actions_on(target):
        raise UnknownAction(f"There is no right {action!r} on {target._meta.verbose_name}.")
    if not rights.is_admin(giver):
        why = "Rights are given and taken only by superusers and members of the group admins."
    elif not rights.may(giver, action, target):
        why = f"You cannot give or take {action} on {target}: you do not hold it yourself."
    else:
        return
    _record(event, giver, receiver, action, target, result=trail.REFUSED)
    raise rights.PermissionRefused("permission_denied", why, "actions")


def _codename(action: str, target: Model) -> str:
    return f"{action}_{target._meta.model_name}"


def _record(event: str, giver: User, receiver: Receiver, action: str, target: Model, *, result: str = trail.OK) -> None:
    trail.record(
        event,
        actor=giver,
        target_type=str(target._meta.verbose_name).lower().replace(" ", "_"),
        target=str(getattr(target, "name", target.pk)),
        result=result,
        to=f"group {receiver.name}" if isinstance(receiver, Group) else receiver.get_username(),
        permissions=[action],
    )
