"""Say before any user meets it what is wrong with a provider as it was typed: its metadata compared, its token
endpoint asked.

Nothing of an answer is shown but codes of a fixed shape and what metadata names; nothing is saved. The client's
secret goes to the token endpoint as it stands there now: `check_as` asks first whether the caller may send it.
"""

import secrets as random
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone

from audit import trail
from clients import rights
from providers import comparison, metadata, oauth2, promises
from providers.findings import Finding, error, ok, warning
from providers.metadata import Metadata, MetadataError
from providers.models import AuthMethod, OAuthProvider
from providers.quirks import PKCE_OFF
from providers.registered import client_with, registered_client
from vault import secrets
from vault.secrets import SecretNotFound

__all__ = ["Finding", "check", "check_as"]

Told = Literal["known", "unknown_client", "unclear"]
SECRET_METHODS = (AuthMethod.BASIC.value, AuthMethod.POST.value)
# What the answer to a made-up code says about the client, by RFC 6749 §5.2.
_TOLD: dict[str, Told] = {
    "invalid_grant": "known",
    "invalid_client": "unknown_client",
    "unauthorized_client": "unknown_client",
}
_NO_OAUTH = {
    "redirect": "answers with a redirect, which is not followed",
    "too_large": "answers with a page that is too large",
    "status_404": "answers 404: there is nothing at this address",
    "status_405": "answers 405: it takes no POST",
}
_NO_ANSWER = {
    "timeout": "did not answer in time",
    "network": "could not be reached",
    "tls_failed": "has a certificate that is not accepted: of another host, expired or of an unknown authority",
    "rate_limited": "asks to wait, as it was called too often",
    "address_not_allowed": "is at an address that this gateway may not call",
    "https_required": "is no https address: HTTPS required",
}


def check_as(actor: User, provider: OAuthProvider, *, client_secret: str | None = None) -> list[Finding]:
    """Check a provider for someone who may change it and send its secret where it now says; audited.

    `client_secret` is one that was typed and is not stored yet. Raises PermissionRefused.
    """
    rights.require(actor, "change" if provider.pk else "add", provider if provider.pk else OAuthProvider)
    if client_secret is None and provider.client_secret_ref:
        # That there is no such secret is a finding like any other.
        with suppress(ValidationError):
            secrets.require_use(actor, provider.client_secret_ref, attr="client_secret_ref")
    findings = check(provider, client_secret=client_secret)
    levels = [finding.level for finding in findings]
    trail.record(
        "oauth_provider.checked",
        actor=actor,
        target_type="oauth_provider",
        target=provider.name,
        errors=levels.count("error"),
        warnings=levels.count("warning"),
    )
    return findings


def check(provider: OAuthProvider, *, client_secret: str | None = None) -> list[Finding]:
    """Compare with the issuer's metadata and ask the token endpoint; the provider may be saved or not. Never raises."""
    said, findings = _metadata(provider)
    return [*findings, *_probe(provider, client_secret, said)]


def _metadata(provider: OAuthProvider) -> tuple[Metadata | None, list[Finding]]:
    if not provider.issuer:
        return None, comparison.without_metadata(provider)
    try:
        said = metadata.fetch(provider.issuer)
    except MetadataError as failure:
        way_out = "Correct the issuer, or clear it if the provider publishes none."
        return None, [warning("issuer", f"{failure} {way_out}"), *comparison.without_metadata(provider)]
    promises.remember(provider, said, now=timezone.now())
    return said, comparison.compare(provider, said)


def _probe(provider: OAuthProvider, client_secret: str | None, said: Metadata | None) -> list[Finding]:
    """Exchange a code that nobody issued: what is refused tells whether the client is known."""
    if not provider.token_endpoint or not provider.client_id:
        return []
    try:
        client = registered_client(provider) if client_secret is None else client_with(provider, client_secret)
    except SecretNotFound as missing:
        return [error("client_secret_ref", f"{missing}. Store it under this name, or choose another secret.")]
    answer = _ask(client)
    if isinstance(answer, oauth2.ProviderRefused):
        if _TOLD.get(answer.standard_error) == "unknown_client":
            return [_unknown_client(client, answer, said)]
        return [_refused(provider, answer)]
    if isinstance(answer, oauth2.ProviderUnavailable):
        return [_unavailable(answer)]
    if isinstance(answer, oauth2.OAuthError):
        return [_no_oauth(answer)]
    return [error("token_endpoint", "It gave a token for a made-up code. Do not use this provider.")]


