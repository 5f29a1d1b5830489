"""Who holds which right on an object, and through what: for the page where rights are granted and taken."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model, Q
from guardian.utils import get_group_obj_perms_model, get_user_obj_perms_model

from clients.granting import Receiver, actions_on

HERE, EVERYWHERE = "here", "everywhere"


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


def superusers() -> list[str]:
    """Return the names of those who may do everything."""
    return list(
        User.objects.filter(is_superuser=True, is_active=True).order_by("username").values_list("username", flat=True)
    )


def _permissions(target: Model) -> Iterable[Permission]:
    codenames = [f"{action}_{target._meta.model_name}" for action in actions_on(target)]
    wanted = Q(content_type__app_label=target._meta.app_label, codename__in=codenames)
    return Permission.objects.filter(wanted).prefetch_related("group_set", "user_set")
