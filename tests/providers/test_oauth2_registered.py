"""From a provider's row to a client that can talk to it."""

import pytest

from audit.models import Event
from providers import oauth2
from providers.registered import registered_client
from tests import factories
from vault.models import Secret
from vault.secrets import SecretNotFound

pytestmark = pytest.mark.django_db


def test_a_provider_becomes_a_client_that_can_refresh(far_side):
    provider = factories.make_provider("git-hub", **far_side.endpoints, resource="https://mcp.example/", issuer="")
    far_side.accept_only("gateway-client", "s3cret-value")
    answer = oauth2.refresh(registered_client(provider), refresh_token="old")
    assert answer.access_token == "access-1"


def test_the_client_carries_every_field_and_shows_no_secret():
    provider = factories.make_provider(
        userinfo_endpoint="https://auth.example.com/me",
        issuer="https://auth.example.com",
        scope_delimiter=",",
        account_claim="login",
        authorize_params={"prompt": "consent"},
    )
    client = registered_client(provider)
    assert client.redirect_uri == "https://gateway.test/oauth/v1/callback/github"
    assert (client.client_id, client.auth_method) == ("gateway-client", "client_secret_basic")
    assert (client.scope_delimiter, client.account_claim) == (",", "login")
    assert (client.issuer, client.userinfo_endpoint) == ("https://auth.example.com", "https://auth.example.com/me")
    assert client.authorize_params == {"prompt": "consent"}
    assert "s3cret-value" not in repr(client)


@pytest.mark.threat("H05")
def test_opening_the_secret_is_audited_with_its_purpose():
    registered_client(factories.make_provider())
    event = Event.objects.get(action="secret.opened")
    assert "oauth-provider github" in str(event.data)
    assert "s3cret-value" not in str(vars(event))


def test_a_secret_that_is_gone_is_named():
    provider = factories.make_provider()
    Secret.objects.all().delete()
    with pytest.raises(SecretNotFound, match="GITHUB_CLIENT_SECRET"):
        registered_client(provider)


@pytest.mark.threat("B23")
def test_a_public_client_opens_no_secret():
    provider = factories.make_provider(token_endpoint_auth_method="none", client_secret_ref="")
    assert registered_client(provider).client_secret == ""
    assert not Event.objects.exists()
