"""Grant and take rights on one object: the only way in which object permissions change hands (contract §5).

Only superusers and members of `admins` may, and never beyond what they hold themselves (F07).
"""

from collections.abc import Callable, Iterable

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Model
from guardian.shortcuts import assign_perm, remove_perm

from audit import trail
from clients import rights

Receiver = User | Group
NOT_YOURS = "Rights are given and taken only by superusers and members of the group admins."


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
    grant_all(giver, receiver, [action], target)


def take(giver: User, receiver: Receiver, action: str, target: Model) -> None:
    """Take back what was granted on `target` itself. Raises PermissionRefused, UnknownAction."""
    take_all(giver, receiver, [action], target)


def grant_all(giver: User, receiver: Receiver, actions: Iterable[str], target: Model) -> None:
    """Give `receiver` every one of these rights on `target`, or none. Raises PermissionRefused, UnknownAction."""
    _change(assign_perm, "permission.granted", giver, receiver, list(actions), target)


def take_all(giver: User, receiver: Receiver, actions: Iterable[str], target: Model) -> None:
    """Take back what was granted on `target` itself, all of it or nothing. Raises PermissionRefused, UnknownAction."""
    _change(remove_perm, "permission.taken", giver, receiver, list(actions), target)


def require_giver(user: User, target: Model) -> None:
    """Ask that `user` may give and take rights at all, before anything is said about receivers.

    Raises PermissionRefused.
    """
    if not rights.is_admin(user):
        trail.record(
            "permission.refused", actor=user, target_type=_noun(target), target=_name(target), result=trail.REFUSED
        )
        raise rights.PermissionRefused("permission_denied", NOT_YOURS)


def receiver_named(kind: str, name: str) -> Receiver | None:
    """Return the active user or the group of that name."""
    if kind == "group":
        return Group.objects.filter(name=name).first()
    return User.objects.filter(username=name, is_active=True).first()


def _change(
    verb: Callable[[str, Receiver, Model], object],
    event: str,
    giver: User,
    receiver: Receiver,
    actions: list[str],
    target: Model,
) -> None:
    for action in actions:  # before the transaction, which a refusal's event would not survive
        _require(giver, receiver, action, target, event)
    with transaction.atomic():
        for action in actions:
            verb(_codename(action, target), receiver, target)
            _record(event, giver, receiver, action, target)


def _require(giver: User, receiver: Receiver, action: str, target: Model, event: str) -> None:
    if action not in actions_on(target):
        raise UnknownAction(f"There is no right {action!r} on {target._meta.verbose_name}.")
    if not rights.is_admin(giver):
        why = NOT_YOURS
    elif not rights.may(giver, action, target):
        why = f"You cannot give or take {action} on {target}: you do not hold it yourself."
    else:
        return
    _record(event, giver, receiver, action, target, result=trail.REFUSED)
    raise rights.PermissionRefused("permission_denied", why, "permissions")


def _codename(action: str, target: Model) -> str:
    return f"{action}_{target._meta.model_name}"


def _record(event: str, giver: User, receiver: Receiver, action: str, target: Model, *, result: str = trail.OK) -> None:
    trail.record(
        event,
        actor=giver,
        target_type=_noun(target),
        target=_name(target),
        result=result,
        to=f"group {receiver.name}" if isinstance(receiver, Group) else receiver.get_username(),
        permissions=[action],
    )


def _noun(target: Model) -> str:
    return str(target._meta.verbose_name).lower().replace(" ", "_")


def _name(target: Model) -> str:
    return str(getattr(target, "name", target.pk))
