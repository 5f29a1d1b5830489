"""The mail that a user gets when a connection has ended: once, with nothing in it that is secret."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail

from connections import tasks
from connections.errors import TokenExpired
from connections.notices import logger
from providers.models import OAuthProvider
from tests import factories
from tests.connections.test_late_holder import ask, interrupt, take_over
from tests.connections.test_refresh import make_expired, use
from tests.connections.test_tasks import make_due, tasks_run_here
from tests.fakes.rotating_provider import RotatingProvider

__all__ = ["tasks_run_here"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def mail_is_set_up(settings: Any, tasks_run_here: None) -> None:
    settings.AIGW_EMAIL_FROM = "gateway@example.com"


def end(user: User, provider: OAuthProvider, upstream: RotatingProvider) -> None:
    upstream.live.clear()
    for _ in range(3):
        with pytest.raises(TokenExpired):
            use(user, provider)


@pytest.mark.threat("B06")
def test_a_user_is_told_once_that_a_connection_has_ended(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)
    end(alice, rotating, upstream)
    message = mail.outbox[0]
    assert len(mail.outbox) == 1
    assert (message.subject, message.to) == ("Reconnect Rotating", ["alice@example.com"])
    assert message.from_email == "gateway@example.com"
    assert "no longer accepts the saved sign-in" in message.body
    assert "https://gateway.test/connections/" in message.body
    assert "upstream" not in message.body


@pytest.mark.threat("B21")
def test_two_schedulers_send_one_mail(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    make_due(alice, rotating)
    upstream.live.clear()
    interrupt(upstream, lambda: tasks.refresh_due.apply())
    tasks.refresh_due.apply()
    tasks.refresh_due.apply()
    assert len(upstream.refreshes) == 1
    assert len(mail.outbox) == 1


def test_a_lost_rotation_says_exactly_that(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    entry = make_expired(alice, rotating)
    interrupt(upstream, lambda: ask(take_over(entry), rotating))
    use(alice, rotating)
    assert "A renewal was cut off after Rotating had been asked" in mail.outbox[0].body


def test_without_a_sender_nothing_is_sent(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider, settings: Any
) -> None:
    settings.AIGW_EMAIL_FROM = ""
    make_expired(alice, rotating)
    end(alice, rotating, upstream)
    assert mail.outbox == []


def test_a_display_name_cannot_add_a_header(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    OAuthProvider.objects.update(display_name="Rotating\r\nBcc: eve@example.com")
    make_expired(alice, rotating)
    end(alice, rotating, upstream)
    assert mail.outbox[0].subject == "Reconnect Rotating Bcc: eve@example.com"
    assert mail.outbox[0].recipients() == ["alice@example.com"]


def test_nobody_is_told_who_is_gone_or_has_no_address(alice: User, bob: User, rotating: OAuthProvider) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    User.objects.filter(pk=bob.pk).update(email="")
    for user in (alice, bob):
        tasks.tell_user.apply(args=[user.pk, str(rotating.uid), "invalid_grant"])
    assert mail.outbox == []


def test_every_admin_with_an_address_is_told_of_a_provider_in_trouble(
    admin: User, superuser: User, alice: User, rotating: OAuthProvider
) -> None:
    factories.make_user("gone", is_superuser=True, is_active=False)
    tasks.tell_admins.apply(args=[str(rotating.uid), True])
    assert sorted(message.to[0] for message in mail.outbox) == ["admin@example.com", "root@example.com"]
    assert "client id or secret" in mail.outbox[0].body


@pytest.mark.threat("G03")
def test_a_broker_that_is_down_breaks_no_call(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider, monkeypatch: Any
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no broker")

    said: list[str] = []
    monkeypatch.setattr(tasks.tell_user, "delay", fail)
    monkeypatch.setattr(logger, "warning", lambda message, **_: said.append(message))
    make_expired(alice, rotating)
    end(alice, rotating, upstream)
    assert said == ["notice could not be queued"]
