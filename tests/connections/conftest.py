"""A provider on loopback, and alice signed in."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client

from providers.models import OAuthProvider
from tests import factories
from tests.connections import devices
from tests.connections.consenting import FakeProvider, fake_provider
from tests.fakes.rotating_provider import RotatingProvider, rotating_provider
from tests.fakes.token_endpoint import TokenEndpoint


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


@pytest.fixture
def code_side() -> Iterator[TokenEndpoint]:
    """A provider that hands out device codes."""
    with TokenEndpoint() as fake:
        devices.hand_out(fake)
        yield fake


@pytest.fixture
def coded(db: None, code_side: TokenEndpoint) -> OAuthProvider:
    """Its registration, under the name of github."""
    return devices.make_provider(code_side)
