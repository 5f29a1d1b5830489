"""From a provider's row to the client that can talk to it, secret included. In memory only, for one job."""

from typing import Any

from providers import presets, promises
from providers.models import AuthMethod, OAuthProvider
from providers.wire import RegisteredClient
from vault import secrets


def registered_client(provider: OAuthProvider, *, is_recorded: bool = False) -> RegisteredClient:
    """Open the client secret (audited, unless it `is_recorded`) and return the provider as `oauth2` needs it.

    Raises SecretNotFound.
    """
    return client_with(provider, _client_secret(provider, is_recorded))


def client_with(provider: OAuthProvider, client_secret: str) -> RegisteredClient:
    """Return the provider as `oauth2` needs it, saved or not, with a secret that is at hand."""
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
        client_secret=client_secret,
        scope_delimiter=provider.scope_delimiter,
        authorize_params=dict(provider.authorize_params),
        redirect_uri=provider.callback_url,
        account_claim=provider.account_claim,
        device_authorization_endpoint=provider.device_authorization_endpoint,
        require_pkce=provider.require_pkce,
        promises_iss=promises.promises_iss(provider),
        code_challenge_methods=promises.code_challenge_methods(provider),
        **_dialect(provider.preset),
    )


def service_client(
    name: str, *, token_endpoint: str, client_id: str, client_secret: str, auth_method: str, resource: str
) -> RegisteredClient:
    """Return a client that has no provider: it only ever asks `token_endpoint` for a token of its own."""
    return RegisteredClient(
        provider_name=name,
        authorization_endpoint="",
        token_endpoint=token_endpoint,
        revocation_endpoint="",
        userinfo_endpoint="",
        issuer="",
        resource=resource,
        auth_method=auth_method,
        client_id=client_id,
        client_secret=client_secret,
        scope_delimiter=" ",
        authorize_params={},
        redirect_uri="",
        account_claim="",
    )


def _client_secret(provider: OAuthProvider, is_recorded: bool) -> str:
    if provider.token_endpoint_auth_method == AuthMethod.NONE:
        return ""
    purpose = f"oauth-provider {provider.name}"
    return secrets.read(provider.client_secret_ref, purpose=purpose, is_recorded=is_recorded)


def _dialect(preset_name: str) -> dict[str, Any]:
    """Return how the preset departs from the RFCs; what was typed into the provider is left alone."""
    preset = presets.get(preset_name) if preset_name else None
    if preset is None:
        return {}
    return {
        "quirks": preset.quirks,
        "scope_parameter": preset.scope_parameter,
        "token_params": dict(preset.token_params),
        "refresh_params": dict(preset.refresh_params),
    }
