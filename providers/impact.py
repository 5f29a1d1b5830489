"""Say, before a provider is changed or deleted, whom that will hit. Nothing is changed here."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import User

from providers import registry
from providers.models import OAuthProvider
from providers.registry import ConnectionCounts, ServerUse


@dataclass(frozen=True, slots=True)
class Impact:
    """How many connections will have to reconnect, and the sentence that says so."""

    reconnects: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Uses:
    """What is bound to a provider: the servers that the viewer may see, how many more there are, the connections."""

    servers: list[ServerUse]
    hidden_servers: int
    connections: ConnectionCounts

    @property
    def sentence(self) -> str:
        """Return what a deletion hits."""
        count = len(self.servers) + self.hidden_servers
        ended = _connections(self.connections.total, "ends", "end")
        refused = "no MCP server is bound to it" if not count else f"{_servers(count)} answer OAuthProviderNotFound"
        return f"{ended} and will be revoked at the provider; {refused}."


def scope_impact(provider: OAuthProvider, new_scopes: Iterable[str]) -> Impact:
    """Say what `new_scopes` in place of the provider's mean for those who are connected.

    Nobody's connection stops: who was never asked for an added scope is offered Reconnect (contract §7).
    """
    added = sorted(set(new_scopes) - set(provider.scopes))
    if not added:
        return Impact(0, "No scope is added, so nobody has to reconnect.")
    count = registry.scope_impact(provider, added)
    if not count:
        return Impact(0, f"No connection lacks {', '.join(added)}, so nobody has to reconnect.")
    has = _connections(count, "has", "have")
    return Impact(count, f"{has} to reconnect to be granted {', '.join(added)}, and {_goes_on(count)} until then.")


def cut_off(before: OAuthProvider, after: OAuthProvider) -> int:
    """Return how many connections end when `after` is saved in place of `before` (A18).

    Any change of where a credential is sent, or of who sends it, ends all that still hold tokens.
    """
    if before.fingerprint() == after.fingerprint():
        return 0
    return registry.connections_of(before.uid).usable


def change(before: OAuthProvider, after: OAuthProvider) -> tuple[int, Impact]:
    """Return how many connections a change cuts off, and what else it costs, in one sentence for both."""
    cut = cut_off(before, after)
    if cut:
        ends = _connections(cut, "is", "are")
        why = "because it changes who receives their credentials"
        return cut, Impact(cut, f"{ends} cut off, {why}; their users have to reconnect.")
    return 0, scope_impact(before, after.scopes)


def uses(provider: OAuthProvider, viewer: User | None = None) -> Uses:
    """Return what is bound to the provider, for its page and for whoever is about to delete it."""
    every = registry.servers_of(provider.uid)
    shown = every if viewer is None else registry.servers_of(provider.uid, viewer)
    return Uses(shown, len(every) - len(shown), registry.connections_of(provider.uid))


def _connections(count: int, one: str, many: str) -> str:
    return f"1 connection {one}" if count == 1 else f"{count} connections {many}"


def _servers(count: int) -> str:
    return "1 MCP server will" if count == 1 else f"{count} MCP servers will"


def _goes_on(count: int) -> str:
    return "goes on working as it is" if count == 1 else "go on working as they are"
