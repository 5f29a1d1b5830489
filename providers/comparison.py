"""What was typed, against what the issuer's metadata says (RFC 8414 §2); pure."""

from collections.abc import Iterable

from providers import metadata, presets
from providers.findings import Finding, error, ok, warning
from providers.metadata import Metadata
from providers.models import AuthMethod, CallbackMode, OAuthProvider
from providers.pkce import METHOD
from providers.quirks import PKCE_OFF

LABELS = {
    "authorization_endpoint": "authorization endpoint",
    "token_endpoint": "token endpoint",
    "revocation_endpoint": "revocation endpoint",
    "device_authorization_endpoint": "device authorization endpoint",
    "userinfo_endpoint": "userinfo endpoint",
}
WHY = {
    "revocation_endpoint": "Disconnect can then tell the provider",
    "device_authorization_endpoint": "users can then connect with a code",
    "userinfo_endpoint": "users then see which account they connected",
}
OFFLINE_ACCESS = "offline_access"
MANY = 10


def compare(provider: OAuthProvider, said: Metadata) -> list[Finding]:
    """Return every difference, or that there is none."""
    findings = [
        *_endpoints(provider, said),
        *_auth_method(provider, said),
        *_grant_types(provider, said),
        *_scopes(provider, said),
        *_pkce(provider, said),
        *_iss(provider, said),
    ]
    return findings or [ok("issuer", "The issuer's metadata agrees with what is entered here.")]


def without_metadata(provider: OAuthProvider) -> list[Finding]:
    """Return what is doubtful about a provider that says nothing about itself."""
    return list(_shared_callback(provider))


def _endpoints(provider: OAuthProvider, said: Metadata) -> Iterable[Finding]:
    for field in metadata.ENDPOINTS:
        typed, named = getattr(provider, field), getattr(said, field)
        if named and typed and typed != named:
            text = f"The metadata names another {LABELS[field]}: {named}."
            yield warning(field, f"{text} Take that one, unless the provider told you otherwise.")
        elif named and not typed and field in WHY:
            yield warning(field, f"The metadata names a {LABELS[field]}: {named}. Enter it: {WHY[field]}.")


def _auth_method(provider: OAuthProvider, said: Metadata) -> Iterable[Finding]:
    offered = said.token_endpoint_auth_methods_supported
    method = provider.token_endpoint_auth_method
    if not offered or method in offered:
        return
    ours = [known for known in AuthMethod.values if known in offered]
    way_out = f"Choose {' or '.join(ours)}." if ours else f"It supports {_listed(offered)} only, none of them here."
    yield error("token_endpoint_auth_method", f"The provider does not support {method}. {way_out}")


def _grant_types(provider: OAuthProvider, said: Metadata) -> Iterable[Finding]:
    offered = said.grant_types_supported
    if not offered:
        return
    if provider.offers_browser_consent and "authorization_code" not in offered:
        text = "The provider does not offer the authorization code grant, which browser consent needs."
        yield error("grant_types", f"{text} Switch browser consent off, or check the issuer.")
    if "refresh_token" not in offered:
        yield warning("grant_types", "The provider offers no refresh tokens: users reconnect when a token lapses.")


def _scopes(provider: OAuthProvider, said: Metadata) -> Iterable[Finding]:
    listed = said.scopes_supported
    if not listed:
        return
    unknown = [scope for scope in provider.scopes if scope not in listed]
    if unknown:
        text = f"The metadata does not list {_listed(unknown)}. Check the spelling;"
        yield warning("scopes", f"{text} a provider need not list every scope.")
    if OFFLINE_ACCESS in listed and OFFLINE_ACCESS not in provider.scopes:
        text = f"The provider knows the scope {OFFLINE_ACCESS}. Add it if users should stay connected:"
        yield warning("scopes", f"{text} there may be no refresh token without it.")


def _pkce(provider: OAuthProvider, said: Metadata) -> Iterable[Finding]:
    methods = said.code_challenge_methods_supported
    if PKCE_OFF in presets.quirks_of(provider.preset):
        return
    if methods and METHOD not in methods:
        text = f"The provider offers PKCE by {_listed(methods)} only, and the gateway uses {METHOD} only."
        yield error("require_pkce", f"{text} Nobody can connect until the provider supports {METHOD}.")
    elif not methods and provider.require_pkce:
        text = "PKCE is required here and the metadata does not say that the provider supports it."
        yield error("require_pkce", f"{text} Nobody can connect: ask the provider, or do not require it.")


def _iss(provider: OAuthProvider, said: Metadata) -> Iterable[Finding]:
    return () if said.authorization_response_iss_parameter_supported else _shared_callback(provider)


def _shared_callback(provider: OAuthProvider) -> Iterable[Finding]:
    if provider.callback_mode == CallbackMode.SHARED:
        text = "A shared callback is safe only where the provider sends iss (RFC 9207), and it does not promise to."
        yield warning("callback_mode", f"{text} Choose the provider's own callback.")


def _listed(names: Iterable[str]) -> str:
    found = [name[:100] for name in names]
    return ", ".join(found[:MANY]) + (f" and {len(found) - MANY} more" if len(found) > MANY else "")
