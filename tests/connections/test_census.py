"""The counts of the admin say what each user's own page says."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections import listing
from connections.listing import Status
from providers import registry
from providers.models import OAuthProvider
from tests import factories
from vault.models import VaultEntry


@pytest.fixture
def provider(db: None) -> OAuthProvider:
    return factories.make_provider()


def standings() -> list[dict[str, Any]]:
    """Return every combination of what decides how a connection stands."""
    now = timezone.now()
    past, soon, far = now - timedelta(hours=1), now + timedelta(seconds=20), now + timedelta(hours=1)
    combinations = product(
        ["", "missing_scopes"],
        ["access", None],
        [None, past, soon, far],
        ["refresh", None],
        [None, past, far],
        [None, past, now - timedelta(hours=25)],
        [None, far],
        [None, "0" * 64],
    )
    names = (
        "attention_reason",
        "access_token",
        "expires_at",
        "refresh_token",
        "refresh_token_expires_at",
        "failing_since",
        "retry_at",
        "provider_fingerprint",
    )
    return [
        {name: value for name, value in zip(names, values, strict=True) if value is not None or "print" not in name}
        for values in combinations
    ]


def test_every_standing_is_counted_as_the_users_page_shows_it(alice: User, provider: OAuthProvider) -> None:
    entry = factories.make_vault_entry(alice, provider)
    tokens = {"access_token": entry.access_token, "refresh_token": entry.refresh_token}
    wrong = []
    tried = standings()
    for fields in tried:
        fields |= {name: tokens[name] if fields[name] else None for name in tokens}
        VaultEntry.objects.filter(pk=entry.pk).update(**{"provider_fingerprint": provider.fingerprint(), **fields})
        stored = VaultEntry.objects.get()
        reason = listing.attention(stored, provider, timezone.now())
        counted = registry.connections_of(provider.uid)
        shown = Status.NEEDS_ATTENTION if reason else Status.CONNECTED
        if (counted.connected, counted.needs_attention) != ((0, 1) if shown is Status.NEEDS_ATTENTION else (1, 0)):
            wrong.append((shown, fields))
    assert len(tried) == 1152
    assert wrong == []


def test_counts_take_two_queries_for_any_number_of_providers(alice: User, bob: User) -> None:
    providers = [factories.make_provider(f"p{number}") for number in range(5)]
    for each in providers:
        factories.make_vault_entry(alice, each)
        factories.make_vault_entry(bob, each, access_token=None, refresh_token=None, attention_reason="invalid_grant")
    with CaptureQueriesContext(connection) as caught:
        counted = registry.connections_of_each([each.uid for each in providers])
    assert len(caught) == 2
    assert {(each.connected, each.needs_attention, each.total, each.usable) for each in counted.values()} == {
        (1, 1, 2, 1)
    }


def test_a_provider_without_connections_counts_none(provider: OAuthProvider) -> None:
    assert registry.connections_of(provider.uid).total == 0


def test_servers_are_those_bound_to_this_very_provider(provider: OAuthProvider, alice: User) -> None:
    shown = factories.make_server("shown", provider=provider, required_scopes=["repo"])
    factories.make_server("off", provider=provider, enabled=False)
    factories.make_server("other", provider=factories.make_provider("gitlab"))
    factories.allow(alice, shown, "view")
    assert [(use.name, use.is_enabled) for use in registry.servers_of(provider.uid)] == [
        ("off", False),
        ("shown", True),
    ]
    assert [(use.name, use.required_scopes) for use in registry.servers_of(provider.uid, alice)] == [
        ("shown", ("repo",))
    ]
