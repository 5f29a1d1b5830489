"""Everything that a departing person leaves behind, ended in one go: account, sign-ins, API tokens, sessions and
connections. What is ended already is passed over, so it may be run again.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from audit import trail
from clients import rights, sign_ins, tokens
from clients.rights import PermissionRefused
from connections import registry, revocation
from connections.models import ConsentRequest, DeviceRequest
from connections.revocation import Outcome, Retired
from vault.models import PendingRevocation, VaultEntry

REASON = "offboarded"
ADMINS_ONLY = "Only superusers and admins may offboard a user."


@dataclass(frozen=True, slots=True)
class Report:
    """What was ended now. `connections` are names of providers and what came of the tokens there.

    `revocations_waiting` counts those of this user, earlier ones included, that the background goes on trying.
    """

    user: str
    is_active: bool
    was_active: bool
    ended: dict[str, int]
    connections: list[tuple[str, Outcome]]
    revocations_waiting: int


def require_may_offboard(actor: User, user: User) -> None:
    """Raise PermissionRefused unless `actor` may: a superuser anyone, an admin all but superusers, nobody oneself."""
    if not rights.is_admin(actor):
        raise PermissionRefused("permission_denied", ADMINS_ONLY)
    if actor.pk == user.pk:
        raise PermissionRefused("permission_denied", "You cannot offboard yourself. Ask another admin.")
    if user.is_superuser and not actor.is_superuser:
        raise PermissionRefused("permission_denied", "Only a superuser may offboard a superuser.")


def offboard(user: User, *, keep_user: bool, actor: User | None) -> Report:
    """Deactivate the user unless `keep_user`, end what is theirs, then tell the providers.

    Here everything is unusable at once, whatever the providers answer.
    """
    with transaction.atomic():
        was_active = _lock(user)
        retired, ended = _end_here(user, keep_user, actor)
        trail.record(
            "user.offboarded",
            actor=actor,
            target_type="user",
            target=user.username,
            is_active=user.is_active,
            connections=len(retired),
        )
    # Outside the transaction, since these grow with all users' sign-ins; no new one can begin any more.
    ended |= {"sign_ins": sign_ins.end_all(user), **registry.end_what_upper_floors_hold(user.pk)}
    trail.record("user.access_ended", actor=actor, target_type="user", target=user.username, ended=ended)
    return Report(
        user=user.username,
        is_active=user.is_active,
        was_active=was_active,
        ended=ended,
        connections=revocation.tell_within(retired, revocation.TELL_SECONDS),
        revocations_waiting=PendingRevocation.objects.filter(user_id=user.pk).count(),
    )


def _lock(user: User) -> bool:
    """Lock all rows before the change counter is: everybody else takes theirs in that order. Return `is_active`."""
    locked = User.objects.select_for_update().get(pk=user.pk)
    for rows in (tokens.usable_by(user), VaultEntry.objects.filter(user_id=user.pk)):
        list(rows.order_by("pk").select_for_update().values_list("pk"))
    return locked.is_active


def _end_here(user: User, keep_user: bool, actor: User | None) -> tuple[list[Retired], dict[str, int]]:
    if not keep_user:
        user.is_active = False
        user.save(update_fields=["is_active"])
    trips = [model.objects.filter(user_id=user.pk).delete()[0] for model in (ConsentRequest, DeviceRequest)]
    ended = {"api_tokens": tokens.revoke_all(user, actor=actor), "consents": sum(trips)}
    retired = revocation.retire_all(
        VaultEntry.objects.filter(user_id=user.pk),
        reason=REASON,
        actor=actor,
        tell_at=timezone.now() + revocation.HEAD_START + timedelta(seconds=revocation.TELL_SECONDS),
    )
    return retired, ended
