"""`manage.py after_restore`: what a backup brings back and must not, and what is due all at once."""

from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from audit.models import Event
from connections.models import ConsentRequest
from providers.models import OAuthProvider
from tests import factories
from tests.connections.test_cleanup import make_consent
from vault.models import VaultEntry

MANY = 120


def run(*arguments: str) -> str:
    """Run the command; return what it prints."""
    out = StringIO()
    call_command("after_restore", *arguments, stdout=out)
    return out.getvalue()


def make_due(provider: OAuthProvider, due_at: datetime, count: int) -> list[int]:
    """Make entries that are due; return their primary keys."""
    users = [User.objects.create_user(f"u-{provider.name}-{number}") for number in range(count)]
    return [factories.make_vault_entry(user, provider, refresh_due_at=due_at).pk for user in users]


@pytest.mark.django_db
@pytest.mark.threat("G12")
def test_sign_ins_and_consents_of_the_backup_are_ended(alice: User) -> None:
    browser = Client(SERVER_NAME="gateway.test")
    browser.force_login(alice)
    make_consent("state", 5)
    said = run()
    assert browser.get("/connections/").status_code == 302
    assert not Session.objects.exists()
    assert not ConsentRequest.objects.exists()
    assert [line.split()[0] for line in said.splitlines()[:3]] == ["1", "1", "0"]
    assert Event.objects.get(action="vault.restored").data == {"sign_ins": 1, "consents": 1, "renewals": 0}


@pytest.mark.django_db
@pytest.mark.threat("G12")
def test_what_is_due_is_spread_evenly_and_nothing_else_is_touched(alice: User) -> None:
    now, provider = timezone.now(), factories.make_provider()
    due = make_due(provider, now - timedelta(days=2), MANY)
    later = factories.make_vault_entry(alice, provider, refresh_due_at=now + timedelta(hours=3))
    ended = factories.make_vault_entry(User.objects.create_user("ended"), provider, refresh_due_at=None)
    run("--spread-minutes", "60")
    moments = sorted(VaultEntry.objects.filter(pk__in=due).values_list("refresh_due_at", flat=True))
    assert moments[0] >= now
    assert moments[-1] < timezone.now() + timedelta(minutes=60)
    for quarter in range(4):
        begins = now + timedelta(minutes=15 * quarter)
        share = [at for at in moments if begins <= at < begins + timedelta(minutes=15)]
        assert abs(len(share) - MANY / 4) <= 2
    assert VaultEntry.objects.get(pk=later.pk).refresh_due_at == later.refresh_due_at
    assert VaultEntry.objects.get(pk=ended.pk).refresh_due_at is None


@pytest.mark.django_db
def test_no_time_to_spread_over_means_now_and_nonsense_is_refused(alice: User) -> None:
    [pk] = make_due(factories.make_provider(), timezone.now() - timedelta(days=2), 1)
    run("--spread-minutes", "0")
    due_at = VaultEntry.objects.get(pk=pk).refresh_due_at
    assert due_at is not None
    assert due_at <= timezone.now()
    with pytest.raises(CommandError, match="0 to 1440"):
        run("--spread-minutes", "-1")