def _ask(client: oauth2.RegisteredClient) -> oauth2.OAuthError | None:
    """Return how a made-up code was refused; None when it was not."""
    verifier = None if PKCE_OFF in client.quirks else oauth2.new_code_verifier()
    try:
        oauth2.exchange_code(client, code=random.token_urlsafe(32), code_verifier=verifier)
    except oauth2.OAuthError as failure:
        return failure
    return None


def _refused(provider: OAuthProvider, answer: oauth2.ProviderRefused) -> Finding:
    code = answer.standard_error
    if code == "invalid_grant":
        who = "id" if provider.token_endpoint_auth_method == AuthMethod.NONE else "id and secret"
        return ok("token_endpoint", f"It knows the client {who}, and refused a made-up code as it should.")
    if code == "invalid_request":
        text = "It answers as a token endpoint does, but does not let on whether it knows the client."
        return ok("token_endpoint", text)
    if code == "redirect_uri_mismatch":
        text = f"The provider has another redirect URI registered. Register {provider.callback_url} there."
        return error("callback_mode", text)
    if code == "invalid_target":
        text = "The provider does not know this resource. Correct it, or clear it if none is asked for."
        return error("resource", text)
    if code == "unsupported_grant_type":
        text = "It does not exchange authorization codes. Correct the address, or allow that grant on the app there."
        return error("token_endpoint", text)
    text = f"It refused a made-up code with {answer.error}, which does not say whether it knows the client."
    return warning("token_endpoint", f"{text} Connect once yourself before you tell others.")


def _unknown_client(client: oauth2.RegisteredClient, answer: oauth2.ProviderRefused, said: Metadata | None) -> Finding:
    """Say what to try: the other way to authenticate where it works, or else the id and the secret again."""
    if client.auth_method == AuthMethod.NONE:
        text = "The provider does not know this client id as a public client. Correct the id, or give its secret."
        return error("client_id", f"{text} (It said {answer.error}.)")
    other = next(method for method in SECRET_METHODS if method != client.auth_method)
    second = _ask(replace(client, auth_method=other))
    if isinstance(second, oauth2.ProviderRefused) and _TOLD.get(second.standard_error) == "known":
        text = f"The provider refuses the client by {client.auth_method} and accepts it by {other}. Choose {other}."
        return error("token_endpoint_auth_method", text)
    offered = said.token_endpoint_auth_methods_supported if said else None
    ways = f" It supports {', '.join(offered[:10])}." if offered else f" {other} was refused too."
    text = f"The provider does not accept the client id and secret (it said {answer.error}).{ways}"
    return error("client_secret_ref", f"{text} Copy both again from the app that is registered there.")


def _unavailable(answer: oauth2.ProviderUnavailable) -> Finding:
    what = _NO_ANSWER.get(answer.why) or f"is not available ({answer.why})"
    level = warning if answer.why == "rate_limited" else error
    return level("token_endpoint", f"The token endpoint {what}. Check the address, or try again later.")


def _no_oauth(answer: oauth2.OAuthError) -> Finding:
    if answer.why in {"status_401", "status_403"}:
        text = f"It answers {answer.why.removeprefix('status_')} and gives no reason. Most likely the client id, the "
        return error("client_secret_ref", f"{text}secret or the way to authenticate is not accepted: try another.")
    what = _NO_OAUTH.get(answer.why) or "answers with something that is no OAuth answer, a page perhaps"
    return error("token_endpoint", f"The token endpoint {what}. Check the address in the provider's documentation.")
