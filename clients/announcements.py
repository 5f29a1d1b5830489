"""Changes of users, groups and memberships count as changes that every process must hear of."""

from django.contrib.auth.models import Group, User
from django.db.models.signals import m2m_changed, post_delete, post_save

from changes import counter
from clients.models import ApiToken


def connect() -> None:
    """Announce saves, deletions and memberships of users, groups and API tokens."""
    counter.announce_rows_of(Group, ApiToken)
    post_delete.connect(_announce, sender=User, dispatch_uid="clients.user_deleted")
    post_save.connect(_user_saved, sender=User, dispatch_uid="clients.user_saved")
    for through in (User.groups.through, User.user_permissions.through, Group.permissions.through):
        m2m_changed.connect(_membership_changed, sender=through, dispatch_uid=f"clients.{through._meta.label}")


def _user_saved(update_fields: frozenset[str] | None, **_: object) -> None:
    if update_fields != frozenset({"last_login"}):  # every sign-in saves just that
        counter.announce()


def _membership_changed(action: str, **_: object) -> None:
    if action.startswith("post_"):
        counter.announce()


def _announce(**_: object) -> None:
    counter.announce()
