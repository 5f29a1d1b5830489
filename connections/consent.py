"""One consent from the link to the stored tokens (contract §7): ticket, state, PKCE, `iss`, exchange, store.

The wire is `providers.oauth2`, the link `connections.tickets`, the state `connections.trips`, what a grant means for
an existing connection `connections.granting`. No database connection is held while the provider is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase
from django.db import connection
from django.http import QueryDict
from django.utils import timezone

from audit import trail
from connections import destinations, granting, tickets, trips
from connections.granting import Connected
from connections.models import ConsentRequest
from connections.refusals import ASK_ADMIN, Code, ConsentRefused, authorization_error, token_error
from metrics import catalog
from providers import oauth2, promises
from providers.models import OAuthProvider
from vault import entries
from vault.models import VaultEntry


@dataclass(frozen=True, slots=True)
class Offer:
    """What a ticket asks its user for."""

    provider: OAuthProvider
    scopes: tuple[str, ...]
    server_name: str


def offer_url(*, user_id: int, provider: OAuthProvider, scopes: Sequence[str], server_name: str = "") -> str:
    """Return the link that starts consent: good for one hour, and for this user only."""
    ticket = tickets.write(user_id=user_id, provider_uid=provider.uid, scopes=scopes, server_name=server_name)
    query = {"provider_name": provider.name, "scopes": ",".join(tickets.canonical(scopes)), "ticket": ticket}
    return f"{settings.AIGW_BASE_URL}/oauth/v1/authorize?{urlencode(query)}"


def wanted_scopes(provider: OAuthProvider, *, server_scopes: Sequence[str], entry: VaultEntry | None) -> list[str]:
    """Return what to ask for: the provider's scopes, the servers', and what was granted before."""
    same_client = entry is not None and entry.provider_fingerprint == provider.fingerprint()
    before: list[str] = entry.scopes_granted if entry is not None and same_client else []
    return tickets.canonical([*provider.scopes, *server_scopes, *before])


def read_ticket(user: User, query: QueryDict) -> Offer:
    """Open the ticket of a link for the user who opened it. Raises ConsentRefused; another user's is audited (A01)."""
    _refuse_repeated(query, "provider_name", "scopes", "ticket")
    ticket = tickets.read(query.get("ticket", ""))
    if not ticket.is_for(user.pk):
        raise _user_mismatch(user, OAuthProvider.everything.filter(uid=ticket.provider_uid).first())
    provider = destinations.usable(ticket.provider_uid)
    sealed = (provider.name, ",".join(ticket.scopes))
    if (query.get("provider_name", ""), query.get("scopes", "")) != sealed:
        raise ConsentRefused(Code.TICKET_MISMATCH, "This link was changed on the way: it asks for something else.")
    return Offer(provider, ticket.scopes, ticket.server_name)


def begin(user: User, session: SessionBase, offer: Offer) -> str:
    """Remember the trip and return the provider's address to send the browser to. Raises ConsentRefused."""
    _let_go_of_database()
    promises.refresh(offer.provider, now=timezone.now())
    client = destinations.client_of(offer.provider)
    code_verifier = _code_verifier(client, offer.provider)
    state = trips.start(
        user_id=user.pk,
        session=session,
        provider=offer.provider,
        scopes=offer.scopes,
        server_name=offer.server_name,
        code_verifier=code_verifier or "",
        now=timezone.now(),
    )
    catalog.consents.count("started")
    _record("oauth.consent.started", user, offer.provider, scopes=list(offer.scopes), server=offer.server_name)
    return oauth2.authorize_url(client, state=state, scopes=list(offer.scopes), code_verifier=code_verifier)


def finish(user: User | AnonymousUser, session: SessionBase, query: QueryDict, provider_name: str | None) -> Connected:
    """Take the answer at the redirect URI of `provider_name` (None: the shared one), exchange the code and store.

    The state is used up whatever comes of it. Raises ConsentRefused, audited; an existing connection is then as it was.
    """
    try:
        _refuse_repeated(query, "state", "code", "iss", "error", "error_description")
        trip = trips.take(query.get("state", ""))
        if trip is None:
            what = "This answer was used already, or it does not belong to a connection that was started here."
            raise ConsentRefused(Code.STATE_UNKNOWN, what)
        user = _traveller(user, session, trip)
        provider = destinations.at_callback(trip, provider_name)
        try:
            return _complete(user, provider, trip, query)
        except ConsentRefused as refused:
            refused.provider_name = provider.name
            raise
    except ConsentRefused as refused:
        catalog.consents.count(refused.outcome)
        _record_refusal(refused, user, provider_name)
        raise


def granted_before(user: User, provider: OAuthProvider) -> list[str]:
    """Return the scopes of the user's connection as it is now."""
    entry = entries.find(user.pk, provider.uid)
    return list(entry.scopes_granted) if entry else []


def connected_provider(user: User | AnonymousUser, name: str) -> OAuthProvider | None:
    """Return the provider called `name` if this user is connected to it."""
    provider = OAuthProvider.objects.filter(name=name).first()
    if provider is None or user.pk is None or entries.find(user.pk, provider.uid) is None:
        return None
    return provider


