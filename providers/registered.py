"""From a provider's row to the client that can talk to it, secret included. In memory only, for one job."""

from providers.models import AuthMethod, OAuthProvider
from providers.wire import RegisteredClient
from vault import secrets


def registered_client(provider: OAuthProvider) -> RegisteredClient:
    """Open the client secret (audited) and return the provider as `oauth2` needs it.

    Raises SecretNotFound.
    """
    return RegisteredClient(
        provider_name=provider.name,
        authorization_endpoint=provider.authorization_endpoint,
        token_endpoint=provider.token_endpoint,
        revocation_endpoint=provider.revocation_endpoint,
        userinfo_endpoint=provider.userinfo_endpoint,
        issuer=provider.issuer,
        resource=provider.resource,
        auth_method=provider.token_endpoint_auth_method,
        client_id=provider.client_id,
        client_secret=_client_secret(provider),
        scope_delimiter=provider.scope_delimiter,
        authorize_params=dict(provider.authorize_params),
        redirect_uri=provider.callback_url,
        account_claim=provider.account_claim,
        device_authorization_endpoint=provider.device_authorization_endpoint,
    )


def _client_secret(provider: OAuthProvider) -> str:
    if provider.token_endpoint_auth_method == AuthMethod.NONE:
        return ""
    return secrets.read(provider.client_secret_ref, purpose=f"oauth-provider {provider.name}")
