"""Who holds which right on an object, and through what: for the page where rights are granted and taken."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model, Q, QuerySet
from guardian.utils import get_group_obj_perms_model, get_user_obj_perms_model

from clients.granting import Receiver, actions_on

HERE, EVERYWHERE, SUPERUSER = "here", "everywhere", "superuser"


@dataclass(slots=True)
class Holder:
    """A user or group; `actions` maps what it may do to where that was granted: `here` or `everywhere`."""

    kind: str
    pk: int
    name: str
    actions: dict[str, set[str]] = field(default_factory=dict)

    def add(self, action: str, through: str) -> None:
        """Note one right."""
        self.actions.setdefault(action, set()).add(through)


def holders_of(target: Model) -> list[Holder]:
    """Return everyone who was granted a right on `target`, groups first; superusers are not listed."""
    found: dict[tuple[str, int], Holder] = {}

    def note(receiver: Receiver, codename: str, through: str) -> None:
        kind = "group" if isinstance(receiver, Group) else "user"
        name = receiver.name if isinstance(receiver, Group) else receiver.get_username()
        holder = found.setdefault((kind, receiver.pk), Holder(kind, receiver.pk, name))
        holder.add(codename.removesuffix(f"_{target._meta.model_name}"), through)

    for groups, rows_of in ((True, get_group_obj_perms_model), (False, get_user_obj_perms_model)):
        who = "group" if groups else "user"
        rows: Any = rows_of(target)
        for row in rows.objects.filter(content_object=target).select_related(who, "permission"):
            note(getattr(row, who), row.permission.codename, HERE)
    for permission in _permissions(target):
        receivers: Iterable[Receiver] = [*permission.group_set.all(), *permission.user_set.all()]
        for receiver in receivers:
            note(receiver, permission.codename, EVERYWHERE)
    return sorted(found.values(), key=lambda holder: (holder.kind, holder.name))


def rights_of(user: User, target: Model) -> Holder:
    """Return what `user` may do to `target`, through whatever: `here`, `everywhere`, `group NAME` or `superuser`."""
    held = Holder("user", user.pk, user.get_username())
    groups = set(user.groups.values_list("pk", flat=True))
    for holder in holders_of(target):
        is_self = holder.kind == "user" and holder.pk == user.pk
        if is_self or (holder.kind == "group" and holder.pk in groups):
            for action, through in holder.actions.items():
                for way in through:
                    held.add(action, way if is_self else f"group {holder.name}")
    if user.is_superuser:
        for action in actions_on(target):
            held.add(action, SUPERUSER)
    return held


def ways(user: User, action: str, target: Model) -> set[str]:
    """Return through what `user` may do `action` to `target`, in the words of `rights_of`: three queries."""
    permission = Q(content_type__app_label=target._meta.app_label, codename=f"{action}_{target._meta.model_name}")
    pks = Permission.objects.filter(permission).values("pk")
    on_it = {"content_object": target.pk, "permission__in": pks}
    groups_here = get_group_obj_perms_model(target)._default_manager.filter(**on_it).values("group")
    groups = user.groups.filter(Q(permissions__in=pks) | Q(pk__in=groups_here)).distinct()
    found = {f"group {name}" for name in groups.values_list("name", flat=True)}
    if get_user_obj_perms_model(target)._default_manager.filter(user=user, **on_it).exists():
        found.add(HERE)
    if user.user_permissions.filter(pk__in=pks).exists():
        found.add(EVERYWHERE)
    return found | ({SUPERUSER} if user.is_superuser else set())


def users_who_may(action: str, target: Model) -> QuerySet[User]:
    """Return the active users who may do `action` to `target`: the rule of `rights.may`, from the other side."""
    permission = Q(content_type__app_label=target._meta.app_label, codename=f"{action}_{target._meta.model_name}")
    pks = Permission.objects.filter(permission).values("pk")
    on_it = {"content_object": target.pk, "permission__in": pks}
    user_rows, group_rows = get_user_obj_perms_model(target), get_group_obj_perms_model(target)
    users_here = user_rows._default_manager.filter(**on_it).values("user")
    groups_here = group_rows._default_manager.filter(**on_it).values("group")
    groups = Group.objects.filter(Q(permissions__in=pks) | Q(pk__in=groups_here)).values("pk")
    in_group = User.groups.through.objects.filter(group__in=groups).values("user")
    directly = User.user_permissions.through.objects.filter(permission__in=pks).values("user")
    holders = Q(is_superuser=True) | Q(pk__in=users_here) | Q(pk__in=in_group) | Q(pk__in=directly)
    return User.objects.filter(holders, is_active=True)


def superusers() -> list[str]:
    """Return the names of those who may do everything."""
    return list(
        User.objects.filter(is_superuser=True, is_active=True).order_by("username").values_list("username", flat=True)
    )


def _permissions(target: Model) -> Iterable[Permission]:
    codenames = [f"{action}_{target._meta.model_name}" for action in actions_on(target)]
    wanted = Q(content_type__app_label=target._meta.app_label, codename__in=codenames)
    return Permission.objects.filter(wanted).prefetch_related("group_set", "user_set")
