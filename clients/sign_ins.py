"""End browser sessions: those of one user on every device, or all."""

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils import timezone

READ_AT_ONCE = 500


def end_all(user: User) -> int:
    """Delete every session in which `user` is signed in; return how many.

    Whose a session is stands inside it, so all that have not expired are read.
    """
    current = Session.objects.filter(expire_date__gt=timezone.now()).iterator(chunk_size=READ_AT_ONCE)
    keys = [row.pk for row in current if row.get_decoded().get(SESSION_KEY) == str(user.pk)]
    return Session.objects.filter(pk__in=keys).delete()[0]


def end_everybodys() -> int:
    """Delete every session; return how many."""
    return Session.objects.all().delete()[0]
