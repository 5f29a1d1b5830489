"""The provider that a consent leads to: is it there, switched on, safe to send a browser to, and as it was?"""

from uuid import UUID

from connections.models import ConsentRequest, Trip
from connections.refusals import ASK_ADMIN, Code, ConsentRefused
from outbound import addresses
from outbound.errors import OutboundError
from providers.models import CallbackMode, OAuthProvider
from providers.oauth2 import RegisteredClient
from providers.registered import registered_client
from vault.secrets import SecretNotFound


def usable(uid: UUID) -> OAuthProvider:
    """Return a provider that may be consented to now, its address judged again (A12). Raises ConsentRefused."""
    provider = OAuthProvider.objects.filter(uid=uid).first()
    if provider is None:
        then = "Open Connections to see what you can connect."
        raise ConsentRefused(Code.PROVIDER_NOT_FOUND, "OAuth provider not found: it was removed.", then)
    name = provider.display_name
    if not provider.enabled:
        raise ConsentRefused(Code.PROVIDER_DISABLED, disabled(name), ASK_ADMIN)
    if not provider.offers_browser_consent:
        what = f"{name} offers no browser consent and cannot be connected here."
        raise ConsentRefused(Code.PROVIDER_DISABLED, what, ASK_ADMIN)
    try:
        addresses.check_url(provider.authorization_endpoint)
    except OutboundError:
        what = f"The address to sign in at {name} is not one that this gateway may send you to."
        raise ConsentRefused(Code.PROVIDER_UNSAFE, what, ASK_ADMIN) from None
    return provider


def disabled(name: str) -> str:
    """Return the sentence that a page and the API say of a disabled provider, as the data plane does."""
    return f"OAuth provider not found: {name} is disabled."


def unchanged(trip: Trip) -> OAuthProvider:
    """Return the trip's provider, read anew, unless its client or endpoints changed meanwhile (A18)."""
    provider = usable(trip.provider_uid)
    if provider.fingerprint() != trip.provider_fingerprint:
        what = f"The settings of {provider.display_name} were changed while you were there."
        raise ConsentRefused(Code.PROVIDER_CHANGED, what)
    return provider


def at_callback(trip: ConsentRequest, provider_name: str | None) -> OAuthProvider:
    """Return the trip's provider if the answer came to its own callback (RFC 9700 §4.4). Raises ConsentRefused."""
    provider = unchanged(trip)
    own = None if provider.callback_mode == CallbackMode.SHARED else provider.name
    if provider_name != own:
        what = "The answer came back to the address of another provider, so it was not used."
        raise ConsentRefused(Code.WRONG_CALLBACK, what, ASK_ADMIN)
    return provider


def client_of(provider: OAuthProvider, *, is_recorded: bool = False) -> RegisteredClient:
    """Return the provider with its client secret opened; `is_recorded`: the trip has opened it before.

    Raises ConsentRefused when the secret is missing.
    """
    try:
        return registered_client(provider, is_recorded=is_recorded)
    except SecretNotFound as exc:
        raise ConsentRefused(Code.SECRET_MISSING, f"{exc}. {provider.display_name} needs it.", ASK_ADMIN) from None
