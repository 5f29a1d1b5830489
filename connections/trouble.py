"""Providers in trouble, in an admin's words: what is wrong, since when, who waits, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.utils import timezone

from connections import provider_health
from connections.provider_health import Health, Status
from providers.models import OAuthProvider
from providers.registry import Standing

MOST = 50
_WORDS = {
    Status.CLIENT_REJECTED: ("Refuses the gateway", "bad", "error"),
    Status.FAILING: ("Does not answer", "bad", "error"),
    Status.PAUSED: ("Asked for a pause", "warn", "schedule"),
}
_SENTENCES = {
    Status.CLIENT_REJECTED: (
        "It does not accept the gateway's client id or secret ({error}).",
        "Compare both with the app at the provider, and write the secret again; saving either is tried at once.",
    ),
    Status.FAILING: (
        "Its token endpoint failed ten times in a row, last with {error}. One request at a time tries it again.",
        "Look at the provider's status page, and whether this gateway reaches it. It recovers by itself.",
    ),
    Status.PAUSED: (
        "It asked to be left alone for a while ({error}).",
        "Nothing. Should it ask often, lower VAULT_REFRESH_CONCURRENCY_PER_PROVIDER.",
    ),
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """One provider in trouble; `pk` is None for a token endpoint that only a server's own client uses."""

    pk: int | None
    name: str
    standing: Standing
    what_to_do: str
    waiting: int


def standing(health: Health) -> Standing | None:
    """Say how a provider fares; None when it is well."""
    return _said(health) if health.status in _WORDS else None


def _said(health: Health) -> Standing:
    word, kind, icon = _WORDS[health.status]
    sentence = _SENTENCES[health.status][0].format(error=health.last_error or "no reason given")
    return Standing(word, kind, icon, sentence, health.since, health.paused_until)


def standings(uids: set[UUID]) -> dict[UUID, Standing]:
    """Return how those of the providers fare that are in trouble."""
    found = {uid: standing(health) for uid, health in provider_health.of(uids).items()}
    return {uid: each for uid, each in found.items() if each is not None}


def troubles(waiting: Mapping[UUID, int]) -> list[Trouble]:
    """Return the providers in trouble, the worst first and `MOST` at most; `waiting` says how much each holds up."""
    health = provider_health.in_trouble(timezone.now())
    known = {row.uid: row for row in OAuthProvider.everything.filter(uid__in=health)}
    found = [
        _trouble(known.get(uid), each, waiting.get(uid, 0))
        for uid, each in health.items()
        if uid not in known or known[uid].deleted_at is None
    ]
    return sorted(found, key=_worst_first)[:MOST]


def _trouble(provider: OAuthProvider | None, health: Health, waiting: int) -> Trouble:
    name = provider.display_name if provider else "The token endpoint of a server's service account"
    return Trouble(provider.pk if provider else None, name, _said(health), _SENTENCES[health.status][1], waiting)


def _worst_first(trouble: Trouble) -> tuple[bool, int, str]:
    return trouble.standing.kind != "bad", -trouble.waiting, trouble.name
