"""How much of what happened, in slices of time."""

from typing import ClassVar

from django.db import models


class Tally(models.Model):
    """How often `name` with the label `label` was counted, or how high it rose, in the slice of time from `at` on."""

    at = models.DateTimeField()
    name = models.CharField(max_length=64)
    label = models.CharField(max_length=64, blank=True)
    value = models.FloatField(default=0)
    updated_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["at", "name", "label"], name="one_tally_per_slice_and_label")
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.label} at {self.at}"
