"""*Vault health*: who sees it, what it says when all is well and when it is not, and what it costs."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clients.rights_admin import moment
from connections import charts, health_page
from connections.charts import Part
from connections.models import ProviderHealth
from metrics.models import Tally
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import page, signed_in
from vault.models import PendingRevocation, VaultEntry

URL = "/admin/vault-health/"
MINUTE = timedelta(minutes=1)


def text_of(user: User, url: str = URL) -> str:
    """Return the page without its markup."""
    html = signed_in(user).get(url).content.decode().partition('id="content-main"')[2]
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def tally(name: str, label: str = "", value: float = 1, *, ago: timedelta = timedelta(0)) -> None:
    now = timezone.now()
    Tally.objects.create(at=now - ago, name=name, label=label, value=value, updated_at=now - ago)


@pytest.mark.threat("F05")
def test_only_superusers_and_admins_see_it(alice: User, admin: User, superuser: User) -> None:
    staff = factories.make_user("staff", is_staff=True)
    alice.groups.add(Group.objects.get(name="mcp-editors"))
    for user, status in ((alice, 403), (staff, 403), (admin, 200), (superuser, 200)):
        client = signed_in(user)
        assert client.get(URL).status_code == status
        assert client.post(URL).status_code in (403, 405)
        assert (URL in client.get("/admin/").content.decode()) is (status == 200)


def test_when_all_is_well_it_says_so(admin: User, alice: User) -> None:
    factories.make_vault_entry(alice, factories.make_provider())
    tally("aigw_scan_seconds", value=3)
    shown = text_of(admin)
    assert "All is well" in shown
    assert "Providers in trouble" not in shown
    assert "Connected 1" in shown.replace("check_circle ", "")
    assert shown.count("None in this time.") == 6


@pytest.mark.parametrize(
    ("fields", "says", "does"),
    [
        ({"circuit_open_since": 1, "last_error": "status_503"}, "Does not answer", "status page"),
        ({"client_rejected_at": 1, "last_error": "invalid_client"}, "Refuses the gateway", "write the secret again"),
        ({"last_error": "rate_limited"}, "Asked for a pause", "Nothing."),
    ],
)
def test_a_provider_in_trouble_is_named_with_what_to_do(
    admin: User, alice: User, fields: dict[str, Any], says: str, does: str
) -> None:
    github, now = factories.make_provider(), timezone.now()
    moments = {name: now - 30 * MINUTE if value == 1 else value for name, value in fields.items()}
    ProviderHealth.objects.create(provider_uid=github.uid, paused_until=now + 5 * MINUTE, **moments)
    factories.make_vault_entry(alice, github, refresh_due_at=now - MINUTE)
    shown = text_of(admin)
    assert "All is well" not in shown
    for words in (says, does, fields["last_error"], "Github", "Asked again", "Connections that wait"):
        assert words in shown
    assert page(github, "detail") in signed_in(admin).get(URL).content.decode()
    for url in (page(OAuthProvider), page(github, "detail")):
        assert says in text_of(admin, url), "the provider's own pages say it, too"


def test_what_else_is_wrong(admin: User, alice: User) -> None:
    github, now = factories.make_provider(), timezone.now()
    entry = factories.make_vault_entry(alice, github, attention_reason="lost_rotation")
    VaultEntry.objects.filter(pk=entry.pk).update(key_ids="unreadable")
    PendingRevocation.objects.create(user_id=1, provider_uid=github.uid, reason="x", try_at=now, attempts=2)
    tally("aigw_scan_seconds", ago=20 * MINUTE)
    shown = text_of(admin)
    for words in (
        "1 stored value cannot be read",
        "renewal cut off",
        "Look whether a worker",
        "of which tried before 1",
    ):
        assert words in shown
    assert "All is well" not in shown


def test_the_charts_say_it_in_words_and_in_a_table(admin: User) -> None:
    tally("aigw_refreshes", "renewed", 40)
    tally("aigw_refreshes", "unavailable", 8, ago=60 * MINUTE)
    tally("aigw_refreshes", "rejected", 2, ago=60 * MINUTE)
    tally("aigw_refreshes", "renewed", 1000, ago=timedelta(days=3))
    html = signed_in(admin).get(URL).content.decode()
    assert (
        "Renewals in the last 24 hours: 40 renewed, 8 put off, 2 failed; at most 40 renewals in half an hour." in html
    )
    assert html.count("<svg") - html.count("<svg ") == 0
    assert html.count('<rect class="aigw-bar-') == 3
    assert "<details>" in html


def test_the_columns_of_a_chart_stand_on_each_other_and_fit() -> None:
    now = timezone.now()
    slices = [(now, "n", "a", 3.0), (now, "n", "b", 1.0), (charts.begins(now), "n", "a", 2.0), (now, "m", "a", 99.0)]
    parts = [Part("A", "ok", "n", frozenset(["a"])), Part("B", "bad", "n", frozenset(["b"]))]
    chart = charts.draw("Title", "things", parts, slices, now)
    assert (chart.most, [bar.height for bar in chart.bars]) == (4, [48, 72, 24])
    assert [bar.y for bar in chart.bars] == [48, 24, 0]
    assert all(bar.x >= 0 and bar.x + bar.width <= charts.WIDTH for bar in chart.bars)
    assert charts.draw("Title", "things", parts, [], now).bars == []


def test_its_queries_do_not_grow(admin: User) -> None:
    client = signed_in(admin)

    def more(names: range) -> list[str]:
        for number in names:
            provider = factories.make_provider(f"more-{number}")
            ProviderHealth.objects.create(provider_uid=provider.uid, circuit_open_since=timezone.now())
            factories.make_vault_entry(factories.make_user(f"user{number}"), provider, refresh_due_at=timezone.now())
            tally("aigw_refreshes", f"label-{number}")
        with CaptureQueriesContext(connection) as caught:
            assert client.get(URL).status_code == 200
        asked = [query["sql"] for query in caught.captured_queries]
        return [sql for sql in asked if not any(table in sql for table in ("django_session", '"auth_', "SAVEPOINT"))]

    few = more(range(1))
    assert len(more(range(1, 9))) == len(few) <= 15


def test_it_says_when_the_next_scan_is_due(db: None) -> None:
    now = timezone.now()
    every = timedelta(seconds=settings.VAULT_SCAN_INTERVAL_SECONDS)
    assert health_page._next_scan(None, now) == "with the first worker and scheduler"
    assert health_page._next_scan(now, now) == f"about {moment(now + every)}"
    assert health_page._next_scan(now - 2 * every, now) == "at any moment"
    assert health_page._next_scan(now - timedelta(days=1), now) == "overdue"
