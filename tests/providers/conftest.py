"""A provider on loopback, and the client that is registered there."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from providers.oauth2 import RegisteredClient
from tests.fakes.token_endpoint import TokenEndpoint

ClientMaker = Callable[..., RegisteredClient]


@pytest.fixture
def far_side() -> Iterator[TokenEndpoint]:
    """The provider."""
    with TokenEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def make_client(far_side: TokenEndpoint) -> ClientMaker:
    """Make a registered client of `far_side`; keywords override."""

    def make(**fields: Any) -> RegisteredClient:
        defaults: dict[str, Any] = {
            "provider_name": "github",
            **far_side.endpoints,
            "issuer": "",
            "resource": "",
            "auth_method": "client_secret_basic",
            "client_id": "gateway-client",
            "client_secret": "gateway-secret",
            "scope_delimiter": " ",
            "authorize_params": {},
            "redirect_uri": "https://gateway.test/oauth/v1/callback/github",
            "account_claim": "",
        }
        return RegisteredClient(**{**defaults, **fields})

    return make


@pytest.fixture
def client(make_client: ClientMaker) -> RegisteredClient:
    """The client with a secret, by Basic."""
    return make_client()
