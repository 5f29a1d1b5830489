"""What upper floors tell this one, by registration in `AppConfig.ready()`: servers that need a provider, and
what to do when someone has connected or has to go."""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import User

from connections.service_accounts import ServiceAccount

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerNeed:
    """A server that is bound to a provider, and the scopes it asks for."""

    name: str
    provider_uid: UUID
    required_scopes: tuple[str, ...]


ServerNeeds = Callable[[User | None], Iterable[ServerNeed]]
ServiceAccounts = Callable[[Collection[UUID]], Iterable[ServiceAccount]]
OnConnected = Callable[[int, UUID], None]
_sources: list[ServerNeeds] = []
_accounts: list[ServiceAccounts] = []
OnOffboarded = Callable[[int], int]
_callbacks: list[OnConnected] = []
_enders: dict[str, OnOffboarded] = {}


def register_server_needs(source: ServerNeeds) -> None:
    """Have `source(user)` asked for the servers that `user` may use; `None` asks for all."""
    _sources.append(source)


def server_needs(user: User | None, provider_uid: UUID | None = None) -> list[ServerNeed]:
    """Return the servers that `user` may use (None: every server), of one provider or of all."""
    needs = [need for source in _sources for need in source(user)]
    return [need for need in needs if provider_uid in (None, need.provider_uid)]


def register_service_accounts(source: ServiceAccounts) -> None:
    """Have `source(server_uids)` asked what these servers authenticate as, of those that have a service account."""
    _accounts.append(source)


def service_accounts(server_uids: Collection[UUID]) -> dict[UUID, ServiceAccount]:
    """Return the service accounts of these servers, as they are now."""
    return {account.server_uid: account for source in _accounts for account in source(server_uids)}


def register_on_connected(callback: OnConnected) -> None:
    """Have `callback(user_id, provider_uid)` called after a consent was stored and committed."""
    _callbacks.append(callback)


def connected(user_id: int, provider_uid: UUID) -> None:
    """Tell everyone who asked that this user has connected. One that fails stops neither the others nor the caller."""
    for callback in _callbacks:
        try:
            callback(user_id, provider_uid)
        except Exception as exc:
            logger.exception("after connecting", extra={"error": type(exc).__name__})


def register_on_offboarded(what: str, end: OnOffboarded) -> None:
    """Have `end(user_id)` called when a user has to go; it ends all `what` of theirs and returns how many."""
    _enders[what] = end


def end_what_upper_floors_hold(user_id: int) -> dict[str, int]:
    """End what was registered, and return how many of each."""
    return {what: end(user_id) for what, end in _enders.items()}
