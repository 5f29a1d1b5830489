"""The rows that the authorization server starts with."""

from django.contrib.auth.models import User
from oauth2_provider.models import Application

from aigateway.demo.authserver.registration import ClientCredentials, Registration


def seed(registration: Registration) -> None:
    """Register the three clients and the users, or bring them up to date."""
    _register(
        registration.gateway,
        name="AI Gateway",
        redirect_uris=" ".join(registration.redirect_uris),
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
    )
    # The MCP server only introspects; it may not start an authorization for lack of a redirect URI.
    _register(
        registration.resource_server,
        name="Demo MCP server",
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
    )
    # It asks for tokens as itself (RFC 6749 section 4.4); no user is behind them.
    _register(
        registration.service_account,
        name="Service account",
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
    )
    for username, password in registration.passwords.items():
        user, _ = User.objects.get_or_create(username=username, defaults={"email": f"{username}@example.test"})
        user.set_password(password)
        user.save()


def _register(client: ClientCredentials, **fields: str) -> None:
    Application.objects.update_or_create(
        client_id=client.client_id,
        defaults={
            "client_secret": client.client_secret,
            "client_type": Application.CLIENT_CONFIDENTIAL,
            **fields,
        },
    )
