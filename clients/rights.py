"""What a caller may do to an object: one rule for list, detail and action (contract §5).

A permission counts globally or on one object, given to the user or to one of the user's groups. Inactive
and anonymous callers may do nothing; superusers may do everything.
"""

from typing import TypeVar

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Model, QuerySet
from guardian.core import ObjectPermissionChecker
from guardian.shortcuts import assign_perm, get_objects_for_user

from audit import trail

M = TypeVar("M", bound=Model)
Caller = User | AnonymousUser

ADMINS, MCP_EDITORS, MEMBERS = "admins", "mcp-editors", "members"


class PermissionRefused(Exception):
    """The caller lacks a permission; `code` is the contract's, `attr` the field that asked for it."""

    def __init__(self, code: str, detail: str, attr: str | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.attr = code, detail, attr


def label(action: str, model: type[Model] | Model) -> str:
    """Return `app.action_model`, as Django names a permission."""
    meta = model._meta
    return f"{meta.app_label}.{action}_{meta.model_name}"


def may(user: Caller, action: str, target: Model | type[Model]) -> bool:
    """Tell whether `user` may do `action` (`view`, `attach`, …) to an object, or to every object of a class."""
    if not user.is_active or not isinstance(user, User):
        return False
    if user.has_perm(label(action, target)):
        return True
    if isinstance(target, type):
        return False
    return bool(ObjectPermissionChecker(user).has_perm(f"{action}_{target._meta.model_name}", target))


def allowed(user: Caller, action: str, rows: QuerySet[M]) -> QuerySet[M]:
    """Narrow `rows` to those to which `user` may do `action`."""
    if not user.is_active or not isinstance(user, User):
        return rows.none()
    permission = label(action, rows.model)
    if user.has_perm(permission):
        return rows
    found: QuerySet[M] = get_objects_for_user(user, permission, rows, accept_global_perms=False)
    return found


def require(user: Caller, action: str, target: Model | type[Model]) -> None:
    """Raise PermissionRefused `permission_denied` unless `user` may do `action`."""
    if not may(user, action, target):
        raise PermissionRefused("permission_denied", refusal(action, target))


def refusal(action: str, target: Model | type[Model]) -> str:
    """Return the sentence that names the missing permission and the way out."""
    return f"You need the permission {label(action, target)}. Ask an admin to grant it."


def give_to_creator(user: User, target: Model, *extra: str) -> None:
    """Give whoever created `target` view, change, delete and `extra` on it (never attach)."""
    for action in ("view", "change", "delete", *extra):
        assign_perm(f"{action}_{target._meta.model_name}", user, target)
        trail.record(
            "permission.granted",
            actor=user,
            target_type=str(target._meta.model_name),
            target=str(getattr(target, "name", target.pk)),
            permission=label(action, target),
            receiver_type="user",
            receiver=user.get_username(),
            why="created it",
        )


def is_admin(user: Caller) -> bool:
    """Tell whether `user` is a superuser or in the group `admins`: who may grant and take rights."""
    return isinstance(user, User) and user.is_active and (user.is_superuser or _in(user, ADMINS))


def may_enter_admin(user: Caller) -> bool:
    """Tell whether `user` may see `/admin/` at all: staff, `admins` and `mcp-editors`."""
    return (
        isinstance(user, User)
        and user.is_active
        and (user.is_staff or user.is_superuser or _in(user, ADMINS, MCP_EDITORS))
    )


def _in(user: User, *names: str) -> bool:
    cached: dict[frozenset[str], bool] = user.__dict__.setdefault("_aigw_groups", {})
    key = frozenset(names)
    if key not in cached:
        cached[key] = user.groups.filter(name__in=names).exists()
    return cached[key]
