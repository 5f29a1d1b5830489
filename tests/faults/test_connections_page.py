"""The Connections page of one among 5,000 users: what it asks of the database, and how long it takes (I03)."""

import time
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from mcpservers.models import MCPServer
from tests import factories
from vault.models import VaultEntry

USERS, PROVIDERS, CONNECTIONS, SERVERS = 5_000, 20, 60_000, 100
MOST_QUERIES, MOST_SECONDS = 15, 0.3
TOOLS = [{"name": f"tool-{n}", "description": "d" * 200, "inputSchema": {"type": "object"}} for n in range(50)]


@pytest.fixture
def crowd(alice: User) -> None:
    """Everybody is connected to twelve of the twenty providers, and every server offers fifty tools."""
    providers = [factories.make_provider(f"provider-{n:02}") for n in range(PROVIDERS)]
    for number in range(SERVERS):
        factories.make_server(f"server-{number:03}", provider=providers[number % PROVIDERS], tools=TOOLS)
    User.objects.bulk_create([User(username=f"user-{number}", password="!") for number in range(USERS - 1)])
    users = list(User.objects.values_list("pk", flat=True))
    each, now = CONNECTIONS // USERS, timezone.now()
    like = factories.make_vault_entry(alice, providers[0])
    rows = [
        VaultEntry(
            user_id=user_id,
            provider_uid=provider.uid,
            provider_fingerprint=provider.fingerprint(),
            scopes_requested=["read"],
            scopes_granted=["read"],
            connected_at=now,
            expires_at=now + timedelta(hours=1),
            access_token=like.access_token,
        )
        for user_id in users
        for provider in providers[:each]
        if (user_id, provider.uid) != (alice.pk, providers[0].uid)
    ]
    VaultEntry.objects.bulk_create(rows, batch_size=1_000)
    assert VaultEntry.objects.count() == CONNECTIONS


def visit(browser: Client) -> tuple[int, float]:
    """Return how many queries the page takes and how long, the quickest of five: other tests run on the same cores."""
    browser.get("/connections/")
    with CaptureQueriesContext(database) as queries:
        answer = browser.get("/connections/")
    count = len(queries)
    assert answer.content.decode().count('<li class="card"') == PROVIDERS
    assert len(answer.content) < 100_000 - 20_000  # the rest is the style sheet and the icon
    taken = []
    for _ in range(5):
        began = time.monotonic()
        browser.get("/connections/")
        taken.append(time.monotonic() - began)
    return count, min(taken)


@pytest.mark.long_form
@pytest.mark.threat("I03")
def test_one_of_5000_users_sees_20_providers_at_once(browser: Client, alice: User, crowd: None) -> None:
    browser.force_login(alice)
    for server in MCPServer.objects.all():
        factories.allow(alice, server, "view", "use")
    by_name = visit(browser)
    Group.objects.get(name="members").user_set.add(alice)
    everything = visit(browser)
    for queries, seconds in (by_name, everything):
        assert queries <= MOST_QUERIES
        assert seconds < MOST_SECONDS
    print(f"{database.vendor}: by name {by_name}, everything {everything}")
