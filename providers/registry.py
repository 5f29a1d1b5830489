"""What upper floors tell this one, by registration in `AppConfig.ready()`: which servers are bound to a provider,
and how many connections it has, in what state."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import User

from providers.models import OAuthProvider


@dataclass(frozen=True, slots=True)
class ServerUse:
    """An MCP server that is bound to a provider."""

    pk: int
    name: str
    required_scopes: tuple[str, ...]
    is_enabled: bool = True


@dataclass(frozen=True, slots=True)
class ConnectionCounts:
    """A provider's connections by status. `usable` hold tokens that fit the provider as it is now."""

    connected: int = 0
    needs_attention: int = 0
    usable: int = 0

    @property
    def total(self) -> int:
        """Return how many there are."""
        return self.connected + self.needs_attention


@dataclass(frozen=True, slots=True)
class Standing:
    """How a provider in trouble fares: a word, its kind (`warn`, `bad`) and icon, a sentence, since and until when."""

    word: str
    kind: str
    icon: str
    sentence: str
    since: datetime | None = None
    until: datetime | None = None


Servers = Callable[[Collection[UUID], User | None], Iterable[tuple[UUID, ServerUse]]]
Connections = Callable[[Collection[UUID]], Iterable[tuple[UUID, ConnectionCounts]]]
ScopeImpact = Callable[[OAuthProvider, Collection[str]], int]
Offer = Callable[[User, OAuthProvider], str]
Standings = Callable[[set[UUID]], dict[UUID, Standing]]
_servers: list[Servers] = []
_connections: list[Connections] = []
_scope_impacts: list[ScopeImpact] = []
_offers: list[Offer] = []
_standings: list[Standings] = []


def register_servers(source: Servers) -> None:
    """Have `source(provider_uids, viewer)` asked for the servers bound to these that `viewer` (None: all) may view."""
    _servers.append(source)


def register_connections(source: Connections) -> None:
    """Have `source(provider_uids)` asked how many connections these have."""
    _connections.append(source)


def register_scope_impact(source: ScopeImpact) -> None:
    """Have `source(provider, added)` asked how many working connections were never asked for one of `added`."""
    _scope_impacts.append(source)


def register_offers(source: Offer) -> None:
    """Have `source(user, provider)` asked for the link with which that user connects; empty where there is none."""
    _offers.append(source)


def register_standings(source: Standings) -> None:
    """Have `source(provider_uids)` asked which of these are in trouble."""
    _standings.append(source)


def servers_of(provider_uid: UUID, viewer: User | None = None) -> list[ServerUse]:
    """Return the servers bound to the provider by name, all of them or those that `viewer` may view."""
    return servers_of_each([provider_uid], viewer)[provider_uid]


def servers_of_each(provider_uids: Collection[UUID], viewer: User | None = None) -> dict[UUID, list[ServerUse]]:
    """Return the servers bound to each of the providers, in as many queries as for one."""
    found: dict[UUID, list[ServerUse]] = {uid: [] for uid in provider_uids}
    for source in _servers:
        for uid, server in source(provider_uids, viewer):
            found[uid].append(server)
    return found


def connections_of(provider_uid: UUID) -> ConnectionCounts:
    """Return how many connections the provider has, by status."""
    return connections_of_each([provider_uid])[provider_uid]


def connections_of_each(provider_uids: Collection[UUID]) -> dict[UUID, ConnectionCounts]:
    """Return how many connections each of the providers has, in as many queries as for one."""
    found = dict.fromkeys(provider_uids, ConnectionCounts())
    for source in _connections:
        found.update(source(provider_uids))
    return found


def scope_impact(provider: OAuthProvider, added: Collection[str]) -> int:
    """Return how many working connections of the provider were never asked for one of `added`."""
    return sum(source(provider, added) for source in _scope_impacts)


def offer_url(user: User, provider: OAuthProvider) -> str:
    """Return the link with which `user` connects the provider, or nothing."""
    return next((url for source in _offers if (url := source(user, provider))), "")


def standings_of(provider_uids: Collection[UUID]) -> dict[UUID, Standing]:
    """Return how those of the providers fare that are in trouble, in as many queries as for one."""
    return {uid: standing for source in _standings for uid, standing in source(set(provider_uids)).items()}
