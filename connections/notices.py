"""Tell people by e-mail, where one is set up (`EMAIL_URL`, `AIGW_EMAIL_FROM`): once, and off the call path.

No mail holds more than a name, a reason and a link. Where none can be sent, the page and the audit trail say the same.
"""

import logging
from functools import partial
from typing import Any
from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Q

from connections import attention
from providers.models import OAuthProvider

logger = logging.getLogger(__name__)


def connection_ended(user_id: int, provider: OAuthProvider, reason: str) -> None:
    """Have the user told, after the commit, that a connection of theirs has ended."""
    _queue(tell_user, user_id, str(provider.uid), reason)


def provider_in_trouble(provider_uid: UUID, *, is_client_rejected: bool) -> None:
    """Have the admins told, after the commit, that a provider does not answer or refuses the gateway's client."""
    _queue(tell_admins, str(provider_uid), is_client_rejected)


@shared_task(name="connections.tasks.tell_user", acks_late=False)  # rather no mail than two
def tell_user(user_id: int, provider_uid: str, reason: str) -> None:
    """Send the one mail about a connection that has ended."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    provider = OAuthProvider.objects.filter(uid=UUID(provider_uid)).first()
    if user is None or not user.email or provider is None:
        return
    text = (
        f"{attention.explain(reason, provider.display_name)}\n\n"
        f"Your connections: {settings.AIGW_BASE_URL}/connections/\n"
    )
    _send(f"Reconnect {provider.display_name}", text, [user.email])


@shared_task(name="connections.tasks.tell_admins", acks_late=False)
def tell_admins(provider_uid: str, is_client_rejected: bool) -> None:
    """Send the one mail about a provider in trouble to each superuser and member of `admins` with an address."""
    provider = OAuthProvider.objects.filter(uid=UUID(provider_uid)).first()
    if provider is None:
        return
    if is_client_rejected:
        what = "refuses the gateway's client id or secret. Put them right and renewals go on at once."
    else:
        what = "does not answer renewals. The gateway asks it again from time to time; nothing has to be done here."
    people = User.objects.filter(Q(is_superuser=True) | Q(groups__name="admins"), is_active=True).exclude(email="")
    for address in people.values_list("email", flat=True).distinct():
        _send(
            f"{provider.display_name} is in trouble",
            f"{provider.display_name} {what}\n\n{settings.AIGW_BASE_URL}/admin/\n",
            [address],
        )


def _queue(task: Any, *args: object) -> None:
    if settings.AIGW_EMAIL_FROM:
        transaction.on_commit(partial(_delay, task, args))


def _delay(task: Any, args: tuple[object, ...]) -> None:
    try:
        task.delay(*args)
    except Exception as exc:  # the broker's errors have no common root; the page says it all the same
        logger.warning("notice could not be queued", extra={"error": type(exc).__name__})


def _send(subject: str, text: str, to: list[str]) -> None:
    send_mail(" ".join(subject.split()), text, settings.AIGW_EMAIL_FROM, to)