def _complete(user: User, provider: OAuthProvider, trip: ConsentRequest, query: QueryDict) -> Connected:
    client = destinations.client_of(provider)
    code = _code(client, provider, query)
    code_verifier = trips.code_verifier(trip)
    if code_verifier is None:
        raise ConsentRefused(Code.STATE_UNKNOWN, "What was remembered of this connection can no longer be read.")
    _let_go_of_database()
    answer = _exchange(client, provider, code=code, code_verifier=code_verifier or None, asked=trip.scopes)
    account = oauth2.userinfo_account(client, answer.access_token, id_token=answer.id_token) or ""
    try:
        destinations.unchanged(trip)
    except ConsentRefused:
        granting.give_back(trip, answer, now=timezone.now())
        raise
    return granting.store(user, provider, trip, answer, account=account, now=timezone.now())


def _code(client: oauth2.RegisteredClient, provider: OAuthProvider, query: QueryDict) -> str:
    """Return the code of an answer that really comes from the provider (RFC 9207 §2.4)."""
    try:
        oauth2.check_issuer(client, query.get("iss"))
    except oauth2.OAuthError:
        what = f"The answer does not come from {provider.display_name}, so it was not used."
        raise ConsentRefused(Code.ISSUER_MISMATCH, what, ASK_ADMIN) from None
    if error := query.get("error"):
        raise authorization_error(
            error,
            name=provider.display_name,
            callback_url=client.redirect_uri,
            said=query.get("error_description", ""),
        )
    code = query.get("code")
    if not code:
        raise ConsentRefused(Code.CODE_MISSING, f"{provider.display_name} sent you back without an answer.")
    return code


def _code_verifier(client: oauth2.RegisteredClient, provider: OAuthProvider) -> str | None:
    """Return a verifier, or None for a provider that breaks on PKCE; refuse what PKCE must protect and cannot."""
    try:
        return oauth2.code_verifier_for(client)
    except oauth2.PKCERefused as exc:
        what = f"{provider.display_name} cannot be connected. {exc.sentence}"
        raise ConsentRefused(Code.PKCE_NOT_AVAILABLE, what, ASK_ADMIN, reason=exc.why) from None


def _exchange(
    client: oauth2.RegisteredClient,
    provider: OAuthProvider,
    *,
    code: str,
    code_verifier: str | None,
    asked: Sequence[str],
) -> oauth2.TokenAnswer:
    name = provider.display_name
    try:
        return oauth2.exchange_code(client, code=code, code_verifier=code_verifier, asked=asked)
    except oauth2.ProviderRefused as exc:
        raise token_error(exc.standard_error, name=name, callback_url=client.redirect_uri) from None
    except oauth2.ProviderUnavailable as exc:
        what, then = f"{name} could not be reached to complete the connection.", "Try again in a few minutes."
        raise ConsentRefused(Code.EXCHANGE_UNAVAILABLE, what, then, reason=exc.why) from None
    except oauth2.OAuthError:
        what = f"{name} answered in a way that this gateway does not understand."
        raise ConsentRefused(Code.EXCHANGE_BAD_ANSWER, what, ASK_ADMIN) from None


def _traveller(user: User | AnonymousUser, session: SessionBase, trip: ConsentRequest) -> User:
    """Return the user if the trip is theirs, from this very browser session (A01, A02)."""
    if not isinstance(user, User):
        raise ConsentRefused(Code.SIGNED_OUT, "You are no longer signed in here, so nothing was connected.")
    if trip.user_id != user.pk:
        raise _user_mismatch(user, OAuthProvider.everything.filter(uid=trip.provider_uid).first())
    if trip.expires_at <= timezone.now():
        raise ConsentRefused(Code.STATE_EXPIRED, "This took longer than ten minutes, so the answer was not used.")
    if not trips.belongs_to(trip, session):
        what = "This connection was started in another browser or an earlier session."
        raise ConsentRefused(Code.SESSION_MISMATCH, what)
    return user


def _user_mismatch(user: User, provider: OAuthProvider | None) -> ConsentRefused:
    _record("oauth.callback.user_mismatch", user, provider, result=trail.REFUSED)
    return ConsentRefused(
        Code.USER_MISMATCH,
        "This link was made for someone else.",
        "If it is yours, sign out and sign in as yourself. Otherwise close this page: nothing was connected.",
    )


def _refuse_repeated(query: QueryDict, *names: str) -> None:
    """Refuse a parameter that comes twice (RFC 6749 §3.1): two readers might each take another one."""
    if any(len(query.getlist(name)) > 1 for name in names):
        raise ConsentRefused(Code.PARAMETER_REPEATED, "This link says one thing twice, so it was not used.")


def _record(
    action: str, user: User | AnonymousUser, provider: OAuthProvider | None, *, result: str = trail.OK, **data: object
) -> None:
    name = provider.name if provider else ""
    trail.record(action, actor=user, target_type="connection", target=name, result=result, **data)


def _record_refusal(refused: ConsentRefused, user: User | AnonymousUser, provider_name: str | None) -> None:
    """Write the trail; strangers who bring no known state write nothing, or anyone could fill it."""
    if refused.code == Code.USER_MISMATCH or (refused.code == Code.STATE_UNKNOWN and not user.is_authenticated):
        return
    trail.record(
        "oauth.callback.refused",
        actor=user,
        target_type="connection",
        target=provider_name or "",
        result=trail.REFUSED,
        reason=refused.reason,
    )


def _let_go_of_database() -> None:
    """Give the connection back before waiting for a stranger's server."""
    if not connection.in_atomic_block:
        connection.close()
