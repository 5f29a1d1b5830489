"""Celery: the verbs that run off the call path. No arguments, no results; a message is only a hint."""

from celery import shared_task

from connections import cleanup, device_poll, revocation, scan


@shared_task(name="connections.tasks.refresh_due")
def refresh_due() -> None:
    """Renew what expires soon."""
    scan.refresh_due()


@shared_task(name="connections.tasks.collect_orphans")
def collect_orphans() -> None:
    """Collect what nobody can use any more."""
    cleanup.collect_orphans()


@shared_task(name="connections.tasks.retry_revocations")
def retry_revocations() -> None:
    """Tell the providers what they could not be told before."""
    revocation.retry_revocations()


@shared_task(name="connections.tasks.poll_devices")
def poll_devices() -> None:
    """Ask the providers whether their users have entered the codes."""
    device_poll.poll_due()
