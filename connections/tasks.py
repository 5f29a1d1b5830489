"""Celery: the verbs that run off the call path. No results, ids and reasons only; a message is only a hint.

The mails stand in `notices`, beside what queues them, under names of this module.
"""

from celery import shared_task

from connections import cleanup, device_poll, revocation, scan, service_tokens, unreadable
from connections.notices import tell_admins, tell_user
from metrics import history

__all__ = [
    "collect_orphans",
    "poll_devices",
    "refresh_due",
    "refresh_service_tokens",
    "retry_revocations",
    "tell_admins",
    "tell_user",
]


@shared_task(name="connections.tasks.refresh_due")
def refresh_due() -> None:
    """Renew what expires soon."""
    scan.refresh_due()


@shared_task(name="connections.tasks.refresh_service_tokens")
def refresh_service_tokens() -> None:
    """Drop service accounts' tokens that no longer fit, and renew those that expire soon."""
    service_tokens.drop_stale()
    service_tokens.refresh_due()


@shared_task(name="connections.tasks.collect_orphans")
def collect_orphans() -> None:
    """Collect what nobody can use any more, once what opens again is usable; and numbers too old to be shown."""
    unreadable.heal()
    cleanup.collect_orphans()
    history.prune()


@shared_task(name="connections.tasks.retry_revocations")
def retry_revocations() -> None:
    """Tell the providers what they could not be told before."""
    revocation.retry_revocations()


@shared_task(name="connections.tasks.poll_devices")
def poll_devices() -> None:
    """Ask the providers whether their users have entered the codes."""
    device_poll.poll_due()
