"""Celery: the verbs that run off the call path. No results, ids and reasons only; a message is only a hint."""

from uuid import UUID

from celery import shared_task

from connections import cleanup, device_poll, notices, revocation, scan, service_tokens, unreadable
from metrics import history


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


@shared_task(name="connections.tasks.tell_user", acks_late=False)  # rather no mail than two
def tell_user(user_id: int, provider_uid: str, reason: str) -> None:
    """Send a user the mail about a connection that has ended."""
    notices.tell_user(user_id, UUID(provider_uid), reason)


@shared_task(name="connections.tasks.tell_admins", acks_late=False)
def tell_admins(provider_uid: str, is_client_rejected: bool) -> None:
    """Send the admins the mail about a provider in trouble."""
    notices.tell_admins(UUID(provider_uid), is_client_rejected)
