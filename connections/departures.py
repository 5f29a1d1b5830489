"""Hasten the collection when a user or a provider goes, or a provider moves; should the message be lost, the schedule
collects anyway."""

import logging

from celery import Task
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from connections import cut_off, tasks
from providers.models import OAuthProvider

logger = logging.getLogger(__name__)


def connect() -> None:
    """Notice deactivated and deleted users, and deleted and changed providers."""
    post_save.connect(_user_saved, sender=User, dispatch_uid="connections.user_saved")
    post_delete.connect(_user_deleted, sender=User, dispatch_uid="connections.user_deleted")
    post_save.connect(_provider_saved, sender=OAuthProvider, dispatch_uid="connections.provider_saved")


def _user_saved(instance: User, created: bool, **_: object) -> None:
    if not instance.is_active and not created:
        transaction.on_commit(_collect)


def _user_deleted(**_: object) -> None:
    transaction.on_commit(_collect)


def _provider_saved(instance: OAuthProvider, created: bool, **_: object) -> None:
    if instance.deleted_at is not None or (not created and cut_off.has_cut_off(instance)):
        transaction.on_commit(_collect)


def hasten(task: "Task[[], None]", what: str) -> None:
    """Queue what the schedule would do anyway; a broker that is down harms nothing that has been committed."""
    try:
        task.delay()
    except Exception as exc:  # the broker's errors have no common root
        logger.warning(f"{what} could not be queued", extra={"error": type(exc).__name__})


def _collect() -> None:
    hasten(tasks.collect_orphans, "collection")
