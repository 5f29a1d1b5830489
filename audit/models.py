"""One row per security-relevant event: who, what, target, result, request id."""

from typing import Any, NoReturn

from django.db import models


class AppendOnlyError(TypeError):
    """An audit row was about to be altered or deleted."""


class EventQuerySet(models.QuerySet["Event"]):
    """Rows that can be added and read, nothing else."""

    def update(self, **_: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError("audit rows cannot be altered")

    def delete(self) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError("audit rows cannot be deleted")

    def bulk_update(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError("audit rows cannot be altered")


class Event(models.Model):
    """An event. `actor_id` is no foreign key: the trail outlives the people in it."""

    class Result(models.TextChoices):
        """How it ended."""

        OK = "ok"
        REFUSED = "refused"
        FAILED = "failed"

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    action = models.CharField(max_length=64, db_index=True)
    actor_id = models.BigIntegerField(null=True, blank=True, db_index=True)
    actor = models.CharField(max_length=150, blank=True)
    target_type = models.CharField(max_length=40, blank=True)
    target = models.CharField(max_length=200, blank=True, db_index=True)
    result = models.CharField(max_length=10, choices=Result.choices)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    data = models.JSONField(default=dict, blank=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-pk"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.action} {self.target} {self.result}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert; refuse to save a row twice."""
        if self.pk is not None:
            raise AppendOnlyError("audit rows cannot be altered")
        super().save(*args, **kwargs)

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        raise AppendOnlyError("audit rows cannot be deleted")
