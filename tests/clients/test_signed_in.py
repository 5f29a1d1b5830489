"""Whose session a cookie is, and whether a request may use it, as Django's own middleware would have it."""

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import Settings

from clients import signed_in

SECRET = "s" * 32
COOKIES = {"aigw_csrf": SECRET}
HEADERS = {"host": "gateway.test", "origin": "https://gateway.test", "x-csrftoken": SECRET}
PAGE = "https://gateway.test/servers/tools/"


def session_of(user: User) -> str:
    """Sign in; return the session cookie."""
    client = Client()
    client.force_login(user)
    return client.cookies[django_settings.SESSION_COOKIE_NAME].value


def test_a_session_is_its_users_and_is_only_read(alice: User) -> None:
    session = session_of(alice)
    before = list(Session.objects.values())
    found = signed_in.by_session(session)
    assert found is not None
    assert (found.user, found.until) == (alice, Session.objects.get().expire_date)
    assert list(Session.objects.values()) == before


@pytest.mark.threat("F14")
def test_a_session_of_before_the_password_changed_is_nobodys(alice: User) -> None:
    session = session_of(alice)
    alice.set_password("another password altogether")
    alice.save()
    assert signed_in.by_session(session) is None
    assert Session.objects.count() == 1  # to end it is for the pages


def test_a_new_signing_key_ends_no_session_while_the_old_one_is_kept(alice: User, settings: Settings) -> None:
    session, old = session_of(alice), settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new key of sufficient length, and then some", [old]
    assert signed_in.by_session(session) is not None
    settings.SECRET_KEY_FALLBACKS = []
    assert signed_in.by_session(session) is None


@pytest.mark.threat("F14")
def test_a_backend_that_is_no_longer_trusted_signs_nobody_in(alice: User, settings: Settings) -> None:
    session = session_of(alice)
    settings.AUTHENTICATION_BACKENDS = ["guardian.backends.ObjectPermissionBackend"]
    assert signed_in.by_session(session) is None


@pytest.mark.threat("A15")
@pytest.mark.parametrize(
    ("changed", "is_forgery"),
    [
        ({}, False),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"origin": "", "referer": PAGE}, False),  # a GET of the same site has no Origin
        ({"origin": ""}, True),  # over https, one of the two must be there
        ({"origin": "", "referer": "https://evil.example/"}, True),
        ({"origin": "", "referer": "http://gateway.test/"}, True),
        ({"origin": "https://evil.example"}, True),
        ({"origin": "http://gateway.test"}, True),
        ({"origin": "null"}, True),
        ({"x-csrftoken": ""}, True),
        ({"x-csrftoken": "t" * 32}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
    ],
)
def test_a_request_of_another_page_is_a_forgery(settings: Settings, changed: dict[str, str], is_forgery: bool) -> None:
    settings.AIGW_BASE_URL, settings.CSRF_TRUSTED_ORIGINS = "https://gateway.test", ["https://gateway.test"]
    headers = {name: value for name, value in {**HEADERS, **changed}.items() if value}
    assert signed_in.is_forgery(COOKIES, headers) is is_forgery
    assert signed_in.is_forgery({}, headers)
