"""OAuth 2.0 with a provider, as its client: authorize URL, exchange, refresh, revoke, account.

RFC 6749, 7009, 7636, 8628, 8707 and 9207; no ORM. `wire` sends, `answers` reads, `errors` says what went wrong;
callers need this module only. Nothing in here logs.
"""

from collections.abc import Sequence
from enum import StrEnum
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from oauthlib.oauth2 import BackendApplicationClient, WebApplicationClient

from outbound.errors import OutboundError
from outbound.urls import read_target
from providers import accounts, answers, wire
from providers.answers import TokenAnswer
from providers.device import DeviceGrant
from providers.device import poll as poll_device
from providers.device import start as start_device
from providers.errors import (
    AuthorizationPending,
    BadAnswer,
    OAuthError,
    ProviderRefused,
    ProviderUnavailable,
    SlowDown,
)
from providers.pkce import PKCERefused, code_verifier_for, new_code_verifier
from providers.quirks import NO_SCOPE_PARAM
from providers.validation import OWNED_PARAMETERS
from providers.wire import RegisteredClient, WireSession

__all__ = [
    "AuthorizationPending",
    "BadAnswer",
    "DeviceGrant",
    "OAuthError",
    "PKCERefused",
    "ProviderRefused",
    "ProviderUnavailable",
    "RegisteredClient",
    "Revoked",
    "SlowDown",
    "TokenAnswer",
    "WireSession",
    "authorize_url",
    "check_issuer",
    "client_credentials",
    "code_verifier_for",
    "exchange_code",
    "new_code_verifier",
    "poll_device",
    "refresh",
    "revoke",
    "start_device",
    "userinfo_account",
]


class Revoked(StrEnum):
    """What the provider did about a token it was asked to revoke."""

    REVOKED = "revoked"
    UNSUPPORTED = "unsupported"


def authorize_url(client: RegisteredClient, *, state: str, scopes: Sequence[str], code_verifier: str | None) -> str:
    """Build the link to the provider's consent page (RFC 6749 §4.1.1), with S256 when there is a verifier.

    The endpoint's own query is kept (§3.1); neither it nor `authorize_params` can set what the protocol owns.
    Raises ProviderUnavailable for an endpoint that a browser must not be sent to.
    """
    endpoint = _browsable(client)
    owned = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        client.scope_parameter: _scope(client, scopes),
        "state": state,
        "resource": client.resource,
    }
    if code_verifier is not None:
        challenge = WebApplicationClient("").create_code_challenge(code_verifier, "S256")
        owned |= {"code_challenge": challenge, "code_challenge_method": "S256"}
    parts = urlsplit(endpoint)
    extra = {**client.authorize_params, **dict(parse_qsl(parts.query, keep_blank_values=True))}
    query = {name: value for name, value in extra.items() if name not in OWNED_PARAMETERS}
    query |= {name: value for name, value in owned.items() if value}
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))


def check_issuer(client: RegisteredClient, iss: str | None) -> None:
    """Compare the `iss` of an authorization response, letter for letter (RFC 9207 §2.4); raise BadAnswer.

    One that the provider's metadata promised must be there.
    """
    is_missing = iss is None and client.promises_iss
    if is_missing or (iss is not None and client.issuer and iss != client.issuer):
        raise BadAnswer(client.provider_name, "issuer")


def exchange_code(
    client: RegisteredClient, *, code: str, code_verifier: str | None, asked: Sequence[str] = ()
) -> TokenAnswer:
    """Trade an authorization code for tokens (RFC 6749 §4.1.3); granted scopes come in the words of `asked`."""
    body = WebApplicationClient(client.client_id).prepare_request_body(
        code=code,
        redirect_uri=client.redirect_uri,
        code_verifier=code_verifier,
        resource=client.resource,
        include_client_id=False,
    )
    fields = {**client.token_params, **dict(parse_qsl(body))}
    return answers.token_answer(client, wire.post(client, client.token_endpoint, fields), asked=asked)


def refresh(
    client: RegisteredClient,
    *,
    refresh_token: str,
    scopes: Sequence[str] | None = None,
    asked: Sequence[str] = (),
    session: WireSession | None = None,
) -> TokenAnswer:
    """Trade a refresh token for new tokens (RFC 6749 §6); without `scopes` the grant stays as it is.

    Granted scopes come in the words of `asked`. The answer's `refresh_token` is None when the old one goes on being
    valid. Whoever renews one grant after the other hands in a `session` to do it through.
    """
    body = WebApplicationClient(client.client_id).prepare_refresh_body(
        refresh_token=refresh_token,
        scope=_scope(client, scopes or ()),
        resource=client.resource,
    )
    fields = {**client.token_params, **client.refresh_params, **dict(parse_qsl(body))}
    response = wire.post(client, client.token_endpoint, fields, session)
    return answers.token_answer(client, response, asked=asked, has_refresh_token=True)


def client_credentials(client: RegisteredClient, *, scopes: Sequence[str]) -> TokenAnswer:
    """Get a token as the client itself, for nobody's account (RFC 6749 §4.4).

    A refresh token in the answer is of no use (§4.4.3): the same request brings the next token.
    """
    body = BackendApplicationClient(client.client_id).prepare_request_body(
        scope=_scope(client, scopes), resource=client.resource
    )
    fields = {**client.token_params, **dict(parse_qsl(body))}
    return answers.token_answer(client, wire.post(client, client.token_endpoint, fields), asked=scopes)


def revoke(client: RegisteredClient, *, token: str, token_type_hint: str) -> Revoked:
    """Tell the provider to forget a token (RFC 7009 §2); one it does not know counts as revoked.

    Raises ProviderUnavailable (try again later) and ProviderRefused (do not).
    """
    if not client.revocation_endpoint:
        return Revoked.UNSUPPORTED
    fields = {"token": token, "token_type_hint": token_type_hint}
    try:
        answers.check_status(client, wire.post(client, client.revocation_endpoint, fields))
    except ProviderRefused as refusal:
        if refusal.error == "unsupported_token_type":
            return Revoked.UNSUPPORTED
        # Google's 400 for a token that is dead already, where RFC 7009 §2.2 says 200.
        if refusal.error != "invalid_token":
            raise
    except BadAnswer as answer:
        raise ProviderRefused(client.provider_name, answer.why) from None
    return Revoked.REVOKED


def userinfo_account(client: RegisteredClient, access_token: str, *, id_token: str | None = None) -> str | None:
    """Return a label of the account, one line of at most 320 characters; None when it cannot be told.

    Never raises.
    """
    return accounts.account_label(client, access_token, id_token)


def _scope(client: RegisteredClient, scopes: Sequence[str]) -> str:
    return "" if NO_SCOPE_PARAM in client.quirks else client.scope_delimiter.join(scopes)


def _browsable(client: RegisteredClient) -> str:
    """Return the authorization endpoint once more judged, so that no `javascript:` becomes a redirect (A12)."""
    try:
        read_target(client.authorization_endpoint)
    except OutboundError as error:
        raise ProviderUnavailable(client.provider_name, error.code) from None
    return client.authorization_endpoint
