"""A provider on loopback, and alice signed in."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client

from providers.models import OAuthProvider
from tests import factories
from tests.connections.consenting import FakeProvider, fake_provider
from tests.fakes.rotating_provider import RotatingProvider, rotating_provider


@pytest.fixture
def far_side() -> Iterator[FakeProvider]:
    """What the provider answers and was asked."""
    with fake_provider() as fake:
        yield fake


@pytest.fixture
def github(db: None, far_side: FakeProvider) -> OAuthProvider:
    """A provider that is really there."""
    return factories.make_provider("github", base=far_side.base, userinfo_endpoint=f"{far_side.base}/userinfo")


@pytest.fixture
def alices(browser: Client, alice: User) -> Client:
    """Alice's browser."""
    browser.force_login(alice)
    return browser


@pytest.fixture
def upstream() -> Iterator[RotatingProvider]:
    """A provider that rotates its refresh tokens."""
    with rotating_provider() as fake:
        yield fake


@pytest.fixture
def rotating(db: None, upstream: RotatingProvider) -> OAuthProvider:
    """Its registration."""
    return factories.make_provider("rotating", base=upstream.base)
