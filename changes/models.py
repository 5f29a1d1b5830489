"""The change counter: a single row."""

from django.db import models


class ChangeCounter(models.Model):
    """The only row (`pk` 1) holds how many changes of rights, servers, providers or secrets were committed."""

    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.value)
