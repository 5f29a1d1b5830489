"""The link with which one user connects one provider, for the floor below to show beside the provider."""

from django.contrib.auth.models import User

from connections import listing
from providers.models import OAuthProvider


def offer_url(user: User, provider: OAuthProvider) -> str:
    """Return the link to the consent page, or nothing where there is none to give."""
    connection = listing.connection_of(user, provider.name)
    return connection.authorize_url if connection else ""
